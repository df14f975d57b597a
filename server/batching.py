"""Puts small writes of many callers together: a batch gathers while another one is written, and for a moment in any case."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from domain.kernel import Exhausted

T = TypeVar("T")
R = TypeVar("R")
# Entered by whoever waits.
Aside = Callable[[], AbstractContextManager[None]]

LARGEST_BATCH = 500
MOST_WAITING = 20_000
# From the beginning of one batch to that of the next. Whoever comes alone waits for nobody.
GATHER_SECONDS = 0.005


class Batches(Generic[T, R]):
    """Writes batches one after the other; whoever adds to one is answered when it is written, and enters `aside` until then."""

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[list[R]]],
        *,
        busy: Callable[[], Exhausted],
        largest: int = LARGEST_BATCH,
        most_waiting: int = MOST_WAITING,
        gather_seconds: float = GATHER_SECONDS,
        aside: Aside = nullcontext,
    ) -> None:
        self._write = write
        self._busy = busy
        self._largest = largest
        self._most_waiting = most_waiting
        self._gather_seconds = gather_seconds
        self._aside = aside
        self._waiting: deque[tuple[Sequence[T], asyncio.Future[list[R]]]] = deque()
        self._size = 0
        self._next = 0.0
        self._task: asyncio.Task[None] | None = None

    async def add(self, items: Sequence[T]) -> list[R]:
        """Write items with those of others, and return what came of each. Raises what the writing raises, or the refusal `busy`."""
        if self._size + len(items) > self._most_waiting:
            raise self._busy()
        written: asyncio.Future[list[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, written))
        self._size += len(items)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="batches")
        with self._aside():
            return await written

    async def close(self) -> None:
        """Write what waits, and end."""
        while self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(max(0.0, self._next - time.monotonic()))
                self._next = time.monotonic() + self._gather_seconds
                await self._write_one(self._gathered())
        finally:
            self._task = None

    def _gathered(self) -> list[tuple[Sequence[T], asyncio.Future[list[R]]]]:
        batch: list[tuple[Sequence[T], asyncio.Future[list[R]]]] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0][0]) <= self._largest):
            batch.append(self._waiting.popleft())
            size += len(batch[-1][0])
        self._size -= size
        return batch

    async def _write_one(self, batch: list[tuple[Sequence[T], asyncio.Future[list[R]]]]) -> None:
        items = [item for part, _ in batch for item in part]
        try:
            results = await self._write(items)
        except BaseException as fault:
            for _, written in batch:
                if not isinstance(fault, Exception):
                    written.cancel()
                elif not written.done():
                    written.set_exception(fault)
            if not isinstance(fault, Exception):
                raise
            return
        start = 0
        for part, written in batch:
            # One whose caller is gone was written all the same.
            if not written.done():
                written.set_result(results[start : start + len(part)])
            start += len(part)
