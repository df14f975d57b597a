"""The catalog's edits in change sets: CatalogAdminService's requests, read as what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ani.catalog.v1 import catalog_admin_service_pb2 as pb
from domain.catalog.kinds import RELEASE
from domain.editing.model import Action, Edit
from domain.items import Item, Kind
from server.catalog.mapping import changes_from_pb, draft_from_pb


def _create(kind: Kind[Any], draft: Item) -> Edit:
    return Edit(kind=kind.name, item_id=kind.key(draft), action=Action.CREATE, changes=kind.decided(draft))


def _create_release(request: pb.CreateReleaseRequest, at: datetime) -> Edit:
    return _create(RELEASE, draft_from_pb(request.release, at=at))


def _update_release(request: pb.UpdateReleaseRequest, _at: datetime) -> Edit:
    release = request.release
    return Edit(
        kind=RELEASE.name,
        item_id=release.release_id,
        action=Action.UPDATE,
        changes=changes_from_pb(release, request.update_mask),
        version=release.version,
    )


def _delete_release(request: pb.DeleteReleaseRequest, _at: datetime) -> Edit:
    return Edit(kind=RELEASE.name, item_id=request.release_id, action=Action.DELETE, version=request.version)


# By the names that they have in ani.editing.v1.Edit.
EDITS: dict[str, Callable[[Any, datetime], Edit]] = {
    "create_release": _create_release,
    "update_release": _update_release,
    "delete_release": _delete_release,
}
