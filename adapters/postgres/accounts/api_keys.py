"""The store of API keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, LargeBinary, and_, bindparam, func, insert, or_, select, update

from adapters.postgres.accounts.key_tables import api_keys
from adapters.postgres.accounts.revocations import revoke
from adapters.postgres.accounts.store import PostgresAccounts, account_from_row
from adapters.postgres.accounts.tables import accounts
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.accounts.api_keys import ApiKey
from domain.accounts.model import Account

MOST_SHOWN = 100
# Its last use is written no more often than this.
USE_WRITTEN = timedelta(minutes=1)

_NAMES = [column.name for column in api_keys.c]
_at = bindparam("at", type_=Moment)
_account_id = bindparam("account_id", type_=Id)
_key_id = bindparam("key_id", type_=Id)
_GOOD = and_(api_keys.c.revoke_time.is_(None), api_keys.c.expire_time > _at)

# Whoever creates a key waits for whoever is creating one for the same account: together they might create too many.
_HOLD = Statement(select(accounts.c.account_id).where(accounts.c.account_id == _account_id).with_for_update())
_COUNT = Statement(select(func.count()).select_from(api_keys).where(api_keys.c.account_id == _account_id, _GOOD))
_ADD = Statement(insert(api_keys).values({name: bindparam(name) for name in _NAMES}))
_KEYS = Statement(
    select(*api_keys.c)
    .where(
        api_keys.c.account_id == _account_id,
        api_keys.c.expire_time > bindparam("since", type_=Moment),
        or_(api_keys.c.revoke_time.is_(None), api_keys.c.revoke_time > bindparam("since", type_=Moment)),
    )
    .order_by(api_keys.c.create_time.desc(), api_keys.c.key_id.desc())
    .limit(bindparam("limit", type_=Integer))
)
_REVOKE = Statement(
    update(api_keys)
    .where(api_keys.c.account_id == _account_id, api_keys.c.key_id == _key_id)
    .values(revoke_time=func.coalesce(api_keys.c.revoke_time, _at))
)
_hash = bindparam("key_hash", type_=LargeBinary)
_used = (
    update(api_keys)
    .where(
        api_keys.c.key_hash == _hash,
        _GOOD,
        or_(api_keys.c.use_time.is_(None), api_keys.c.use_time < bindparam("written_before", type_=Moment)),
    )
    .values(use_time=_at)
    .returning(api_keys.c.key_id)
    .cte("used")
)
_USE = Statement(
    select(*(column.label(f"k_{column.name}") for column in api_keys.c), *accounts.c)
    .join(accounts, api_keys.c.account_id == accounts.c.account_id)
    .where(api_keys.c.key_hash == _hash)
    .add_cte(_used)
)


class PostgresApiKeys(PostgresAccounts):
    """API keys on one connection, with the accounts that created them."""

    async def account_to_change(self, account_id: str) -> Account | None:
        await _HOLD.fetchval(self.connection, account_id=account_id)
        return await self.account(account_id)

    async def good_keys(self, account_id: str, *, at: datetime) -> int:
        return int(await _COUNT.fetchval(self.connection, account_id=account_id, at=at))

    async def add_key(self, key: ApiKey) -> None:
        values: dict[str, Any] = {name: getattr(key, name) for name in _NAMES}
        await _ADD.execute(self.connection, **values | {"scopes": sorted(key.scopes)})

    async def keys(self, account_id: str, *, since: datetime) -> list[ApiKey]:
        return [_key(row) for row in await _KEYS.fetch(self.connection, account_id=account_id, since=since, limit=MOST_SHOWN)]

    async def revoke_key(self, account_id: str, key_id: str, *, at: datetime) -> bool:
        found = await _REVOKE.execute(self.connection, account_id=account_id, key_id=key_id, at=at) == "UPDATE 1"
        if found:
            await revoke(self.connection, account_id, key_id, at=at)
        return found

    async def use_key(self, key_hash: bytes, *, at: datetime) -> tuple[ApiKey, Account] | None:
        """Return a key with the account that created it, and note that it was used, if that was not just done."""
        row = await _USE.fetchrow(self.connection, key_hash=key_hash, at=at, written_before=at - USE_WRITTEN)
        account = account_from_row(row)
        return (_key(row, "k_"), account) if account is not None else None


def _key(row: Any, prefix: str = "") -> ApiKey:
    values = {name: row[prefix + name] for name in _NAMES}
    return ApiKey(**values | {"scopes": frozenset(values["scopes"])})
