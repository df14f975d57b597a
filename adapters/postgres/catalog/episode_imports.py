"""Where imports write episodes: whole batches at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import ARRAY, any_, bindparam, select, text

from adapters.postgres import ConcurrentChange, Connection, outbox
from adapters.postgres.catalog.episodes import episode_of_row, row_of_episode
from adapters.postgres.catalog.importing import ALONE
from adapters.postgres.catalog.tables import episodes, releases
from adapters.postgres.schema import Id
from adapters.postgres.statement import Statement
from domain.catalog.episode_imports import KnownEpisode
from domain.catalog.episodes import Episode
from domain.kernel import Event


class PostgresEpisodeImports:
    """Episodes as an import sees them, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def alone(self) -> None:
        await ALONE.execute(self._connection)

    async def known(self, release_ids: Sequence[str]) -> dict[str, list[KnownEpisode]]:
        there = await THERE.fetch(self._connection, release_ids=list(release_ids))
        found: dict[str, list[KnownEpisode]] = {row["release_id"]: [] for row in there}
        if not found:
            return {}
        # The locks are taken first: what is read in the same statement may be from before the wait for them.
        await LOCK.fetch(self._connection, release_ids=list(found))
        for row in await KNOWN.fetch(self._connection, release_ids=list(found)):
            known = KnownEpisode(episode_of_row(row), deleted=row["deleted"], edited=row["edited"])
            found[known.episode.release_id].append(known)
        return found

    async def add(self, episodes: Sequence[Episode]) -> None:
        """Raises ConcurrentChange when somebody took a place since it was looked up."""
        if episodes:
            await self._write(ADD, episodes)

    async def release(self, episodes: Sequence[Episode]) -> None:
        if episodes:
            await self._write(RELEASE, episodes)

    async def _write(self, statement: Statement, written: Sequence[Episode]) -> None:
        try:
            await statement.execute(self._connection, rows=list(map(_row, written)))
        except asyncpg.IntegrityConstraintViolationError as fault:
            raise ConcurrentChange from fault

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)


def _row(episode: Episode) -> dict[str, Any]:
    row = row_of_episode(episode)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


_IDS = bindparam("release_ids", type_=ARRAY(Id))
_WRITTEN = tuple(c.name for c in episodes.c if c.name != "delete_time")
_NAMES = ", ".join(_WRITTEN)
_GIVEN = ", ".join(f"given.{name}" for name in _WRITTEN)
_ROWS = "jsonb_populate_recordset(CAST(NULL AS catalog.episodes), CAST(:rows AS jsonb)) AS given"

THERE = Statement(
    select(releases.c.release_id)
    .where(releases.c.release_id == any_(_IDS), releases.c.delete_time.is_(None))
    .order_by(releases.c.release_id)
    .with_for_update(read=True)
)
LOCK = Statement(
    text("""
    SELECT episode_id FROM catalog.episodes WHERE release_id = ANY (CAST(:release_ids AS uuid[])) ORDER BY episode_id FOR UPDATE
    """)
)
KNOWN = Statement(
    text(f"""
    SELECT {_NAMES}, delete_time IS NOT NULL AS deleted, EXISTS (
        SELECT FROM editing.revisions WHERE revisions.kind = 'episode' AND revisions.item_id = CAST(episodes.episode_id AS text)
    ) AS edited
    FROM catalog.episodes WHERE release_id = ANY (CAST(:release_ids AS uuid[]))
    """)  # noqa: S608 - columns
)
ADD = Statement(text(f"INSERT INTO catalog.episodes ({_NAMES}) SELECT {_GIVEN} FROM {_ROWS}"))  # noqa: S608 - columns
RELEASE = Statement(
    text(f"""
    UPDATE catalog.episodes
    SET state = given.state, release_time = given.release_time, update_time = given.update_time, version = given.version
    FROM {_ROWS} WHERE episodes.episode_id = given.episode_id
    """)  # noqa: S608 - columns
)
