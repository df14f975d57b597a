"""The store of exports, and of accounts that go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, bindparam, select, text

from adapters.postgres.accounts.administration import PostgresAdministration
from adapters.postgres.accounts.own_data_tables import exports
from adapters.postgres.accounts.tables import accounts
from adapters.postgres.operations.store import PostgresOperations
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.accounts.export import KIND, Export, ExportState
from domain.accounts.model import Account
from domain.accounts.naming import email_key
from domain.operations.model import Operation, OperationStarted, State

_account_id = bindparam("account_id", type_=Id)
_DUE = Statement(
    select(accounts.c.account_id)
    .where(accounts.c.delete_time <= bindparam("before", type_=Moment))
    .order_by(accounts.c.delete_time)
    .limit(bindparam("limit", type_=Integer))
)
_KEYS = Statement(select(exports.c["keys"]).where(exports.c.account_id == _account_id))
# What names the address or the account without referring to it: sign-ins that came to nothing, and tries held against it.
_ERASE_SIGN_INS = Statement(text("DELETE FROM accounts.sign_ins WHERE lower(email) = lower(CAST(:email AS text))"))
_ERASE_TRIES = Statement(
    text("""
    DELETE FROM accounts.throttles
    WHERE key IN ('account:' || CAST(:email_key AS text), 'register:' || CAST(:email_key AS text))
    OR starts_with(key, 'account:' || CAST(:email_key AS text) || ':')
    OR strpos(key, CAST(:account_id AS text)) > 0
    OR key IN (SELECT 'pin:' || profile_id FROM accounts.profiles WHERE account_id = CAST(CAST(:account_id AS text) AS uuid))
    """)
)
_ERASE = Statement(accounts.delete().where(accounts.c.account_id == _account_id))

_NAMES = [column.name for column in exports.c]
# An export that is not ready is what its operation is.
_EXPORTS = f"""
    SELECT {", ".join(f"exports.{name}" for name in _NAMES)}, operations.state AS operation_state
    FROM accounts.exports LEFT JOIN operations.operations ON operation_id = export_id
"""  # noqa: S608 - columns
_EXPORT = Statement(text(f"{_EXPORTS} WHERE export_id = CAST(:export_id AS uuid)"))
_OF_ACCOUNT = Statement(text(f"{_EXPORTS} WHERE exports.account_id = CAST(:account_id AS uuid) ORDER BY exports.create_time DESC"))
_EXPIRED = Statement(
    text(f"""
    {_EXPORTS} WHERE exports.expire_time <= CAST(:at AS timestamptz)
    OR (exports.ready_time IS NULL AND exports.create_time < CAST(:failed_before AS timestamptz)
        AND coalesce(operations.state, 3) >= 3)
    """)
)
_ADD = Statement(
    text("""
    INSERT INTO accounts.exports (export_id, account_id, keys, size, record_count, create_time)
    VALUES (CAST(:export_id AS uuid), CAST(:account_id AS uuid), '{}', 0, 0, CAST(:create_time AS timestamptz))
    ON CONFLICT DO NOTHING
    """)
)
_SAVE = Statement(
    exports.update()
    .where(exports.c.export_id == bindparam("the_id", type_=Id))
    .values({name: bindparam(name) for name in ("keys", "size", "record_count", "ready_time", "expire_time")})
)
_DELETE = Statement(text("DELETE FROM accounts.exports WHERE export_id = ANY (CAST(:export_ids AS uuid[]))"))
_UNKNOWN = Statement(
    text("""
    SELECT key FROM unnest(CAST(:keys AS text[])) AS key
    WHERE NOT EXISTS (SELECT FROM accounts.exports WHERE key = ANY (exports.keys))
    """)
)


class PostgresOwnData(PostgresAdministration):
    """Exports and accounts that go, on one connection."""

    async def due_deletions(self, *, before: datetime, limit: int) -> list[str]:
        return [row["account_id"] for row in await _DUE.fetch(self.connection, before=before, limit=limit)]

    async def export_keys(self, account_id: str) -> list[str]:
        return [key for row in await _KEYS.fetch(self.connection, account_id=account_id) for key in row["keys"]]

    async def erase_account(self, account: Account) -> None:
        await _ERASE_SIGN_INS.execute(self.connection, email=account.email)
        await _ERASE_TRIES.execute(self.connection, email_key=email_key(account.email), account_id=account.account_id)
        await _ERASE.execute(self.connection, account_id=account.account_id)

    async def add_export(self, export: Export) -> bool:
        operations = PostgresOperations(self.connection)
        asked = Operation(
            operation_id=export.export_id,
            kind=KIND,
            title="own data",
            parameters={},
            account_id=export.account_id,
            create_time=export.create_time,
        )
        if not await operations.add(asked):
            return False
        await operations.record(OperationStarted(time=export.create_time, operation_id=export.export_id, kind=KIND))
        known = {"export_id": export.export_id, "account_id": export.account_id, "create_time": export.create_time}
        return await _ADD.execute(self.connection, **known) == "INSERT 0 1"

    async def export(self, export_id: str) -> Export | None:
        row = await _EXPORT.fetchrow(self.connection, export_id=export_id)
        return _export(row) if row else None

    async def exports(self, account_id: str) -> list[Export]:
        return [_export(row) for row in await _OF_ACCOUNT.fetch(self.connection, account_id=account_id)]

    async def save_export(self, export: Export) -> bool:
        values = {name: getattr(export, name) for name in ("size", "record_count", "ready_time", "expire_time")}
        saved = await _SAVE.execute(self.connection, the_id=export.export_id, keys=list(export.keys), **values)
        return saved == "UPDATE 1"

    async def expired_exports(self, *, at: datetime, failed_before: datetime) -> list[Export]:
        return [_export(row) for row in await _EXPIRED.fetch(self.connection, at=at, failed_before=failed_before)]

    async def delete_exports(self, export_ids: Sequence[str]) -> None:
        await _DELETE.execute(self.connection, export_ids=list(export_ids))

    async def unknown_keys(self, keys: Sequence[str]) -> list[str]:
        return [row["key"] for row in await _UNKNOWN.fetch(self.connection, keys=list(keys))]


def _export(row: Any) -> Export:
    known = {name: row[name] for name in _NAMES}
    state = ExportState.READY
    if row["ready_time"] is None:
        waiting = row["operation_state"] is not None and not State(row["operation_state"]).is_over
        state = ExportState.PREPARING if waiting else ExportState.FAILED
    return Export(**known | {"keys": tuple(row["keys"])}, state=state)
