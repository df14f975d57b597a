"""The store of those who keep order among accounts."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Integer, SmallInteger, Text, and_, bindparam, func, or_, select, tuple_

from adapters.postgres.accounts.revocations import revoke
from adapters.postgres.accounts.store import PostgresAccounts, account_from_row
from adapters.postgres.accounts.tables import accounts
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.accounts.administration import Wanted
from domain.accounts.model import Account
from domain.kernel import Role

# Whoever changes who is an administrator holds it.
ADMINISTRATORS_LOCK = 0x616E6964

_at = bindparam("at", type_=Moment)
_BANNED = and_(accounts.c.ban_time.is_not(None), or_(accounts.c.ban_expire_time.is_(None), accounts.c.ban_expire_time > _at))
_UNBANNED = or_(accounts.c.ban_time.is_(None), accounts.c.ban_expire_time <= _at)
_HOLD = Statement(select(func.pg_advisory_xact_lock(bindparam("key", type_=BigInteger))))
_ADMINISTRATORS = Statement(
    select(accounts.c.account_id).where(
        accounts.c.role == bindparam("role", type_=SmallInteger), _UNBANNED, accounts.c.delete_time.is_(None)
    )
)


@cache
def _list(narrowed: frozenset[str]) -> Statement:
    """Return the statement of a list; one for each shape."""
    query = select(*accounts.c).order_by(accounts.c.create_time.desc(), accounts.c.account_id.desc())
    if "pattern" in narrowed:
        pattern = bindparam("pattern", type_=Text)
        query = query.where(or_(accounts.c.email_key.like(pattern), func.lower(accounts.c.name).like(pattern)))
    if "role" in narrowed:
        query = query.where(accounts.c.role == bindparam("role", type_=SmallInteger))
    if "at" in narrowed:
        query = query.where(_BANNED)
    if "after_id" in narrowed:
        place = tuple_(bindparam("after_time", type_=Moment), bindparam("after_id", type_=Id))
        query = query.where(tuple_(accounts.c.create_time, accounts.c.account_id) < place)
    return Statement(query.limit(bindparam("limit", type_=Integer)))


class PostgresAdministration(PostgresAccounts):
    """All accounts, on one connection."""

    async def accounts(self, wanted: Wanted, *, after: tuple[datetime, str] | None, limit: int, at: datetime) -> list[Account]:
        values: dict[str, Any] = {"pattern": _pattern(wanted.query)} if wanted.query else {}
        if wanted.role is not None:
            values["role"] = wanted.role.value
        if wanted.only_banned:
            values["at"] = at
        if after is not None:
            values |= {"after_time": after[0], "after_id": after[1]}
        rows = await _list(frozenset(values)).fetch(self.connection, **values, limit=limit)
        return [found for row in rows if (found := account_from_row(row)) is not None]

    async def hold_administrators(self) -> None:
        await _HOLD.execute(self.connection, key=ADMINISTRATORS_LOCK)

    async def administrators(self, *, at: datetime) -> list[str]:
        rows = await _ADMINISTRATORS.fetch(self.connection, role=Role.ADMIN.value, at=at)
        return [row["account_id"] for row in rows]

    async def void_tokens(self, account_id: str, *, at: datetime) -> None:
        await revoke(self.connection, account_id, at=at)


def _pattern(query: str) -> str:
    """Return what matches wherever a text occurs, with nothing in it that stands for anything else."""
    plain = query.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{plain}%"
