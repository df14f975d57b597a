"""PlayerSettingsService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from ani.media.v1 import player_settings_service_pb2 as pb
from domain.media.settings import PlayerSettings, PlayerSettingsFieldUnknown, Settings, SubtitleStyle
from server.pipeline.call import Call


class PlayerSettingsServicer:
    """Serves those who decide how they watch."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def GetPlayerSettings(self, request: pb.GetPlayerSettingsRequest, call: Call) -> pb.GetPlayerSettingsResponse:
        settings = await self._settings.get_player_settings(viewer=call.viewer)
        return pb.GetPlayerSettingsResponse(player_settings=_to_pb(settings))

    async def UpdatePlayerSettings(self, request: pb.UpdatePlayerSettingsRequest, call: Call) -> pb.UpdatePlayerSettingsResponse:
        changes = _changes(request.player_settings, request.update_mask)
        settings = await self._settings.update_player_settings(changes, viewer=call.viewer, at=call.now)
        return pb.UpdatePlayerSettingsResponse(player_settings=_to_pb(settings))


def _style(message: pb.SubtitleStyle) -> SubtitleStyle:
    return SubtitleStyle(message.scale_percent, message.color, message.background, message.background_percent)


def _plain(name: str) -> Callable[[pb.PlayerSettings], Any]:
    return lambda message: getattr(message, name)


_READERS: dict[str, Callable[[pb.PlayerSettings], Any]] = {
    "audio_languages": lambda m: tuple(m.audio_languages),
    "subtitle_languages": lambda m: tuple(m.subtitle_languages),
    "subtitle_style": lambda m: _style(m.subtitle_style) if m.HasField("subtitle_style") else SubtitleStyle(),
    **{
        name: _plain(name)
        for name in (
            "autoplay_next", "skip_opening", "skip_ending", "data_saver", "max_height", "playback_speed_percent", "volume_percent",
        )
    },
}  # fmt: skip


def _changes(message: pb.PlayerSettings, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises PlayerSettingsFieldUnknown."""
    for path in mask.paths:
        if path not in _READERS:
            raise PlayerSettingsFieldUnknown(path=path, field="update_mask")
    return {path: _READERS[path](message) for path in mask.paths}


def _to_pb(settings: PlayerSettings) -> pb.PlayerSettings:
    return pb.PlayerSettings(**asdict(settings))
