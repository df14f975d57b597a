"""Releases and genres, and the rules they keep by themselves."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from domain.kernel import AlreadyExists, Event, InvalidArgument, NotFound
from domain.visibility import Publication, Terms

UUID_SHAPE = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


class Kind(IntEnum):
    """What kind of title a release is."""

    TV = 1
    MOVIE = 2
    OVA = 3
    ONA = 4
    SPECIAL = 5


class Status(IntEnum):
    """How far a release's airing has come."""

    ANNOUNCED = 1
    ONGOING = 2
    FINISHED = 3
    HIATUS = 4


class Season(IntEnum):
    """A season of the broadcasting year."""

    WINTER = 1
    SPRING = 2
    SUMMER = 3
    FALL = 4


@dataclass(frozen=True, slots=True)
class Title:
    """A title in one language."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Genre:
    """A genre, with how many published releases carry it where that was asked for."""

    genre_id: str
    name: str = ""
    release_count: int = 0


@dataclass(frozen=True, slots=True)
class Membership:
    """A release's place in its franchise."""

    franchise_id: str
    name: str
    position: int


@dataclass(frozen=True, slots=True)
class WeeklySlot:
    """A time of the week in the broadcaster's zone; weekday 1 is Monday."""

    weekday: int
    minute: int
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One title of the catalog."""

    release_id: str
    alias: str
    titles: tuple[Title, ...]
    synopsis: str = ""
    kind: Kind
    status: Status
    season: Season | None = None
    year: int | None = None
    age_rating: int
    genres: tuple[Genre, ...] = ()
    franchise: Membership | None = None
    planned_episode_count: int = 0
    episode_count: int = 0
    weekly_slot: WeeklySlot | None = None
    blocked_countries: tuple[str, ...] = ()
    publication: Publication = Publication.DRAFT
    version: int = 1
    create_time: datetime
    update_time: datetime
    publish_time: datetime | None = None

    @property
    def terms(self) -> Terms:
        return Terms(self.publication, self.age_rating, frozenset(self.blocked_countries))

    @property
    def list_time(self) -> datetime:
        """Return what lists order it by: its publication, or its creation while it is a draft."""
        return self.publish_time or self.create_time

    @property
    def digest(self) -> bytes:
        """Return a digest of what its creator decided, to tell a repeated creation from another one."""
        decided = (getattr(self, name) for name in sorted(WRITABLE - {"genres"}))
        return hashlib.sha256(repr((*decided, sorted(g.genre_id for g in self.genres))).encode()).digest()

    def check(self) -> None:
        """Refuse what no release may be, whoever made it."""
        if UUID_SHAPE.match(self.alias):
            raise AliasLooksLikeId(alias=self.alias)
        if len({title.language for title in self.titles}) != len(self.titles):
            raise TitleLanguageRepeated(field="release.titles")
        if len({genre.genre_id for genre in self.genres}) != len(self.genres):
            raise GenreRepeated(field="release.genres")
        if self.weekly_slot and self.weekly_slot.zone not in _zones():
            raise ZoneUnknown(zone=self.weekly_slot.zone, field="release.weekly_slot.zone")

    def changed(self, changes: dict[str, Any], *, at: datetime) -> Release:
        """Return the release with some fields changed, published for the first time if that is among them."""
        fresh = replace(self, **changes)
        if fresh.publication is Publication.PUBLISHED and fresh.publish_time is None:
            fresh = replace(fresh, publish_time=at)
        fresh.check()
        return fresh

    def differences(self, other: Release) -> list[str]:
        """Name the writable fields in which two states of a release differ."""
        plain = {name for name in WRITABLE - {"genres"} if getattr(self, name) != getattr(other, name)}
        same_genres = {g.genre_id for g in self.genres} == {g.genre_id for g in other.genres}
        return sorted(plain if same_genres else plain | {"genres"})


WRITABLE = frozenset(
    {
        "alias", "titles", "synopsis", "kind", "status", "season", "year", "age_rating", "genres",
        "planned_episode_count", "weekly_slot", "blocked_countries", "publication",
    }
)  # fmt: skip


@cache
def _zones() -> set[str]:
    return available_timezones()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which releases a list is to hold; what is unset does not restrict it."""

    genres: tuple[str, ...] = ()
    kind: Kind | None = None
    status: Status | None = None
    year_from: int | None = None
    year_to: int | None = None

    @property
    def binding(self) -> str:
        """Return what a page token is bound to."""
        return repr((sorted(self.genres), self.kind, self.status, self.year_from, self.year_to))


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the change feed: transaction and number within it, since commits do not follow numbers."""

    transaction: int
    number: int


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the change feed, with the release as it is now, or None when it is deleted."""

    cursor: Cursor
    release_id: str
    time: datetime
    release: Release | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCreated(Event):
    """A release was created, perhaps as a draft."""

    release_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseUpdated(Event):
    """A release was changed."""

    release_id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePublished(Event):
    """A release was opened to viewers for the first time."""

    release_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDeleted(Event):
    """A release was deleted."""

    release_id: str


class ReleaseNotFound(NotFound):
    """Raised when no release that the viewer may see has this id or alias."""

    text = "There is no release {release}."


class AliasTaken(AlreadyExists):
    """Raised when another release has this alias."""

    text = "The alias {alias} belongs to another release."


class AliasLooksLikeId(InvalidArgument):
    """Raised when an alias has the shape of an id, which would make lookups ambiguous."""

    text = "The alias {alias} has the shape of an id."


class TitleLanguageRepeated(InvalidArgument):
    """Raised when two titles of a release are in one language."""

    text = "A release has at most one title in each language."


class GenreRepeated(InvalidArgument):
    """Raised when a release names a genre twice."""

    text = "A release carries each genre once."


class GenreUnknown(InvalidArgument):
    """Raised when a release is to carry genres that do not exist."""

    text = "There is no genre {genres}."


class ZoneUnknown(InvalidArgument):
    """Raised when a weekly slot names a time zone that does not exist."""

    text = "There is no time zone {zone}."


class CursorInvalid(InvalidArgument):
    """Raised when a change feed is to go on from something that is not a cursor of it."""

    text = "The cursor is not one of this feed."
