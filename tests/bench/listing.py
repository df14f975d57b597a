"""Lists of a large catalog that no cache answers: against the same SQL by bare asyncpg, and from the first page to the 500th."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import grpc

from adapters.postgres.catalog.listing import listing, values
from ani.catalog.v1 import release_list_pb2 as pb
from ani.catalog.v1 import release_pb2
from domain.kernel import Viewer
from server.catalog.mapping import filter_from_pb
from tests.bench.cold import Case, compare
from tests.bench.engines import Engines, engines
from tests.bench.machine import CORES, await_socket, load, process

METHOD = "/ani.catalog.v1.CatalogService/ListReleases"
PAGE_SIZE = 20
PAGES = (1, 100, 250, 500)
ROUNDS = 5
CALLS = 1000
RELEASES = 50_000
# Genres from very common to rare, as in real catalogs; every 50th release is a draft.
GENERATE = f"""
INSERT INTO catalog.genres (genre_id, name) SELECT 'genre-' || g, 'Genre ' || g FROM generate_series(1, 20) g;
INSERT INTO catalog.tags (tag_id, name) SELECT 'tag-' || t, 'Tag ' || t FROM generate_series(1, 200) t;
INSERT INTO catalog.releases (
    release_id, alias, titles, synopsis, kind, status, season, year, age_rating, planned_episode_count, publication, version,
    create_time, update_time, publish_time, rating, popularity, studios, voice_teams, premiere_time
)
SELECT
    md5('release ' || n)::uuid, 'generated-' || n, jsonb_build_array(jsonb_build_object('language', 'en', 'text', md5(n::text))),
    repeat('What happens in it. ', 20), 1 + n % 5, 1 + n / 5 % 4, 1 + n % 4, 1960 + (hashint4(n) & 65535) % 67,
    (ARRAY[0, 6, 12, 16, 18])[1 + n % 5], 12, CASE WHEN n % 50 = 0 THEN 1 ELSE 2 END, 1,
    t, t, t, (hashint4(n) & 65535) % 1000 / 100.0, hashint4(n + 1) & 65535, ARRAY['Studio ' || n % 300],
    ARRAY['Team ' || n % 40], t
FROM generate_series(1, {RELEASES}) n, LATERAL (SELECT now() - n * interval '1 minute' AS t);
INSERT INTO catalog.release_genres (release_id, genre_id)
SELECT md5('release ' || n)::uuid, 'genre-' || g FROM generate_series(1, {RELEASES}) n, generate_series(1, 20) g
WHERE hashtext(n || ' ' || g) & 65535 < 65536 / (g * 1.6);
INSERT INTO catalog.release_tags (release_id, tag_id)
SELECT md5('release ' || n)::uuid, 'tag-' || t FROM generate_series(1, {RELEASES}) n, generate_series(1, 200) t
WHERE hashtext(n || '/' || t) & 65535 < 65536 / (t * 3);
ANALYZE;
"""
WANTED = {
    "genre and year, by rating": pb.ListReleasesRequest(genres=["Genre 2"], year_from=1995, order_by="rating"),
    "tag and kind, by popularity": pb.ListReleasesRequest(tags=["tag-3"], kind=release_pb2.RELEASE_KIND_TV, order_by="popularity"),
    "studio and status, latest first": pb.ListReleasesRequest(studio="Studio 7", status=release_pb2.RELEASE_STATUS_ONGOING),
    "rare tag and genre, by title": pb.ListReleasesRequest(tags=["tag-50"], genres=["genre-3"], order_by="title"),
}
WALKED = pb.ListReleasesRequest(genres=["genre-1"], year_from=1950, order_by="rating", page_size=PAGE_SIZE)


def measure() -> str:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ani-bench-")))
        running = stack.enter_context(engines(folder))
        asyncio.run(_generate(running))
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
        rows = [compare(running, pid, f"unix:{socket}", _case(name, request)) for name, request in WANTED.items()]
        pages = _pages(pid, f"unix:{socket}")
    lines = [f"{RELEASES:,} generated releases, pages of {PAGE_SIZE}, cache off; the same statement by bare asyncpg beside it.", ""]
    lines += ["| filters | through gRPC, calls/s | bare asyncpg, calls/s | bare / gRPC (bar: 2) | statements a call (bar: 2) |"]
    return "\n".join([*lines, "|---|---|---|---|---|", *rows, "", *pages])


async def _generate(running: Engines) -> None:
    connection = await asyncpg.connect(running.settings.database_url)
    await connection.execute(GENERATE)
    await connection.close()


def _case(name: str, request: pb.ListReleasesRequest) -> Case:
    request.page_size = PAGE_SIZE
    wanted, guest = filter_from_pb(request), Viewer()
    statement = listing(wanted, viewer=guest, goes_on=False)
    arguments = statement.arguments(values(wanted, viewer=guest, limit=PAGE_SIZE + 1))
    return Case(name, request, lambda connection: connection.fetch(statement.text, *arguments), method="ListReleases")


def _pages(pid: int, address: str) -> list[str]:
    """Walk to the last page, then ask for some of them in turn, so that all meet the machine in the same moods."""
    requests = dict.fromkeys(PAGES, b"")
    with grpc.insecure_channel(address) as channel:
        method: Any = channel.unary_unary(METHOD, None, pb.ListReleasesResponse.FromString)
        request = pb.ListReleasesRequest()
        request.CopyFrom(WALKED)
        for page in range(1, max(PAGES) + 1):
            asked = request.SerializeToString()
            if page in requests:
                requests[page] = asked
            request.page_token = method(asked).next_page_token
    rounds = [[load(pid, address, METHOD, asked, calls=CALLS, callers=1) for asked in requests.values()] for _ in range(ROUNDS)]
    lines = ["| page | p50 ms | p99 ms | p99 against the first page |", "|---|---|---|---|"]
    for place, page in enumerate(PAGES):
        middle, slow = (statistics.median(getattr(one[place], field) for one in rounds) for field in ("p50", "p99"))
        ratio = statistics.median(one[place].p99 / one[0].p99 for one in rounds)
        lines.append(f"| {page} | {middle:.2f} | {slow:.2f} | **{ratio:.2f}** |")
    return lines
