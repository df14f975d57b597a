"""Being woken by PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.postgres import Database, bare
from adapters.postgres.listen import Bell, Listener
from tests.own_engines import OwnPostgres


@asynccontextmanager
async def listening(url: str, *channels: str) -> AsyncIterator[list[Bell]]:
    """Listen, and go on once it is heard that listening has begun."""
    listener = Listener(url)
    bells = [listener.bell(channel) for channel in channels]
    task = asyncio.create_task(listener.run())
    try:
        assert all([await bell.wait(0, seconds=5.0) for bell in bells])
        yield bells
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def notify(url: str, channel: str) -> None:
    database = await Database.connect(url, size=1)
    async with database.begins(bare)() as connection:
        await connection.execute("SELECT pg_notify($1, '')", channel)
    await database.close()


class TestBell:
    async def test_does_not_wait_for_what_rang_before(self) -> None:
        bell = Bell()
        before = bell.rings()
        bell.ring()

        assert await bell.wait(before, seconds=0)

    async def test_says_that_it_did_not_ring(self) -> None:
        assert not await Bell().wait(0, seconds=0.01)

    async def test_wakes_all_who_wait(self) -> None:
        bell = Bell()
        waiting = [asyncio.create_task(bell.wait(bell.rings(), seconds=5.0)) for _ in range(100)]
        await asyncio.sleep(0)
        bell.ring()

        assert all(await asyncio.gather(*waiting))


class TestListener:
    async def test_rings_the_bell_of_the_channel_and_no_other(self, database_url: str) -> None:
        async with listening(database_url, "one", "two") as (one, two):
            rings = one.rings(), two.rings()
            await notify(database_url, "one")

            assert await one.wait(rings[0], seconds=5.0)
            assert rings[1] == two.rings()

    async def test_rings_after_an_outage_and_hears_again(self, own_postgres: OwnPostgres) -> None:
        async with listening(own_postgres.url, "one") as (bell,):
            before = bell.rings()
            own_postgres.kill()
            own_postgres.begin()
            assert await bell.wait(before, seconds=5.0)

            again = bell.rings()
            await notify(own_postgres.url, "one")
            assert await bell.wait(again, seconds=5.0)

    async def test_waits_for_a_server_that_is_not_there_yet(self, own_postgres: OwnPostgres) -> None:
        own_postgres.kill()
        listener = Listener(own_postgres.url)
        bell = listener.bell("one")
        task = asyncio.create_task(listener.run())
        assert not await bell.wait(0, seconds=0.1)

        own_postgres.begin()

        assert await bell.wait(0, seconds=5.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
