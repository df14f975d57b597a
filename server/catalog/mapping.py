"""Where the catalog's messages and dataclasses meet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from ani.catalog.v1 import catalog_service_pb2 as service_pb
from ani.catalog.v1 import genre_pb2, release_facts_pb2, release_list_pb2, release_pb2
from domain.catalog.filters import Filter, order
from domain.catalog.model import (
    Change,
    Credit,
    ExternalId,
    Genre,
    Kind,
    Provider,
    Release,
    RightsBlock,
    Role,
    Season,
    Status,
    Tag,
    ThemePlace,
    ThemeSong,
    Title,
    Trailer,
    WeeklySlot,
)
from domain.catalog.service import FeedMessage
from domain.kernel import InvalidArgument, Viewer, new_id
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


class FieldUnknown(InvalidArgument):
    """Raised when a read mask names a field that is not there."""

    text = "There is no field {path} to be read."


class FieldNotWritable(InvalidArgument):
    """Raised when an update mask names a field that is not there, or that is not the caller's to change."""

    text = "The field {path} cannot be changed."


def release_to_pb(release: Release, fields: Collection[str] | None = None) -> release_pb2.Release:
    """Render a release, or some fields of it.

    Inner messages are given as dictionaries: half the cost of making each, and lists are long.
    """
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
        **_further(release),
        "version": release.version,
        "create_time": moment_to_pb(release.create_time),
        "update_time": moment_to_pb(release.update_time),
    }
    if release.publish_time:
        facts["publish_time"] = moment_to_pb(release.publish_time)
    if release.premiere_time:
        facts["premiere_time"] = moment_to_pb(release.premiere_time)
    if part := release.franchise:
        facts["franchise"] = {"franchise_id": part.franchise_id, "name": part.name, "position": part.position}
    if slot := release.weekly_slot:
        facts["weekly_slot"] = {"weekday": slot.weekday, "minute": slot.minute, "zone": slot.zone}
    if fields is not None:
        facts = {name: value for name, value in facts.items() if name in fields}
    return release_pb2.Release(**facts)


def _further(release: Release) -> dict[str, Any]:
    return {
        "synonyms": [{"language": synonym.language, "text": synonym.text} for synonym in release.synonyms],
        "tags": [{"tag_id": tag.tag_id, "name": tag.name} for tag in release.tags],
        "studios": release.studios,
        "credits": [{"role": one.role, "name": one.name, "team_id": one.team_id} for one in release.credits],
        "rating": release.rating,
        "popularity": release.popularity,
        "in_production": release.in_production,
        "external_ids": [{"provider": one.provider, "external_id": one.external_id} for one in release.external_ids],
        "trailers": [{"title": trailer.title, "url": trailer.url} for trailer in release.trailers],
        "theme_songs": [{"place": song.place, "title": song.title, "artist": song.artist} for song in release.theme_songs],
    }


def release_for_editors(release: Release, fields: Collection[str] | None = None) -> release_pb2.Release:
    """Render a release with what only editors see of it."""
    message = release_to_pb(release, fields)
    if fields is None or "rights_blocks" in fields:
        for block in release.rights_blocks:
            message.rights_blocks.add(holder=block.holder, reason=block.reason, countries=block.countries)
    return message


def rendering(viewer: Viewer, mask: FieldMask) -> Callable[[Release], release_pb2.Release]:
    """Return what renders releases for a viewer, with the fields that a mask names. Raises FieldUnknown."""
    return partial(release_for_editors if viewer.sees_drafts else release_to_pb, fields=read_fields(mask))


def read_fields(mask: FieldMask) -> frozenset[str] | None:
    """Return the fields that a read mask names, None for all. Raises FieldUnknown.

    The id is always among them: cached answers are known by it when the release changes.
    """
    known = release_pb2.Release.DESCRIPTOR.fields_by_name
    for path in mask.paths:
        if path not in known:
            raise FieldUnknown(path=path, field="read_mask")
    return frozenset({"release_id", *mask.paths}) if mask.paths else None


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
    "synonyms": lambda m: tuple(Title(t.language, t.text) for t in m.synonyms),
    "tags": lambda m: tuple(Tag(t.tag_id) for t in m.tags),
    "studios": lambda m: tuple(m.studios),
    "credits": lambda m: tuple(Credit(Role(c.role), c.name, c.team_id.lower()) for c in m.credits),
    "rating": lambda m: m.rating,
    "popularity": lambda m: m.popularity,
    "premiere_time": lambda m: m.premiere_time.ToDatetime(tzinfo=UTC) if m.HasField("premiere_time") else None,
    "in_production": lambda m: m.in_production,
    "external_ids": lambda m: tuple(ExternalId(Provider(one.provider), one.external_id) for one in m.external_ids),
    "rights_blocks": lambda m: tuple(RightsBlock(b.holder, b.reason, tuple(sorted(b.countries))) for b in m.rights_blocks),
    "trailers": lambda m: tuple(Trailer(t.title, t.url) for t in m.trailers),
    "theme_songs": lambda m: tuple(ThemeSong(ThemePlace(s.place), s.title, s.artist) for s in m.theme_songs),
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


def filter_from_pb(message: release_list_pb2.ListReleasesRequest) -> Filter:
    return Filter(
        genres=tuple(sorted({name.lower() for name in message.genres})),
        tags=tuple(sorted({name.lower() for name in message.tags})),
        season=Season(message.season) if message.season else None,
        age_rating_to=AGES[message.age_rating_to] if message.age_rating_to else None,
        studio=message.studio or None,
        voice_team=message.voice_team or None,
        order=order(message.order_by),
        kind=Kind(message.kind) if message.kind else None,
        status=Status(message.status) if message.status else None,
        year_from=message.year_from or None,
        year_to=message.year_to or None,
    )


def feed_message_to_pb(message: FeedMessage, *, at: datetime) -> service_pb.WatchReleasesResponse:
    if message.change is None:
        return service_pb.WatchReleasesResponse(cursor=message.cursor, heartbeat=service_pb.Heartbeat(time=at))  # type: ignore[arg-type]
    return service_pb.WatchReleasesResponse(cursor=message.cursor, change=change_to_pb(message.change))


def change_to_pb(change: Change) -> service_pb.ReleaseChange:
    return service_pb.ReleaseChange(
        release_id=change.release_id,
        release=release_to_pb(change.release) if change.release else None,
        change_time=change.time,  # type: ignore[arg-type]
    )


def weekly_slot_from_pb(message: release_facts_pb2.WeeklySlot) -> WeeklySlot:
    return WeeklySlot(message.weekday, message.minute, message.zone)
