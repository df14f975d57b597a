"""Units of work over PostgreSQL, and what its faults mean to callers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import asyncpg
import pytest
from sqlalchemy import bindparam, func, select

from adapters.postgres import ConcurrentChange, Database, DatabaseUnavailable, NothingKept, bare
from adapters.postgres.statement import Statement
from tests.own_engines import OwnPostgres
from tests.waiting import until

ADD = "INSERT INTO catalog.genres (genre_id, name) VALUES ($1, $1)"
EVERYTHING = "SELECT * FROM catalog.genres"
COUNT = "SELECT count(*) FROM catalog.genres"
SLEEP = Statement(select(func.pg_sleep(bindparam("seconds"))))


Alter = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
async def narrow(database_url: str) -> AsyncIterator[Database]:
    """A database of one connection, on which one unit of work follows the other."""
    database = await Database.connect(database_url, size=1)
    yield database
    await database.close()


@pytest.fixture
def altered(database: Database) -> Alter:
    """Changes the columns of a table for a while."""

    @asynccontextmanager
    async def alter() -> AsyncIterator[None]:
        async with database.begins(bare)() as connection:
            await connection.execute("ALTER TABLE catalog.genres ADD COLUMN note text")
        try:
            yield
        finally:
            async with database.begins(bare)() as connection:
                await connection.execute("ALTER TABLE catalog.genres DROP COLUMN note")

    return alter


async def count(database: Database) -> int:
    async with database.reads(bare)() as connection:
        return int(await connection.fetchval(COUNT))


async def change(database: Database) -> None:
    async with database.begins(bare)() as connection:
        await connection.execute(ADD, "drama")


async def answers(database: Database) -> bool:
    with suppress(DatabaseUnavailable):
        await database.check()
        return True
    return False


async def sessions(database: Database, state: str) -> int:
    """Count the sessions of the pool in a state, leaving out the one that asks."""
    async with database.reads(bare)() as connection:
        # Other processes of the tests have databases of their own in the same cluster.
        query = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = $1 AND state = $2 AND pid <> pg_backend_pid()
        """
        return int(await connection.fetchval(query, "ani-tests", state))


class TestBegin:
    async def test_keeps_what_was_done_when_it_ends_well(self, database: Database) -> None:
        async with database.begins(bare)() as connection:
            await connection.execute(ADD, "drama")

        assert await count(database) == 1

    async def test_keeps_nothing_after_an_exception(self, database: Database) -> None:
        with pytest.raises(ZeroDivisionError):
            async with database.begins(bare)() as connection:
                await connection.execute(ADD, "drama")
                raise ZeroDivisionError

        assert await count(database) == 0

    async def test_keeps_nothing_of_a_rehearsal(self, database: Database) -> None:
        async with database.begins(bare)(rehearse=True) as connection:
            await connection.execute(ADD, "drama")
            seen = await connection.fetchval(COUNT)

        assert seen == 1
        assert await count(database) == 0

    async def test_costs_two_round_trips_beside_its_statements(self, database: Database) -> None:
        async with database.begins(bare)() as connection:
            process = await connection.fetchval("SELECT pg_backend_pid()")
        sent: list[str] = []
        pooled = database._at_hand[-1]
        pooled.add_query_logger(lambda record: sent.append(record.query))

        async with database.begins(bare)() as connection:
            again = await connection.fetchval("SELECT pg_backend_pid()")
        await asyncio.sleep(0)

        assert process == again
        assert sent == ["BEGIN", "SELECT pg_backend_pid()", "COMMIT"]

    async def test_never_calls_a_rollback_a_success(self, database: Database) -> None:
        with pytest.raises(NothingKept):
            async with database.begins(bare)() as connection:
                await connection.execute(ADD, "drama")
                with suppress(asyncpg.UniqueViolationError):
                    await connection.execute(ADD, "drama")

        assert 0 == await count(database)

    async def test_leaves_nothing_open_after_a_statement_that_was_refused(self, database: Database) -> None:
        with pytest.raises(asyncpg.UniqueViolationError):
            async with database.begins(bare)() as connection:
                await connection.execute(ADD, "drama")
                await connection.execute(ADD, "drama")

        assert await count(database) == 0
        assert await sessions(database, "idle in transaction (aborted)") == 0


class TestRead:
    async def test_costs_no_round_trip_beside_its_statement(self, database: Database) -> None:
        await database.check()
        sent: list[str] = []
        database._at_hand[-1].add_query_logger(lambda record: sent.append(record.query))

        async with database.reads(bare)() as connection:
            await connection.fetchval(COUNT)
        await asyncio.sleep(0)

        assert sent == [COUNT]

    async def test_refuses_to_rehearse(self, database: Database) -> None:
        with pytest.raises(ValueError, match="nothing can be undone"):
            database.reads(bare)(rehearse=True)

    async def test_does_not_notice_that_a_table_has_changed(self, narrow: Database, altered: Alter) -> None:
        async with narrow.reads(bare)() as connection:
            await connection.fetch(EVERYTHING)
        async with altered(), narrow.reads(bare)() as connection:
            rows = await connection.fetch(EVERYTHING)

        assert rows == []


class TestAmbient:
    async def test_is_joined_by_what_is_begun_inside(self, database: Database) -> None:
        with pytest.raises(ZeroDivisionError):
            async with database.ambient():
                async with database.begins(bare)() as connection:
                    await connection.execute(ADD, "drama")
                raise ZeroDivisionError

        assert await count(database) == 0

    async def test_survives_a_unit_of_work_that_failed_inside(self, database: Database) -> None:
        async with database.ambient() as connection:
            await connection.execute(ADD, "drama")
            with pytest.raises(asyncpg.UniqueViolationError):
                async with database.begins(bare)() as inner:
                    await inner.execute(ADD, "drama")
            async with database.reads(bare)() as inner:
                assert await inner.fetchval(COUNT) == 1

        assert await count(database) == 1

    async def test_ends_with_its_block(self, database: Database) -> None:
        async with database.ambient() as ambient:
            process = ambient.get_server_pid()
        async with database.ambient() as first, database.begins(bare)() as inner:
            assert first.get_server_pid() == inner.get_server_pid()

        assert database.joined() is None
        assert process


class TestRevision:
    async def test_grows_with_what_is_committed(self, database: Database) -> None:
        before = await database.revision()
        async with database.begins(bare)() as connection:
            await connection.execute(ADD, "drama")

        assert await database.revision() > before

    async def test_covers_what_each_of_many_askers_committed_before(self, database: Database) -> None:
        async def write(number: int) -> tuple[int, int]:
            async with database.begins(bare)() as connection:
                await connection.execute(ADD, f"genre-{number}")
            async with database.reads(bare)() as connection:
                committed = await connection.fetchval("SELECT pg_current_wal_flush_lsn() - '0/0'")
            return int(committed), await database.revision()

        found = await asyncio.gather(*map(write, range(40)))

        assert all(revision >= committed for committed, revision in found)

    async def test_is_told_to_the_rest_when_an_asker_leaves(self, database: Database) -> None:
        asking = [asyncio.create_task(database.revision()) for _ in range(3)]
        await asyncio.sleep(0)  # all have asked now
        asking[0].cancel()

        first, *rest = await asyncio.gather(*asking, return_exceptions=True)

        assert isinstance(first, asyncio.CancelledError)
        assert all(isinstance(revision, int) for revision in rest)
        assert await database.revision()

    async def test_refuses_all_who_ask_while_the_database_is_away(self) -> None:
        database = await Database.connect("postgresql://ani@/ani?host=/nowhere", size=1)

        outcomes = await asyncio.gather(*(database.revision() for _ in range(3)), return_exceptions=True)

        assert [DatabaseUnavailable] * 3 == [type(outcome) for outcome in outcomes]
        await database.close()


class TestFaults:
    async def test_a_deadlock_is_a_concurrent_change_for_one_of_two(self, database: Database) -> None:
        async with database.begins(bare)() as connection:
            await connection.executemany(ADD, [("a",), ("b",)])
        both = asyncio.Barrier(2)

        async def change(first: str, second: str) -> None:
            async with database.begins(bare)() as connection:
                await connection.execute("UPDATE catalog.genres SET name = '' WHERE genre_id = $1", first)
                await both.wait()
                await connection.execute("UPDATE catalog.genres SET name = '' WHERE genre_id = $1", second)

        outcomes = await asyncio.gather(change("a", "b"), change("b", "a"), return_exceptions=True)

        assert [ConcurrentChange, type(None)] == sorted((type(outcome) for outcome in outcomes), key=lambda kind: kind.__name__)

    async def test_a_held_lock_is_a_concurrent_change_after_two_seconds(self, database: Database) -> None:
        async with database.begins(bare)() as holder:
            await holder.execute("LOCK TABLE catalog.genres")
            began = time.monotonic()
            with pytest.raises(ConcurrentChange):
                async with database.begins(bare)() as connection:
                    await connection.execute(ADD, "drama")

        assert 1.5 < time.monotonic() - began < 5.0

    async def test_a_slow_statement_is_ended_by_the_server(self, database_url: str) -> None:
        database = await Database.connect(database_url, size=1, patience=0.2)
        with pytest.raises(DatabaseUnavailable):
            async with database.reads(bare)() as connection:
                await SLEEP.execute(connection, seconds=10.0)

        await database.check()
        await database.close()

    async def test_a_plan_that_a_migration_made_stale_is_a_concurrent_change(self, narrow: Database, altered: Alter) -> None:
        async with narrow.reads(bare)() as connection:
            await connection.fetch(EVERYTHING)
        async with altered():
            with pytest.raises(ConcurrentChange):
                async with narrow.begins(bare)() as connection:
                    await connection.fetch(EVERYTHING)
            async with narrow.begins(bare)() as connection:
                rows = await connection.fetch(EVERYTHING)

        assert rows == []

    async def test_nobody_waits_longer_than_a_second_for_a_connection(self, database_url: str) -> None:
        database = await Database.connect(database_url, size=1)
        async with database.begins(bare)():
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable):
                await database.check()
            waited = time.monotonic() - began

        assert waited < 2.0  # a second, and the time that a busy machine takes
        await database.check()
        await database.close()

    async def test_a_fault_of_something_else_stays_what_it_is(self, database: Database) -> None:
        with pytest.raises(FileNotFoundError):
            async with database.begins(bare)():
                raise FileNotFoundError
        with pytest.raises(TimeoutError):
            async with database.ambient(), database.reads(bare)():
                raise TimeoutError

    async def test_a_server_that_is_not_there_is_found_out_with_the_first_call(self) -> None:
        database = await Database.connect("postgresql://ani@/ani?host=/nowhere")
        with pytest.raises(DatabaseUnavailable):
            await database.check()
        await database.close()


class TestCancel:
    async def test_a_thousand_times_leaves_the_pool_as_it_was(self, database: Database) -> None:
        loop_faults: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_faults.append(context))
        turn = asyncio.Semaphore(16)

        async def work(number: int) -> None:
            async with database.begins(bare)() as connection:
                await connection.execute(ADD, f"genre-{number}")
                await SLEEP.execute(connection, seconds=0.01)

        async def cancelled(number: int) -> None:
            async with turn:
                task = asyncio.create_task(work(number))
                await asyncio.sleep(random.uniform(0, 0.03))
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        await asyncio.gather(*(cancelled(number) for number in range(1000)))

        assert database._pool.get_size() == 8
        assert await sessions(database, "active") + await sessions(database, "idle in transaction") == 0
        assert database._pool.get_idle_size() + len(database._at_hand) == 8
        assert loop_faults == []

    async def test_ends_the_statement_in_the_server(self, database: Database) -> None:
        async def work() -> None:
            async with database.begins(bare)() as connection:
                await SLEEP.execute(connection, seconds=60.0)

        task = asyncio.create_task(work())
        await until(lambda: sessions(database, "active"))
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await sessions(database, "active") == 0
        assert time.monotonic() - began < 5.0


class TestOutage:
    async def test_is_told_at_once_and_heals_by_itself(self, own_postgres: OwnPostgres) -> None:
        database = await Database.connect(own_postgres.url, size=4, application="ani-tests")
        await asyncio.gather(*(count(database) for _ in range(8)))

        own_postgres.kill()
        began = time.monotonic()
        outcomes = await asyncio.gather(*(count(database) for _ in range(200)), return_exceptions=True)
        told = time.monotonic() - began

        # A backend may finish what it has begun before it notices that the server is gone.
        assert DatabaseUnavailable in {type(outcome) for outcome in outcomes} <= {DatabaseUnavailable, int}
        assert told < 3.0

        own_postgres.begin()
        await until(lambda: answers(database), seconds=5.0)

        assert [0] * 8 == await asyncio.gather(*(count(database) for _ in range(8)))
        assert database._pool.get_size() <= 4
        await database.close()

    async def test_in_the_middle_of_a_statement_is_told_too(self, own_postgres: OwnPostgres) -> None:
        database = await Database.connect(own_postgres.url, size=4, application="ani-tests")

        async def work() -> None:
            async with database.begins(bare)() as connection:
                await SLEEP.execute(connection, seconds=60.0)

        task = asyncio.create_task(work())
        await until(lambda: sessions(database, "active"))
        own_postgres.kill()

        with pytest.raises(DatabaseUnavailable):
            await task
        own_postgres.begin()
        await until(lambda: answers(database), seconds=5.0)
        await database.close()

    @pytest.mark.parametrize("work", [Database.check, change])
    async def test_a_frozen_server_is_given_up_after_its_patience(
        self, own_postgres: OwnPostgres, work: Callable[[Database], Awaitable[None]]
    ) -> None:
        database = await Database.connect(own_postgres.url, size=2, patience=0.2)
        await asyncio.gather(database.check(), database.check())

        own_postgres.freeze()
        try:
            began = time.monotonic()
            outcomes = await asyncio.gather(*(work(database) for _ in range(20)), return_exceptions=True)
            told = time.monotonic() - began
        finally:
            own_postgres.thaw()

        # A backend may finish what it has begun before it notices that the server is gone.
        assert DatabaseUnavailable in {type(outcome) for outcome in outcomes} <= {DatabaseUnavailable, int}
        assert told < 3.0
        await until(lambda: answers(database), seconds=5.0)
        await database.close()
