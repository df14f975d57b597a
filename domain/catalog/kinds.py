"""The catalog's kinds of items, and what their changes tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain.catalog.episodes import EPISODE
from domain.catalog.franchises import (
    FRANCHISE_FIELDS,
    GROUP_FIELDS,
    Franchise,
    FranchiseChanged,
    GenreChanged,
    GenreEntry,
    GenreNotFound,
    TagChanged,
    TagEntry,
    TagNotFound,
)
from domain.catalog.model import (
    WRITABLE,
    FranchiseNotFound,
    Genre,
    Release,
    ReleaseCreated,
    ReleaseDeleted,
    ReleaseNotFound,
    ReleasePublished,
    ReleaseUpdated,
    Tag,
)
from domain.catalog.schedule import SCHEDULE_ENTRY
from domain.items import Kind, everyone
from domain.kernel import Event
from domain.visibility import Publication, Sight, sight


def _release_events(before: Release | None, after: Release | None, at: datetime) -> list[Event]:
    if after is None:
        return [ReleaseDeleted(time=at, release_id=before.release_id)] if before else []
    events: list[Event]
    if before is None:
        events = [ReleaseCreated(time=at, release_id=after.release_id)]
    else:
        events = [ReleaseUpdated(time=at, release_id=after.release_id, fields=tuple(RELEASE.differences(before, after)))]
    if after.publish_time is not None and (before is None or before.publish_time is None):
        events.append(ReleasePublished(time=at, release_id=after.release_id))
    return events


def _dated(release: Release, at: datetime) -> Release:
    """Note when a release is published for the first time."""
    first = release.publication is Publication.PUBLISHED and release.publish_time is None
    return replace(release, publish_time=at) if first else release


def _plain(release: Release) -> Release:
    """Return a release with what others decide left out: the names of its genres and tags, and their order."""
    genres = tuple(Genre(genre_id) for genre_id in sorted(genre.genre_id for genre in release.genres))
    tags = tuple(Tag(tag_id) for tag_id in sorted(tag.tag_id for tag in release.tags))
    return replace(release, genres=genres, tags=tags)


# What a release says; whether, where and to whom it is shown, and who is credited for it, is left to editors.
ENTRUSTED = frozenset({"titles", "synonyms", "synopsis", "genres", "tags", "theme_songs", "in_production"})
RELEASE = Kind(
    name="release",
    of=Release,
    writable=WRITABLE,
    missing=ReleaseNotFound,
    events=_release_events,
    settled=_dated,
    normal=_plain,
    shown=lambda release, viewer: sight(release.terms, viewer) is Sight.VISIBLE,
    entrusted=ENTRUSTED,
)


def _genre_events(before: GenreEntry | None, after: GenreEntry | None, at: datetime) -> list[Event]:
    return [GenreChanged(time=at, genre_id=one.genre_id) for one in (after or before,) if one]


def _tag_events(before: TagEntry | None, after: TagEntry | None, at: datetime) -> list[Event]:
    return [TagChanged(time=at, tag_id=one.tag_id) for one in (after or before,) if one]


def _franchise_events(before: Franchise | None, after: Franchise | None, at: datetime) -> list[Event]:
    """Name those too that are members no more: what is shown of them changes as well."""
    known = after or before
    if known is None:
        return []
    members = {*(before.release_ids if before else ()), *(after.release_ids if after else ())}
    return [FranchiseChanged(time=at, franchise_id=known.franchise_id, release_ids=tuple(sorted(members)))]


GENRE = Kind(
    name="genre",
    of=GenreEntry,
    writable=GROUP_FIELDS,
    missing=GenreNotFound,
    events=_genre_events,
    shown=everyone,
)
TAG = Kind(
    name="tag",
    of=TagEntry,
    writable=GROUP_FIELDS,
    missing=TagNotFound,
    events=_tag_events,
    shown=everyone,
)
FRANCHISE = Kind(
    name="franchise",
    of=Franchise,
    writable=FRANCHISE_FIELDS,
    missing=FranchiseNotFound,
    events=_franchise_events,
)
KINDS = (RELEASE, GENRE, TAG, FRANCHISE, EPISODE, SCHEDULE_ENTRY)
