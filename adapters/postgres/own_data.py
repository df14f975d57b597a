"""What the tables of a context keep of accounts: how it is told to them, and what becomes of it when they are erased."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, IntEnum, auto
from typing import Any

from sqlalchemy import Column, Integer, LargeBinary, Table, bindparam, select, tuple_

from adapters.postgres import Database, bare
from adapters.postgres.statement import Statement
from domain.accounts.export import Records

READ_AT_ONCE = 500


class Fate(Enum):
    """What becomes of rows when their account is erased."""

    # A foreign key takes them along.
    GOES = auto()
    # The context's reaction deletes them.
    DELETED = auto()
    # They stay, under an id that is nobody's.
    REPLACED = auto()
    # They stay as they are; `why` says for what reason, and for how long.
    STAYS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A table that keeps something of accounts, by one of its columns."""

    table: Table
    # Names an account.
    column: str = "account_id"
    fate: Fate = Fate.GOES
    # What it is, for its owner. Empty when it is not told, which `why` explains.
    about: str = ""
    # What the file is called, where the table's name does not say it.
    name: str = ""
    # Secrets, and what would tell of others. Bytes are never told: they are hashes and keys.
    withheld: frozenset[str] = frozenset()
    # What the numbers in columns stand for.
    named: Mapping[str, type[IntEnum]] = field(default_factory=dict)
    why: str = ""

    @property
    def file(self) -> str:
        return f"{self.table.schema}/{self.name or self.table.name}"

    @property
    def told(self) -> list[Column[Any]]:
        return [one for one in self.table.c if one.name not in self.withheld and not isinstance(one.type, LargeBinary)]


class OwnData:
    """What one context keeps of accounts."""

    def __init__(self, database: Database, kept: Iterable[Kept]) -> None:
        self._read = database.reads(bare)
        self._begin = database.begins(bare)
        kept = list(kept)
        self._told = [(one, _page(one, later=False), _page(one, later=True)) for one in kept if one.about]
        self._forget = [(one, _forgetting(one)) for one in kept if one.fate in {Fate.DELETED, Fate.REPLACED}]

    async def collect(self, account_id: str) -> AsyncGenerator[Records, None]:
        for kept, first, later in self._told:
            rows = await self._fetch(first, whose=account_id, limit=READ_AT_ONCE)
            while rows:
                yield Records(kept.file, kept.about, [_told(row, kept) for row in rows])
                if len(rows) < READ_AT_ONCE:
                    break
                place = {f"after_{column.name}": rows[-1][f"key_{column.name}"] for column in kept.table.primary_key}
                rows = await self._fetch(later, whose=account_id, limit=READ_AT_ONCE, **place)

    async def _fetch(self, statement: Statement, **values: Any) -> Sequence[Any]:
        async with self._read() as connection:
            return await statement.fetch(connection, **values)

    async def forget(self, account_id: str, stand_in_id: str) -> None:
        """Delete what goes with an account, and put the id that is nobody's in the place of its own in what stays."""
        async with self._begin() as connection:
            for kept, statement in self._forget:
                stand_in = {"stand_in": stand_in_id} if kept.fate is Fate.REPLACED else {}
                await statement.execute(connection, whose=account_id, **stand_in)


def _page(kept: Kept, *, later: bool) -> Statement:
    """Return the statement of the first rows of an account, or of those after a place."""
    table = kept.table
    whose, keys = table.c[kept.column], list(table.primary_key)
    query = (
        select(*kept.told, *(key.label(f"key_{key.name}") for key in keys))
        .where(whose == bindparam("whose", type_=whose.type))
        .order_by(*keys)
        .limit(bindparam("limit", type_=Integer))
    )
    if later:
        query = query.where(tuple_(*keys) > tuple_(*(bindparam(f"after_{key.name}", type_=key.type) for key in keys)))
    return Statement(query)


def _forgetting(kept: Kept) -> Statement:
    whose = kept.table.c[kept.column]
    its = whose == bindparam("whose", type_=whose.type)
    if kept.fate is Fate.DELETED:
        return Statement(kept.table.delete().where(its))
    return Statement(kept.table.update().where(its).values({whose: bindparam("stand_in", type_=whose.type)}))


def _told(row: Any, kept: Kept) -> dict[str, Any]:
    return {column.name: _plain(row[column.name], kept.named.get(column.name)) for column in kept.told}


def _plain(value: Any, named: type[IntEnum] | None) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, list):
        return [_plain(one, named) for one in value]
    if isinstance(value, int) and named is not None:
        return named(value).name if value in set(named) else value
    return value.isoformat() if isinstance(value, (date, datetime)) else value
