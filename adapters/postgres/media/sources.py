"""Where editors keep video sources, and where their rows and dataclasses meet."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import bindparam, text, update
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres import Connection
from adapters.postgres.editing.store import Kept
from adapters.postgres.media.source_tables import video_sources
from adapters.postgres.payload import plain, typed_fields
from adapters.postgres.schema import Id
from adapters.postgres.statement import Statement
from domain.media.sources import VideoSource, VideoSourceEpisodeRefused

COLUMNS = tuple(column.name for column in video_sources.c if column.name != "delete_time")
NAMES = ", ".join(f"video_sources.{name}" for name in COLUMNS)
# What rows have as JSON, and as text.
_JSON = ("qualities", "audio_tracks", "subtitle_tracks", "skip_markers", "preview_sheets", "protection", "kind")
_LISTS = ("ad_patterns", "blocked_countries")
_PLAIN = tuple(name for name in COLUMNS if name not in {*_JSON, *_LISTS})


class Keeper:
    """Where editors keep video sources."""

    async def find(self, connection: Connection, item_id: str) -> VideoSource | None:
        row = await _BY_ID.fetchrow(connection, video_source_id=item_id)
        return source_of_row(row) if row else None

    async def lock(self, connection: Connection, item_id: str) -> VideoSource | None:
        row = await _LOCK.fetchrow(connection, video_source_id=item_id)
        return source_of_row(row) if row else None

    async def add(self, connection: Connection, item: VideoSource) -> bool:
        await _check_episode(connection, item)
        return await _ADD.fetchval(connection, **row_of_source(item)) is not None

    async def save(self, connection: Connection, item: VideoSource) -> None:
        await _check_episode(connection, item)
        row = row_of_source(item)
        del row["create_time"]
        await _SAVE.execute(connection, **row)

    async def delete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await _DELETE.execute(connection, video_source_id=item_id, at=at)

    async def undelete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await _UNDELETE.execute(connection, video_source_id=item_id, at=at)


async def _check_episode(connection: Connection, source: VideoSource) -> None:
    """Raises VideoSourceEpisodeRefused."""
    if await _EPISODE.fetchval(connection, episode_id=source.episode_id) is None:
        raise VideoSourceEpisodeRefused(episode_id=source.episode_id, field="video_source.episode_id")


def row_of_source(source: VideoSource) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(source, name) for name in _PLAIN}
    return row | {name: plain(getattr(source, name)) for name in _JSON} | {name: list(getattr(source, name)) for name in _LISTS}


def source_of_row(row: asyncpg.Record) -> VideoSource:
    facts: dict[str, Any] = {name: row[name] for name in _PLAIN}
    facts |= typed_fields(VideoSource, {name: row[name] for name in _JSON})
    return VideoSource(**facts | {name: tuple(row[name]) for name in _LISTS})


_VALUES = {name: bindparam(name, type_=video_sources.c[name].type) for name in COLUMNS}
_WHICH = video_sources.c.video_source_id == bindparam("video_source_id", type_=Id)
_FOUND = f"SELECT {NAMES} FROM media.video_sources WHERE video_source_id = :video_source_id AND delete_time IS NULL"  # noqa: S608 - columns

_BY_ID = Statement(text(_FOUND))
_LOCK = Statement(text(f"{_FOUND} FOR UPDATE"))
_ADD = Statement(
    insert(video_sources)
    .values(_VALUES)
    .on_conflict_do_nothing(index_elements=[video_sources.c.video_source_id])
    .returning(video_sources.c.video_source_id)
)
_SAVE = Statement(
    update(video_sources)
    .where(_WHICH)
    .values({name: value for name, value in _VALUES.items() if name not in {"video_source_id", "create_time"}})
)
_DELETE = Statement(
    text(
        """
        UPDATE media.video_sources SET delete_time = :at, update_time = :at, version = version + 1
        WHERE video_source_id = :video_source_id
        """
    )
)
_UNDELETE = Statement(
    text("UPDATE media.video_sources SET delete_time = NULL, update_time = :at WHERE video_source_id = :video_source_id")
)
_EPISODE = Statement(text("SELECT episode_id FROM catalog.episodes WHERE episode_id = :episode_id AND delete_time IS NULL"))

ITEMS = {"video_source": Kept(VideoSource, Keeper())}
