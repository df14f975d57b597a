"""Episodes: known and watchable are two things, and numbers are labels that nothing is ordered by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Protocol

from domain.catalog.model import Title
from domain.catalog.seeing import Conditions, seen_release
from domain.items import Kind, everyone
from domain.kernel import AlreadyExists, Begin, Event, InvalidArgument, NotFound, Page, Viewer
from domain.paging import place_token, whole_place
from domain.visibility import Sight, Terms, sight

NUMERIC = re.compile(r"^\d{1,5}(\.\d{1,3})?$")
# How far apart whole numbers are placed: what comes between them has room.
GAP = 1000
LARGEST_POSITION = 2**31


class EpisodeState(IntEnum):
    """Whether an episode can be watched here."""

    ADDED = 1
    RELEASED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One episode of a release."""

    episode_id: str
    release_id: str
    number: str
    absolute_number: str = ""
    season_number: str = ""
    position: int = 0
    titles: tuple[Title, ...] = ()
    synopsis: str = ""
    duration_seconds: int | None = None
    air_time: datetime | None = None
    state: EpisodeState = EpisodeState.ADDED
    release_time: datetime | None = None
    version: int = 1
    create_time: datetime
    update_time: datetime

    def check(self) -> None:
        """Refuse what no episode may be, whoever made it."""
        if not self.position:
            raise PositionNeeded(number=self.number, field="episode.position")
        if len({title.language for title in self.titles}) != len(self.titles):
            raise EpisodeTitleRepeated(field="episode.titles")


WRITABLE = frozenset(
    {
        "release_id", "number", "absolute_number", "season_number", "position", "titles", "synopsis", "duration_seconds",
        "air_time", "state",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeAdded(Event):
    """An episode is known of; it may not be watchable yet."""

    episode_id: str
    release_id: str
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeReleased(Event):
    """An episode can be watched for the first time."""

    episode_id: str
    release_id: str
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeUpdated(Event):
    """An episode was changed."""

    episode_id: str
    release_id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRemoved(Event):
    """An episode was deleted."""

    episode_id: str
    release_id: str


class EpisodeNotFound(NotFound):
    """Raised when no episode that the viewer may see has this id."""

    text = "There is no episode {episode}."


class EpisodeReleaseUnknown(InvalidArgument):
    """Raised when an episode is to belong to a release that does not exist."""

    text = "There is no release {release} that the episode could belong to."


class EpisodePositionTaken(AlreadyExists):
    """Raised when another episode of the release has this position."""

    text = "Another episode of the release has the position {position}."


class PositionNeeded(InvalidArgument):
    """Raised when an episode has no position, and no number that gives one."""

    text = "The number {number} gives no position: name one."


class EpisodeTitleRepeated(InvalidArgument):
    """Raised when two titles of an episode are in one language."""

    text = "An episode has at most one title in each language."


def _settled(episode: Episode, at: datetime) -> Episode:
    """Note when an episode is released for the first time, and place it by its number where no position is named."""
    first = episode.state is EpisodeState.RELEASED and episode.release_time is None
    placed = episode.position or placed_by(episode.number)
    return replace(episode, position=placed, release_time=at if first else episode.release_time)


def placed_by(number: str) -> int:
    """Return the position that a number gives, zero when it is only a label; episode 0 comes right before all others."""
    return (int(Decimal(number) * GAP) or 1) if NUMERIC.match(number) else 0


def _events(before: Episode | None, after: Episode | None, at: datetime) -> list[Event]:
    if after is None:
        return [EpisodeRemoved(time=at, episode_id=before.episode_id, release_id=before.release_id)] if before else []
    about = {"episode_id": after.episode_id, "release_id": after.release_id}
    events: list[Event]
    if before is None:
        events = [EpisodeAdded(time=at, number=after.number, **about)]
    else:
        events = [EpisodeUpdated(time=at, fields=tuple(EPISODE.differences(before, after)), **about)]
    if after.release_time is not None and (before is None or before.release_time is None):
        events.append(EpisodeReleased(time=at, number=after.number, **about))
    return events


EPISODE = Kind(
    name="episode",
    of=Episode,
    writable=WRITABLE,
    missing=EpisodeNotFound,
    events=_events,
    settled=_settled,
    shown=everyone,
    entrusted=frozenset({"titles", "synopsis"}),
    part_of=lambda episode: ("release", episode.release_id),
)


class EpisodeStore(Protocol):
    """Episodes, to be read."""

    async def conditions(self, release: str) -> Conditions | None:
        """Return what the release with this id or alias demands of viewers."""

    async def episodes(self, episode_ids: Sequence[str]) -> list[tuple[Episode, Terms]]:
        """Return those of the episodes that exist, in any order, each with what its release demands of viewers."""

    async def list_episodes(self, release_id: str, *, after: int | None, limit: int) -> list[Episode]:
        """Return a release's episodes in their order, from a position on."""


class Episodes:
    """Episodes, for viewers: whoever may see the release may see its episodes."""

    def __init__(self, *, read: Begin[EpisodeStore]) -> None:
        self._read = read

    async def get_episode(self, episode_id: str, *, viewer: Viewer) -> Episode:
        """Raises EpisodeNotFound."""
        found, _ = await self.batch_get_episodes([episode_id], viewer=viewer)
        if not found:
            raise EpisodeNotFound(episode=episode_id)
        return found[0]

    async def batch_get_episodes(self, episode_ids: Sequence[str], *, viewer: Viewer) -> tuple[list[Episode], list[str]]:
        """Return what there is in the order asked for, and the ids that gave nothing."""
        async with self._read() as store:
            found = await store.episodes(episode_ids)
        visible = {episode.episode_id: episode for episode, terms in found if sight(terms, viewer) is Sight.VISIBLE}
        return [visible[i] for i in episode_ids if i in visible], [i for i in episode_ids if i not in visible]

    async def list_episodes(self, release: str, page: Page, *, viewer: Viewer) -> tuple[str, list[Episode], str]:
        """Return its id, a page, and the token of the next one. Raises ReleaseNotFound, ReleaseBlocked and PageTokenInvalid."""
        async with self._read() as store:
            release_id = seen_release(await store.conditions(release), named=release, viewer=viewer)
            binding = f"episodes/{release_id}"
            after = whole_place(page.token, binding=binding, below=LARGEST_POSITION)
            episodes = await store.list_episodes(release_id, after=after, limit=page.size + 1)
        if len(episodes) <= page.size:
            return release_id, episodes, ""
        return release_id, episodes[: page.size], place_token(episodes[page.size - 1].position, binding=binding)
