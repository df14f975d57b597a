"""Fixtures for all tests: databases, Valkey, a clock that stands still."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta

import asyncpg
import pytest
import uvloop
from redis.asyncio import Redis

from adapters.postgres import Database, platform  # noqa: F401 - its tables join the description below
from adapters.postgres.catalog import tables  # noqa: F401 - as these do
from adapters.postgres.everything import TABLES
from tests import engines
from tests.builders import NOON
from tests.engines import Engines

pytest_plugins = ["tests.own_engines", "tests.serving", "tests.workers"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name binary data by the argument it is: what is packed anew holds the second of it, and no two processes agree on a name."""
    return argname if isinstance(val, bytes) else None


class StillClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        return self.now


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(scope="session")
def worker_number(request: pytest.FixtureRequest) -> int:
    """The number of this process among those that share the tests."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture(scope="session")
def the_engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    """PostgreSQL and Valkey, shared by all processes of this run."""
    shared = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    folder, run = (base.parent, os.getppid()) if shared else (base, os.getpid())
    with (folder / "engines.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return engines.start(folder, run)


@pytest.fixture(scope="session")
def worker_database(the_engines: Engines, worker_number: int) -> str:
    """The database of this test process, made from the migrated template."""
    return asyncio.run(the_engines.copy_database(f"tests_{worker_number}"))


@pytest.fixture
async def database_url(worker_database: str) -> AsyncIterator[str]:
    """A migrated database, empty before and after each test.

    Tests commit for real, and what they left is deleted: a rolled-back transaction around each test would hide what depends on
    commits, such as notifications, the change feed and everything that two sessions see of one another.
    """
    yield worker_database
    # As a replica, so that what is only ever added to can be emptied too.
    plain = {"lock_timeout": "5s", "session_replication_role": "replica"}
    connection = await asyncpg.connect(worker_database, server_settings=plain)
    await connection.execute(_EMPTY)
    await connection.close()


_EMPTY = "".join(f"DELETE FROM {table.fullname};" for table in reversed(TABLES))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(database_url, size=8, application="ani-tests")
    yield database
    await database.close()


@pytest.fixture
async def valkey_url(the_engines: Engines, worker_number: int) -> AsyncIterator[str]:
    """A Valkey database for cache and quotas, empty before and after each test."""
    url = the_engines.valkey_database(2 * worker_number)
    yield url
    await _flush(url)


@pytest.fixture
async def broker_url(the_engines: Engines, worker_number: int) -> AsyncIterator[str]:
    """A Valkey database for jobs, empty before and after each test."""
    url = the_engines.valkey_database(2 * worker_number + 1)
    yield url
    await _flush(url)


async def _flush(url: str) -> None:
    async with Redis.from_url(url) as client:
        await client.flushdb()
