"""What the platform leans on goes away, or slow, for longer than it takes to be started again; quotas and logs with it."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.local.runtime import runtime_folder
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import catalog_service_pb2_grpc
from tests.faults.books import balance
from tests.faults.conftest import Findings
from tests.faults.load import OK, Load, Told, working
from tests.own_engines import OwnPostgres
from tests.platform.conftest import OwnValkey
from tests.stack import Stack
from tests.waiting import until

# What needs the database, whoever asks.
UNCACHED = {"uncached", "create", "update"}
# The bars are a second and five seconds; a machine that is shared gets more.
TOLD_SECONDS = 3.0
BACK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Outside:
    """A stack whose PostgreSQL and Valkey are run by somebody else."""

    stack: Stack
    postgres: OwnPostgres
    valkey: OwnValkey


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("outside")
    runtime = runtime_folder(folder)
    postgres, valkey = OwnPostgres(folder / "postgres", runtime), OwnValkey(folder / "valkey", runtime)
    try:
        postgres.begin()
        valkey.begin()
        urls = {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, "BROKER_URL": valkey.broker_url}
        with Stack(folder / "stack", "--without", "postgres,valkey", **urls) as stack:
            yield Outside(stack, postgres, valkey)
    finally:
        for engine in (postgres, valkey):
            engine.kill()
        shutil.rmtree(runtime, ignore_errors=True)


async def asked(load: Load, since: float, *, refused: int) -> list[Told]:
    """Wait until so many calls were refused after a moment, and return all calls since then."""

    async def enough() -> bool:
        return sum(call.outcome != OK for call in load.since(since)) >= refused

    await until(enough, seconds=30)
    return load.since(since)


async def warm(load: Load, stack: Stack) -> None:
    """Have each server keep the releases that callers read again and again."""
    for index in range(2):
        async with stack.server_channel(index) as channel:
            catalog = catalog_service_pb2_grpc.CatalogServiceStub(channel)
            for alias in load.aliases:
                await catalog.GetRelease(pb.GetReleaseRequest(release=alias))


class TestDatabaseAway:
    async def test_is_told_at_once_while_cached_reads_go_on(self, outside: Outside, findings: Findings) -> None:
        """F6, E1."""
        stack = outside.stack
        async with Load(stack) as load, stack.http() as http:
            await working(load)
            await warm(load, stack)
            outside.postgres.kill()
            calls = await asked(load, time.monotonic(), refused=60)
            ready, health = await http.get("/ready"), await http.get("/health")
            outside.postgres.begin()
            back = await working(load, seconds=BACK_SECONDS)

        refused = [call for call in calls if call.outcome != OK]
        cached = [call for call in calls if call.kind == "cached"]
        slowest = max(call.seconds for call in refused)
        findings(
            f"database away: {len(refused)} refusals in {statistics.median(call.seconds for call in refused) * 1000:.0f} ms "
            f"(median), {slowest * 1000:.0f} ms (slowest); {len(cached)} cached reads answered; whole again after {back:.1f} s"
        )
        assert {call.outcome for call in refused} == {"UNAVAILABLE"}
        assert [call for call in refused if not call.retry_info] == []
        assert slowest < TOLD_SECONDS
        assert cached
        assert [call for call in cached if call.outcome != OK] == []
        assert {call.kind for call in refused} & UNCACHED
        assert (ready.status_code, health.status_code) == (503, 200)
        assert {part["name"]: part["state"] for part in health.json()["parts"]}["database"] == "HEALTH_STATE_DOWN"
        await balance(load, stack)

    @pytest.mark.long
    @pytest.mark.parametrize("seconds", [2.0, 8.0])
    async def test_is_told_when_it_only_stands_still(self, seconds: float, outside: Outside, findings: Findings) -> None:
        """F6: a database that takes connections and answers nothing must not hold callers for long, nor gather them."""
        stack = outside.stack
        async with Load(stack, readers=8, writers=4) as load:
            await working(load)
            since = time.monotonic()
            outside.postgres.freeze()
            try:
                await asked(load, since, refused=8)
                at_work = await asyncio.to_thread(stack.metrics)
                await asyncio.sleep(max(0.0, seconds - (time.monotonic() - since)))
            finally:
                outside.postgres.thaw()
            back = await working(load, seconds=BACK_SECONDS)

        calls = load.since(since)
        refused = [call for call in calls if call.outcome != OK]
        slowest = max(call.seconds for call in calls)
        held = sum(at_work["ani_work_in_flight"].values()) + sum(at_work["ani_work_waiting"].values())
        findings(
            f"database frozen for {seconds:g} s: {len(refused)} of {len(calls)} calls refused, the slowest took {slowest:.1f} s, "
            f"{held:.0f} held at once; whole again {back:.1f} s after it went on"
        )
        assert {call.outcome for call in refused} <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        assert held <= 8 + 4 + 1
        assert slowest < seconds + 5
        await balance(load, stack)


class TestValkeyAway:
    async def test_is_noticed_by_nobody(self, outside: Outside, findings: Findings) -> None:
        """F6: reads, writes and events go on without it, and with it again."""
        stack = outside.stack
        async with Load(stack) as load:
            await working(load)
            outside.valkey.kill()
            since = time.monotonic()
            await working(load)
            await working(load)
            without = load.since(since)
            outside.valkey.begin()
            await working(load)

        findings(
            f"Valkey away: {len(without)} calls, none failed, the slowest took {max(c.seconds for c in without) * 1000:.0f} ms"
        )
        assert load.failed == []
        await balance(load, stack)

    async def test_is_noticed_by_nobody_when_it_only_stands_still(self, outside: Outside) -> None:
        stack = outside.stack
        async with Load(stack) as load:
            await working(load)
            outside.valkey.freeze()
            try:
                await working(load)
                await working(load)
            finally:
                outside.valkey.thaw()
            await working(load)

        assert load.failed == []
        await balance(load, stack)

    @pytest.mark.long
    async def test_leaves_callers_their_limits(self, outside: Outside, tmp_path: Path) -> None:
        """Each server counts by itself then: limited still, and never an error."""
        allowance, servers = 20, 2
        urls = {name: outside.stack.settings[name] for name in ("DATABASE_URL", "REDIS_URL", "BROKER_URL")}
        with Stack(
            tmp_path / "narrow", "--without", "postgres,valkey,worker", ANI_QUOTA_PER_MINUTE=str(allowance), **urls
        ) as narrow:
            outside.valkey.kill()
            try:
                async with narrow.http(headers=narrow.credentials("user")) as caller:
                    answers = [await caller.get("/v1/caller") for _ in range(allowance * servers * 2)]
            finally:
                outside.valkey.begin()

        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429}
        assert allowance <= statuses.count(200) <= allowance * servers + 2
        assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 429)


class TestDiskFull:
    @pytest.mark.long
    async def test_loses_lines_of_the_log_and_nothing_else(self, tmp_path: Path) -> None:
        logs = tmp_path / "full" / ".ani" / "logs"
        logs.mkdir(parents=True)
        (logs.parent / "ani.lock").touch()
        for part in ("ani", "migrate", "postgres", "valkey", "server-0", "server-1", "worker", "gateway"):
            (logs / f"{part}.log").symlink_to("/dev/full")

        with Stack(tmp_path / "full") as stack:
            async with Load(stack) as load:
                await working(load)
                await working(load)

            assert load.failed == []
            await balance(load, stack)
            assert stack.end() == 0
