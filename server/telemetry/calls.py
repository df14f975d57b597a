"""Takes down every call: counted and timed by method and code, and as a line of the access log."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from server.telemetry.logs import Sink
from server.telemetry.metrics import BOUNDS, Metrics

log = logging.getLogger("ani.access")

# Calls whose lines wait to be written; what comes beyond is dropped and counted rather than held in memory.
LONGEST_BACKLOG = 20_000
# Often, so that what waits stays small and in the processor's cache: five times as long costs a call a twentieth more.
WRITE_SECONDS = 0.05
# The loop is given back after so many lines, about a third of a millisecond.
SLICE = 100
Entry = tuple[float, str, str, float, str, str]
_quoted = json.JSONEncoder().encode


class Named(Protocol):
    """A method."""

    @property
    def name(self) -> str: ...


class CallLog:
    """Stands on every call's path, where it only counts and keeps a tuple; a task does the rest once in a while."""

    def __init__(self, metrics: Metrics, sink: Sink | None, *, process: str = "") -> None:
        self._metrics = metrics
        self._sink = sink
        self._process = _quoted(process)
        self._counts: dict[str, dict[str, list[float]]] = {}
        self._backlog: deque[Entry] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self.dropped = 0
        self._dropped_told = 0
        metrics.count("ani_access_log_dropped", "Lines of the access log that were dropped.", lambda: self.dropped)

    def observe(self, plan: Named, code: str, seconds: float, request_id: str, caller: str) -> None:
        """Take down a finished call."""
        method = plan.name
        try:
            counts = self._counts[method][code]
        except KeyError:
            counts = self._counts.setdefault(method, {})[code] = self._metrics.calls(method, code)
        counts[bisect_left(BOUNDS, seconds)] += 1.0
        counts[-1] += seconds
        if self._sink is not None:
            if len(self._backlog) < LONGEST_BACKLOG:
                self._backlog.append((time.time(), method, code, seconds, request_id, caller))
            else:
                self.dropped += 1

    def start(self) -> None:
        """Begin to write lines."""
        if self._sink is not None:
            self._task = asyncio.create_task(self._write(self._sink), name="access-log")

    async def close(self) -> None:
        """Write what is left, and end."""
        if self._task is not None:
            self._closing.set()
            await self._task

    async def _write(self, sink: Sink) -> None:
        last = False
        while not last:
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._closing.wait()
            last = self._closing.is_set()
            block = []
            while lines := self._slice():
                block.append(lines)
                await asyncio.sleep(0)
            if self.dropped > self._dropped_told:
                log.warning("%d lines of the access log were dropped", self.dropped - self._dropped_told)
                self._dropped_told = self.dropped
            if block:
                # In a thread: a disk or a terminal may take its time, the loop may not.
                await asyncio.to_thread(sink.write, b"".join(block))

    def _slice(self) -> bytes:
        backlog = self._backlog
        entries = [backlog.popleft() for _ in range(min(SLICE, len(backlog)))]
        return "".join(self._lines(entries)).replace("\x7f", "\\u007f").encode("ascii")

    def _lines(self, entries: Iterable[Entry]) -> Iterator[str]:
        """Write each entry as logs.line would, at a third of the cost: there are as many as calls."""
        second, shown = -1, ""
        for at, method, code, seconds, request_id, caller in entries:
            if int(at) != second:
                second = int(at)
                shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            yield (
                f'{{"time":"{shown}.{int(at % 1 * 1000):03d}Z","level":"info","logger":"ani.access","process":{self._process},'
                f'"message":"call","request_id":{_quoted(request_id)},"method":{_quoted(method)},"code":"{code}",'
                f'"milliseconds":{seconds * 1000:.3f},"caller":{_quoted(caller)}}}\n'
            )
