"""Runners: steps, checkpoints, takeovers, cancelling, and jobs that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from adapters.postgres import ConcurrentChange, Connection, Database, bare
from adapters.postgres.listen import Bell
from adapters.postgres.operations.store import PostgresOperations
from domain.kernel import NotFound
from domain.operations.model import Operation, Report, State
from domain.operations.ports import Job, Step
from domain.operations.runner import MOST_ATTEMPTS, STALE, Runner
from domain.operations.service import Operations
from tests.builders import an_editor
from tests.conftest import StillClock
from tests.operations.conftest import an_operation


class FileMissing(NotFound):
    """Raised when there is nothing to count."""

    text = "There is no file {name}."


class Counting:
    """Counts to a number, one a step, and writes each down in the step's transaction."""

    def __init__(self, database: Database, *, fault: Exception | None = None, at: int = 2) -> None:
        self._database = database
        self._fault = fault
        self._at = at
        self.reached = asyncio.Event()
        self.held: asyncio.Event | None = None

    async def steps(self, operation: Operation) -> AsyncGenerator[Step, None]:
        for number in range(operation.checkpoint.get("number", 0) + 1, operation.parameters["to"] + 1):
            if number == self._at and self.held:
                self.reached.set()
                await self.held.wait()

            async def step(number: int = number) -> Report:
                async with self._database.begins(bare)() as connection:
                    await connection.execute("INSERT INTO catalog.genres (genre_id, name) VALUES ($1, $1)", f"n{number}")
                if number == self._at and self._fault:
                    fault, self._fault = self._fault, None
                    raise fault
                return Report(done=number, total=operation.parameters["to"], unit="numbers", counts={"added": 1},
                              checkpoint={"number": number}, result={"last": str(number)})  # fmt: skip

            yield step


async def written(connection: Connection) -> list[str]:
    return [row["genre_id"] for row in await connection.fetch("SELECT genre_id FROM catalog.genres ORDER BY genre_id")]


def a_runner(database: Database, clock: StillClock, job: Job, name: str = "one") -> Runner:
    return Runner(
        {"count": job}, begin=database.begins(PostgresOperations), together=database.ambient, bell=Bell(), clock=clock, name=name
    )


async def all_written(database: Database) -> list[str]:
    async with database.reads(bare)() as connection:
        return await written(connection)


class TestRunning:
    async def test_does_all_steps_and_adds_up_what_they_report(
        self, operations: Operations, database: Database, clock: StillClock
    ) -> None:
        await operations.start(an_operation())
        runner = a_runner(database, clock, Counting(database))
        taken = await runner.take()
        assert taken is not None
        seen: list[int] = []
        ended = await runner.run(taken, observe=lambda operation: seen.append(operation.done))
        assert (ended.state, ended.done, ended.total, dict(ended.counts)) == (State.SUCCEEDED, 3, 3, {"added": 3})
        assert dict(ended.result) == {"last": "3"}
        assert seen == [1, 2, 3]
        assert await all_written(database) == ["n1", "n2", "n3"]
        assert await runner.take() is None

    async def test_repeats_a_step_that_another_change_got_in_the_way_of(
        self, operations: Operations, database: Database, clock: StillClock
    ) -> None:
        await operations.start(an_operation())
        runner = a_runner(database, clock, Counting(database, fault=ConcurrentChange()))
        taken = await runner.take()
        assert taken is not None
        assert (await runner.run(taken)).state is State.SUCCEEDED
        assert await all_written(database) == ["n1", "n2", "n3"]

    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            (FileMissing(name="titles.csv"), "There is no file titles.csv."),
            (ValueError("secret"), "an unforeseen fault: ValueError"),
        ],
    )
    async def test_keeps_what_was_done_before_a_fault_and_says_why(
        self, operations: Operations, database: Database, clock: StillClock, fault: Exception, told: str
    ) -> None:
        await operations.start(an_operation())
        runner = a_runner(database, clock, Counting(database, fault=fault))
        taken = await runner.take()
        assert taken is not None
        ended = await runner.run(taken)
        assert (ended.state, ended.fault, ended.done) == (State.FAILED, told, 1)
        assert await all_written(database) == ["n1"]

    async def test_stops_between_two_steps_when_it_is_cancelled(
        self, operations: Operations, database: Database, clock: StillClock
    ) -> None:
        started = await operations.start(an_operation())
        job = Counting(database)
        job.held = asyncio.Event()
        runner = a_runner(database, clock, job)
        taken = await runner.take()
        assert taken is not None
        running = asyncio.create_task(runner.run(taken))
        await job.reached.wait()
        await operations.cancel_operation(started.operation_id, viewer=an_editor(), at=clock())
        job.held.set()
        ended = await running
        assert (ended.state, ended.done) == (State.CANCELLED, 2)
        assert await all_written(database) == ["n1", "n2"]


class TestTakingOver:
    async def test_goes_on_after_the_last_step_of_a_runner_that_fell_silent(
        self, operations: Operations, database: Database, clock: StillClock
    ) -> None:
        await operations.start(an_operation())
        job = Counting(database)
        job.held = asyncio.Event()
        first = a_runner(database, clock, job)
        taken = await first.take()
        assert taken is not None
        silent = asyncio.create_task(first.run(taken))
        await job.reached.wait()
        second = a_runner(database, clock, Counting(database), "two")
        assert await second.take() is None
        clock.advance(seconds=(STALE + timedelta(seconds=1)).total_seconds())
        taken = await second.take()
        assert taken is not None
        assert taken.checkpoint == {"number": 1}
        assert (await second.run(taken)).state is State.SUCCEEDED
        job.held.set()
        assert (await silent).state is State.RUNNING  # what it saw last: it lost the operation and wrote nothing more
        assert await all_written(database) == ["n1", "n2", "n3"]

    async def test_gives_the_operation_back_when_it_is_stopped(
        self, operations: Operations, database: Database, clock: StillClock
    ) -> None:
        started = await operations.start(an_operation())
        job = Counting(database)
        job.held = asyncio.Event()
        runner = a_runner(database, clock, job)
        working = asyncio.create_task(runner.run_forever())
        await job.reached.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        queued = await operations.get_operation(started.operation_id, viewer=an_editor())
        assert (queued.state, queued.runner, queued.checkpoint) == (State.QUEUED, "", {"number": 1})

    async def test_gives_up_what_kills_every_runner(self, operations: Operations, database: Database, clock: StillClock) -> None:
        await operations.start(an_operation())
        runner = a_runner(database, clock, Counting(database))
        for _ in range(MOST_ATTEMPTS):
            assert await runner.take() is not None
            clock.advance(seconds=(STALE + timedelta(seconds=1)).total_seconds())
        taken = await runner.take()
        assert taken is not None
        ended = await runner.run(taken)
        assert ended.state is State.FAILED
        assert "without getting on" in ended.fault

    async def test_leaves_what_belongs_to_a_command_to_that_command(
        self, operations: Operations, database: Database, clock: StillClock
    ) -> None:
        started = await operations.start(an_operation(shared=False))
        runner = a_runner(database, clock, Counting(database))
        assert await runner.take() is None
        assert await runner.take(started.operation_id) is not None
