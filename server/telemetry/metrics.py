"""Prometheus metrics of a process, kept as plain numbers where they arise and handed over once a second.

A value in multiprocess mode lies in a mapped file behind a lock: one increment costs a microsecond, a call would need several.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FLUSH_SECONDS = 1.0
# How the values of several processes become one.
Mode = Literal["livesum", "livemax", "livemin", "livemostrecent"]


class _Times(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[float], seconds: float) -> None:
        """Add observations counted by bucket, and the sum of what was observed."""
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(seconds)


@dataclass(slots=True)
class _Calls:
    """Calls of one method that ended with one code: by bucket, and their seconds last; and what was handed over of it."""

    counts: list[float]
    told: list[float]
    times: _Times


@dataclass(slots=True)
class _Count:
    read: Callable[[], float]
    told: float
    counter: Counter


@dataclass(slots=True)
class _Level:
    read: Callable[[], float]
    gauge: Gauge


class Metrics:
    """The metrics of one process. Its parent makes the folder they lie in, and serves them."""

    def __init__(self) -> None:
        self._calls: list[_Calls] = []
        self._counts: list[_Count] = []
        self._levels: list[_Level] = []
        self._task: asyncio.Task[None] | None = None

    def calls(self, method: str, code: str) -> list[float]:
        """Return the counts of a method's calls with a code: one for each bucket and one beyond, then the sum of their seconds."""
        times = _times().labels(method.lstrip("/"), code)
        counts = [0.0] * (len(BOUNDS) + 2)
        self._calls.append(_Calls(counts, counts.copy(), times))
        return counts

    def count(self, name: str, about: str, read: Callable[[], float], **labels: str) -> None:
        """Have a number followed that only grows."""
        family = _counter(name, about, tuple(labels))
        self._counts.append(_Count(read, 0.0, family.labels(**labels) if labels else family))

    def level(self, name: str, about: str, read: Callable[[], float], *, mode: Mode = "livesum", **labels: str) -> None:
        """Have a number followed that goes up and down."""
        family = _gauge(name, about, tuple(labels), mode)
        self._levels.append(_Level(read, family.labels(**labels) if labels else family))

    def flush(self) -> None:
        """Hand over what has changed."""
        for calls in self._calls:
            if calls.counts != calls.told:
                now = calls.counts.copy()
                new = [after - before for after, before in zip(now, calls.told, strict=True)]
                calls.times.add(new[:-1], new[-1])
                calls.told = now
        for count in self._counts:
            value = count.read()
            if value > count.told:
                count.counter.inc(value - count.told)
                count.told = value
        for level in self._levels:
            level.gauge.set(level.read())

    def start(self) -> None:
        """Begin to hand over once a second: a scrape may lag by as much."""
        self._task = asyncio.create_task(self._beat(), name="metrics")

    async def close(self) -> None:
        """Hand over the last, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.flush()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self.flush()


@cache
def _times() -> _Times:
    return _Times(
        "ani_rpc_seconds",
        "Calls by method and code, with the time from their arrival to their answer.",
        ("method", "code"),
        buckets=BOUNDS,
    )


@cache
def _counter(name: str, about: str, labels: tuple[str, ...]) -> Counter:
    return Counter(name, about, labels)


@cache
def _gauge(name: str, about: str, labels: tuple[str, ...], mode: Mode) -> Gauge:
    return Gauge(name, about, labels, multiprocess_mode=mode)
