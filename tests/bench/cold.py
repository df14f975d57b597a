"""Reads that no cache answers, against the same SQL by bare asyncpg."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from google.protobuf.message import Message

from adapters.postgres.catalog import listing, statements
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_list_pb2
from domain.catalog.filters import Filter
from domain.kernel import Viewer
from tests.bench.engines import Engines, engines
from tests.bench.machine import CORES, WARM_UP, await_socket, load, process

ROUNDS = 5
CALLS = 4000
CALLERS = 8
Query = Callable[[Any], Awaitable[object]]


def measure() -> str:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ani-bench-")))
        running = stack.enter_context(engines(folder))
        environment = {
            **running.environment,
            "ANI_CACHE": "off",
            "ANI_QUOTA_PER_MINUTE": "0",
            "ANI_LOG_FILE": str(folder / "app.log"),
            "PROMETHEUS_MULTIPROC_DIR": str(folder),
            "ANI_DRAIN_SECONDS": "0",
        }
        socket = folder / "app.sock"
        argv = [sys.executable, "-m", "server", "serve", "--index", "0", "--listen", f"unix:{socket}"]
        pid = stack.enter_context(process(argv, core=CORES[0], environment=environment))
        await_socket(socket)
        rows = [compare(running, pid, f"unix:{socket}", case) for case in _cases()]
    lines = ["8 callers over one connection, cache off, against 8 callers with a connection each.", ""]
    lines.append("| read | through gRPC, calls/s | bare asyncpg, calls/s | bare / gRPC (bar: 2) | statements a call (bar: 2) |")
    return "\n".join([*lines, "|---|---|---|---|---|", *rows])


@dataclass(frozen=True, slots=True)
class Case:
    """A read, and the same by bare asyncpg."""

    name: str
    request: Message
    bare: Query
    method: str = ""


def _cases() -> list[Case]:
    wanted, guest = Filter(), Viewer()
    statement = listing.listing(wanted, viewer=guest, goes_on=False)
    values = statement.arguments(listing.values(wanted, viewer=guest, limit=21))
    alias = "cowboy-bebop"
    return [
        Case("GetRelease", pb.GetReleaseRequest(release=alias), lambda c: c.fetchrow(statements.BY_ALIAS.text, alias)),
        Case("ListReleases", release_list_pb2.ListReleasesRequest(page_size=20), lambda c: c.fetch(statement.text, *values)),
    ]


def compare(running: Engines, pid: int, address: str, case: Case) -> str:
    url = running.settings.database_url
    method = f"/ani.catalog.v1.CatalogService/{case.method or case.name}"
    ours, bare, counts = [], [], []
    for _ in range(ROUNDS):
        before = uvloop.run(_transactions(url))
        ours.append(load(pid, address, method, case.request.SerializeToString(), calls=CALLS, callers=CALLERS).rate)
        counts.append((uvloop.run(_transactions(url)) - before) / (CALLS + WARM_UP))
        bare.append(uvloop.run(_bare(url, case.bare)))
    ratio = statistics.median(b / o for o, b in zip(ours, bare, strict=True))
    count = statistics.median(counts)
    return f"| {case.name} | {statistics.median(ours):,.0f} | {statistics.median(bare):,.0f} | **{ratio:.2f}** | {count:.2f} |"


async def _bare(url: str, query: Query) -> float:
    async with asyncpg.create_pool(url, min_size=CALLERS, max_size=CALLERS) as pool:

        async def caller() -> None:
            async with pool.acquire() as connection:
                for _ in range(CALLS // CALLERS):
                    await query(connection)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return CALLS / (time.perf_counter() - began)


async def _transactions(url: str) -> int:
    """Return how many transactions there were; each statement outside of one counts as one."""
    connection = await asyncpg.connect(url)
    await asyncio.sleep(1.1)  # sessions tell of theirs once a second
    query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    count: int = await connection.fetchval(query)
    await connection.close()
    return count
