"""More calls than the server does at once: a short queue, the critical first, the rest refused at once, health always answered."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from ani.system.v1 import system_service_pb2 as pb
from server.pipeline.call import Call
from server.pipeline.overload import Criticality
from tests.pipeline.conftest import Eventually, Probe
from tests.serving import refusal

METHODS = ("Read", "Sheddable", "Critical", "Shared", "Unmetered", "Follow", "Brief")
pytestmark = pytest.mark.settings(concurrency=1)


class Gate:
    """Work that goes on when the test says so; in which order it was reached."""

    def __init__(self, probe: Probe) -> None:
        self.reached: list[str] = []
        self.open = asyncio.Event()
        self._probe = probe
        probe.machinery.limiter._turn = 1e-4
        probe.machinery.limiter._mean = 60.0
        probe.does |= dict.fromkeys(METHODS, self.work)

    async def work(self, request: Any, call: Call) -> Any:
        self.reached.append(request.id)
        await self.open.wait()
        return self._probe.Response(text=request.id)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long calls may wait is tested in simulated time; here none may be shed because the machine is slow."""
    for name in ("BEHIND_SECONDS", "MOST_PRESSED_WAIT"):
        monkeypatch.setattr(f"server.pipeline.overload.{name}", 60.0)


@pytest.fixture
async def gate(probe: Probe, eventually: Eventually) -> Gate:
    """A server whose one place is taken."""
    gate = Gate(probe)
    probe("Read", id="first")
    await eventually(lambda: gate.reached == ["first"])
    return gate


async def queued(probe: Probe, eventually: Eventually, method: str, call_id: str, **options: Any) -> asyncio.Task[Any]:
    """Call, and return when the call waits in the queue."""
    before = probe.machinery.limiter.waiting
    task = asyncio.ensure_future(_answer(probe(method, id=call_id, **options)))
    await eventually(lambda: probe.machinery.limiter.waiting > before)
    return task


async def _answer(call: Any) -> Any:
    return await call


class TestQueue:
    async def test_lets_in_by_criticality_and_then_by_time(self, probe: Probe, gate: Gate, eventually: Eventually) -> None:
        order = [("Sheddable", "s1"), ("Read", "d1"), ("Critical", "c1"), ("Sheddable", "s2"), ("Read", "d2"), ("Critical", "c2")]
        tasks = [await queued(probe, eventually, method, call_id) for method, call_id in order]
        assert ["first"] == gate.reached

        gate.open.set()
        await asyncio.gather(*tasks)

        assert ["first", "c1", "c2", "d1", "d2", "s1", "s2"] == gate.reached

    async def test_is_left_by_whoever_gives_up(self, probe: Probe, gate: Gate, eventually: Eventually) -> None:
        patient = await queued(probe, eventually, "Read", "patient")
        with pytest.raises(grpc.aio.AioRpcError) as overdue:
            await probe("Read", id="hasty", timeout=0.1)
        await eventually(lambda: 1 == probe.machinery.limiter.waiting)
        gate.open.set()
        await patient

        assert grpc.StatusCode.DEADLINE_EXCEEDED is overdue.value.code()
        assert ["first", "patient"] == gate.reached

    async def test_is_not_for_whom_it_would_be_too_late(self, probe: Probe, gate: Gate) -> None:
        """The caller's own deadline counts, if it is nearer than the method's."""
        probe.machinery.limiter._turn = 30.0

        refused = await refusal(probe("Read", timeout=20))

        assert "OVERLOADED" == refused.reason

    async def test_is_not_cut_short_for_all_by_one_who_has_no_time(self, probe: Probe, gate: Gate, eventually: Eventually) -> None:
        """Who shares an answer with others does not let them share his deadline."""
        probe.machinery.limiter._turn = 5.0
        hasty = await queued(probe, eventually, "Shared", "x", timeout=4)
        patient = asyncio.ensure_future(_answer(probe("Shared", id="x")))
        cache: Any = probe.machinery.cache
        await eventually(lambda: [2] == [flight.waiting for flight in cache._flights.values()])
        hasty.cancel()
        gate.open.set()

        assert "x" == (await patient).text

    async def test_holds_a_stream_back_until_its_turn(self, probe: Probe, gate: Gate, eventually: Eventually) -> None:
        """A stream that is open takes nobody's place."""

        async def follow(request: Any, call: Call) -> Any:
            while True:
                yield probe.Response(text="stream")
                await gate.open.wait()

        probe.does["Follow"] = follow
        stream = probe("Follow")
        reading = asyncio.ensure_future(stream.read())
        await eventually(lambda: 1 == probe.machinery.limiter.waiting)
        assert not reading.done()
        gate.open.set()

        assert "stream" == (await reading).text
        assert "after" == (await probe("Read", id="after")).text
        stream.cancel()


class TestShed:
    async def test_is_the_least_critical_and_is_told_to_come_again(
        self, probe: Probe, gate: Gate, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """F4: room for two."""
        monkeypatch.setattr("server.pipeline.overload.Limiter._room", lambda self, now: 2)
        sheddable = await queued(probe, eventually, "Sheddable", "s")
        default = await queued(probe, eventually, "Read", "d")
        refused = await refusal(probe("Sheddable"))
        critical = asyncio.ensure_future(_answer(probe("Critical", id="c")))
        shed = await refusal(sheddable)
        gate.open.set()
        await asyncio.gather(default, critical)

        for one in (refused, shed):
            assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED") == (one.code, one.reason)
            assert one.retry_after is not None
            assert 1 <= one.retry_after <= 2
            assert one.metadata["retry-after"] in {"1", "2"}
        assert ["first", "c", "d"] == gate.reached
        assert 2 == probe.machinery.limiter.shed[Criticality.SHEDDABLE]

    async def test_is_nothing_that_is_known_already(self, probe: Probe, eventually: Eventually) -> None:
        """Cached answers need no place."""
        await probe("Shared", id="known")
        gate = Gate(probe)
        probe("Read", id="first")
        await eventually(lambda: gate.reached == ["first"])

        assert "known" == (await probe("Shared", id="known")).text
        gate.open.set()


class TestHealth:
    async def test_answers_under_any_load(self, probe: Probe, gate: Gate, eventually: Eventually) -> None:
        """F4."""
        for number in range(3):
            await queued(probe, eventually, "Read", str(number))

        check: Any = probe.served.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        standard = await check(health_pb2.HealthCheckRequest(), timeout=10)
        ours = await probe.served.system.CheckHealth(pb.CheckHealthRequest(), timeout=10)
        ready = await probe.served.system.CheckReadiness(pb.CheckReadinessRequest(), timeout=10)

        assert health_pb2.HealthCheckResponse.SERVING == standard.status
        assert pb.HEALTH_STATE_OK == ours.state
        assert pb.CheckReadinessResponse() == ready
        assert 3 == probe.machinery.limiter.waiting
