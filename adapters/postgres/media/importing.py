"""Where imports write video sources: whole batches at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text

from adapters.postgres import Connection, outbox
from adapters.postgres.media.sources import COLUMNS, NAMES, row_of_source, source_of_row
from adapters.postgres.statement import Statement
from domain.kernel import Event
from domain.media.importing import KnownSource
from domain.media.sources import VideoSource


class PostgresSourceImports:
    """Video sources as an import sees them, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def known(self, video_source_ids: Sequence[str]) -> dict[str, KnownSource]:
        if not video_source_ids:
            return {}
        # The locks are taken first: what is read in the same statement may be from before the wait for them.
        await _LOCK.fetch(self._connection, video_source_ids=list(video_source_ids))
        rows = await _KNOWN.fetch(self._connection, video_source_ids=list(video_source_ids))
        found = [KnownSource(source_of_row(row), deleted=row["deleted"], edited=row["edited"]) for row in rows]
        return {one.source.video_source_id: one for one in found}

    async def add(self, sources: Sequence[VideoSource]) -> None:
        if sources:
            await _ADD.execute(self._connection, rows=list(map(_row, sources)))

    async def save(self, sources: Sequence[VideoSource]) -> None:
        if sources:
            await _SAVE.execute(self._connection, rows=list(map(_row, sources)))

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)


def _row(source: VideoSource) -> dict[str, Any]:
    row = row_of_source(source)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


_GIVEN = ", ".join(f"given.{name}" for name in COLUMNS)
_ROWS = "jsonb_populate_recordset(CAST(NULL AS media.video_sources), CAST(:rows AS jsonb)) AS given"
# What an import changes; the rest is as it was.
_CHANGED = ("episode_id", "url", "audio_tracks", "subtitle_tracks", "blocked_countries", "enabled", "version", "update_time")

_LOCK = Statement(
    text("""
    SELECT video_source_id FROM media.video_sources
    WHERE video_source_id = ANY (CAST(:video_source_ids AS uuid[])) ORDER BY video_source_id FOR UPDATE
    """)
)
_KNOWN = Statement(
    text(f"""
    SELECT {NAMES}, video_sources.delete_time IS NOT NULL AS deleted, EXISTS (
        SELECT FROM editing.revisions
        WHERE revisions.kind = 'video_source' AND revisions.item_id = CAST(video_sources.video_source_id AS text)
    ) AS edited
    FROM media.video_sources WHERE video_source_id = ANY (CAST(:video_source_ids AS uuid[]))
    """)  # noqa: S608 - columns
)
_ADD = Statement(
    text(f"INSERT INTO media.video_sources ({', '.join(COLUMNS)}) SELECT {_GIVEN} FROM {_ROWS} ON CONFLICT DO NOTHING")  # noqa: S608
)
_SAVE = Statement(
    text(f"""
    UPDATE media.video_sources SET ({", ".join(_CHANGED)}) = ROW ({", ".join(f"given.{name}" for name in _CHANGED)})
    FROM {_ROWS} WHERE video_sources.video_source_id = given.video_source_id
    """)  # noqa: S608 - columns
)
