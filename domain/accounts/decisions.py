"""Waiting for decisions: one look at the database for all devices that wait in a process, when there may be something to see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

from domain.kernel import Begin, Refusal

log = logging.getLogger("ani.accounts")

# Transactions end in another order than they begin, and servers' clocks differ.
OVERLAP = timedelta(seconds=60)
# The bell may be missed while the database is away and back again.
LOOK_SECONDS = 20.0
RETRY_SECONDS = 1.0


class DecisionStore(Protocol):
    """Decisions within one unit of work."""

    async def decided_since(self, since: datetime) -> Sequence[str]:
        """Return the ids of what was decided since a time."""


class Bell(Protocol):
    """Rings when something may have been decided."""

    def rings(self) -> int: ...

    async def wait(self, rings: int, *, seconds: float) -> bool: ...


class Waiting:
    """Somebody who waits for one decision."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        self._event.set()

    async def wait(self, *, seconds: float) -> bool:
        """Return True once it may have been decided since the last wait, False after this many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        woken = self._event.is_set()
        self._event.clear()
        return woken


class Decisions:
    """Wakes whoever waits for a decision."""

    def __init__(
        self, *, read: Begin[DecisionStore], bell: Bell, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._read = read
        self._bell = bell
        self._clock = clock
        self._waiting: dict[str, set[Waiting]] = {}

    @contextmanager
    def awaited(self, key: str) -> Iterator[Waiting]:
        """Wait for a decision within the block. Look at it once the block is entered: what was decided before wakes nobody."""
        waiting = Waiting()
        self._waiting.setdefault(key, set()).add(waiting)
        try:
            yield waiting
        finally:
            self._waiting[key].discard(waiting)
            if not self._waiting[key]:
                del self._waiting[key]

    async def run(self) -> None:
        """Look whenever the bell rings and somebody waits, until cancelled."""
        since = self._clock()
        while True:
            rings, began = self._bell.rings(), self._clock()
            if self._waiting:
                try:
                    async with self._read() as store:
                        decided = await store.decided_since(since - OVERLAP)
                except Refusal as fault:
                    log.warning("what was decided about devices cannot be looked up for now: %s", fault)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                for waiting in [one for key in decided for one in self._waiting.get(key, ())]:
                    waiting.wake()
            since = began
            await self._bell.wait(rings, seconds=LOOK_SECONDS)
