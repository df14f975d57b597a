"""Importing video sources: players of other platforms, kept as long as they are told of, and until an editor takes them over."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from domain.kernel import Begin, Event
from domain.media.sources import AudioTrack, Origins, SourceKind, SubtitleFormat, SubtitleTrack, VideoSource

# A name always gives the same id: what was deleted is found to be so.
NAMESPACE = uuid.UUID("6f1f9b52-3c6e-5d3c-9a0b-5b8f6f2f7a10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """An episode in another platform's player, as that platform tells of it."""

    # Stays when the address changes.
    name: str
    episode_id: str
    url: str
    language: str
    # Who voiced it, or translated what is read beneath it.
    team: str
    voiced: bool
    blocked_countries: tuple[str, ...] = ()

    @property
    def video_source_id(self) -> str:
        return source_id(self.name)


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A video source that is there, or was until somebody deleted it."""

    source: VideoSource
    deleted: bool
    # Whether an editor changed it.
    edited: bool

    @property
    def is_ours(self) -> bool:
        """Whether it is as the import left it."""
        return not (self.deleted or self.edited)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSourcesImported(Event):
    """A batch of an import wrote video sources: one event in the place of one for each of them."""

    source: str
    added: int
    changed: int
    withdrawn: int


class SourceImportStore(Protocol):
    """Video sources as an import sees them, within one unit of work."""

    async def known(self, video_source_ids: Sequence[str]) -> dict[str, KnownSource]:
        """Return by id those that there are, deleted ones included, and keep others from changing them."""

    async def add(self, sources: Sequence[VideoSource]) -> None:
        """Keep new ones."""

    async def save(self, sources: Sequence[VideoSource]) -> None:
        """Keep changed ones."""

    async def record(self, event: Event) -> None:
        """Record an event; it is delivered if and only if this unit of work is kept."""


def source_id(name: str) -> str:
    """Return the id that an imported video source has for good."""
    return str(uuid.uuid5(NAMESPACE, name))


class SourceImports:
    """Brings other platforms' players in as video sources."""

    def __init__(self, *, begin: Begin[SourceImportStore], origins: Origins) -> None:
        self._begin = begin
        self._origins = origins

    def allows(self, url: str) -> bool:
        """Tell whether anything may be played from an address."""
        return self._origins.allow(url)

    async def keep(self, source: str, players: Sequence[Player], gone: Iterable[str], *, at: datetime) -> VideoSourcesImported:
        """Write what is told anew; players that are gone are played no more, those that come back are.

        What an editor has changed or deleted stays as it is.
        """
        missing = {source_id(name) for name in gone}
        async with self._begin() as store:
            known = await store.known(sorted({player.video_source_id for player in players} | missing))
            added = [embedded(player, at=at) for player in players if player.video_source_id not in known]
            changed = [
                _next(one.source, fresh, at)
                for player in players
                if (one := known.get(player.video_source_id)) and one.is_ours and (fresh := _told(one.source, player)) != one.source
            ]
            withdrawn = [
                _next(one.source, replace(one.source, enabled=False), at)
                for key in sorted(missing)
                if (one := known.get(key)) and one.is_ours and one.source.enabled
            ]
            await store.add(added)
            await store.save([*changed, *withdrawn])
            counts = {"added": len(added), "changed": len(changed), "withdrawn": len(withdrawn)}
            told = VideoSourcesImported(time=at, source=source, **counts)
            if added or changed or withdrawn:
                await store.record(told)
        return told


def embedded(player: Player, *, at: datetime) -> VideoSource:
    """Return the video source that a player makes."""
    bare = VideoSource(
        video_source_id=player.video_source_id,
        episode_id=player.episode_id,
        kind=SourceKind.EMBED,
        url=player.url,
        create_time=at,
        update_time=at,
    )
    return _told(bare, player)


def _told(source: VideoSource, player: Player) -> VideoSource:
    """Return a source as it is told of: the team is the label by which viewers know it."""
    heard = (AudioTrack(player.language, player.team, default=True),) if player.voiced else ()
    # Read within the player: there is no file of it.
    read = () if player.voiced else (SubtitleTrack(player.language, player.team, SubtitleFormat.VTT, default=True),)
    return replace(
        source,
        episode_id=player.episode_id,
        url=player.url,
        audio_tracks=heard,
        subtitle_tracks=read,
        blocked_countries=player.blocked_countries,
        enabled=True,
    )


def _next(before: VideoSource, after: VideoSource, at: datetime) -> VideoSource:
    return replace(after, version=before.version + 1, update_time=at)
