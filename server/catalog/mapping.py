"""Where the catalog's messages and dataclasses meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from ani.catalog.v1 import catalog_service_pb2 as service_pb
from ani.catalog.v1 import genre_pb2, release_pb2
from domain.catalog.model import Filter, Genre, Kind, Release, Season, Status, Title, WeeklySlot
from domain.catalog.service import FeedMessage
from domain.kernel import InvalidArgument, new_id
from domain.visibility import Publication

AGES = {
    release_pb2.AGE_RATING_0: 0,
    release_pb2.AGE_RATING_6: 6,
    release_pb2.AGE_RATING_12: 12,
    release_pb2.AGE_RATING_16: 16,
    release_pb2.AGE_RATING_18: 18,
}
EPOCH, SECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)
AGE_RATINGS = {age: rating for rating, age in AGES.items()}


class FieldNotWritable(InvalidArgument):
    """Raised when an update mask names a field that is not there, or that is not the caller's to change."""

    text = "The field {path} cannot be changed."


def release_to_pb(release: Release) -> release_pb2.Release:
    """Render a release. Inner messages are given as dictionaries: half the cost of making each, and lists are long."""
    facts: dict[str, Any] = {
        "release_id": release.release_id,
        "alias": release.alias,
        "titles": [{"language": title.language, "text": title.text} for title in release.titles],
        "synopsis": release.synopsis,
        "kind": release.kind,
        "status": release.status,
        "season": release.season or 0,
        "year": release.year or 0,
        "age_rating": AGE_RATINGS[release.age_rating],
        "genres": [{"genre_id": genre.genre_id, "name": genre.name} for genre in release.genres],
        "planned_episode_count": release.planned_episode_count,
        "episode_count": release.episode_count,
        "blocked_countries": release.blocked_countries,
        "publication": release.publication,
        "version": release.version,
        "create_time": moment_to_pb(release.create_time),
        "update_time": moment_to_pb(release.update_time),
    }
    if release.publish_time:
        facts["publish_time"] = moment_to_pb(release.publish_time)
    if part := release.franchise:
        facts["franchise"] = {"franchise_id": part.franchise_id, "name": part.name, "position": part.position}
    if slot := release.weekly_slot:
        facts["weekly_slot"] = {"weekday": slot.weekday, "minute": slot.minute, "zone": slot.zone}
    return release_pb2.Release(**facts)


def moment_to_pb(at: datetime) -> dict[str, int]:
    """Render a time as the fields of a Timestamp, which would take five times as long to do so itself."""
    return {"seconds": (at - EPOCH) // SECOND, "nanos": at.microsecond * 1000}


def genre_to_pb(genre: Genre) -> genre_pb2.Genre:
    return genre_pb2.Genre(genre_id=genre.genre_id, name=genre.name, release_count=genre.release_count)


# How each field that a caller may write is read; a mask names them by the same names.
READERS: dict[str, Callable[[release_pb2.Release], Any]] = {
    "alias": lambda m: m.alias,
    "titles": lambda m: tuple(Title(t.language, t.text) for t in m.titles),
    "synopsis": lambda m: m.synopsis,
    "kind": lambda m: Kind(m.kind),
    "status": lambda m: Status(m.status),
    "season": lambda m: Season(m.season) if m.season else None,
    "year": lambda m: m.year or None,
    "age_rating": lambda m: AGES[m.age_rating],
    "genres": lambda m: tuple(Genre(g.genre_id) for g in m.genres),
    "planned_episode_count": lambda m: m.planned_episode_count,
    "weekly_slot": lambda m: weekly_slot_from_pb(m.weekly_slot) if m.HasField("weekly_slot") else None,
    "blocked_countries": lambda m: tuple(sorted(m.blocked_countries)),
    "publication": lambda m: Publication(m.publication or Publication.DRAFT),
}


def draft_from_pb(message: release_pb2.Release, *, at: datetime) -> Release:
    decided = {name: read(message) for name, read in READERS.items()}
    return Release(release_id=message.release_id or new_id(at=at), create_time=at, update_time=at, **decided)


def changes_from_pb(message: release_pb2.Release, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises FieldNotWritable."""
    for path in mask.paths:
        if path not in READERS:
            raise FieldNotWritable(path=path, field="update_mask")
    return {path: READERS[path](message) for path in mask.paths}


def mask_to_pb(fields: Iterable[str]) -> FieldMask:
    return FieldMask(paths=fields)


def filter_from_pb(message: service_pb.ListReleasesRequest) -> Filter:
    return Filter(
        genres=tuple(message.genres),
        kind=Kind(message.kind) if message.kind else None,
        status=Status(message.status) if message.status else None,
        year_from=message.year_from or None,
        year_to=message.year_to or None,
    )


def feed_message_to_pb(message: FeedMessage, *, at: datetime) -> service_pb.WatchReleasesResponse:
    if message.change is None:
        return service_pb.WatchReleasesResponse(cursor=message.cursor, heartbeat=service_pb.Heartbeat(time=at))  # type: ignore[arg-type]
    change = message.change
    return service_pb.WatchReleasesResponse(
        cursor=message.cursor,
        change=service_pb.ReleaseChange(
            release_id=change.release_id,
            release=release_to_pb(change.release) if change.release else None,
            change_time=change.time,  # type: ignore[arg-type]
        ),
    )


def weekly_slot_from_pb(message: release_pb2.WeeklySlot) -> WeeklySlot:
    return WeeklySlot(message.weekday, message.minute, message.zone)
