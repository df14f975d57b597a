"""The scheduler: each tick once, however many schedulers there are, and one for all that were missed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from adapters.postgres import Database
from adapters.postgres.outbox import PostgresOutbox
from server.events.deliveries import Deliveries
from server.events.scheduler import Job, Scheduler
from tests.conftest import StillClock

HOURLY = timedelta(hours=1)


class Chore:
    """Remembers for which ticks it was done."""

    def __init__(self, box: PostgresOutbox, clock: StillClock) -> None:
        self.ticks: list[datetime] = []
        self.job = Job("chore", self._act, every=HOURLY, offset=timedelta(minutes=17))
        self.deliveries = Deliveries(box, [self.job.reaction()])
        self._box = box
        self._clock = clock

    async def _act(self, tick: datetime) -> None:
        self.ticks.append(tick)

    def scheduler(self) -> Scheduler:
        return Scheduler(self._box, [self.job], clock=self._clock)

    async def do(self) -> None:
        for delivery_id in await self._box.claim(limit=100, patience=timedelta(seconds=5)):
            await self.deliveries.deliver(delivery_id)


@pytest.fixture
async def chore(database: Database, clock: StillClock) -> Chore:
    """A chore whose first sight, which starts nothing, is over."""
    chore = Chore(PostgresOutbox(database), clock)
    await chore.scheduler().start_due()
    await chore.do()
    assert [] == chore.ticks
    return chore


class TestJob:
    @pytest.mark.parametrize(
        ("every", "offset", "now", "tick"),
        [
            (timedelta(hours=1), timedelta(0), "2026-04-06 12:00:00", "2026-04-06 12:00"),
            (timedelta(hours=1), timedelta(minutes=17), "2026-04-06 12:16:59", "2026-04-06 11:17"),
            (timedelta(days=1), timedelta(hours=3), "2026-03-29 02:59:00", "2026-03-28 03:00"),
            (timedelta(days=1), timedelta(hours=3), "2026-03-29 03:01:00", "2026-03-29 03:00"),
            # 1970 began on a Thursday, so four days later is a Monday.
            (timedelta(days=7), timedelta(days=4), "2026-04-08 00:00:00", "2026-04-06 00:00"),
        ],
    )
    def test_is_due_at_regular_times(self, every: timedelta, offset: timedelta, now: str, tick: str) -> None:
        async def nothing(_tick: datetime) -> None: ...

        job = Job("job", nothing, every=every, offset=offset)

        assert datetime.fromisoformat(f"{tick}Z") == job.latest_tick(datetime.fromisoformat(f"{now}Z"))


class TestStartDue:
    async def test_starts_nothing_before_the_tick(self, chore: Chore, clock: StillClock) -> None:
        clock.advance(minutes=16)
        await chore.scheduler().start_due()
        await chore.do()

        assert [] == chore.ticks

    async def test_e9_starts_each_tick_once_with_several_schedulers(self, chore: Chore, clock: StillClock) -> None:
        schedulers = [chore.scheduler() for _ in range(4)]
        for _ in range(5):
            clock.advance(hours=1)
            await asyncio.gather(*(scheduler.start_due() for scheduler in schedulers))
            await chore.do()

        assert [datetime(2026, 4, 6, hour, 17, tzinfo=UTC) for hour in (12, 13, 14, 15, 16)] == chore.ticks

    async def test_e9_catches_up_once_after_a_long_absence(self, chore: Chore, clock: StillClock) -> None:
        clock.advance(days=3)
        await asyncio.gather(*(chore.scheduler().start_due() for _ in range(4)))
        await chore.do()

        assert [datetime(2026, 4, 9, 11, 17, tzinfo=UTC)] == chore.ticks

    async def test_e9_is_not_moved_by_a_clock_that_is_set_back(self, chore: Chore, clock: StillClock) -> None:
        scheduler = chore.scheduler()
        for minutes in (30, -20, 25, -30, 40):
            clock.advance(minutes=minutes)
            await scheduler.start_due()
            await chore.scheduler().start_due()
        await chore.do()

        assert [datetime(2026, 4, 6, 12, 17, tzinfo=UTC)] == chore.ticks

    async def test_does_a_failed_job_again(self, database: Database, clock: StillClock) -> None:
        box = PostgresOutbox(database)
        tries: list[datetime] = []

        async def fail_first(tick: datetime) -> None:
            tries.append(tick)
            if len(tries) == 1:
                raise ValueError("not today")

        job = Job("chore", fail_first, every=HOURLY)
        deliveries = Deliveries(box, [job.reaction()], pause=lambda _: 0.0)
        scheduler = Scheduler(box, [job], clock=clock)
        await scheduler.start_due()
        clock.advance(hours=1)
        await scheduler.start_due()
        for _ in range(2):
            for delivery_id in await box.claim(limit=10, patience=timedelta(0)):
                await deliveries.deliver(delivery_id)

        assert [clock()] * 2 == tries
        assert 0 == (await box.depth()).pending
