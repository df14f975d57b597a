"""The scheduler: has timed jobs done once for each tick, however many schedulers run, and once for all that were missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from domain.kernel import Event, Refusal
from server.events.deliveries import Reaction

log = logging.getLogger("ani.scheduler")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RETRY_SECONDS = 1.0
# Clocks are set, so nobody sleeps through to a tick that is far away.
LONGEST_SLEEP_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDue(Event):
    """A timed job is due."""

    job: str
    tick: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """Something done at regular times, counted in UTC from 1970: `every` day with `offset` 3 hours is done at 03:00."""

    name: str
    act: Callable[[datetime], Awaitable[None]]
    every: timedelta
    offset: timedelta = timedelta(0)

    @property
    def consumer(self) -> str:
        return f"job.{self.name}"

    def latest_tick(self, now: datetime) -> datetime:
        """Return the last time at which it was due."""
        return now - (now - EPOCH - self.offset) % self.every

    def reaction(self) -> Reaction:
        async def act(due: JobDue, _event_id: str) -> None:
            await self.act(due.tick)

        return Reaction(self.consumer, JobDue, act, routed=False)


class Ticks(Protocol):
    """Remembers which ticks were acted on. Every method raises a refusal of kind Unavailable when it is out of reach."""

    async def last_tick(self, job: str) -> datetime | None:
        """Return the latest tick of a job that was acted on."""

    async def pass_over(self, job: str, tick: datetime) -> None:
        """Note a tick without acting on it."""

    async def tick(self, event: Event, *, job: str, tick: datetime, consumer: str) -> bool:
        """Record an event for one consumer; False when this was done for the tick already."""


class Scheduler:
    """Any number of schedulers may run."""

    def __init__(self, ticks: Ticks, jobs: Iterable[Job], *, clock: Callable[[], datetime]) -> None:
        self._ticks = ticks
        self._jobs = tuple(jobs)
        self._clock = clock
        self._seen: dict[str, datetime] = {}

    async def run(self) -> None:
        """Start what is due until cancelled, through outages of the database."""
        while True:
            try:
                await self.start_due()
            except Refusal as fault:
                log.warning("timed jobs wait: %s", fault)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(self._rest())

    async def start_due(self) -> None:
        """Start each job whose latest tick nobody has acted on."""
        for job in self._jobs:
            tick = job.latest_tick(self._clock())
            if self._seen.get(job.name) != tick:
                await self._start(job, tick)
                self._seen[job.name] = tick

    async def _start(self, job: Job, tick: datetime) -> None:
        if job.name not in self._seen and await self._ticks.last_tick(job.name) is None:
            # A job that is new here missed nothing: it begins with its next tick.
            await self._ticks.pass_over(job.name, tick)
            return
        event = JobDue(time=self._clock(), job=job.name, tick=tick)
        if await self._ticks.tick(event, job=job.name, tick=tick, consumer=job.consumer):
            log.info("%s is due for %s", job.name, tick)

    def _rest(self) -> float:
        now = self._clock()
        seconds = [(job.latest_tick(now) + job.every - now).total_seconds() for job in self._jobs]
        return max(0.0, min([LONGEST_SLEEP_SECONDS, *seconds]))
