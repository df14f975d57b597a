"""Where the messages and dataclasses of video sources meet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from ani.media.v1 import video_extras_pb2 as extras_pb
from ani.media.v1 import video_source_pb2 as pb
from domain.kernel import new_id
from domain.media.sources import (
    AudioTrack,
    MarkerKind,
    MarkerOrigin,
    PreviewSheet,
    Protection,
    Quality,
    SkipMarker,
    SourceKind,
    SubtitleFormat,
    SubtitleTrack,
    VideoCodec,
    VideoSource,
    VideoSourceFieldNotWritable,
)


def _quality(m: pb.Quality) -> Quality:
    return Quality(m.label, m.width, m.height, m.bitrate, VideoCodec(m.codec), m.url)


def _subtitles(m: pb.SubtitleTrack) -> SubtitleTrack:
    return SubtitleTrack(m.language, m.team, SubtitleFormat(m.format), m.url, m.default, m.forced)


def _marker(m: extras_pb.SkipMarker) -> SkipMarker:
    return SkipMarker(MarkerKind(m.kind), m.start_seconds, m.end_seconds, MarkerOrigin(m.origin), m.confidence)


def _sheet(m: extras_pb.PreviewSheet) -> PreviewSheet:
    return PreviewSheet(m.url, m.tile_width, m.tile_height, m.columns, m.interval_seconds)


# How each field that a caller may write is read; a mask names them by the same names.
READERS: dict[str, Callable[[pb.VideoSource], Any]] = {
    "episode_id": lambda m: m.episode_id,
    "kind": lambda m: SourceKind(m.kind),
    "url": lambda m: m.url,
    "qualities": lambda m: tuple(map(_quality, m.qualities)),
    "audio_tracks": lambda m: tuple(AudioTrack(t.language, t.team, t.default) for t in m.audio_tracks),
    "subtitle_tracks": lambda m: tuple(map(_subtitles, m.subtitle_tracks)),
    "skip_markers": lambda m: tuple(map(_marker, m.skip_markers)),
    "preview_sheets": lambda m: tuple(map(_sheet, m.preview_sheets)),
    "protection": lambda m: Protection(m.protection.key_system, m.protection.license_url) if m.HasField("protection") else None,
    "ad_patterns": lambda m: tuple(m.ad_patterns),
    "blocked_countries": lambda m: tuple(m.blocked_countries),
    "priority": lambda m: m.priority,
    "enabled": lambda m: m.enabled,
}


def source_from_pb(message: pb.VideoSource, *, at: datetime) -> VideoSource:
    decided = {name: read(message) for name, read in READERS.items()}
    return VideoSource(video_source_id=message.video_source_id or new_id(at=at), create_time=at, update_time=at, **decided)


def source_changes_from_pb(message: pb.VideoSource, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises VideoSourceFieldNotWritable."""
    for path in mask.paths:
        if path not in READERS:
            raise VideoSourceFieldNotWritable(path=path, field="update_mask")
    return {path: READERS[path](message) for path in mask.paths}


def quality_to_pb(quality: Quality) -> pb.Quality:
    return pb.Quality(
        label=quality.label,
        width=quality.width,
        height=quality.height,
        bitrate=quality.bitrate,
        codec=quality.codec.value,  # type: ignore[arg-type]
        url=quality.url,
    )


def audio_to_pb(track: AudioTrack) -> pb.AudioTrack:
    return pb.AudioTrack(language=track.language, team=track.team, default=track.default)


def subtitles_to_pb(track: SubtitleTrack) -> pb.SubtitleTrack:
    return pb.SubtitleTrack(
        language=track.language,
        team=track.team,
        format=track.format.value,  # type: ignore[arg-type]
        url=track.url,
        default=track.default,
        forced=track.forced,
    )


def marker_to_pb(marker: SkipMarker) -> extras_pb.SkipMarker:
    return extras_pb.SkipMarker(
        kind=marker.kind.value,  # type: ignore[arg-type]
        start_seconds=marker.start_seconds,
        end_seconds=marker.end_seconds,
        origin=marker.origin.value,  # type: ignore[arg-type]
        confidence=marker.confidence,
    )


def sheet_to_pb(sheet: PreviewSheet) -> extras_pb.PreviewSheet:
    return extras_pb.PreviewSheet(
        url=sheet.url,
        tile_width=sheet.tile_width,
        tile_height=sheet.tile_height,
        columns=sheet.columns,
        interval_seconds=sheet.interval_seconds,
    )


def protection_to_pb(protection: Protection | None) -> extras_pb.Protection | None:
    return extras_pb.Protection(key_system=protection.key_system, license_url=protection.license_url) if protection else None


def source_to_pb(source: VideoSource) -> pb.VideoSource:
    message = pb.VideoSource(
        video_source_id=source.video_source_id,
        episode_id=source.episode_id,
        kind=source.kind.value,  # type: ignore[arg-type]
        url=source.url,
        qualities=map(quality_to_pb, source.qualities),
        audio_tracks=map(audio_to_pb, source.audio_tracks),
        subtitle_tracks=map(subtitles_to_pb, source.subtitle_tracks),
        skip_markers=map(marker_to_pb, source.skip_markers),
        preview_sheets=map(sheet_to_pb, source.preview_sheets),
        protection=protection_to_pb(source.protection),
        ad_patterns=source.ad_patterns,
        blocked_countries=source.blocked_countries,
        priority=source.priority,
        enabled=source.enabled,
        version=source.version,
    )
    message.create_time.FromDatetime(source.create_time)
    message.update_time.FromDatetime(source.update_time)
    return message
