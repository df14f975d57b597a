"""F4: many more calls than a server can serve. Those let in are served in time, the others are told at once, and nobody hangs."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import grpc
import httpx
import pytest

from ani.catalog.v1 import release_list_pb2
from tests.faults.conftest import Findings
from tests.serving import taken_apart
from tests.stack import Stack
from tests.waiting import until

LIST_RELEASES = "/ani.catalog.v1.CatalogService/ListReleases"
PATIENT = 10.0
OK = "OK"


@dataclass(frozen=True, slots=True)
class Told:
    outcome: str
    seconds: float
    at: float
    retry_info: bool


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One server, and no cache that could answer in its place."""
    settings = {"ANI_SERVERS": "1", "ANI_CACHE": "off", "ANI_HTTP_CACHE_MB": "0"}
    with Stack(tmp_path_factory.mktemp("overload"), "--without", "worker", **settings) as stack:
        yield stack


class Flood:
    """Callers over several connections; what they ask for is a lot of work for a server and little for a client."""

    def __init__(self, stack: Stack, channels: list[grpc.aio.Channel]) -> None:
        calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [channel.unary_unary(LIST_RELEASES) for channel in channels]
        self._turn = itertools.cycle(calls)

    async def ask(self) -> Told:
        request = release_list_pb2.ListReleasesRequest(page_size=100, year_from=random.randint(1, 2000)).SerializeToString()
        at = time.monotonic()
        try:
            await next(self._turn)(request, timeout=PATIENT)
        except grpc.aio.AioRpcError as fault:
            seconds = time.monotonic() - at
            return Told(fault.code().name, seconds, at, taken_apart(fault).retry_after is not None)
        return Told(OK, time.monotonic() - at, at, retry_info=False)

    async def closed(self, *, callers: int, seconds: float) -> list[Told]:
        """Have so many callers ask one thing after the other."""
        end = time.monotonic() + seconds

        async def caller() -> list[Told]:
            told = []
            while time.monotonic() < end:
                told.append(await self.ask())
            return told

        return list(itertools.chain(*await asyncio.gather(*(caller() for _ in range(callers)))))

    async def open(self, *, rate: float, seconds: float) -> list[Told]:
        """Ask so many things a second, whatever becomes of those asked before."""
        began = time.monotonic()
        asked: list[asyncio.Task[Told]] = []
        while (passed := time.monotonic() - began) < seconds:
            asked += [asyncio.create_task(self.ask()) for _ in range(int(rate * passed) - len(asked))]
            await asyncio.sleep(0.005)
        return await asyncio.gather(*asked)

    async def served(self) -> Told | None:
        """Ask once, and return what was told if that is an answer."""
        told = await self.ask()
        return told if told.outcome == OK else None


@pytest.fixture
async def flood(stack: Stack) -> AsyncIterator[Flood]:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    channels = [grpc.aio.insecure_channel(stack.address, options=options) for _ in range(8)]
    yield Flood(stack, channels)
    for channel in channels:
        await channel.close()


def quantile(told: list[Told], share: float) -> float:
    seconds = sorted(call.seconds for call in told)
    return seconds[min(len(seconds) - 1, math.floor(len(seconds) * share))]


def shown(told: list[Told]) -> str:
    return f"{quantile(told, 0.5) * 1000:.0f} ms (p50), {quantile(told, 0.99) * 1000:.0f} ms (p99)"


async def watched(http: httpx.AsyncClient, flooding: asyncio.Task[list[Told]]) -> list[tuple[int, float]]:
    """Ask for the health all the while, and return each answer's status and time."""
    seen = []
    while not flooding.done():
        at = time.monotonic()
        status = (await http.get("/health")).status_code
        seen.append((status, time.monotonic() - at))
        await asyncio.wait({flooding}, timeout=0.2)
    return seen


class TestFlood:
    TIMES = 4
    SECONDS = 6.0

    @pytest.mark.long
    @pytest.mark.timeout(240)
    async def test_is_served_as_far_as_it_can_be_and_refused_at_once_beyond(
        self, stack: Stack, flood: Flood, findings: Findings
    ) -> None:
        server = stack.pid("server-0")
        calm = await flood.closed(callers=8, seconds=3.0)
        peak = sum(call.outcome == OK for call in calm) / 3.0

        flooding = asyncio.create_task(flood.open(rate=self.TIMES * peak, seconds=self.SECONDS))
        async with stack.http() as http:
            health = await watched(http, flooding)
        told, over = await flooding, time.monotonic()
        await until(flood.served, seconds=30)
        recovered = time.monotonic() - over

        served = [call for call in told if call.outcome == OK]
        refused = [call for call in told if call.outcome != OK]
        lasted = max(call.at + call.seconds for call in told) - min(call.at for call in told)
        goodput = len(served) / lasted
        findings(
            f"overload, {len(told) / self.SECONDS:.0f} calls/s where the peak is {peak:.0f} with 8 callers: {goodput:.0f}/s served "
            f"({goodput / peak:.0%}) in {shown(served)} (calm: {shown(calm)}), {len(refused)} refused in {shown(refused)}"
        )
        findings(
            f"overload, /health: {len(health)} times, the slowest {max(seconds for _, seconds in health) * 1000:.0f} ms; "
            f"served again {recovered:.1f} s after it"
        )
        assert Counter(call.outcome for call in refused).keys() == {"RESOURCE_EXHAUSTED"}
        assert [call for call in refused if not call.retry_info] == []
        assert goodput > 0.3 * peak
        assert quantile(served, 0.99) < PATIENT / 2
        assert {status for status, _ in health} == {200}
        assert len(health) >= 3
        assert recovered < 10.0
        assert stack.pid("server-0") == server
