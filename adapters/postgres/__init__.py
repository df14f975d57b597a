"""PostgreSQL: the pool, units of work over it, and what its faults mean to callers."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.transaction import Transaction

from domain.kernel import Begin, Conflict, Unavailable

log = logging.getLogger("ani.postgres")

Store = TypeVar("Store")
Connection: TypeAlias = PoolConnectionProxy

# How long a caller waits for a connection, and a returned one for its rollback: together with the answer it stays within a second.
ACQUIRE_SECONDS = 0.8
LOCK_SECONDS = 2.0
# Connections that wait outside of the pool for whoever comes next.
AT_HAND = 4

_ambient: ContextVar[tuple[Database, Connection] | None] = ContextVar("ambient", default=None)


class DatabaseUnavailable(Unavailable):
    """Raised when PostgreSQL is out of reach, or too busy to answer in time."""

    text = "The database does not answer for now."


class ConcurrentChange(Conflict):
    """Raised when PostgreSQL gave a transaction up for the sake of another one, or of a migration."""

    text = "Another change came between: repeat the request."


GIVEN_UP = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError, asyncpg.InvalidCachedStatementError)
UNREACHABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TargetServerAttributeNotMatched,
)


class Database:
    """A pool of connections to one PostgreSQL; it heals by itself when the server was away."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._at_hand: list[Connection] = []
        self._waiting = 0
        self._closing = False

    @classmethod
    async def connect(cls, url: str, *, size: int = 8, application: str = "ani", patience: float = 5.0) -> Database:
        """Prepare a pool of at most this size; connections are made when they are needed, so the server may be away.

        `patience` is what a statement may take in seconds, and half of what a transaction may idle.
        """
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            max_queries=1_000_000_000,
            max_inactive_connection_lifetime=300.0,
            timeout=ACQUIRE_SECONDS,
            # The server ends a slow statement; this is for a server that does not even do that.
            command_timeout=patience + 1.0,
            init=speak_plainly,
            reset=_leave_as_it_is,
            server_settings={
                "application_name": application,
                "timezone": "UTC",
                "statement_timeout": _milliseconds(patience),
                "lock_timeout": _milliseconds(min(LOCK_SECONDS, patience)),
                "idle_in_transaction_session_timeout": _milliseconds(patience * 2),
            },
        )
        await pool
        return cls(pool)

    def begins(self, store: Callable[[Connection], Store]) -> Begin[Store]:
        """Return what opens a store in a read-write transaction, or in a savepoint of the ambient one."""

        def begin(*, rehearse: bool = False) -> AbstractAsyncContextManager[Store]:
            return _Transaction(self, store, rehearse=rehearse)

        return begin

    def reads(self, store: Callable[[Connection], Store]) -> Begin[Store]:
        """Return what opens a store for reads of one statement each: no transaction, so no round trips for one."""

        def begin(*, rehearse: bool = False) -> AbstractAsyncContextManager[Store]:
            if rehearse:
                raise ValueError("nothing can be undone without a transaction")
            return _Reading(self, store)

        return begin

    @contextlib.asynccontextmanager
    async def ambient(self) -> AsyncIterator[Connection]:
        """Open a transaction that whatever this task begins meanwhile joins, one unit of work after the other."""
        async with self.begins(bare)() as connection:
            token = _ambient.set((self, connection))
            try:
                yield connection
            finally:
                _ambient.reset(token)

    async def revision(self) -> int:
        """Return the place in the write-ahead log that holds everything committed so far."""
        async with self.reads(bare)() as connection:
            return int(await connection.fetchval(_REVISION))

    async def schema_revision(self) -> str:
        """Return the revision of the schema, empty when nothing was migrated yet."""
        try:
            async with self.reads(bare)() as connection:
                return await connection.fetchval("SELECT version_num FROM public.alembic_version") or ""
        except asyncpg.UndefinedTableError:
            return ""

    async def check(self) -> None:
        """Raises DatabaseUnavailable."""
        async with self.reads(bare)() as connection:
            await connection.fetchval("SELECT 1")

    async def close(self) -> None:
        """Wait for what is at work, then close the connections."""
        self._closing = True
        while self._at_hand:
            await self.release(self._at_hand.pop())
        await self._pool.close()

    async def acquire(self) -> Connection:
        """Take a connection that is at hand, or one out of the pool. Raises DatabaseUnavailable."""
        while self._at_hand:
            connection = self._at_hand.pop()
            if not connection.is_closed():
                return connection
            await self.release(connection)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        except (*UNREACHABLE, asyncpg.InterfaceError) as fault:
            raise refusal(fault, lost=True) or fault from fault
        finally:
            self._waiting -= 1

    async def put_back(self, connection: Connection) -> None:
        """Give a connection back whose work went well.

        A few stay at hand instead of going back to the pool and out again, which costs as much as a short query, unless somebody
        waits for one.
        """
        if self._waiting or self._closing or len(self._at_hand) >= AT_HAND:
            await self.release(connection)
        else:
            self._at_hand.append(connection)

    async def release(self, connection: Connection) -> None:
        """Give a connection back; what it has open is rolled back, and one that cannot do it in time is closed."""
        try:
            await self._pool.release(connection)
        except (*UNREACHABLE, asyncpg.InterfaceError) as fault:
            log.warning("a connection was closed instead of being given back: %s", fault)

    def joined(self) -> Connection | None:
        """Return the ambient connection if there is one."""
        found = _ambient.get()
        return found[1] if found and found[0] is self else None


class _Reading(Generic[Store]):
    """A connection without a transaction."""

    def __init__(self, database: Database, store: Callable[[Connection], Store]) -> None:
        self._database = database
        self._store = store
        self._own: Connection | None = None

    async def __aenter__(self) -> Store:
        connection = self._database.joined()
        if connection is None:
            self._own = connection = await self._database.acquire()
        return self._store(connection)

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if fault is None:
            if self._own is not None:
                await self._database.put_back(self._own)
            return
        lost = self._own is not None and self._own.is_closed()
        if self._own is not None:
            await self._database.release(self._own)
        if refused := refusal(fault, lost=lost):
            raise refused from fault


class _Transaction(Generic[Store]):
    """A transaction of its own, or a savepoint of the ambient one."""

    def __init__(self, database: Database, store: Callable[[Connection], Store], *, rehearse: bool) -> None:
        self._database = database
        self._store = store
        self._rehearse = rehearse
        self._own: Connection | None = None
        self._transaction: Transaction

    async def __aenter__(self) -> Store:
        connection = self._database.joined()
        if connection is None:
            self._own = connection = await self._database.acquire()
        self._transaction = connection.transaction()
        try:
            await self._transaction.__aenter__()
        except BaseException as fault:
            await self._leave(fault)
            raise
        return self._store(connection)

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if fault is None and not self._rehearse:
                await self._transaction.__aexit__(None, None, None)
            elif self._own is None:
                await self._transaction.__aexit__(_Undone, _Undone(), None)
        except BaseException as failure:
            await self._leave(failure)
            raise
        await self._leave(fault)

    async def _leave(self, fault: BaseException | None) -> None:
        """Give the connection back, which rolls back what is open, and turn a fault into its refusal."""
        lost = self._own is not None and self._own.is_closed()
        if self._own is not None:
            if fault is None and not self._rehearse:
                await self._database.put_back(self._own)
            else:
                await self._database.release(self._own)
        if fault is not None and (refused := refusal(fault, lost=lost)):
            raise refused from fault


class _Undone(Exception):
    """Tells asyncpg to roll back."""


def refusal(fault: BaseException, *, lost: bool = False) -> DatabaseUnavailable | ConcurrentChange | None:
    """Return what a fault of the connection means to callers, or None when it is something else."""
    if isinstance(fault, GIVEN_UP):
        return ConcurrentChange()
    if isinstance(fault, UNREACHABLE) or (lost and isinstance(fault, asyncpg.InterfaceError)):
        log.warning("the database does not answer: %s", str(fault) or type(fault).__name__)
        return DatabaseUnavailable()
    return None


async def speak_plainly(connection: asyncpg.Connection | Connection) -> None:
    """Have ids travel as text, as the domain holds them, and JSON as what it says."""
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str, format="text")
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=_parsed, format="text")


def _parsed(text: str) -> Any:
    """Parse what PostgreSQL printed: it needs none of the checks that make json.loads take twice as long."""
    return _SCAN(text, 0)[0]


async def _leave_as_it_is(connection: asyncpg.Connection) -> None:
    """Spare the round trip that resets a session: no store changes its session."""


def bare(connection: Connection) -> Connection:
    """Stand in for a store where statements are run on the connection itself."""
    return connection


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


_SCAN = json.JSONDecoder().scan_once

# The log's own place while it is written, the replayed one on a replica.
_REVISION = """
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn)::bigint
"""
