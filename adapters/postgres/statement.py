"""SQL written in SQLAlchemy Core, compiled once, run by asyncpg as a prepared statement."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

from adapters.postgres import Connection

_DIALECT = dialect()  # type: ignore[no-untyped-call]


class Statement:
    """A fixed statement; its bind parameters are named, and all of them must be given."""

    __slots__ = ("_fixed", "_names", "text")

    def __init__(self, clause: ClauseElement) -> None:
        compiled = cast(SQLCompiler, clause.compile(dialect=_DIALECT))
        self.text = str(compiled)
        if "__[POSTCOMPILE" in self.text:
            raise ValueError(f"write `= any_(bindparam(…))` in place of `in_`, whose text changes with the values: {self.text}")
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())
        binds = compiled.binds
        self._fixed = {name: binds[name].value for name in self._names if not binds[name].required}

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Return the values in the statement's order. Raises TypeError unless they are exactly those it needs."""
        fixed = self._fixed
        try:
            arguments = [fixed[name] if name in fixed else values[name] for name in self._names]
        except KeyError as missing:
            raise TypeError(f"the statement needs {missing}") from None
        if len(values) + len(fixed) != len(arguments):
            raise TypeError(f"the statement takes {sorted(set(self._names) - set(fixed))}, not {sorted(values)}")
        return arguments

    async def fetch(self, connection: Connection, **values: Any) -> list[Any]:
        return await connection.fetch(self.text, *self.arguments(values))

    async def fetchrow(self, connection: Connection, **values: Any) -> Any | None:
        return await connection.fetchrow(self.text, *self.arguments(values))

    async def fetchval(self, connection: Connection, **values: Any) -> Any:
        return await connection.fetchval(self.text, *self.arguments(values))

    async def execute(self, connection: Connection, **values: Any) -> str:
        """Return the command tag, such as `UPDATE 1`."""
        return await connection.execute(self.text, *self.arguments(values))
