"""Edits of promos in change sets: the requests of PromoAdminService, read as what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ani.media.v1 import promo_admin_service_pb2 as pb
from domain.editing.model import Action, Edit
from domain.media.promos import WRITABLE
from server.media.promo_mapping import promo_changes_from_pb, promo_from_pb

KIND = "promo"


def _create_promo(request: pb.CreatePromoRequest, at: datetime) -> Edit:
    promo = promo_from_pb(request.promo, at=at)
    decided = {name: getattr(promo, name) for name in sorted(WRITABLE)}
    return Edit(kind=KIND, item_id=promo.promo_id, action=Action.CREATE, changes=decided)


def _update_promo(request: pb.UpdatePromoRequest, _at: datetime) -> Edit:
    changes = promo_changes_from_pb(request.promo, request.update_mask)
    return Edit(kind=KIND, item_id=request.promo.promo_id, action=Action.UPDATE, changes=changes, version=request.promo.version)


def _delete_promo(request: pb.DeletePromoRequest, _at: datetime) -> Edit:
    return Edit(kind=KIND, item_id=request.promo_id, action=Action.DELETE, version=request.version)


# By the names that they have in ani.editing.v1.Edit.
EDITS: dict[str, Callable[[Any, datetime], Edit]] = {
    "create_promo": _create_promo,
    "update_promo": _update_promo,
    "delete_promo": _delete_promo,
}
