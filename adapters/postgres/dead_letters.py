"""Deliveries that were given up: to look at, and to try again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import text

from adapters.postgres import Connection
from adapters.postgres.statement import Statement


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that failed each time it was tried."""

    number: int
    event_id: str
    event: str
    consumer: str
    attempts: int
    fault: str
    dead_time: datetime
    replay_time: datetime | None
    payload: dict[str, Any]


class PostgresDeadLetters:
    """The dead letters on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def newest(self, *, limit: int) -> list[DeadLetter]:
        """Return those that nobody replayed yet, the newest first."""
        return [_dead_letter(row) for row in await _NEWEST.fetch(self._connection, limit=limit)]

    async def find(self, numbers: Sequence[int]) -> list[DeadLetter]:
        """Return those with these numbers, in their order, as far as they exist."""
        return [_dead_letter(row) for row in await _FIND.fetch(self._connection, numbers=list(numbers))]

    async def replay(self, numbers: Sequence[int] | None) -> list[int]:
        """Deliver these again, or all that nobody replayed yet; return the numbers of those that will be."""
        rows = await _REPLAY.fetch(self._connection, every=numbers is None, numbers=list(numbers or ()))
        return sorted(row["number"] for row in rows)


def _dead_letter(row: asyncpg.Record) -> DeadLetter:
    return DeadLetter(**row)


_COLUMNS = """
    SELECT dead_letters.number, event_id, name AS event, consumer, attempts, fault, dead_time, replay_time, payload
    FROM platform.dead_letters JOIN platform.events USING (event_id)
"""
_NEWEST = Statement(text(f"{_COLUMNS} WHERE replay_time IS NULL ORDER BY dead_letters.number DESC LIMIT :limit"))
_FIND = Statement(text(f"{_COLUMNS} WHERE dead_letters.number = ANY (CAST(:numbers AS bigint[])) ORDER BY dead_letters.number"))
_REPLAY = Statement(
    text("""
    WITH chosen AS (
        UPDATE platform.dead_letters SET replay_time = now()
        WHERE replay_time IS NULL AND (:every OR number = ANY (CAST(:numbers AS bigint[])))
        RETURNING number, event_id, consumer
    ), made AS (
        INSERT INTO platform.deliveries (event_id, consumer) SELECT DISTINCT event_id, consumer FROM chosen
        ON CONFLICT DO NOTHING
    )
    SELECT number, pg_notify('outbox', '') FROM chosen
    """)
)
