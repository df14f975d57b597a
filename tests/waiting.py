"""Waiting for what other processes do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from adapters.postgres import Database, bare

Found = TypeVar("Found")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def until(look: Callable[[], Awaitable[Found]], *, seconds: float = 40.0) -> Found:
    """Look again and again until there is something, and return it."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0.02)
    return found


async def until_blocked(database: Database, *tasks: asyncio.Task[Any]) -> None:
    """Wait until each task is over, or waits for a lock that another transaction holds."""

    async def look() -> bool:
        async with database.reads(bare)() as connection:
            waiting = await connection.fetchval(WAITING)
        return bool(waiting >= sum(not task.done() for task in tasks))

    await until(look)
