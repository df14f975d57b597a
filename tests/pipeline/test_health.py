"""How the server says that it is: part by part, truly, and soon after it changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from ani.catalog.v1 import catalog_service_pb2, release_list_pb2
from ani.system.v1 import system_service_pb2 as pb
from domain.kernel import Unavailable
from server import serve
from server.health import Health, Part
from server.settings import Settings
from server.wiring.application import SERVICES
from tests.own_engines import OwnPostgres
from tests.pipeline.conftest import PATIENCE_SECONDS, Eventually, Probe, Start
from tests.platform.conftest import OwnValkey
from tests.serving import Served, refusal

CATALOG, SYSTEM = "ani.catalog.v1.CatalogService", "ani.system.v1.SystemService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def status(served: Served, service: str) -> int:
    check: Any = served.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    answer: health_pb2.HealthCheckResponse = await check(health_pb2.HealthCheckRequest(service=service))
    return answer.status


async def becomes(served: Served, service: str, wanted: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await status(served, service) != wanted:
            pass


async def parts(served: Served) -> tuple[int, dict[str, int]]:
    answer = await served.system.CheckHealth(pb.CheckHealthRequest())
    return answer.state, {part.name: part.state for part in answer.parts}


class TestDatabaseAway:
    async def test_is_said_of_each_service_and_heals_by_itself(
        self, start: Start, settings: Settings, own_postgres: OwnPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """D8 and F6: the nameless service stays, so that calls still come and are answered from the cache, or refused at once."""
        monkeypatch.setattr("server.health.WATCH_SECONDS", 0.05)
        probe = await start(replace(settings, database_url=own_postgres.url))
        served, genres = probe.served, catalog_service_pb2.ListGenresRequest()
        await becomes(served, CATALOG, SERVING)
        await served.catalog.ListGenres(genres)

        own_postgres.kill()
        await becomes(served, CATALOG, NOT_SERVING)
        ready = await refusal(served.system.CheckReadiness(pb.CheckReadinessRequest()))
        worst, found = await parts(served)
        uncached = await refusal(served.catalog.ListReleases(release_list_pb2.ListReleasesRequest()))

        assert (grpc.StatusCode.UNAVAILABLE, "NOT_READY") == (ready.code, ready.reason)
        assert "database: " in ready.message
        assert 1 == ready.retry_after
        down, ok = pb.HEALTH_STATE_DOWN, pb.HEALTH_STATE_OK
        assert (down, {"database": down, "schema": down, "valkey": ok}) == (worst, found)
        assert (SERVING, NOT_SERVING) == (await status(served, ""), await status(served, SYSTEM))
        assert (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE") == (uncached.code, uncached.reason)
        assert catalog_service_pb2.ListGenresResponse() == await served.catalog.ListGenres(genres)
        assert pb.CheckLivenessResponse() == await served.system.CheckLiveness(pb.CheckLivenessRequest())

        own_postgres.begin()
        await becomes(served, CATALOG, SERVING)

        assert pb.CheckReadinessResponse() == await served.system.CheckReadiness(pb.CheckReadinessRequest())
        assert (ok, {"database": ok, "schema": ok, "valkey": ok}) == await parts(served)
        await served.catalog.ListReleases(release_list_pb2.ListReleasesRequest())


class TestValkeyAway:
    async def test_is_named_and_keeps_nobody_from_work(
        self, start: Start, settings: Settings, own_valkey: OwnValkey, eventually: Eventually
    ) -> None:
        probe = await start(replace(settings, redis_url=own_valkey.url))
        await becomes(probe.served, CATALOG, SERVING)
        shared: Any = probe.machinery.cache._shared  # type: ignore[union-attr]

        own_valkey.kill()
        await eventually(lambda: not shared._valkey.up)

        ok, degraded = pb.HEALTH_STATE_OK, pb.HEALTH_STATE_DEGRADED
        assert (degraded, {"database": ok, "schema": ok, "valkey": degraded}) == await parts(probe.served)
        await probe.served.system.CheckReadiness(pb.CheckReadinessRequest())
        assert SERVING == await status(probe.served, CATALOG)


class TestDrain:
    @pytest.mark.settings(drain_seconds=0)
    async def test_is_said_before_calls_are_refused(self, probe: Probe, eventually: Eventually) -> None:
        """F1: what is at work ends in peace."""
        served, go = probe.served, asyncio.Event()
        await becomes(served, CATALOG, SERVING)

        async def linger(request: Any, call: Any) -> Any:
            await go.wait()
            return probe.Response(text="done")

        probe.does["Read"] = linger
        call = probe("Read")
        await eventually(lambda: probe.count("Read"))
        await served.application.health.drain()
        states = [await status(served, service) for service in ("", CATALOG, SYSTEM)]
        ready = await refusal(served.system.CheckReadiness(pb.CheckReadinessRequest()))
        still = await probe("Write", id="still")
        stopping = asyncio.ensure_future(serve.drain(served.application, served.server, seconds=0))
        await eventually(served.application.draining.is_set)
        go.set()

        assert [NOT_SERVING] * 3 == states
        assert "the server is stopping" in ready.message
        assert "still" == still.text
        assert "done" == (await call).text
        await stopping


class TestParts:
    async def test_are_checked_whatever_their_checks_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("server.health.CHECK_SECONDS", 0.02)

        async def hang() -> None:
            await asyncio.Event().wait()

        async def fail() -> None:
            raise ValueError("secret dsn postgres://u:p@h/db")

        async def refuse() -> None:
            raise Unavailable

        async def be_well() -> None:
            pass

        health = Health([Part(check.__name__, check, essential=True) for check in (hang, fail, refuse, be_well)], [])

        findings = await health.check()

        assert ["DOWN", "DOWN", "DOWN", "OK"] == [finding.state.name for finding in findings]
        assert "secret" not in str(findings)
        assert "no answer within 0.02 seconds" == findings[0].detail


class TestReflection:
    async def test_names_every_service(self, served: Served) -> None:
        """D8."""
        stream = reflection_stream(served)
        await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await stream.read()

        usual = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        assert {service.full_name for service in SERVICES} | usual == {
            service.name for service in answer.list_services_response.service
        }

    @pytest.mark.settings(reflection=False)
    async def test_can_be_switched_off(self, served: Served) -> None:
        # Nothing is sent: what a client writes to a stream that has ended is an error of its own.
        assert grpc.StatusCode.UNIMPLEMENTED is await reflection_stream(served).code()
        assert SERVING == await status(served, "")


def reflection_stream(served: Served) -> Any:
    return served.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
