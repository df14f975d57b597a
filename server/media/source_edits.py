"""Edits of video sources in change sets: the requests of VideoSourceAdminService, read as what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ani.media.v1 import video_source_admin_service_pb2 as pb
from domain.editing.model import Action, Edit
from domain.media.sources import WRITABLE
from server.media.source_mapping import source_changes_from_pb, source_from_pb

KIND = "video_source"


def _create(request: pb.CreateVideoSourceRequest, at: datetime) -> Edit:
    source = source_from_pb(request.video_source, at=at)
    decided = {name: getattr(source, name) for name in sorted(WRITABLE)}
    return Edit(kind=KIND, item_id=source.video_source_id, action=Action.CREATE, changes=decided)


def _update(request: pb.UpdateVideoSourceRequest, _at: datetime) -> Edit:
    message = request.video_source
    changes = source_changes_from_pb(message, request.update_mask)
    return Edit(kind=KIND, item_id=message.video_source_id, action=Action.UPDATE, changes=changes, version=message.version)


def _delete(request: pb.DeleteVideoSourceRequest, _at: datetime) -> Edit:
    return Edit(kind=KIND, item_id=request.video_source_id, action=Action.DELETE, version=request.version)


# By the names that they have in ani.editing.v1.Edit.
EDITS: dict[str, Callable[[Any, datetime], Edit]] = {
    "create_video_source": _create,
    "update_video_source": _update,
    "delete_video_source": _delete,
}
