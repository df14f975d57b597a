"""The audit log in PostgreSQL: entries are added as they happen, and chained one after the other a moment later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Integer, Text, bindparam, func, insert, select, text, tuple_

from adapters.postgres import Connection, Database, bare
from adapters.postgres.platform import audit_log
from adapters.postgres.schema import Moment
from adapters.postgres.statement import Statement
from domain.audit import NOTHING, Entry, Filter, Head, Kept, Mark, follow

FIELDS = [one.name for one in fields(Entry)]
# Whoever chains holds it, so that there is one chain however many workers there are.
SEALING_LOCK = 0x616E6961
READ_AT_ONCE = 1000

_log = audit_log.c
_KEPT = [_log[name] for name in ("entry_id", *FIELDS, "chain_number", "previous_hash", "hash")]
_limit = bindparam("limit", type_=Integer)
_RECORD = Statement(insert(audit_log).values({name: bindparam(name) for name in FIELDS}))
_LOCK = Statement(select(func.pg_try_advisory_xact_lock(bindparam("key", type_=BigInteger))))
_HEAD = Statement(
    select(_log.chain_number, _log.hash).where(_log.chain_number.is_not(None)).order_by(_log.chain_number.desc()).limit(1)
)
_UNCHAINED = Statement(select(*_KEPT).where(_log.chain_number.is_(None)).order_by(_log.entry_id).limit(_limit))
_CHAINED = Statement(
    select(*_KEPT).where(_log.chain_number > bindparam("after", type_=BigInteger)).order_by(_log.chain_number).limit(_limit)
)
_STANDING = Statement(
    text("""
    SELECT count(chain_number) AS chained, count(*) - count(chain_number) AS unchained,
        min(time) FILTER (WHERE chain_number IS NULL) AS unchained_since
    FROM platform.audit_log
    """)
)
_CHAIN = Statement(
    text("""
    UPDATE platform.audit_log
    SET chain_number = link.number, previous_hash = link.previous, hash = link.hash
    FROM unnest(
        CAST(:entry_ids AS bigint[]), CAST(:numbers AS bigint[]), CAST(:previous AS bytea[]), CAST(:hashes AS bytea[])
    ) AS link (entry_id, number, previous, hash)
    WHERE audit_log.entry_id = link.entry_id
    """)
)


@cache
def _list(narrowed: frozenset[str]) -> Statement:
    """Return the statement of a list; one for each shape."""
    query = select(*_KEPT).order_by(_log.time.desc(), _log.entry_id.desc())
    for name in sorted(narrowed & set(FIELDS)):
        query = query.where(_log[name] == bindparam(name, type_=Text))
    if "since" in narrowed:
        query = query.where(_log.time >= bindparam("since", type_=Moment))
    if "until" in narrowed:
        query = query.where(_log.time < bindparam("until", type_=Moment))
    if "after_id" in narrowed:
        place = tuple_(bindparam("after_time", type_=Moment), bindparam("after_id", type_=BigInteger))
        query = query.where(tuple_(_log.time, _log.entry_id) < place)
    return Statement(query.limit(_limit))


async def record(connection: Connection, entry: Entry) -> None:
    """Append an entry in the caller's transaction."""
    await _RECORD.execute(connection, **{name: _storable(getattr(entry, name)) for name in FIELDS})


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of the log is chained by now, and since when the rest waits."""

    chained: int
    unchained: int
    unchained_since: datetime | None


class PostgresAudit:
    """The audit log, each step a unit of work of its own: a call that was refused is kept too."""

    def __init__(self, database: Database) -> None:
        self._read = database.reads(bare)
        self._begin = database.begins(bare)

    async def record(self, entry: Entry) -> None:
        """Raises DatabaseUnavailable."""
        async with self._read() as connection:
            await record(connection, entry)

    async def entries(self, wanted: Filter, *, after: tuple[datetime, int] | None, limit: int) -> list[Kept]:
        """Return the entries that are wanted, the newest first."""
        values: dict[str, Any] = {one.name: value for one in fields(wanted) if (value := getattr(wanted, one.name))}
        if after is not None:
            values |= {"after_time": after[0], "after_id": after[1]}
        async with self._read() as connection:
            rows = await _list(frozenset(values)).fetch(connection, **values, limit=limit)
        return [_kept(row) for row in rows]

    async def head(self) -> Head:
        async with self._read() as connection:
            return await _head(connection)

    async def standing(self) -> Standing:
        async with self._read() as connection:
            (row,) = await _STANDING.fetch(connection)
        return Standing(row["chained"], row["unchained"], row["unchained_since"])

    async def chained(self) -> AsyncIterator[list[Kept]]:
        """Yield the chain from its first entry on, some at a time."""
        after = -1
        while True:
            async with self._read() as connection:
                rows = await _CHAINED.fetch(connection, after=after, limit=READ_AT_ONCE)
            if not rows:
                return
            after = rows[-1]["chain_number"]
            yield [_kept(row) for row in rows]

    async def seal(self, mark: Mark, *, limit: int) -> tuple[Head, int] | None:
        """Chain entries that are not chained yet; return the head and how many there were, None while another does it.

        An entry gets its place when it is seen, not when its transaction began: so nobody waits for a gap to be filled.
        """
        async with self._begin() as connection:
            if not await _LOCK.fetchval(connection, key=SEALING_LOCK):
                return None
            head = await _head(connection)
            fresh = [_kept(row) for row in await _UNCHAINED.fetch(connection, limit=limit)]
            heads = [head]
            for kept in fresh:
                heads.append(follow(heads[-1], kept, mark=mark))
            if fresh:
                await _CHAIN.execute(
                    connection,
                    entry_ids=[kept.entry_id for kept in fresh],
                    numbers=[one.number for one in heads[1:]],
                    previous=[one.hash for one in heads[:-1]],
                    hashes=[one.hash for one in heads[1:]],
                )
        return heads[-1], len(fresh)


async def _head(connection: Connection) -> Head:
    row = await _HEAD.fetchrow(connection)
    return Head(row["chain_number"], row["hash"]) if row else Head()


def _kept(row: Any) -> Kept:
    entry = Entry(**{name: row[name] for name in FIELDS})
    return Kept(
        entry_id=row["entry_id"],
        entry=entry,
        number=row["chain_number"],
        previous=row["previous_hash"] or NOTHING,
        hash=row["hash"] or NOTHING,
    )


def _storable(value: Any) -> Any:
    """Show the one character that PostgreSQL cannot keep by its symbol: a request that was refused for it is kept too."""
    if isinstance(value, str):
        return value.replace("\0", "\u2400")
    if isinstance(value, Mapping):
        return {_storable(name): _storable(one) for name, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list) else value
