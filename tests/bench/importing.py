"""Importing a catalog of 8,821 titles, against a bare COPY of the rows that it leaves; and what it takes of memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg

from tests.bench.engines import engines

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "catalog" / "bangumi_items.jsonl.gz"
ROUNDS = 3
TIMES_LONGER = 5
# What an import leaves behind, in the order in which it can be copied.
TABLES = ("catalog.releases", "catalog.external_ids", "catalog.changes", "catalog.import_facts")


def measure() -> str:
    if not FILE.exists():
        return f"Not measured: there is no {FILE.name} beside the project."
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ani-bench-")))
        url = stack.enter_context(engines(folder)).settings.database_url
        longer = folder / "longer.jsonl"
        titles = _lengthen(longer)
        rounds = [asyncio.run(_round(url, folder)) for _ in range(ROUNDS)]
        first, second, bare = sorted(rounds, key=lambda one: one[0] / one[2])[ROUNDS // 2]
        asyncio.run(_empty(url))
        small, large = _import(url, FILE), _import(url, longer)
    return "\n".join(
        [
            "`ani import bangumi` of 8,821 titles as a process of its own, start included; COPY of all rows it leaves.",
            "",
            "| what | measured | bar |",
            "|---|---|---|",
            f"| first import | {first:.2f} s | |",
            f"| bare COPY of the same rows | {bare:.2f} s | |",
            f"| import / COPY | **{first / bare:.1f}** | 10 |",
            f"| second import, which changes no row | {second:.2f} s | |",
            f"| second / first | **{second / first:.2f}** | 0.5 |",
            f"| memory at most, 8,821 titles | {small['megabytes']:.0f} MB | |",
            f"| memory at most, {titles:,} titles | {large['megabytes']:.0f} MB | flat |",
        ]
    )


def _lengthen(path: Path) -> int:
    """Write a file with the titles several times over, each time under other ids; return how many there are."""
    count = 0
    with path.open("w", encoding="utf-8") as output:
        for number in range(TIMES_LONGER):
            with gzip.open(FILE, "rt", encoding="utf-8") as lines:
                for line in lines:
                    item = json.loads(line)
                    for site in item["sites"]:
                        site["id"] = f"{site.get('id', 'x')}-{number}"
                    output.write(json.dumps(item, ensure_ascii=False) + "\n")
                    count += 1
    return count


def _import(url: str, file: Path) -> dict[str, Any]:
    """Import in a process of its own; return what it took."""
    program = [sys.executable, "-m", "tests.bench.importing", url, str(file)]
    found: dict[str, Any] = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    return found


async def _round(url: str, folder: Path) -> tuple[float, float, float]:
    """Return the seconds of a first import, a second one, and a COPY of what is there then."""
    await _empty(url)
    first = _import(url, FILE)["seconds"]
    connection = await asyncpg.connect(url)
    rows = await connection.fetchval(_STATE)
    second = _import(url, FILE)["seconds"]
    if await connection.fetchval(_STATE) != rows:
        raise RuntimeError("the second import changed rows")
    columns = {table: await _columns(connection, table) for table in TABLES}
    for table in TABLES:
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {table}_copy (LIKE {table} INCLUDING ALL)")
        name = table.partition(".")[2]
        await connection.copy_from_table(name, schema_name="catalog", columns=columns[table], output=folder / name)
    began = time.perf_counter()
    for table in TABLES:
        name = table.partition(".")[2]
        await connection.copy_to_table(f"{name}_copy", schema_name="catalog", columns=columns[table], source=folder / name)
    bare = time.perf_counter() - began
    for table in TABLES:
        await connection.execute(f"DROP TABLE {table}_copy")
    await connection.close()
    return first, second, bare


async def _columns(connection: Any, table: str) -> list[str]:
    """Return the columns that are written, not reckoned."""
    rows = await connection.fetch(_COLUMNS, *table.split("."))
    return [row["column_name"] for row in rows]


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    tables = "catalog.releases, catalog.import_facts, operations.operations, platform.events"
    await connection.execute(f"TRUNCATE {tables} CASCADE")
    await connection.execute("CHECKPOINT")
    await connection.close()


def main(url: str, file: str) -> int:
    from server.imports import Command, run
    from server.settings import Settings

    began = time.perf_counter()
    status = run(Settings(database_url=url), Command("bangumi", Path(file)))
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": megabytes}))
    return status


_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = $1 AND table_name = $2 AND is_generated = 'NEVER' AND identity_generation IS DISTINCT FROM 'ALWAYS'
"""
_STATE = """
SELECT (SELECT count(*) FROM catalog.changes) || '/' || (SELECT max(xmin::text::bigint) FROM catalog.releases)
    || '/' || (SELECT max(xmin::text::bigint) FROM catalog.import_facts)
"""

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
