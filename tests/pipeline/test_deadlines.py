"""Deadlines and callers who leave: work that nobody waits for stops, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest

from adapters.postgres import Database, bare
from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_list_pb2
from domain.kernel import Role, new_id
from server.pipeline.call import Call
from tests.builders import NOON
from tests.pipeline.conftest import Eventually, Probe, Token
from tests.pipeline.test_viewers import a_release
from tests.serving import Metadata, refusal
from tests.waiting import until

SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND state <> 'idle'"
)
CANCELS = 1200


def database(probe: Probe) -> Database:
    found = probe.machinery.revisions
    assert isinstance(found, Database)
    return found


def at_rest(probe: Probe) -> bool:
    """Tell whether nothing is left of any call."""
    kept, machinery = database(probe), probe.machinery
    return (
        kept._pool.get_idle_size() + len(kept._at_hand) == kept._pool.get_size()
        and not machinery.limiter.inflight
        and not machinery.limiter.waiting
        and not machinery.streams._by_caller
        and not (machinery.cache and machinery.cache._flights)
    )


class Sleeper:
    """A method whose statement takes half a minute, and when it was stopped."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.began = asyncio.Event()
        self.stopped = asyncio.Event()
        self.at = 0.0

    async def __call__(self, request: Any, call: Call) -> Any:
        try:
            async with database(self._probe).begins(bare)() as connection:
                self.began.set()
                await connection.execute("SELECT pg_sleep(4)")
        finally:
            self.at = time.perf_counter()
            self.stopped.set()
        return self._probe.Response()


class TestDeadline:
    async def test_of_the_caller_stops_the_statement(self, probe: Probe, database_url: str, eventually: Eventually) -> None:
        """D1: the connection is good afterwards."""
        other = await asyncpg.connect(database_url)
        for method in ("Read", "Shared"):
            sleeper = probe.does[method] = Sleeper(probe)
            began = time.perf_counter()
            with pytest.raises(grpc.aio.AioRpcError) as overdue:
                await probe(method, timeout=0.3)
            await sleeper.stopped.wait()

            assert grpc.StatusCode.DEADLINE_EXCEEDED is overdue.value.code()
            assert 0.25 < sleeper.at - began < 2.3
            assert 0 == await other.fetchval(SLEEPING)
        await other.close()
        await eventually(lambda: at_rest(probe))
        assert await database(probe).revision()

    async def test_of_the_method_holds_where_the_caller_names_none_or_a_later_one(self, probe: Probe, token: Token) -> None:
        """D3."""

        async def linger(request: Any, call: Call) -> Any:
            await asyncio.Event().wait()

        probe.does["Brief"] = probe.does["SharedBriefly"] = linger
        for method in ("Brief", "SharedBriefly"):
            for timeout in (None, 60):
                refused = await refusal(probe(method, timeout=timeout))
                assert (grpc.StatusCode.DEADLINE_EXCEEDED, "OVERDUE") == (refused.code, refused.reason)
                assert {"seconds": "0.05"} == dict(refused.info.metadata)

    async def test_of_a_stream_ends_it_in_words(self, probe: Probe) -> None:
        async def linger(request: Any, call: Call) -> AsyncIterator[Any]:
            yield probe.Response(text="first")
            await asyncio.Event().wait()

        probe.does["FollowBriefly"] = linger
        call = probe("FollowBriefly")
        first, last = await call.read(), await call.read()

        assert "first" == first.text
        assert grpc.StatusCode.DEADLINE_EXCEEDED.value[0] == last.status.code
        assert grpc.StatusCode.DEADLINE_EXCEEDED is await call.code()

    async def test_is_not_blamed_for_the_timeout_of_something_else(self, probe: Probe) -> None:
        async def give_up(request: Any, call: Call) -> Any:
            raise TimeoutError("the other side did not answer")

        probe.does["Read"] = probe.does["Shared"] = give_up
        for method in ("Read", "Shared"):
            refused = await refusal(probe(method))
            assert (grpc.StatusCode.INTERNAL, "INTERNAL_FAULT") == (refused.code, refused.reason)


class TestCancelledWithin:
    """grpc/grpc #29248: a servicer whose own work is cancelled is not a caller who left."""

    @pytest.mark.parametrize("method", ["Read", "Shared", "Write", "Collect"])
    async def test_is_a_fault_and_not_silence(self, probe: Probe, token: Token, method: str) -> None:
        async def be_cancelled(request: Any, call: Call) -> Any:
            raise asyncio.CancelledError

        probe.does[method] = be_cancelled
        request = iter([probe.Request()]) if method == "Collect" else None

        refused = await refusal(probe(method, request, metadata=token(), timeout=5))

        assert (grpc.StatusCode.INTERNAL, "INTERNAL_FAULT") == (refused.code, refused.reason)

    @pytest.mark.parametrize("method", ["Follow", "Talk"])
    async def test_ends_a_stream_as_a_fault(self, probe: Probe, token: Token, method: str) -> None:
        async def be_cancelled(request: Any, call: Call) -> AsyncIterator[Any]:
            yield probe.Response(text="first")
            raise asyncio.CancelledError

        probe.does[method] = be_cancelled
        call = probe(method, iter([probe.Request()]) if method == "Talk" else None, metadata=token(), timeout=5)
        messages = [message async for message in _until_refused(call)]

        assert ["first", ""] == [message.text for message in messages]
        assert grpc.StatusCode.INTERNAL.value[0] == messages[1].status.code
        assert grpc.StatusCode.INTERNAL is await call.code()


async def _until_refused(call: Any) -> AsyncIterator[Any]:
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError:
        return


class TestCancelledCall:
    async def test_stops_the_statement(self, probe: Probe, database_url: str, eventually: Eventually) -> None:
        sleeper = probe.does["Read"] = Sleeper(probe)
        call = probe("Read")
        await sleeper.began.wait()
        call.cancel()
        await sleeper.stopped.wait()
        await eventually(lambda: at_rest(probe))

        other = await asyncpg.connect(database_url)

        async def stopped() -> bool:
            return bool(await other.fetchval(SLEEPING) == 0)

        # Long before it would be over by itself.
        assert await until(stopped, seconds=2)
        await other.close()

    @pytest.mark.timeout(240)
    async def test_at_any_point_leaves_nothing_behind(
        self, probe: Probe, token: Token, database_url: str, eventually: Eventually
    ) -> None:
        """D2: no connection, no place, no task, no half of a transaction."""
        chance, catalog = random.Random(7), probe.served.catalog
        editor = token(Role.EDITOR)
        await asyncio.gather(*(catalog.ListReleases(release_list_pb2.ListReleasesRequest(year_from=n)) for n in range(8)))
        await eventually(lambda: at_rest(probe))
        tasks = len(asyncio.all_tasks())
        longest = await _seconds_of_a_round(probe, editor)

        async def call_and_leave() -> bool:
            release = a_release(0, {"release_id": new_id(at=NOON), "alias": f"release-{chance.getrandbits(40):x}"})
            one: Any = chance.choice(
                [
                    lambda: probe.served.admin.CreateRelease(admin_pb.CreateReleaseRequest(release=release), metadata=editor),
                    lambda: catalog.GetRelease(pb.GetReleaseRequest(release=f"none-{chance.getrandbits(8)}")),
                    lambda: catalog.ListReleases(release_list_pb2.ListReleasesRequest(year_from=chance.randrange(2000))),
                    lambda: probe("Write", id=str(chance.getrandbits(4))),
                    lambda: probe("Follow"),
                ]
            )
            call = one()
            await asyncio.sleep(chance.random() * longest)
            return bool(call.cancel())

        left = sum([sum(await asyncio.gather(*(call_and_leave() for _ in range(24)))) for _ in range(CANCELS // 24)])
        await eventually(lambda: at_rest(probe) and len(asyncio.all_tasks()) <= tasks)

        assert CANCELS / 10 < left < CANCELS
        other = await asyncpg.connect(database_url)
        releases = await other.fetchval("SELECT count(*) FROM catalog.releases")
        events = await other.fetchval("SELECT count(*) FROM platform.events")
        open_ones = await other.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        )
        await other.close()
        assert releases > 10
        assert (releases, 0) == (events, open_ones)
        assert database(probe)._pool.get_size() <= 8


async def _seconds_of_a_round(probe: Probe, editor: Metadata) -> float:
    """Return how long two dozen calls take together that nobody leaves: long on a machine with much to do."""
    create = probe.served.admin.CreateRelease
    releases = [a_release(0, {"release_id": new_id(at=NOON), "alias": f"whole-{number}"}) for number in range(24)]
    began = time.perf_counter()
    await asyncio.gather(*(create(admin_pb.CreateReleaseRequest(release=one), metadata=editor) for one in releases))
    return time.perf_counter() - began
