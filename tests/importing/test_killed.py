"""`ani import` killed in the middle of its work."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import asyncpg
import pytest

from tests.importing.test_import import an_item
from tests.processes import Ani
from tests.waiting import until

TITLES = 12_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(an_item(number)) + "\n" for number in range(1, TITLES + 1)))
    return path


@pytest.mark.timeout(150)
async def test_goes_on_where_it_was_killed(database_url: str, tmp_path: Path, file: Path) -> None:
    settings = {"DATABASE_URL": database_url, "ANI_DATA": str(tmp_path / "data")}
    connection = await asyncpg.connect(database_url)

    async def there() -> int:
        count: int = await connection.fetchval("SELECT count(*) FROM catalog.releases")
        return count

    with Ani("import", "bangumi", str(file), settings=settings, folder=tmp_path) as killed:
        await until(there, seconds=40)
        os.kill(killed.process.pid, signal.SIGKILL)
        killed.process.wait()
    before = await there()
    assert 0 < before < TITLES
    kept = await connection.fetchrow("SELECT checkpoint, counts FROM operations.operations")
    assert kept is not None
    # What is there and what is known of it were kept together.
    assert json.loads(kept["checkpoint"])["row"] == before == json.loads(kept["counts"])["added"]
    with Ani("import", "bangumi", str(file), settings=settings, folder=tmp_path) as again:
        assert again.process.wait(90) == 0
    assert "going on where the last run" in again.text
    assert f"{TITLES:,} added" in again.text
    assert await there() == TITLES
    assert await connection.fetchval("SELECT count(*) FROM catalog.changes") == TITLES
    assert await connection.fetchval("SELECT count(*) FROM operations.operations WHERE state = 3") == 1
    await connection.close()
