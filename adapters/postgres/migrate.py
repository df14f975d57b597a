"""Bringing a database's schema up to date, one migrator at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from adapters.postgres import UNREACHABLE, DatabaseUnavailable

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

log = logging.getLogger("ani.migrate")

HOME = Path(__file__).parents[2] / "migrations"
# Any number will do, as long as nothing else in the database takes it.
LOCK = 4_150_811_774
CONNECT_SECONDS = 5.0
POLL_SECONDS = 0.2
# A migration that does not get its locks is tried again while traffic goes on.
ATTEMPTS = 10
RETRY_SECONDS = 1.0


class MigrationBlocked(Exception):
    """Raised when a table stayed locked by others through all attempts."""


def head() -> str:
    """Return the latest revision that this release knows; revisions are times, so later ones sort higher."""
    return max(path.stem.partition("_")[0] for path in (HOME / "versions").glob("[0-9]*_*.py"))


async def current(url: str) -> str:
    """Return the database's revision, empty when it has none. Raises DatabaseUnavailable."""
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS)
    except UNREACHABLE as fault:
        raise DatabaseUnavailable from fault
    try:
        return await connection.fetchval("SELECT version_num FROM alembic_version") or ""
    except asyncpg.UndefinedTableError:
        return ""
    finally:
        await connection.close()


async def upgrade(url: str, revision: str = "head", *, tell: Callable[[str], None] = log.info) -> None:
    """Apply what is missing up to a revision. Raises DatabaseUnavailable and MigrationBlocked."""
    from alembic import command

    await _migrate(url, lambda config: command.upgrade(config, revision), tell)


async def forget_another_clusters_changes(url: str, *, tell: Callable[[str], None] = log.info) -> None:
    """Empty the change feed of what a backup brought along from another cluster.

    Places in the feed are numbers of transactions. Those of the cluster that the backup was made of are ahead of this one's: they
    would be shown once it catches up, between changes made long after them. Clients that hold such a place begin anew.
    """
    connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    try:
        # The number of this transaction is drawn after it looks around: what it sees of its own cluster has a lower one.
        count = int((await connection.execute("DELETE FROM catalog.changes WHERE xid > pg_current_xact_id()")).split()[1])
    finally:
        await connection.close()
    if count:
        tell(f"forgot {count} entries of the change feed, which another cluster had made")


async def downgrade(url: str, revision: str, *, tell: Callable[[str], None] = log.info) -> None:
    """Undo what came after a revision; `base` undoes everything. Raises DatabaseUnavailable and MigrationBlocked."""
    from alembic import command

    await _migrate(url, lambda config: command.downgrade(config, revision), tell)


async def draft(url: str, message: str) -> Path:
    """Write a migration to what the tables in the code have beyond those of an up-to-date database; return its file."""
    from alembic import command

    number = datetime.now(UTC).strftime("%Y%m%d%H%M")
    await _migrate(url, lambda config: command.revision(config, message, autogenerate=True, rev_id=number), log.info)
    (path,) = (HOME / "versions").glob(f"{number}_*.py")
    return path


async def drift(url: str) -> list[Any]:
    """Return what would have to be migrated for the database to be as the tables in the code describe it."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from adapters.postgres.everything import SCHEMAS
    from adapters.postgres.schema import metadata

    def compare(connection: Connection) -> list[Any]:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name in SCHEMAS,
        }
        differences: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        return differences

    async with _connected(url) as connection:
        differences: list[Any] = await connection.run_sync(compare)
    return differences


async def _migrate(url: str, run: Callable[[Config], object], tell: Callable[[str], None]) -> None:
    from sqlalchemy.exc import DBAPIError

    async with _connected(url) as connection:
        await _take_turn(connection)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await connection.run_sync(lambda sync: run(_config(sync, tell)))
                return
            except DBAPIError as fault:
                if getattr(fault.orig, "sqlstate", "") != asyncpg.LockNotAvailableError.sqlstate:
                    raise
                tell(f"others hold a lock that the migration needs (attempt {attempt} of {ATTEMPTS})")
                await connection.rollback()
                await asyncio.sleep(RETRY_SECONDS)
    raise MigrationBlocked("the tables to be migrated stay locked: end the long transactions in pg_stat_activity, and repeat")


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    from sqlalchemy import NullPool
    from sqlalchemy.ext.asyncio import create_async_engine

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(url, timeout=CONNECT_SECONDS, server_settings={"application_name": "ani-migrate"})

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            yield connection
    except UNREACHABLE as fault:
        raise DatabaseUnavailable from fault
    finally:
        await engine.dispose()


async def _take_turn(connection: Any) -> None:
    """Wait until no other migrator is at work."""
    from sqlalchemy import func, select

    # Asked again and again, because a waiting statement holds a snapshot, and CREATE INDEX CONCURRENTLY waits for those.
    while True:
        mine = await connection.scalar(select(func.pg_try_advisory_lock(LOCK)))
        await connection.commit()
        if mine:
            return
        await asyncio.sleep(POLL_SECONDS)


def _config(connection: Connection, tell: Callable[[str], None]) -> Config:
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "tell": tell})
    config.set_main_option("script_location", str(HOME).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config
