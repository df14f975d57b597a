"""Video sources: where an episode is played from, and what is known of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import pairwise
from urllib.parse import urlsplit

from domain.items import Kind
from domain.kernel import Event, InvalidArgument, NotFound

URL = re.compile(r"https?://[!$-;=?-\[\]_a-z~]+")
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
LOCAL = re.compile(r"[a-z0-9.-]+=[0-9a-f.:]+")


class SourceKind(IntEnum):
    """How a source is played."""

    HLS = 1
    DASH = 2
    EMBED = 3


class VideoCodec(IntEnum):
    """What a video is encoded with."""

    H264 = 1
    H265 = 2
    VP9 = 3
    AV1 = 4


class SubtitleFormat(IntEnum):
    """How subtitles are written."""

    VTT = 1
    SRT = 2
    ASS = 3


class MarkerKind(IntEnum):
    """What a part of a video is, that may be skipped."""

    OPENING = 1
    ENDING = 2
    RECAP = 3
    PREVIEW = 4


class MarkerOrigin(IntEnum):
    """Who says where a marker is."""

    HUMAN = 1
    IMPORT = 2
    DETECTED = 3


@dataclass(frozen=True, slots=True)
class Quality:
    """One encoding of a video."""

    label: str
    width: int
    height: int
    bitrate: int
    codec: VideoCodec
    # A playlist of its own; empty when the source's playlist leads to it.
    url: str = ""


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """A language in which a video is heard, and who voiced it."""

    language: str
    team: str = ""
    default: bool = False


@dataclass(frozen=True, slots=True)
class SubtitleTrack:
    """A language in which a video is read, and who translated it."""

    language: str
    team: str
    format: SubtitleFormat
    url: str = ""
    default: bool = False
    forced: bool = False


@dataclass(frozen=True, slots=True)
class SkipMarker:
    """A part of a video that may be skipped."""

    kind: MarkerKind
    start_seconds: float
    end_seconds: float
    origin: MarkerOrigin
    # From 0 to 1: how sure whoever set it is.
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class PreviewSheet:
    """Small pictures of a video in one image, a picture every so many seconds, row by row."""

    url: str
    tile_width: int
    tile_height: int
    columns: int
    interval_seconds: float


@dataclass(frozen=True, slots=True)
class Protection:
    """Where a player gets the licence for an encrypted video."""

    key_system: str
    license_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSource:
    """Where an episode is played from."""

    video_source_id: str
    episode_id: str
    kind: SourceKind
    url: str
    qualities: tuple[Quality, ...] = ()
    audio_tracks: tuple[AudioTrack, ...] = ()
    subtitle_tracks: tuple[SubtitleTrack, ...] = ()
    skip_markers: tuple[SkipMarker, ...] = ()
    preview_sheets: tuple[PreviewSheet, ...] = ()
    protection: Protection | None = None
    # What the addresses of ad segments look like, without their scheme; * stands for any text.
    ad_patterns: tuple[str, ...] = ()
    # Where it must not be shown, though another source of the episode may be.
    blocked_countries: tuple[str, ...] = ()
    priority: int = 0
    enabled: bool = False
    version: int = 1
    create_time: datetime
    update_time: datetime

    def check(self) -> None:
        """Raises SkipMarkerInvalid, SkipMarkersOverlap, DefaultTracksMany."""
        ordered = sorted(enumerate(self.skip_markers), key=lambda pair: pair[1].start_seconds)
        for place, marker in ordered:
            if not 0 <= marker.start_seconds < marker.end_seconds:
                raise SkipMarkerInvalid(field=f"video_source.skip_markers[{place}]")
        for (_, before), (place, after) in pairwise(ordered):
            if after.start_seconds < before.end_seconds:
                raise SkipMarkersOverlap(field=f"video_source.skip_markers[{place}]")
        for name in ("audio_tracks", "subtitle_tracks"):
            if sum(track.default for track in getattr(self, name)) > 1:
                raise DefaultTracksMany(field=f"video_source.{name}")

    def addresses(self) -> list[tuple[str, str]]:
        """Return all addresses with the fields they are in."""
        found = [("video_source.url", self.url)]
        for name in ("qualities", "subtitle_tracks", "preview_sheets"):
            found += [(f"video_source.{name}[{place}].url", one.url) for place, one in enumerate(getattr(self, name)) if one.url]
        if self.protection:
            found.append(("video_source.protection.license_url", self.protection.license_url))
        return found


WRITABLE = frozenset(
    {
        "episode_id", "kind", "url", "qualities", "audio_tracks", "subtitle_tracks", "skip_markers", "preview_sheets",
        "protection", "ad_patterns", "blocked_countries", "priority", "enabled",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Origins:
    """The hosts that videos may come from."""

    # Each stands for those below it too.
    hosts: tuple[str, ...] = ()
    # Written as name=address: hosts of a developer's machine, reached at that address, with http and any port.
    local: tuple[str, ...] = ()

    def address_of(self, host: str) -> str | None:
        """Return the address of a local host, or None for all others."""
        return dict(entry.split("=", 1) for entry in self.local).get(host)

    def allow(self, url: str) -> bool:
        """Tell whether something may be played from an address."""
        if not URL.fullmatch(url):
            return False
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return False
        if "@" in parts.netloc:
            return False
        if self.address_of(host) is not None:
            return True
        if parts.scheme != "https" or port not in {None, 443} or not HOST.fullmatch(host):
            return False
        return any(host == name or host.endswith(f".{name}") for name in self.hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSourceCreated(Event):
    """A video source was created."""

    video_source_id: str
    episode_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSourceUpdated(Event):
    """A video source was changed."""

    video_source_id: str
    episode_id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSourceDeleted(Event):
    """A video source was deleted."""

    video_source_id: str
    episode_id: str


class VideoSourceNotFound(NotFound):
    """Raised when there is no video source with this id."""

    text = "There is no video source {video_source}."


class VideoSourceUrlRefused(InvalidArgument):
    """Raised when something is to be played from an address that is not https, or not on an allowed host."""

    text = "The address must be https, on a host that ANI_VIDEO_HOSTS allows, without a user and without another port."


class VideoSourceFieldNotWritable(InvalidArgument):
    """Raised when an update mask names a field that is not there, or that is not the caller's to change."""

    text = "The field {path} of a video source cannot be changed."


class VideoSourceEpisodeRefused(InvalidArgument):
    """Raised when a video source is to be of an episode that does not exist."""

    text = "There is no episode {episode_id}."


class SkipMarkerInvalid(InvalidArgument):
    """Raised when a marker ends before it begins."""

    text = "A marker begins at 0 or later, and ends after it begins."


class SkipMarkersOverlap(InvalidArgument):
    """Raised when two markers of a video cover the same moment."""

    text = "This marker begins before the one in front of it ends."


class DefaultTracksMany(InvalidArgument):
    """Raised when several tracks are to be the default."""

    text = "At most one track is the default."


def video_source_kind(origins: Origins) -> Kind[VideoSource]:
    """Return the video sources as a kind of item that editors keep; they may only be on some hosts."""

    def allowed(source: VideoSource, _at: datetime) -> VideoSource:
        for field, url in source.addresses():
            if not origins.allow(url):
                raise VideoSourceUrlRefused(field=field)
        return source

    def events(before: VideoSource | None, after: VideoSource | None, at: datetime) -> list[Event]:
        one = after or before
        if one is None:
            return []
        ids = {"video_source_id": one.video_source_id, "episode_id": one.episode_id}
        if after is None:
            return [VideoSourceDeleted(time=at, **ids)]
        if before is None:
            return [VideoSourceCreated(time=at, **ids)]
        return [VideoSourceUpdated(time=at, fields=tuple(kind.differences(before, after)), **ids)]

    kind = Kind(name="video_source", of=VideoSource, writable=WRITABLE, missing=VideoSourceNotFound, events=events, settled=allowed)
    return kind
