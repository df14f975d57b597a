"""PostgreSQL: the pool, units of work over it, and what its faults mean to callers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from adapters.postgres.sharing import Shared
from domain.kernel import Begin, Collision, Conflict, Unavailable

log = logging.getLogger("ani.postgres")

Store = TypeVar("Store")
Connection: TypeAlias = PoolConnectionProxy

# How long a caller waits for a connection, and a returned one for its rollback: together with the answer it stays within a second.
ACQUIRE_SECONDS = 0.8
LOCK_SECONDS = 2.0
# An outage is not told with every call that it fails.
COMPLAINT_SECONDS = 5.0
# Connections that wait outside of the pool for whoever comes next.
AT_HAND = 4

_ambient: ContextVar[tuple[Database, Connection] | None] = ContextVar("ambient", default=None)


class DatabaseUnavailable(Unavailable):
    """Raised when PostgreSQL is out of reach, or too busy to answer in time."""

    text = "The database does not answer for now."


class ConcurrentChange(Collision):
    """Raised when PostgreSQL gave a transaction up for the sake of another one, or of a migration."""

    text = "Another change came between: repeat the request."


GIVEN_UP = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError, asyncpg.InvalidCachedStatementError)
AWAY = (
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
UNREACHABLE = (OSError, *AWAY)
# Raised before anything is sent, for a connection that is closed or not what it should be.
OF_THE_CLIENT = (asyncpg.InterfaceError, asyncpg.InternalClientError)
# After these nobody can tell what a connection does next: one that waited too long for an answer may still get it, and one that was
# told of its end while it was idle takes that for an answer.
BROKEN = (OSError, asyncpg.InternalClientError)
FAULTS = (*UNREACHABLE, *OF_THE_CLIENT, asyncpg.PostgresError)


class Database:
    """A pool of connections to one PostgreSQL; it heals by itself when the server was away."""

    def __init__(self, pool: asyncpg.Pool, *, wait: float) -> None:
        self._pool = pool
        self._wait = wait
        self._at_hand: list[Connection] = []
        self._waiting = 0
        self._closing = False
        self._next_complaint = 0.0
        self._shared_revision = Shared(self._ask_revision)

    @classmethod
    async def connect(
        cls, url: str, *, size: int = 8, application: str = "ani", patience: float = 5.0, wait: float = ACQUIRE_SECONDS
    ) -> Database:
        """Prepare a pool of at most this size; connections are made when they are needed, so the server may be away.

        In seconds, `patience` is what a statement may take and half of what a transaction may idle; `wait` is what it may take to
        get a connection.
        """
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            max_queries=1_000_000_000,
            max_inactive_connection_lifetime=300.0,
            timeout=wait,
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
        return cls(pool, wait=wait)

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
        """Return the place in the write-ahead log that holds everything committed so far.

        Whoever asks while a question is under way, which may have been put too early for them, shares the next one.
        """
        if self.joined() is not None:
            return await self._ask_revision()
        return await self._shared_revision.answer()

    async def _ask_revision(self) -> int:
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
            if not _is_lost(connection):
                return connection
            await self.release(connection)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=self._wait)
        except (*UNREACHABLE, *OF_THE_CLIENT) as fault:
            raise self._refusal(fault, lost=True) or fault from fault
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

    async def give_up(self, connection: Connection, fault: BaseException, *, own: bool) -> Unavailable | Conflict | None:
        """Give back a connection on which something failed; return what that means to callers, or None when it is theirs."""
        lost = _is_lost(connection)
        if own:
            await self.release(connection)
        return self._refusal(fault, lost=lost)

    async def release(self, connection: Connection) -> None:
        """Give a connection back to the pool, which closes one that does not get over a broken-off statement in time."""
        try:
            await self._pool.release(connection)
        except FAULTS as fault:
            log.warning("a connection was closed instead of being given back: %s", fault)

    def _refusal(self, fault: BaseException, *, lost: bool) -> Unavailable | Conflict | None:
        if isinstance(fault, GIVEN_UP):
            return ConcurrentChange()
        # A connection in order had no part in an OSError: that comes from something else its user does.
        if isinstance(fault, AWAY) or (lost and isinstance(fault, (OSError, *OF_THE_CLIENT))):
            if time.monotonic() > self._next_complaint:
                log.warning("the database does not answer: %s", str(fault) or type(fault).__name__)
                self._next_complaint = time.monotonic() + COMPLAINT_SECONDS
            return DatabaseUnavailable()
        return None

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
        connection = self._own or self._database.joined()
        if self._own is not None and isinstance(fault, BROKEN):
            _terminate(self._own)
        if connection and (refused := await self._database.give_up(connection, fault, own=self._own is not None)):
            raise refused from fault


class _Transaction(Generic[Store]):
    """A transaction of its own, or a savepoint of the ambient one.

    It does without asyncpg's transactions: for those a COMMIT that PostgreSQL answers with ROLLBACK is as good as any.
    """

    def __init__(self, database: Database, store: Callable[[Connection], Store], *, rehearse: bool) -> None:
        self._database = database
        self._store = store
        self._rehearse = rehearse
        self._own: Connection | None = None
        self._connection: Connection

    async def __aenter__(self) -> Store:
        joined = self._database.joined()
        if joined is None:
            self._own = joined = await self._database.acquire()
        self._connection = joined
        try:
            await joined.execute("SAVEPOINT unit" if self._own is None else "BEGIN")
        except BaseException as fault:
            await self._abandon(fault)
            raise
        return self._store(joined)

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if fault is not None:
            await self._abandon(fault)
            return
        try:
            if self._rehearse:
                await self._undo()
            else:
                await self._keep()
        except BaseException as failure:
            await self._abandon(failure)
            raise
        if self._own is not None:
            await self._database.put_back(self._own)

    async def _keep(self) -> None:
        kept = await self._connection.execute("RELEASE SAVEPOINT unit" if self._own is None else "COMMIT")
        if kept == "ROLLBACK":
            raise NothingKept("a statement of this unit of work failed, and that was passed over: nothing was kept")

    async def _undo(self) -> None:
        await self._connection.execute("ROLLBACK TO SAVEPOINT unit" if self._own is None else "ROLLBACK")

    async def _abandon(self, fault: BaseException) -> None:
        """Undo what was done, give the connection back, and turn the fault into its refusal."""
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await self._undo()
        except FAULTS:
            self._drop()
        except BaseException:
            self._drop()
            raise
        finally:
            refused = await self._database.give_up(self._connection, fault, own=self._own is not None)
        if refused:
            raise refused from fault

    def _drop(self) -> None:
        """Close a connection of which nobody can tell what is open on it."""
        if self._own is not None:
            _terminate(self._own)


class NothingKept(RuntimeError):
    """Raised instead of a success that would be none."""


def _is_lost(connection: Connection) -> bool:
    """Tell whether the server has gone away under a connection, which the pool may have noticed before us."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


def _terminate(connection: Connection) -> None:
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


async def speak_plainly(connection: asyncpg.Connection | Connection) -> None:
    """Have ids travel as text, as the domain holds them, and JSON as what it says."""
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str, format="text")
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=_parsed, format="text")


def _parsed(text: str) -> Any:
    """Parse what PostgreSQL printed: it needs none of the checks that make json.loads take twice as long."""
    return _DECODER.raw_decode(text)[0] if text != "[]" else []


async def _leave_as_it_is(connection: asyncpg.Connection) -> None:
    """Spare the round trip that resets a session: no store changes its session."""


def bare(connection: Connection) -> Connection:
    """Stand in for a store where statements are run on the connection itself."""
    return connection


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


_DECODER = json.JSONDecoder()

# The log's own place while it is written, the replayed one on a replica.
_REVISION = """
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn)::bigint
"""
