"""Playing: who may, what is played, and how many streams an account has at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from domain.kernel import Begin, Event, Exhausted, FailedPrecondition, NotFound, Viewer, new_id
from domain.media.choosing import Choice, Device, choose
from domain.media.playlists import Rewriting
from domain.media.settings import PlayerSettings
from domain.media.signing import Grant, Signer, expiry
from domain.media.sources import Origins, SourceKind, VideoSource, VideoSourceNotFound
from domain.visibility import Sight, Terms, playable

# How long a stream holds its place after the last sign of life.
LEASE = timedelta(seconds=30)
# How much earlier than an address expires a client asks for a fresh one, as a part of its lifetime.
EARLIER = 0.2


class EpisodeNotPlayable(NotFound):
    """Raised when there is no such episode, or none that the viewer may play."""

    text = "There is no episode {episode}."


class OutsideAllowedHours(FailedPrecondition):
    """Raised when the viewer's profile may play at other hours."""

    text = "This profile may not play at this hour."


class StreamNotFound(NotFound):
    """Raised when there is no such stream of the viewer's, or no more: it was stopped, released, or gave no sign for too long."""

    text = "There is no stream {stream}: it has ended."


class StreamsFull(FailedPrecondition):
    """Raised when an account plays on as many devices as it may; says which one has played longest."""

    text = "{most} devices play already; {device_name} since {since}. Release the stream {stream_id} to play here."


class HeartbeatsBusy(Exhausted):
    """Raised when heartbeats come faster than they can be written."""

    text = "Too many heartbeats wait to be written: send it again a little later."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A place among those that an account may play on at once."""

    stream_id: str
    account_id: str
    profile_id: str
    device_id: str
    device_name: str
    episode_id: str
    video_source_id: str
    start_time: datetime
    beat_time: datetime

    @property
    def lease_expire_time(self) -> datetime:
        return self.beat_time + LEASE


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life of a stream."""

    stream_id: str
    account_id: str
    device_id: str
    position: float
    time: datetime


@dataclass(frozen=True, slots=True)
class Playable:
    """What there is to play of an episode, for one viewer."""

    terms: Terms
    sources: tuple[VideoSource, ...]
    settings: PlayerSettings
    position: float


@dataclass(frozen=True, slots=True)
class Started:
    """A stream that began, and how to play it."""

    stream: Stream
    choice: Choice
    url: str
    license_token: str
    expire_time: datetime
    refresh_time: datetime
    position: float


class PlaybackStore(Protocol):
    """Streams and where they are, within one unit of work."""

    async def playable(self, episode_id: str, *, account_id: str, profile_id: str) -> Playable | None:
        """Return what there is to play, or None when there is no such episode."""

    async def take(self, stream: Stream, *, most: int) -> list[Stream]:
        """Take a place for a stream, in that of the same device if it has one; return those in the way when there is none left.

        What gave no sign since the stream's time less the lease is gone.
        """

    async def streams(self, account_id: str, *, at: datetime) -> list[Stream]:
        """Return the streams of an account that hold a place, the oldest first."""

    async def beat(self, beats: Sequence[Beat]) -> list[bool]:
        """Note signs of life and positions in one statement; tell of each whether its stream holds a place."""

    async def end(self, stream_id: str, *, account_id: str, device_id: str | None, position: float | None, at: datetime) -> bool:
        """End a stream, of a device or of any; False when there is none."""

    async def source_of(self, stream_id: str, *, account_id: str, at: datetime) -> tuple[VideoSource, Terms] | None:
        """Return what a stream that holds a place is played from."""

    async def source(self, video_source_id: str) -> VideoSource | None: ...

    async def record(self, event: Event) -> None: ...


class Fetcher(Protocol):
    """Fetches playlists from where videos are."""

    async def fetch(self, url: str) -> str:
        """Return a playlist's text. Raises refusals, and never connects to an address that is not public."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStarted(Event):
    """A viewer began to play an episode."""

    stream_id: str
    account_id: str
    profile_id: str
    episode_id: str
    video_source_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStopped(Event):
    """A stream was stopped, or its place was released."""

    stream_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how long may be played."""

    streams: int = 2
    lifetime: timedelta = timedelta(minutes=5)


class Playback:
    """Streams, one method for each RPC."""

    def __init__(
        self,
        *,
        begin: Begin[PlaybackStore],
        read: Begin[PlaybackStore],
        signer: Callable[[], Signer],
        fetcher: Fetcher,
        origins: Origins,
        limits: Limits,
        write: Callable[[Sequence[Beat]], Awaitable[list[bool]]] | None = None,
    ) -> None:
        self._begin = begin
        self._read = read
        self._signer = signer
        self._fetcher = fetcher
        self._origins = origins
        self._limits = limits
        # What puts the heartbeats of many streams together.
        self._write = write or self.write_beats

    async def start_stream(self, episode_id: str, device: Device, *, viewer: Viewer, at: datetime) -> Started:
        """Raises EpisodeNotPlayable, OutsideAllowedHours, NothingPlayable, StreamsFull."""
        async with self._read() as store:
            found = await store.playable(episode_id, account_id=viewer.account_id, profile_id=viewer.profile_id)
        if found is None:
            raise EpisodeNotPlayable(episode=episode_id)
        _demand_playable(found.terms, episode_id, viewer)
        here = [one for one in found.sources if self._origins.allow(one.url) and viewer.country not in one.blocked_countries]
        choice = choose(here, device, found.settings)
        stream = Stream(
            stream_id=new_id(at=at),
            account_id=viewer.account_id,
            profile_id=viewer.profile_id,
            device_id=device.device_id,
            device_name=device.name,
            episode_id=episode_id,
            video_source_id=choice.source.video_source_id,
            start_time=at,
            beat_time=at,
        )
        await self._take(stream)
        return self._started(stream, choice, found.position, at)

    async def _take(self, stream: Stream) -> None:
        async with self._begin() as store:
            if others := await store.take(stream, most=self._limits.streams):
                oldest = others[0]
                raise StreamsFull(
                    most=self._limits.streams,
                    device_name=oldest.device_name or oldest.device_id,
                    device_id=oldest.device_id,
                    since=oldest.start_time.isoformat(timespec="seconds"),
                    stream_id=oldest.stream_id,
                )
            ids = {"stream_id": stream.stream_id, "account_id": stream.account_id, "profile_id": stream.profile_id}
            of = {"episode_id": stream.episode_id, "video_source_id": stream.video_source_id}
            await store.record(StreamStarted(time=stream.start_time, **ids, **of))

    def _started(self, stream: Stream, choice: Choice, position: float, at: datetime) -> Started:
        lifetime = self._limits.lifetime
        url = choice.url
        if choice.source.kind is SourceKind.HLS:
            url = self._link(Grant(stream.stream_id, stream.account_id, stream.device_id, expiry(at, lifetime), choice.url))
        token = ""
        if choice.source.protection:
            license_url = choice.source.protection.license_url
            granted = Grant(stream.stream_id, stream.account_id, stream.device_id, expiry(at, lifetime), license_url, "license")
            token = self._signer().sign(granted)
        return Started(stream, choice, url, token, at + lifetime, at + lifetime * (1 - EARLIER), position)

    def _link(self, grant: Grant) -> str:
        return f"/v1/playlists/{self._signer().sign(grant)}?device_id={grant.device_id}"

    async def get_manifest(self, text: str, *, device_id: str, viewer: Viewer, at: datetime) -> str:
        """Raises GrantInvalid, GrantExpired, GrantOfAnother, StreamNotFound, EpisodeNotPlayable, OutsideAllowedHours.

        Besides, what the fetcher raises.
        """
        grant = self._signer().read(text, viewer=viewer, device_id=device_id, at=at)
        async with self._read() as store:
            found = await store.source_of(grant.stream_id, account_id=viewer.account_id, at=at)
        if found is None:
            raise StreamNotFound(stream=grant.stream_id)
        source, terms = found
        _demand_playable(terms, source.episode_id, viewer)
        if viewer.country in source.blocked_countries:
            raise EpisodeNotPlayable(episode=source.episode_id)

        def linked(url: str) -> str:
            return self._link(Grant(grant.stream_id, grant.account_id, grant.device_id, grant.expires, url))

        rewriting = Rewriting(self._origins, linked, source.ad_patterns)
        return rewriting.rewritten(await self._fetcher.fetch(grant.url), base=grant.url)

    async def send_heartbeat(self, stream_id: str, device_id: str, position: float, *, viewer: Viewer, at: datetime) -> datetime:
        """Return until when the stream keeps its place. Raises OutsideAllowedHours, StreamNotFound, HeartbeatsBusy."""
        if viewer.asleep:
            raise OutsideAllowedHours
        (held,) = await self._write([Beat(stream_id, viewer.account_id, device_id, position, at)])
        if not held:
            raise StreamNotFound(stream=stream_id)
        return at + LEASE

    async def write_beats(self, beats: Sequence[Beat]) -> list[bool]:
        async with self._read() as store:
            return await store.beat(beats)

    async def stop_stream(self, stream_id: str, device_id: str, position: float | None, *, viewer: Viewer, at: datetime) -> None:
        """End a stream of this device; one that has ended already is none to stop, which is no fault."""
        await self._end(stream_id, device_id, position, viewer=viewer, at=at)

    async def release_stream(self, stream_id: str, *, viewer: Viewer, at: datetime) -> None:
        """End a stream of any of the viewer's devices. Raises StreamNotFound."""
        if not await self._end(stream_id, None, None, viewer=viewer, at=at):
            raise StreamNotFound(stream=stream_id)

    async def _end(self, stream_id: str, device_id: str | None, position: float | None, *, viewer: Viewer, at: datetime) -> bool:
        async with self._begin() as store:
            ended = await store.end(stream_id, account_id=viewer.account_id, device_id=device_id, position=position, at=at)
            if ended:
                await store.record(StreamStopped(time=at, stream_id=stream_id, account_id=viewer.account_id))
        return ended

    async def list_streams(self, *, viewer: Viewer, at: datetime) -> list[Stream]:
        async with self._read() as store:
            return await store.streams(viewer.account_id, at=at)

    async def get_video_source(self, video_source_id: str) -> VideoSource:
        """Raises VideoSourceNotFound."""
        async with self._read() as store:
            source = await store.source(video_source_id)
        if source is None:
            raise VideoSourceNotFound(video_source=video_source_id)
        return source


def _demand_playable(terms: Terms, episode_id: str, viewer: Viewer) -> None:
    """Raises EpisodeNotPlayable and OutsideAllowedHours."""
    seen = playable(terms, viewer)
    if seen is Sight.OUTSIDE_ALLOWED_HOURS:
        raise OutsideAllowedHours
    if seen is not Sight.VISIBLE:
        raise EpisodeNotPlayable(episode=episode_id)
