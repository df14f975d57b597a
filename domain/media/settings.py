"""How a viewer likes to watch, kept for each profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from domain.kernel import Begin, Event, InvalidArgument, Viewer


@dataclass(frozen=True, slots=True)
class SubtitleStyle:
    """How subtitles look."""

    scale_percent: int = 100
    color: str = "#FFFFFF"
    background: str = "#000000"
    background_percent: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayerSettings:
    """How a viewer likes to watch; what is here is what holds for those who never said."""

    # The most wanted first.
    audio_languages: tuple[str, ...] = ()
    subtitle_languages: tuple[str, ...] = ()
    autoplay_next: bool = True
    skip_opening: bool = False
    skip_ending: bool = False
    data_saver: bool = False
    # 0 means as high as it goes.
    max_height: int = 0
    playback_speed_percent: int = 100
    volume_percent: int = 100
    subtitle_style: SubtitleStyle = SubtitleStyle()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayerSettingsUpdated(Event):
    """A viewer changed how they like to watch."""

    account_id: str
    profile_id: str
    fields: tuple[str, ...]


class PlayerSettingsFieldUnknown(InvalidArgument):
    """Raised when an update mask names what is no player setting."""

    text = "There is no player setting {path}."


class SettingsStore(Protocol):
    """Player settings within one unit of work."""

    async def settings(self, account_id: str, profile_id: str) -> PlayerSettings | None:
        """Return what was kept, or None when nothing ever was."""

    async def settings_to_change(self, account_id: str, profile_id: str) -> PlayerSettings | None:
        """Return what was kept, and let nobody else change it until the unit of work ends."""

    async def save_settings(self, account_id: str, profile_id: str, settings: PlayerSettings, *, at: datetime) -> None: ...

    async def record(self, event: Event) -> None: ...


class Settings:
    """Player settings, one method for each RPC."""

    def __init__(self, *, begin: Begin[SettingsStore], read: Begin[SettingsStore]) -> None:
        self._begin = begin
        self._read = read

    async def get_player_settings(self, *, viewer: Viewer) -> PlayerSettings:
        async with self._read() as store:
            return await store.settings(viewer.account_id, viewer.profile_id) or PlayerSettings()

    async def update_player_settings(self, changes: dict[str, Any], *, viewer: Viewer, at: datetime) -> PlayerSettings:
        """Change some settings and leave the others as they are, whoever changes those meanwhile."""
        async with self._begin() as store:
            before = await store.settings_to_change(viewer.account_id, viewer.profile_id) or PlayerSettings()
            after = replace(before, **changes)
            if fields := tuple(name for name in changes if getattr(before, name) != getattr(after, name)):
                await store.save_settings(viewer.account_id, viewer.profile_id, after, at=at)
                who = {"account_id": viewer.account_id, "profile_id": viewer.profile_id}
                await store.record(PlayerSettingsUpdated(time=at, fields=fields, **who))
        return after
