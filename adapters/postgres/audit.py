"""The audit log in PostgreSQL: what staff did and tried to do."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import bindparam, insert

from adapters.postgres import Database, bare
from adapters.postgres.platform import audit_log
from adapters.postgres.statement import Statement

FIELDS = [column.name for column in audit_log.columns if column.identity is None]
_RECORD = Statement(insert(audit_log).values({name: bindparam(name) for name in FIELDS}))


class Entry(Protocol):
    """A line of the audit log."""

    @property
    def time(self) -> datetime: ...
    @property
    def request_id(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def request(self) -> dict[str, Any]: ...
    @property
    def code(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def duration_seconds(self) -> float: ...


class PostgresAudit:
    """Appends to the audit log, each entry by itself: a call that was refused is kept too."""

    def __init__(self, database: Database) -> None:
        self._open = database.reads(bare)

    async def record(self, entry: Entry) -> None:
        """Raises DatabaseUnavailable."""
        values = {name: getattr(entry, name) for name in FIELDS}
        async with self._open() as connection:
            await _RECORD.execute(connection, **values | {"request": _storable(entry.request)})


def _storable(value: Any) -> Any:
    """Show the one character that PostgreSQL cannot keep by its symbol: a request that was refused for it is kept too."""
    if isinstance(value, str):
        return value.replace("\0", "\u2400")
    if isinstance(value, dict):
        return {_storable(name): _storable(one) for name, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list) else value
