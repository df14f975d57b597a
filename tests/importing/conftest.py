"""What tests of imports share: the job as a worker has it, and where real data are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.listen import Bell
from adapters.postgres.operations.store import PostgresOperations
from domain.kernel import new_id
from domain.media.sources import Origins
from domain.operations.model import Operation
from domain.operations.service import Operations
from server import imports
from tests.builders import NOON

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
KODIK_TOKEN = "a-very-secret-token"
# Of Kodik's players.
HOSTS = ("kodik.info",)

Imported = Callable[..., Awaitable[Operation]]


@pytest.fixture
def shared_data() -> Path:
    """Real data, kept beside the project."""
    if not DATA.is_dir():
        pytest.skip(f"there are no real data in {DATA}")
    return DATA


@pytest.fixture
def operations(database: Database) -> Operations:
    return Operations(begin=database.begins(PostgresOperations), read=database.reads(PostgresOperations), bell=Bell())


@pytest.fixture
def imported(database: Database, operations: Operations) -> Imported:
    """Run an import to its end."""

    async def run(
        source: str, file: Path | None = None, *, kodik_url: str = "", video_hosts: tuple[str, ...] = HOSTS, **parameters: Any
    ) -> Operation:
        token = KODIK_TOKEN if kodik_url else ""
        jobs = imports.jobs(database, kodik_url=kodik_url, kodik_token=token, origins=Origins(video_hosts))
        runner = imports.runner(database, jobs, Bell())
        kind = "import-relations" if source == "relations" else "import"
        asked = {"source": source, **({"file": str(file)} if file else {}), **parameters}
        operation = Operation(operation_id=new_id(at=NOON), kind=kind, title=source, parameters=asked, create_time=NOON)
        await operations.start(operation)
        taken = await runner.take(operation.operation_id)
        assert taken is not None
        return await runner.run(taken)

    return run


async def rows(database: Database, query: str, *arguments: object) -> list[Any]:
    async with database.reads(bare)() as connection:
        return [tuple(row) for row in await connection.fetch(query, *arguments)]
