"""A server under half its load for minutes: whether memory, open files and waiting times stay where they are."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from ani.catalog.v1 import catalog_service_pb2, release_list_pb2
from tests.bench.engines import engines
from tests.bench.hot import application
from tests.bench.machine import proportional_megabytes

MINUTES = float(os.environ.get("BENCH_MINUTES", "10"))
CALLERS = 8
LOOKS = 12
# What half of a core comes to for this mix.
PAUSE_SECONDS = 0.003
SERVICE = "/ani.catalog.v1.CatalogService"


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to be seen of a server at one moment."""

    megabytes: float
    files: int
    p99: float


def measure() -> str:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ani-bench-")))
        running = stack.enter_context(engines(folder))
        pid, address = stack.enter_context(application(running, folder)())
        looks, calls = asyncio.run(_soaked(pid, address))
    # The first look is while caches fill.
    settled = looks[1:]
    slope = (settled[-1].megabytes - settled[0].megabytes) / (MINUTES / 60 * (len(settled) - 1) / LOOKS)
    lines = [
        f"{calls:,} calls in {MINUTES:g} minutes: reads that hit and miss, streams that are left, calls that are given up.",
        "",
    ]
    lines += ["| minute | MB | open files | p99 ms |", "|---|---|---|---|"]
    for number, look in enumerate(looks, 1):
        lines.append(f"| {number * MINUTES / LOOKS:.1f} | {look.megabytes:.1f} | {look.files} | {look.p99:.1f} |")
    lines += ["", f"Memory grew by **{slope:.1f} MB an hour** from the second look to the last one."]
    return "\n".join(lines)


async def _soaked(pid: int, address: str) -> tuple[list[Look], int]:
    looks: list[Look] = []
    calls = 0
    async with grpc.aio.insecure_channel(address) as channel:
        for _ in range(LOOKS):
            times: list[float] = []
            until = time.monotonic() + MINUTES * 60 / LOOKS
            await asyncio.gather(*(_caller(channel, times, until, number) for number in range(CALLERS)))
            calls += len(times)
            p99 = statistics.quantiles(times, n=100)[98] * 1000
            looks.append(_look(pid, p99))
    return looks, calls


def _look(pid: int, p99: float) -> Look:
    return Look(proportional_megabytes(pid, of="Pss_Anon"), len(list(Path(f"/proc/{pid}/fd").iterdir())), p99)


async def _caller(channel: Any, times: list[float], until: float, number: int) -> None:
    get, listing = channel.unary_unary(f"{SERVICE}/GetRelease"), channel.unary_unary(f"{SERVICE}/ListReleases")
    watch = channel.unary_stream(f"{SERVICE}/WatchReleases")
    hot = catalog_service_pb2.GetReleaseRequest(release="cowboy-bebop").SerializeToString()
    turn = 0
    while time.monotonic() < until:
        turn += 1
        began = time.perf_counter()
        if turn % 50 == 0:
            watch(b"").cancel()
        elif turn % 51 == 0:
            listing(b"").cancel()
        elif turn % 10 == 0:
            request = release_list_pb2.ListReleasesRequest(page_size=1 + turn % 50, year_from=1950 + (turn + number) % 70)
            await listing(request.SerializeToString())
        else:
            await get(hot)
        times.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_SECONDS)
