"""Importing: facts that other sources tell of titles, brought into the catalog without undoing what editors did.

A source knows a title by a *key* of its own and tells *facts* of it. The facts that a source told last are kept, so that the same
facts told again change nothing, and what somebody has changed since can be told from what the source itself had written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from domain.catalog.model import Credit, ExternalId, Kind, Provider, Release, Season, Status, Title, WeeklySlot
from domain.kernel import Event

# What an unknown age rating is taken for: a title is rather kept from a child than shown to one.
CAUTIOUS_AGE = 16
ADULT_AGE = 18


@dataclass(frozen=True, slots=True)
class VideoLink:
    """Where a source lets a title, a season or an episode of it be watched in its own player."""

    url: str
    season: int | None = None
    episode: int | None = None
    # Who voiced or translated what is shown there, into which language, and where that must not be shown.
    team: str = ""
    blocked_countries: tuple[str, ...] = ()
    voiced: bool = True
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a source tells of a title; what it does not tell is empty."""

    key: str
    # The id that tells titles apart in the source: a release that has another one there is not this title.
    main_id: ExternalId | None = None
    external_ids: tuple[ExternalId, ...] = ()
    titles: tuple[Title, ...] = ()
    synonyms: tuple[Title, ...] = ()
    synopsis: str = ""
    kind: Kind | None = None
    status: Status | None = None
    season: Season | None = None
    year: int | None = None
    premiere_time: datetime | None = None
    weekly_slot: WeeklySlot | None = None
    age_rating: int | None = None
    planned_episode_count: int = 0
    rating: float = 0.0
    popularity: int = 0
    # By name.
    genres: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    studios: tuple[str, ...] = ()
    credits: tuple[Credit, ...] = ()
    blocked_countries: tuple[str, ...] = ()
    # Of them come episodes and where they are watched.
    links: tuple[VideoLink, ...] = ()
    # Whether it only tells more of a release that is there: what is told is too little for one of its own.
    only_joins: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a source: its number from 1, its facts, and what they come down to when compared."""

    number: int
    facts: Facts
    digest: bytes


@dataclass(frozen=True, slots=True)
class Unusable:
    """A row that cannot be used, or not wholly, and why."""

    number: int
    key: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Rows that are brought in together, and how far the source is read with them."""

    rows: list[Row | Unusable]
    done: int
    # Unset while it is unknown.
    total: int | None
    unit: str
    checkpoint: Mapping[str, Any]
    result: Mapping[str, str] = field(default_factory=dict)


def digest(*parts: bytes) -> bytes:
    """Return what a row comes down to; a change of how rows are read begins with another part."""
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Told:
    """What a source told of a title before: which release that is, and what it came down to."""

    release_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Offer:
    """What a row offers to be watched of a release, and what it offered when it was told last."""

    release_id: str
    row: int
    key: str
    links: tuple[VideoLink, ...]
    before: tuple[VideoLink, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of some rows."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    # Rows that told nothing that the release did not say already.
    unchanged: int = 0
    problems: tuple[Unusable, ...] = ()
    skipped: int = 0
    # Rows that would only join a release, and found none.
    unmatched: int = 0
    offers: tuple[Offer, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """What is to be remembered of a row."""

    release_id: str
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What a batch of rows writes, all at once."""

    added: list[Release] = field(default_factory=list)
    changed: list[Release] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogImported(Event):
    """A batch of an import changed releases: one event in the place of one for each of them."""

    source: str
    added: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodesImported(Event):
    """A batch of an import brought episodes, or let some be watched: one event for all of these releases."""

    source: str
    release_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserJobStarted(Event):
    """An import was begun."""

    source: str
    operation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserJobCompleted(Event):
    """An import came to its end, with what it did by then."""

    source: str
    operation_id: str
    added: int
    changed: int
    unchanged: int
    skipped: int


class ImportStore(Protocol):
    """The catalog as an import sees it, within one unit of work."""

    async def alone(self) -> None:
        """Keep other imports from beginning until this unit of work ends."""

    async def told(self, source: str, keys: Sequence[str]) -> dict[str, Told]:
        """Return by key what a source told before."""

    async def facts(self, source: str, keys: Sequence[str]) -> dict[str, Facts]:
        """Return by key the facts that a source told last."""

    async def owners(self, ids: Sequence[ExternalId]) -> dict[ExternalId, str]:
        """Return which releases have these ids elsewhere, deleted ones included."""

    async def aliases(self, aliases: Sequence[str]) -> dict[str, str]:
        """Return which releases have these aliases, deleted ones included."""

    async def releases_to_change(self, release_ids: Sequence[str]) -> dict[str, Release]:
        """Return releases that are not deleted, and keep others from changing them until the unit of work ends."""

    async def genre_ids(self, names: Mapping[str, str], *, at: datetime) -> dict[str, str]:
        """Return the ids of genres by their names, making missing ones with the ids given; deleted ones are left out."""

    async def tag_ids(self, names: Mapping[str, str], *, at: datetime) -> dict[str, str]:
        """Return the ids of tags by their names, as of genres."""

    async def write(self, source: str, writing: Writing) -> None:
        """Keep everything, and note in the change feed which releases are new or changed."""

    async def look_over(self) -> None:
        """Have the store take note of how much there is now, so that it reads what was brought in as fast as what was there."""

    async def record(self, event: Event) -> None:
        """Record an event; it is delivered if and only if this unit of work is kept."""


# By whose ids a title is found, the most telling first. Ids that several seasons may share tell nothing.
TELLING = (
    Provider.MAL, Provider.ANIDB, Provider.ANILIST, Provider.SHIKIMORI, Provider.BANGUMI, Provider.KITSU, Provider.KODIK,
)  # fmt: skip
