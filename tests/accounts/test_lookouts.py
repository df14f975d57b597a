"""What servers look out for in the database, after something kept them from looking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import grpc

from ani.accounts.v1 import own_account_service_pb2 as own_pb
from ani.accounts.v1 import session_service_pb2 as session_pb
from server.settings import Settings
from tests.accounts.people import People, bearer
from tests.accounts.televisions import Phone, Television, ended
from tests.serving import Served
from tests.waiting import until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'"


@asynccontextmanager
async def locked(settings: Settings, table: str, channel: str) -> AsyncIterator[None]:
    """Keep everybody from a table for so long that a server which is woken gives up, as a migration may."""
    holder, other = [await asyncpg.connect(settings.database_url) for _ in range(2)]
    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            await other.execute("SELECT pg_notify($1, '')", channel)
            await until(lambda: _somebody_waits(other, table))
            await until(lambda: _nobody_waits(other, table))
        yield
    finally:
        await holder.close()
        await other.close()


async def _somebody_waits(connection: asyncpg.Connection[asyncpg.Record], table: str) -> bool:
    return bool(await connection.fetchval(WAITING, table))


async def _nobody_waits(connection: asyncpg.Connection[asyncpg.Record], table: str) -> bool:
    return not await _somebody_waits(connection, table)


class TestLockedTable:
    async def test_keeps_no_television_waiting_for_ever(self, people: People, served: Served, settings: Settings) -> None:
        phone, tv = Phone(served, bearer(await people.register("Mio"))), await Television.on(served)
        stream = tv.watch()
        await stream.read()
        async with locked(settings, "accounts.device_logins", "device_logins"):
            await phone.approve(tv)
            async with asyncio.timeout(10):
                said, refused = await ended(stream)

        assert (["tokens"], None) == ([message.WhichOneof("event") for message in said], refused)

    async def test_lets_nobody_in_for_ever_who_was_thrown_out(self, people: People, served: Served, settings: Settings) -> None:
        """A14."""
        mine, thief = await people.register("Mio"), (await people.sign_in("mio@example.org")).tokens
        async with locked(settings, "accounts.revocations", "revocations"):
            revoke = session_pb.RevokeSessionRequest(session_id=thief.session_id)
            await served.sessions.RevokeSession(revoke, metadata=bearer(mine))

            async def void() -> bool:
                call = served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=bearer(thief))
                return await call.code() is grpc.StatusCode.UNAUTHENTICATED

            assert await until(void, seconds=5)
