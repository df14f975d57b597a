"""What a worker does about own data, and an account that something is kept of everywhere."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, LargeBinary, SmallInteger, Table, bindparam
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from adapters.postgres import Database, bare
from adapters.postgres.everything import TABLES
from adapters.postgres.listen import Bell
from adapters.postgres.outbox import PostgresOutbox
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.kernel import new_id
from server import imports
from server.events.deliveries import Deliveries
from server.settings import Settings
from server.wiring import own_data

NAME = "Zorblax Quuxling"
WHOSE = {table.fullname: {kept.column for kept in all_kept} for table in TABLES if (all_kept := [
    kept for context in own_data.KEPT.values() for kept in context if kept.table is table
])}  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)


class Worker:
    """Does what a worker does about own data, when it is told to."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._duties = own_data.duties(settings, database, now)
        self._outbox = PostgresOutbox(database)

    async def make_exports(self) -> None:
        runner = imports.runner(self._database, self._duties.operations, Bell())
        while taken := await runner.take():
            await runner.run(taken)

    async def tick(self, job: str) -> None:
        (act,) = (one.act for one in self._duties.jobs if one.name == job)
        async with self._database.ambient():
            await act(now())

    async def settle(self) -> None:
        """Deliver all events."""
        deliveries = Deliveries(self._outbox, self._duties.reactions)
        while await self._outbox.route(deliveries.routes, limit=1000):
            for delivery_id in await self._outbox.claim(limit=1000, patience=timedelta(minutes=1)):
                await deliveries.deliver(delivery_id)


async def run(database: Database, statement: str, *arguments: object) -> list[Any]:
    async with database.begins(bare)() as connection:
        return list(await connection.fetch(statement, *arguments))


async def let_pass(database: Database, account_id: str, **span: float) -> None:
    """Let time pass since an account was deleted by its owner."""
    statement = "UPDATE accounts.accounts SET delete_time = delete_time - $2::interval WHERE account_id = $1"
    await run(database, statement, account_id, timedelta(**span))


async def fill(database: Database, account_id: str) -> None:
    """Keep something of an account in every table that may, and of what these refer to, as the catalog of tables has them."""
    made: dict[Column[Any], Any] = {}
    async with database.begins(bare)() as connection:
        for table in _needed():
            if table.name == "accounts":
                made[table.c.account_id] = account_id
                continue
            values = {column.name: _value(column, account_id, made) for column in table.c if _is_given(column)}
            made |= {table.c[name]: value for name, value in values.items()}
            await Statement(table.insert().values({name: bindparam(name) for name in values})).execute(connection, **values)


def _needed() -> list[Table]:
    wanted = {table for table in TABLES if table.fullname in WHOSE}
    while more := {key.column.table for table in wanted for key in table.foreign_keys} - wanted:
        wanted |= more
    return [table for table in TABLES if table in wanted]


def _is_given(column: Column[Any]) -> bool:
    return not column.identity and (not column.nullable or column.name in WHOSE.get(column.table.fullname, ()))


def _value(column: Column[Any], account_id: str, made: dict[Column[Any], Any]) -> Any:
    if column.name in WHOSE.get(column.table.fullname, ()):
        return account_id
    for key in column.foreign_keys:
        return made[key.column]
    if column.table.fullname in WHOSE and column.name in {"name", "email", "nickname"}:
        return NAME
    kind = type(column.type)
    if kind is type(Id):
        return new_id(at=now())
    plain: dict[type, Any] = {
        Boolean: False, Double: 0.5, Integer: 1, BigInteger: 1, SmallInteger: 1, LargeBinary: b"bytes", JSONB: [], ARRAY: [],
        type(Moment): now(),
    }  # fmt: skip
    return plain.get(kind, f"words {new_id(at=now())}")


async def scan(database: Database, needles: Iterable[str]) -> dict[str, set[str]]:
    """Return which of some texts stand anywhere in which table of the database, whichever it is."""
    tables = await run(
        database,
        "SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables "
        "WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')",
    )
    found: dict[str, set[str]] = {}
    for name in (row["name"] for row in tables):
        for needle in needles:
            query = f"SELECT 1 FROM {name} AS one WHERE strpos(lower(one::text), lower($1)) > 0 LIMIT 1"
            if await run(database, query, needle):
                found.setdefault(name, set()).add(needle)
    return found


def unpacked(parts: Iterable[bytes]) -> dict[str, Any]:
    """Return what stands in the files of an export."""
    files: dict[str, Any] = {}
    for part in parts:
        with zipfile.ZipFile(io.BytesIO(part)) as archive:
            assert archive.testzip() is None
            assert not files.keys() & set(archive.namelist())
            files |= {name: json.loads(archive.read(name)) for name in archive.namelist()}
    return files
