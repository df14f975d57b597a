"""Servers come and go, and callers do not notice (F1, F2); what must not be repeated is not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import status_pb2

from ani.catalog.v1 import catalog_service_pb2 as pb
from tests.gateway.running import Open, Running, raw, until

GET = "/ani.catalog.v1.CatalogService/GetRelease"
DELETE = "/ani.catalog.v1.CatalogAdminService/DeleteRelease"
CALLERS = 20


async def under_load(running: Running, act: Callable[[], Coroutine[Any, Any, None]], *, seconds: float = 4.0) -> Counter[str]:
    """Let callers of both kinds call while something happens; count how their calls end."""
    ends: Counter[str] = Counter()
    over = time.monotonic() + seconds

    async def native(channel: grpc.aio.Channel) -> None:
        call = raw(channel, GET)
        while time.monotonic() < over:
            try:
                await call(pb.GetReleaseRequest(release="slow-0-1").SerializeToString())
                ends["native OK"] += 1
            except grpc.aio.AioRpcError as fault:
                ends[f"native {fault.code().name} {fault.details()}"] += 1

    async def json(client: httpx.AsyncClient) -> None:
        while time.monotonic() < over:
            answer = await client.get("/v1/releases/slow-0-1")
            ends["json OK" if answer.status_code == 200 else f"json {answer.status_code} {answer.text}"] += 1

    async with grpc.aio.insecure_channel(running.target) as channel, httpx.AsyncClient(base_url=running.url, timeout=20) as client:
        callers = [asyncio.create_task(native(channel)) for _ in range(CALLERS)]
        callers += [asyncio.create_task(json(client)) for _ in range(CALLERS)]
        await asyncio.sleep(seconds / 4)
        await act()
        await asyncio.gather(*callers)
    return ends


def failed(ends: Counter[str]) -> Counter[str]:
    return Counter({end: count for end, count in ends.items() if not end.endswith("OK")})


class TestServer:
    async def test_that_is_killed_fails_no_repeatable_call(self, open_gateway: Open) -> None:
        running = open_gateway()

        async def kill() -> None:
            running.upstreams[0].end(kill=True)

        ends = await under_load(running, kill)

        assert failed(ends) == Counter()
        assert ends["native OK"] > 100
        assert ends["json OK"] > 100

    async def test_that_drains_fails_no_call(self, open_gateway: Open) -> None:
        running = open_gateway()
        codes = []

        async def drain() -> None:
            codes.append(await asyncio.to_thread(running.upstreams[0].end))

        ends = await under_load(running, drain)

        assert failed(ends) == Counter()
        assert codes == [0]

    async def test_that_is_started_again_gets_calls_again(self, open_gateway: Open) -> None:
        running = open_gateway()

        async def restart() -> None:
            await asyncio.to_thread(running.upstreams[0].end)
            await asyncio.to_thread(running.upstreams[0].start)

        ends = await under_load(running, restart, seconds=6)

        assert failed(ends) == Counter()
        async with httpx.AsyncClient(base_url=running.url) as client:
            pids = set()
            for _ in range(200):
                pids.add((await client.get("/v1/releases/bebop")).json()["release"]["synopsis"].partition("/")[0])
        assert len(pids) == 2

    async def test_shares_the_calls_of_one_connection_evenly(self, open_gateway: Open) -> None:
        running = open_gateway()
        async with grpc.aio.insecure_channel(running.target) as channel:
            call = raw(channel, GET)
            request = pb.GetReleaseRequest(release="bebop").SerializeToString()
            answers = await asyncio.gather(*(call(request) for _ in range(400)))

        served = Counter(pb.GetReleaseResponse.FromString(answer).release.synopsis.partition("/")[0] for answer in answers)
        assert len(served) == 2
        assert min(served.values()) > 120


class TestRetry:
    def deletions(self, running: Running) -> list[str]:
        return running.upstreams[0].journal.read_text().splitlines()

    async def test_repeats_what_is_idempotent(self, open_gateway: Open) -> None:
        running = open_gateway()
        async with grpc.aio.insecure_channel(running.target) as channel:
            await raw(channel, DELETE)(b"")

        assert len(self.deletions(running)) == 2

    async def test_never_repeats_what_is_not(self, open_gateway: Open, changed_contract: Callable[..., Path]) -> None:
        running = open_gateway(contract=changed_contract("DeleteRelease", idempotency="IDEMPOTENCY_UNKNOWN"))
        async with httpx.AsyncClient(base_url=running.url) as client:
            answer = await client.delete("/v1/releases/abc")

        assert answer.status_code == 503
        assert answer.json()["details"][0]["reason"] == "SERVER_UNREACHABLE"
        assert answer.json()["details"][1]["retryDelay"] == "1s"
        assert answer.headers["retry-after"] == "1"
        assert len(self.deletions(running)) == 1

    async def test_takes_a_servers_own_unavailable_for_an_answer(self, open_gateway: Open) -> None:
        running = open_gateway()
        async with grpc.aio.insecure_channel(running.target) as channel:
            call = raw(channel, GET)
            for _ in range(10):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(pb.GetReleaseRequest(release="down").SerializeToString())
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

        assert "cluster.servers.upstream_rq_retry: 0" in running.admin("/stats?filter=upstream_rq_retry$")


class TestOutage:
    async def test_of_all_servers_is_said_in_the_shape_of_the_api(self, open_gateway: Open) -> None:
        running = open_gateway()
        for upstream in running.upstreams:
            upstream.end(kill=True)

        async with httpx.AsyncClient(base_url=running.url) as client:
            answer = await client.get("/v1/genres")
        async with grpc.aio.insecure_channel(running.target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw(channel, GET)(b"")

        assert answer.status_code == 503
        assert answer.json()["code"] == 14
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "The servers are out of reach for now."

    async def test_is_over_as_soon_as_a_server_is_back(self, open_gateway: Open) -> None:
        running = open_gateway(servers=1)
        running.upstreams[0].end(kill=True)
        until(lambda: httpx.get(f"{running.url}/v1/genres").status_code == 503)

        running.upstreams[0].start()
        began = time.monotonic()
        until(lambda: httpx.get(f"{running.url}/v1/genres").status_code == 200)

        assert time.monotonic() - began < 3


class TestFlood:
    async def test_is_refused_at_once_beyond_what_the_servers_can_have_under_way(
        self, open_gateway: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.clusters.CALLS", 10)
        running = open_gateway(servers=1)
        limits = httpx.Limits(max_connections=40)
        async with (
            httpx.AsyncClient(base_url=running.url, limits=limits, timeout=20) as client,
            grpc.aio.insecure_channel(running.target) as channel,
        ):
            work = [asyncio.create_task(client.get("/v1/releases/slow-3")) for _ in range(10)]
            await asyncio.to_thread(until, lambda: at_work(running) == 10)
            began = time.monotonic()
            refused = await client.get("/v1/releases/bebop")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw(channel, GET)(pb.GetReleaseRequest(release="bebop").SerializeToString())
            seconds = time.monotonic() - began
            alive = await client.get("/live")
            answers = await asyncio.gather(*work)

        status = status_pb2.Status.FromString(dict(iter(caught.value.trailing_metadata()))["grpc-status-details-bin"])
        assert refused.status_code == 429
        assert [detail.get("reason", detail.get("retryDelay")) for detail in refused.json()["details"]] == ["OVERLOADED", "1s"]
        assert refused.headers["retry-after"] == "1"
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (status.code, len(status.details)) == (8, 2)
        assert seconds < 0.5
        assert alive.status_code == 200
        assert {answer.status_code for answer in answers} == {200}


class TestGateway:
    async def test_lets_calls_at_work_end_before_it_stops(self, open_gateway: Open) -> None:
        running = open_gateway()
        async with httpx.AsyncClient(base_url=running.url, timeout=20) as client:
            async with grpc.aio.insecure_channel(running.target) as channel:
                calls = [client.get("/v1/releases/slow-1") for _ in range(10)]
                native = raw(channel, GET)
                request = pb.GetReleaseRequest(release="slow-1").SerializeToString()
                work = asyncio.gather(*calls, *(native(request) for _ in range(10)))
                until_busy = asyncio.create_task(asyncio.to_thread(until, lambda: at_work(running) == 20))
                await asyncio.sleep(0)
                await until_busy
                stopping = threading.Thread(target=running.stop)
                stopping.start()
                answers = await work
            await asyncio.to_thread(stopping.join)

        assert [answer.status_code for answer in answers[:10]] == [200] * 10
        assert all(pb.GetReleaseResponse.FromString(answer).release.alias == "slow-1" for answer in answers[10:])
        assert running.process.returncode == 0


def at_work(running: Running) -> int:
    return int(running.admin("/stats?filter=cluster.servers.upstream_rq_active$").rpartition(": ")[2])
