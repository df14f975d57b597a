"""Importing episodes: of what a source offers to be watched come the episodes of a release, and where they are played from.

Episodes are told apart by their numbers. What an editor has made, changed or deleted is never written to; what a source
offers of it is kept beside it all the same, so that an editor who releases an episode finds its videos there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from domain.catalog.episodes import EPISODE, Episode, EpisodeState, placed_by
from domain.catalog.importing import EpisodesImported, Offer, Unusable, VideoLink
from domain.kernel import Begin, Event, new_id

# Where the episodes of further seasons and the specials begin in a release that a source knows several seasons of.
SEASON_GAP, SPECIALS = 20_000_000, 1_000_000_000
MOST_SEASONS, MOST_EPISODES = 40, 10_000


@dataclass(frozen=True, slots=True)
class KnownEpisode:
    """An episode that a release has, or had until somebody deleted it."""

    episode: Episode
    deleted: bool
    # Whether an editor made or changed it.
    edited: bool


@dataclass(frozen=True, slots=True)
class Video:
    """Where an episode is watched, by a name that stays when its address changes."""

    name: str
    episode_id: str
    link: VideoLink


@dataclass(frozen=True, slots=True)
class VideosKept:
    """What became of videos."""

    added: int = 0
    changed: int = 0
    withdrawn: int = 0


@dataclass(frozen=True, slots=True)
class EpisodesBrought:
    """What came of offers."""

    added: int = 0
    released: int = 0
    videos: VideosKept = field(default_factory=VideosKept)
    problems: tuple[Unusable, ...] = ()


class Videos(Protocol):
    """Where videos are kept, in another context."""

    def allows(self, url: str) -> bool:
        """Tell whether anything may be played from an address."""

    async def keep(self, source: str, videos: Sequence[Video], gone: Sequence[str], *, at: datetime) -> VideosKept:
        """Keep videos, and let those be played no more that are gone; but for what an editor has changed or deleted."""


class EpisodeImportStore(Protocol):
    """Episodes as an import sees them, within one unit of work."""

    async def alone(self) -> None:
        """Keep other imports from beginning until this unit of work ends."""

    async def known(self, release_ids: Sequence[str]) -> dict[str, list[KnownEpisode]]:
        """Return the episodes of those of the releases that are not deleted, each with a list of its own."""

    async def add(self, episodes: Sequence[Episode]) -> None:
        """Keep new episodes."""

    async def release(self, episodes: Sequence[Episode]) -> None:
        """Keep that episodes are released."""

    async def record(self, event: Event) -> None:
        """Record an event; it is delivered if and only if this unit of work is kept."""


class EpisodeImports:
    """Brings what sources offer to be watched into releases."""

    def __init__(self, *, begin: Begin[EpisodeImportStore], videos: Videos) -> None:
        self._begin = begin
        self._videos = videos

    async def bring_in(self, source: str, offers: Sequence[Offer], *, at: datetime) -> EpisodesBrought:
        """Write what offers tell anew: episodes that are missing, and where all of them are watched."""
        if not offers:
            return EpisodesBrought()
        async with self._begin() as store:
            await store.alone()
            known = await store.known(sorted({offer.release_id for offer in offers}))
            batch = _Batch(source, known, self._videos, at)
            for offer in offers:
                if offer.release_id in known:
                    batch.take(offer)
            await store.add(batch.added)
            await store.release(batch.released)
            for event in batch.events():
                await store.record(event)
        kept = await self._videos.keep(source, list(batch.videos.values()), batch.gone, at=at)
        return EpisodesBrought(len(batch.added), len(batch.released), kept, tuple(batch.problems))


class _Batch:
    """Offers being brought in, and all that has to be known for it."""

    def __init__(self, source: str, known: Mapping[str, Sequence[KnownEpisode]], videos: Videos, at: datetime) -> None:
        self._source, self._at, self._allows = source, at, videos.allows
        self._by_number = {
            release_id: {one.episode.number: one for one in sorted(found, key=lambda one: not one.deleted)}
            for release_id, found in known.items()
        }
        self._taken = {
            release_id: {one.episode.position for one in found if not one.deleted} for release_id, found in known.items()
        }
        # Of a release that had none, nobody waits for the next one.
        self._followed = {release_id for release_id, found in known.items() if found}
        self._new: dict[str, Episode] = {}
        self._raised: dict[str, tuple[Episode, Episode]] = {}
        self.videos: dict[str, Video] = {}
        self.gone: list[str] = []
        self.problems: list[Unusable] = []

    @property
    def added(self) -> list[Episode]:
        return list(self._new.values())

    @property
    def released(self) -> list[Episode]:
        return [after for _, after in self._raised.values()]

    def take(self, offer: Offer) -> None:
        """Decide what an offer comes to."""
        names: set[str] = set()
        refused = ""
        for number, position, link in numbered(offer.links):
            playable = self._allows(link.url)
            refused = refused or ("" if playable else link.url)
            episode = self._episode(offer.release_id, number, position, playable=playable)
            if not playable:
                continue
            name = self._name(offer, link)
            names.add(name)
            if episode is not None:
                self.videos[name] = Video(name, episode.episode_id, link)
        self.gone += sorted({self._name(offer, link) for _, _, link in numbered(offer.before)} - names)
        if refused:
            text = f"Its videos may not be played: {refused[:100]} is on no host that is allowed here."
            self.problems.append(Unusable(offer.row, offer.key, "VIDEO_HOST_REFUSED", text))

    def _episode(self, release_id: str, number: str, position: int, *, playable: bool) -> Episode | None:
        """Return the episode of a number, making or releasing it where that is ours to do; None where it was deleted."""
        known = self._by_number[release_id].get(number)
        if known is None:
            return self._made(release_id, number, position, playable=playable)
        if known.deleted:
            return None
        episode = known.episode
        if playable and not known.edited and episode.release_time is None:
            self._release(episode)
        return episode

    def _made(self, release_id: str, number: str, position: int, *, playable: bool) -> Episode:
        taken = self._taken[release_id]
        while position in taken:
            position += 1
        taken.add(position)
        draft = Episode(
            episode_id=new_id(at=self._at),
            release_id=release_id,
            number=number,
            position=position,
            create_time=self._at,
            update_time=self._at,
        )
        made = EPISODE.changed(draft, {"state": EpisodeState.RELEASED} if playable else {}, at=self._at)
        self._new[made.episode_id] = made
        self._by_number[release_id][number] = KnownEpisode(made, deleted=False, edited=False)
        return made

    def _release(self, episode: Episode) -> None:
        if episode.episode_id in self._new:
            self._new[episode.episode_id] = EPISODE.changed(
                self._new[episode.episode_id], {"state": EpisodeState.RELEASED}, at=self._at
            )
        elif episode.episode_id not in self._raised:
            after = EPISODE.changed(episode, {"state": EpisodeState.RELEASED}, at=self._at)
            self._raised[episode.episode_id] = episode, EPISODE.kept(after, version=episode.version + 1, at=self._at)

    def _name(self, offer: Offer, link: VideoLink) -> str:
        return f"{self._source}/{offer.key}/{'' if link.season is None else link.season}/{link.episode}"

    def events(self) -> Iterator[Event]:
        """Tell which releases have other episodes now, and whoever follows one of an episode that is new."""
        touched = [*self._new.values(), *self.released]
        if touched:
            releases = tuple(dict.fromkeys(one.release_id for one in touched))
            yield EpisodesImported(time=self._at, source=self._source, release_ids=releases)
        for episode in self._new.values():
            if episode.release_id in self._followed:
                yield from EPISODE.events(None, episode, self._at)
        for before, after in self._raised.values():
            yield from EPISODE.events(before, after, self._at)


def numbered(links: Iterable[VideoLink]) -> Iterator[tuple[str, int, VideoLink]]:
    """Yield the links that lead to one episode, each with the episode's number and place.

    The first season is the release; what is counted as season 0 are its specials.
    """
    found = [link for link in links if link.episode is not None and link.episode <= MOST_EPISODES]
    first = min((link.season for link in found if link.season), default=None)
    for link in found:
        episode = link.episode or 0
        if link.season == 0:
            yield f"SP{episode}", SPECIALS + placed_by(str(episode)), link
        elif link.season in {None, first}:
            yield str(episode), placed_by(str(episode)), link
        elif (link.season or 0) <= MOST_SEASONS:
            yield f"S{link.season}E{episode}", (link.season or 0) * SEASON_GAP + placed_by(str(episode)), link
