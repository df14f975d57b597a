"""The worker as a process: what it does when it is told to end, when it is killed, and when all around it is."""

from __future__ import annotations

import time

import pytest

from adapters.postgres import bare
from tests.waiting import until
from tests.workers import Yard, havoc


class TestWorker:
    async def test_e10_finishes_what_is_at_work_when_told_to_end(self, yard: Yard) -> None:
        yard.start("worker")
        await yard.write(1, seconds=0.7)
        await until(lambda: yard.numbers("begun"))

        assert await yard.end("worker", seconds=10) == 0
        assert [1] == await yard.numbers("effects")

    async def test_e10_gives_back_what_takes_longer_than_its_grace(self, yard: Yard) -> None:
        yard.start("worker")
        await yard.write(1, seconds=50.0)
        await until(lambda: yard.numbers("begun"))
        began = time.monotonic()

        assert await yard.end("worker", seconds=10) == 0
        assert time.monotonic() - began < 5.0
        assert [] == await yard.numbers("effects")
        async with yard.database.reads(bare)() as connection:
            row = await connection.fetchrow(
                "SELECT attempts, due_time <= now() AS due, done_time FROM platform.deliveries WHERE consumer = 'tests.count'"
            )
        assert row is not None
        assert (0, True, None) == tuple(row)

    async def test_e10_leaves_its_work_to_another_when_it_is_killed(self, yard: Yard) -> None:
        yard.start("worker")
        await yard.write(1, seconds=1.0)
        await until(lambda: yard.numbers("begun"))
        yard.start("worker-2")

        yard.kill("worker")
        began = time.monotonic()
        await until(lambda: yard.numbers("effects"), seconds=20)

        assert time.monotonic() - began < 5.0 + 5.0 + 5.0
        assert [1] == await yard.numbers("effects")

    async def test_e9_does_a_timed_job_once_a_tick_with_a_colleague(self, yard: Yard) -> None:
        async def ticks() -> list[object]:
            async with yard.database.reads(bare)() as connection:
                return [row["tick"] for row in await connection.fetch("SELECT tick FROM chores ORDER BY tick")]

        yard.start("worker")
        yard.start("worker-2")

        async def several() -> bool:
            return len(await ticks()) >= 4

        await until(several)
        done = await ticks()

        assert len(set(done)) == len(done)

    @pytest.mark.timeout(150)
    async def test_e3_in_short_every_write_has_one_effect(self, yard: Yard) -> None:
        yard.start("worker")

        acknowledged = await havoc(yard, seconds=5.0, pause=0.7)
        await until(yard.is_done, seconds=100)

        written = await yard.numbers("writes")
        assert acknowledged <= set(written)
        assert written == await yard.numbers("effects")
        assert len(acknowledged) > 50
