"""Which source, and which of its qualities, is played: a pure rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.kernel import FailedPrecondition
from domain.media.settings import PlayerSettings
from domain.media.sources import Quality, SourceKind, VideoCodec, VideoSource

DATA_SAVER_HEIGHT = 480


class NothingPlayable(FailedPrecondition):
    """Raised when an episode has no source that the device can play."""

    text = "The episode has no video that this device can play."


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What plays, and what it can do."""

    device_id: str
    name: str = ""
    kinds: frozenset[SourceKind] = frozenset(SourceKind)
    codecs: frozenset[VideoCodec] = frozenset({VideoCodec.H264})
    # 0 means that it is not known.
    bandwidth: int = 0
    screen_height: int = 0
    data_saver: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What is played; no quality where a source does not say which ones it has."""

    source: VideoSource
    quality: Quality | None

    @property
    def url(self) -> str:
        return (self.quality.url if self.quality else "") or self.source.url


def choose(sources: Sequence[VideoSource], device: Device, settings: PlayerSettings) -> Choice:
    """Choose the best that device, network and settings allow, or the least there is when all of it is too much.

    What the device cannot decode is never chosen. Raises NothingPlayable.
    """
    candidates = [
        Choice(source, quality)
        for source in sources
        if source.enabled and source.kind in device.kinds
        for quality in source.qualities or (None,)
        if quality is None or quality.codec in device.codecs
    ]
    if not candidates:
        raise NothingPlayable
    highest = ceiling(device, settings)
    fitting = [one for one in candidates if one.quality and _fits(one.quality, highest, device.bandwidth)]
    if fitting:
        return max(fitting, key=lambda one: (*_liking(one.source, settings), one.quality and _worth(one.quality)))
    # Of an unknown one the player finds the least by itself.
    return min(candidates, key=lambda one: (_weight(one.quality), [-liking for liking in _liking(one.source, settings)]))


def ceiling(device: Device, settings: PlayerSettings) -> int:
    """Return how high a picture may be; 0 means that nothing limits it."""
    saving = DATA_SAVER_HEIGHT if device.data_saver or settings.data_saver else 0
    return min((limit for limit in (device.screen_height, settings.max_height, saving) if limit), default=0)


def _fits(quality: Quality, highest: int, bandwidth: int) -> bool:
    return (not highest or quality.height <= highest) and (not bandwidth or quality.bitrate <= bandwidth)


def _worth(quality: Quality) -> tuple[int, int]:
    # Of two pictures of one height, the one that is loaded sooner.
    return quality.height, -quality.bitrate


def _weight(quality: Quality | None) -> tuple[int, int]:
    return (quality.bitrate, quality.height) if quality else (0, 0)


def _liking(source: VideoSource, settings: PlayerSettings) -> tuple[int, int, int]:
    """Tell how well a source suits: its audio, then its subtitles, then what editors prefer."""
    audio = _place(settings.audio_languages, [track.language for track in source.audio_tracks])
    subtitles = _place(settings.subtitle_languages, [track.language for track in source.subtitle_tracks])
    return audio, subtitles, source.priority


def _place(wanted: Sequence[str], present: Sequence[str]) -> int:
    return max((len(wanted) - place for place, language in enumerate(wanted) if language in present), default=0)
