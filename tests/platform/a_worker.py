"""A worker with reactions made for tests, run as a process of its own that can be killed."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.postgres import Database, bare
from adapters.postgres.outbox import PostgresOutbox
from domain.kernel import Event
from server import worker
from server.events.deliveries import Reaction
from server.events.scheduler import Job
from server.settings import Settings
from server.workshop import Work

# No constraint keeps an effect from happening twice: the tests are to find out.
TABLES = """
    CREATE TABLE writes (number bigint PRIMARY KEY);
    CREATE TABLE effects (number bigint NOT NULL);
    CREATE TABLE begun (number bigint NOT NULL);
    CREATE TABLE chores (tick timestamptz NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Event):
    """Something was written."""

    number: int
    # How long the reaction takes.
    seconds: float = 0.0


def assignment(database: Database, _outbox: PostgresOutbox) -> Work:
    async def tell(event: Written) -> None:
        """Say that a reaction has begun, whatever comes of it."""
        connection = await database.acquire()
        await connection.execute("INSERT INTO begun (number) VALUES ($1)", event.number)
        await database.release(connection)

    async def count(event: Written, _event_id: str) -> None:
        async with database.begins(bare)() as connection:
            await connection.execute("INSERT INTO effects (number) VALUES ($1)", event.number)
        if event.seconds:
            await tell(event)
            await asyncio.sleep(event.seconds)

    async def chore(tick: datetime) -> None:
        async with database.begins(bare)() as connection:
            await connection.execute("INSERT INTO chores (tick) VALUES ($1)", tick)

    reactions = [Reaction("tests.count", Written, count)]
    return Work(reactions, [Job("tests", chore, every=timedelta(seconds=1))])


if __name__ == "__main__":
    worker.GRACE_SECONDS = 1.5
    sys.exit(worker.run(Settings.read(), assignment))
