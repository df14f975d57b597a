"""Starting streams and their heartbeats, against an empty handler that is asked by the same callers."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import grpc

from adapters.postgres import Database
from adapters.postgres.media.sources import Keeper
from ani.media.v1 import media_service_pb2 as pb
from ani.media.v1 import media_service_pb2_grpc
from domain.kernel import Role, new_id
from domain.media.sources import Quality, SourceKind, VideoCodec, VideoSource
from server.settings import Settings
from server.wiring.tokens import AccessTokens
from tests.bench.engines import engines
from tests.bench.hot import application, empty

CALLERS = 64
ROUNDS = 9
SHARE = {"empty": 100, "start": 10, "beat": 60}
DEVICE = "device-0001"
SHOWN = """SELECT episode_id FROM catalog.episodes JOIN catalog.releases USING (release_id)
WHERE state = 2 AND publication = 2 LIMIT 1"""
Metadata = tuple[tuple[str, str], ...]
Ask = Callable[[Metadata], Awaitable[object]]


def measure() -> str:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ani-bench-")))
        running = stack.enter_context(engines(folder))
        _, served = stack.enter_context(application(running, folder, ANI_VIDEO_HOSTS="video.example")())
        _, nothing = stack.enter_context(empty(Path(sys.executable), folder / "empty.sock")())
        return asyncio.run(_measured(running.settings, served, nothing))


async def _measured(settings: Settings, served: str, unserved: str) -> str:
    episode_id = await _video(settings)
    callers = [_caller(settings) for _ in range(CALLERS)]
    rates: dict[str, list[float]] = {name: [] for name in SHARE}
    async with grpc.aio.insecure_channel(served) as ours, grpc.aio.insecure_channel(unserved) as theirs:
        service = media_service_pb2_grpc.MediaServiceStub(ours)
        nothing: Any = theirs.unary_unary("/ani.catalog.v1.CatalogService/GetRelease")
        request = pb.StartStreamRequest(episode_id=episode_id, device_id=DEVICE)
        streams = {who: (await service.StartStream(request, metadata=who)).stream.stream_id for who in callers}

        async def start(who: Metadata) -> None:
            streams[who] = (await service.StartStream(request, metadata=who)).stream.stream_id

        async def beat(who: Metadata) -> None:
            await service.SendHeartbeat(
                pb.SendHeartbeatRequest(stream_id=streams[who], device_id=DEVICE, position_seconds=1), metadata=who
            )

        asks: dict[str, Ask] = {"empty": lambda who: nothing(b"", metadata=who), "start": start, "beat": beat}
        for _ in range(ROUNDS):
            for name, ask in asks.items():
                rates[name].append(await _rate(ask, callers, SHARE[name]))
        before = await _commits(settings)
        await _rate(beat, callers, SHARE["beat"])
        together = CALLERS * SHARE["beat"] / max(await _commits(settings) - before, 1)
    return _table(rates, together)


def _table(found: dict[str, list[float]], together: float) -> str:
    rates = {name: median(of) for name, of in found.items()}
    # Within each round, for the machine is not as fast at all times.
    shares = {name: median(one / empty for one, empty in zip(of, found["empty"], strict=True)) for name, of in found.items()}
    return "\n".join((
        f"One core for the server, {CALLERS} callers of different accounts on one connection, each with one stream.",
        "",
        "| call | calls/s | of the empty handler | bar |",
        "|---|---|---|---|",
        f"| empty handler | {rates['empty']:,.0f} | 1.00 | |",
        f"| StartStream | {rates['start']:,.0f} | **{shares['start']:.2f}** | 0.1 |",
        f"| SendHeartbeat | {rates['beat']:,.0f} | **{shares['beat']:.2f}** | 0.5 |",
        "",
        f"{together:.0f} heartbeats were written by a transaction, with whatever else the database did counted in.",
    ))  # fmt: skip


async def _rate(ask: Ask, callers: list[Metadata], share: int) -> float:
    async def caller(who: Metadata) -> None:
        for _ in range(share):
            while not await _answered(ask(who)):  # noqa: ASYNC110 - nothing tells when there is a place
                await asyncio.sleep(0.05)

    began = time.perf_counter()
    await asyncio.gather(*map(caller, callers))
    return len(callers) * share / (time.perf_counter() - began)


async def _answered(call: Awaitable[object]) -> bool:
    """Tell whether a call was answered; one that a busy server has no place for is made again, as clients do."""
    try:
        await call
    except grpc.aio.AioRpcError as refused:
        if refused.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False
    return True


def _caller(settings: Settings) -> Metadata:
    at = datetime.now(UTC)
    token = AccessTokens.of(settings).issuer.issue(new_id(at=at), Role.USER, at=at, lifetime=timedelta(hours=1), maturity=18)
    return (("authorization", f"Bearer {token}"), ("x-forwarded-for", "192.0.2.1"))


async def _commits(settings: Settings) -> int:
    connection = await asyncpg.connect(settings.database_url)
    try:
        # What a connection did is told when it has been idle for ten seconds.
        await asyncio.sleep(11)
        return int(await connection.fetchval("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"))
    finally:
        await connection.close()


async def _video(settings: Settings) -> str:
    """Give an episode of the demo catalog a video; return its id."""
    database = await Database.connect(settings.database_url, size=1, application="ani-bench")
    at = datetime.now(UTC)
    try:
        async with database.begins(partial(lambda connection: connection))() as connection:
            episode_id = str(await connection.fetchval(SHOWN))
            source = VideoSource(
                video_source_id=new_id(at=at),
                episode_id=episode_id,
                kind=SourceKind.HLS,
                url="https://video.example/master.m3u8",
                qualities=(Quality("720p", 1280, 720, 2_000_000, VideoCodec.H264),),
                enabled=True,
                create_time=at,
                update_time=at,
            )
            assert await Keeper().add(connection, source)
    finally:
        await database.close()
    return episode_id
