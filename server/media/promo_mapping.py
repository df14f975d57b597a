"""Where the messages and dataclasses of promos meet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from ani.media.v1 import promo_admin_service_pb2 as admin_pb
from ani.media.v1 import promo_pb2
from ani.media.v1 import promo_service_pb2 as pb
from domain.kernel import new_id
from domain.media.promos import (
    Promo,
    PromoAction,
    PromoCount,
    PromoFieldNotWritable,
    PromoFormat,
    PromoOccurrence,
    PromoPlacement,
)


def moment_from_pb(message: Any, name: str) -> datetime | None:
    return getattr(message, name).ToDatetime(tzinfo=UTC) if message.HasField(name) else None


# How each field that a caller may write is read; a mask names them by the same names.
READERS: dict[str, Callable[[promo_pb2.Promo], Any]] = {
    "format": lambda m: PromoFormat(m.format),
    "placement": lambda m: PromoPlacement(m.placement),
    "title": lambda m: m.title,
    "text": lambda m: m.text,
    "image_file_id": lambda m: m.image_file_id or None,
    "release_id": lambda m: m.release_id or None,
    "url": lambda m: m.url,
    "regions": lambda m: tuple(sorted(m.regions)),
    "start_time": lambda m: moment_from_pb(m, "start_time"),
    "end_time": lambda m: moment_from_pb(m, "end_time"),
    "overlay": lambda m: m.overlay,
    "priority": lambda m: m.priority,
    "erid": lambda m: m.erid,
    "enabled": lambda m: m.enabled,
}


def promo_from_pb(message: promo_pb2.Promo, *, at: datetime) -> Promo:
    decided = {name: read(message) for name, read in READERS.items()}
    return Promo(promo_id=message.promo_id or new_id(at=at), create_time=at, update_time=at, **decided)


def promo_changes_from_pb(message: promo_pb2.Promo, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises PromoFieldNotWritable."""
    for path in mask.paths:
        if path not in READERS:
            raise PromoFieldNotWritable(path=path, field="update_mask")
    return {path: READERS[path](message) for path in mask.paths}


def promo_to_pb(promo: Promo) -> promo_pb2.Promo:
    message = promo_pb2.Promo(
        promo_id=promo.promo_id,
        format=promo.format.value,  # type: ignore[arg-type]
        placement=promo.placement.value,  # type: ignore[arg-type]
        title=promo.title,
        text=promo.text,
        image_file_id=promo.image_file_id or "",
        image_url=f"/v1/images/{promo.image_file_id}" if promo.image_file_id else "",
        release_id=promo.release_id or "",
        url=promo.url,
        regions=promo.regions,
        overlay=promo.overlay,
        priority=promo.priority,
        erid=promo.erid,
        enabled=promo.enabled,
        version=promo.version,
    )
    for name in ("start_time", "end_time", "create_time", "update_time"):
        if (moment := getattr(promo, name)) is not None:
            getattr(message, name).FromDatetime(moment)
    return message


def occurrence_from_pb(message: pb.PromoEvent, *, country: str, at: datetime) -> PromoOccurrence:
    return PromoOccurrence(message.event_id, message.promo_id, PromoAction(message.action), country, at)


def count_to_pb(count: PromoCount) -> admin_pb.PromoCount:
    return admin_pb.PromoCount(
        day=count.day.isoformat(),
        country=count.country,
        action=count.action.value,  # type: ignore[arg-type]
        count=count.count,
    )
