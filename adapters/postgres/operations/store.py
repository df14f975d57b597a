"""Where operations are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres import Connection, outbox
from adapters.postgres.operations.tables import operations
from adapters.postgres.statement import Statement
from domain.kernel import Event
from domain.operations.model import MOST_PROBLEMS, PRIVATE_KINDS, Operation, Problem, Report, State

CHANNEL = "operations"


class PostgresOperations:
    """Operations on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, operation: Operation) -> bool:
        row = asdict(operation)
        return await ADD.fetchrow(self._connection, **row) is not None

    async def operation(self, operation_id: str) -> Operation | None:
        return _operation(await ONE.fetchrow(self._connection, operation_id=operation_id))

    async def operations(
        self,
        *,
        kind: str,
        state: State | None,
        account_id: str | None,
        viewer_id: str | None = None,
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> list[Operation]:
        at, operation_id = after or (None, None)
        rows = await LIST.fetch(
            self._connection,
            kind=kind,
            state=state,
            account_id=account_id,
            viewer_id=viewer_id,
            private=sorted(PRIVATE_KINDS),
            at=at,
            after_id=operation_id,
            limit=limit,
        )
        return [found for row in rows if (found := _operation(row))]

    async def problems(self, operation_id: str, *, after: int, limit: int) -> list[tuple[int, Problem]]:
        rows = await PROBLEMS.fetch(self._connection, operation_id=operation_id, after=after, limit=limit)
        return [(row["number"], Problem(row["row"], row["key"], row["reason"], row["text"])) for row in rows]

    async def take(
        self, *, runner: str, kinds: Collection[str], operation_id: str | None, stale: datetime, at: datetime
    ) -> Operation | None:
        row = await TAKE.fetchrow(self._connection, runner=runner, kinds=list(kinds), operation_id=operation_id, stale=stale, at=at)
        return _operation(row)

    async def advance(self, operation_id: str, report: Report, *, runner: str, at: datetime) -> Operation | None:
        row = await ADVANCE.fetchrow(
            self._connection,
            operation_id=operation_id,
            runner=runner,
            at=at,
            done=report.done,
            total=report.total,
            unit=report.unit,
            counts=dict(report.counts),
            problems=len(report.problems),
            checkpoint=dict(report.checkpoint),
            result=dict(report.result),
        )
        advanced = _operation(row)
        if advanced and report.problems:
            first = advanced.problem_count - len(report.problems) + 1
            await self._keep_problems(operation_id, report.problems[: max(0, MOST_PROBLEMS + 1 - first)], first)
        return advanced

    async def _keep_problems(self, operation_id: str, problems: tuple[Problem, ...], first: int) -> None:
        rows = [{"number": number, **asdict(problem)} for number, problem in enumerate(problems, first)]
        await KEEP_PROBLEMS.execute(self._connection, operation_id=operation_id, rows=rows)

    async def beat(self, operation_id: str, *, runner: str, at: datetime) -> bool:
        return await BEAT.fetchrow(self._connection, operation_id=operation_id, runner=runner, at=at) is not None

    async def release(self, operation_id: str, *, runner: str) -> None:
        await RELEASE.execute(self._connection, operation_id=operation_id, runner=runner)

    async def end(self, operation_id: str, *, state: State, fault: str, runner: str, at: datetime) -> Operation | None:
        row = await END.fetchrow(self._connection, operation_id=operation_id, state=state, fault=fault, runner=runner, at=at)
        return _operation(row)

    async def cancel(self, operation_id: str, *, at: datetime) -> Operation | None:
        return _operation(await CANCEL.fetchrow(self._connection, operation_id=operation_id, at=at))

    async def latest_success(self, kind: str, *, about: Mapping[str, Any]) -> Operation | None:
        return _operation(await LATEST.fetchrow(self._connection, kind=kind, about=dict(about)))

    async def abandon(self, *, before: datetime, at: datetime) -> None:
        """Give up operations of commands that were last heard of before this."""
        await ABANDON.execute(self._connection, before=before, at=at)

    async def prune(self, *, before: datetime, limit: int) -> int:
        """Forget operations that ended before this, but the last of each kind that succeeded; return how many."""
        return int(await PRUNE.fetchval(self._connection, before=before, limit=limit))

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)


def _operation(row: asyncpg.Record | None) -> Operation | None:
    if row is None:
        return None
    facts: dict[str, Any] = {name: row[name] for name in NAMES}
    return Operation(**facts | {"state": State(row["state"])})


NAMES = tuple(column.name for column in operations.c)
_ALL = ", ".join(f"operations.{name}" for name in NAMES)
# Whoever watches is told once the change is committed.
_TOLD = f"SELECT {_ALL}, pg_notify('{CHANNEL}', '') FROM changed AS operations"  # noqa: S608

ADD = Statement(
    insert(operations)
    .values({c.name: bindparam(c.name, type_=c.type) for c in operations.c})
    .on_conflict_do_nothing()
    .returning(text(f"pg_notify('{CHANNEL}', '')"))
)
ONE = Statement(text(f"SELECT {_ALL} FROM operations.operations WHERE operation_id = CAST(:operation_id AS uuid)"))  # noqa: S608
LIST = Statement(
    text(f"""
    SELECT {_ALL} FROM operations.operations
    WHERE (CAST(:kind AS text) = '' OR kind = CAST(:kind AS text))
    AND (CAST(:state AS smallint) IS NULL OR state = CAST(:state AS smallint))
    AND (CAST(:account_id AS text) IS NULL OR account_id = CAST(:account_id AS text))
    AND (CAST(:viewer_id AS text) IS NULL OR account_id = CAST(:viewer_id AS text)
        OR kind <> ALL (CAST(:private AS text[])))
    AND (CAST(:at AS timestamptz) IS NULL
        OR (create_time, operation_id) < (CAST(:at AS timestamptz), CAST(:after_id AS uuid)))
    ORDER BY create_time DESC, operation_id DESC LIMIT :limit
    """)  # noqa: S608
)
PROBLEMS = Statement(
    text("""
    SELECT number, "row", key, reason, text FROM operations.problems
    WHERE operation_id = CAST(:operation_id AS uuid) AND number > :after ORDER BY number LIMIT :limit
    """)
)
# Of those that wait for any worker the oldest; of the one that is asked for, whether it is shared or not.
TAKE = Statement(
    text(f"""
    WITH free AS (
        SELECT operation_id AS free_id FROM operations.operations
        WHERE state < 3 AND kind = ANY (CAST(:kinds AS text[]))
        AND (state = 1 OR heartbeat_time < CAST(:stale AS timestamptz))
        AND (operation_id = CAST(:operation_id AS uuid) OR (CAST(:operation_id AS uuid) IS NULL AND shared))
        ORDER BY create_time LIMIT 1 FOR UPDATE SKIP LOCKED
    ), changed AS (
        UPDATE operations.operations SET
            state = 2, runner = :runner, attempts = attempts + 1, heartbeat_time = CAST(:at AS timestamptz),
            start_time = coalesce(start_time, CAST(:at AS timestamptz))
        FROM free WHERE operation_id = free_id RETURNING {_ALL}
    )
    {_TOLD}
    """)  # noqa: S608
)
ADVANCE = Statement(
    text(f"""
    WITH changed AS (
        UPDATE operations.operations SET
            attempts = 0, heartbeat_time = CAST(:at AS timestamptz), done = :done, total = CAST(:total AS bigint), unit = :unit,
            checkpoint = CAST(:checkpoint AS jsonb), result = result || CAST(:result AS jsonb),
            problem_count = problem_count + CAST(:problems AS bigint),
            counts = counts || (
                SELECT coalesce(
                    jsonb_object_agg(key, CAST(value AS bigint) + coalesce(CAST(counts ->> key AS bigint), 0)),
                    CAST('{{}}' AS jsonb)
                )
                FROM jsonb_each_text(CAST(:counts AS jsonb))
            )
        WHERE operation_id = CAST(:operation_id AS uuid) AND state = 2 AND runner = :runner
        RETURNING {_ALL}
    )
    {_TOLD}
    """)  # noqa: S608
)
KEEP_PROBLEMS = Statement(
    text("""
    INSERT INTO operations.problems (operation_id, number, "row", key, reason, text)
    SELECT CAST(:operation_id AS uuid), number, "row", key, reason, text
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (number bigint, "row" bigint, key text, reason text, text text)
    """)
)
BEAT = Statement(
    text("""
    UPDATE operations.operations SET heartbeat_time = CAST(:at AS timestamptz)
    WHERE operation_id = CAST(:operation_id AS uuid) AND state = 2 AND runner = :runner RETURNING operation_id
    """)
)
RELEASE = Statement(
    text(f"""
    WITH changed AS (
        UPDATE operations.operations SET state = 1, runner = '', attempts = greatest(attempts - 1, 0)
        WHERE operation_id = CAST(:operation_id AS uuid) AND state = 2 AND runner = :runner RETURNING {_ALL}
    )
    {_TOLD}
    """)  # noqa: S608
)
END = Statement(
    text(f"""
    WITH changed AS (
        UPDATE operations.operations SET
            state = CAST(:state AS smallint), fault = :fault, runner = '', end_time = CAST(:at AS timestamptz)
        WHERE operation_id = CAST(:operation_id AS uuid) AND state = 2 AND runner = :runner RETURNING {_ALL}
    )
    {_TOLD}
    """)  # noqa: S608
)
CANCEL = Statement(
    text(f"""
    WITH changed AS (
        UPDATE operations.operations SET
            cancel_time = coalesce(cancel_time, CAST(:at AS timestamptz)),
            end_time = CASE WHEN state = 1 THEN CAST(:at AS timestamptz) END,
            state = CASE WHEN state = 1 THEN 5 ELSE state END
        WHERE operation_id = CAST(:operation_id AS uuid) AND state < 3 RETURNING {_ALL}
    )
    {_TOLD}
    """)  # noqa: S608
)
LATEST = Statement(
    text(f"""
    SELECT {_ALL} FROM operations.operations
    WHERE kind = :kind AND state = 3 AND parameters @> CAST(:about AS jsonb) ORDER BY end_time DESC LIMIT 1
    """)  # noqa: S608
)
ABANDON = Statement(
    text("""
    UPDATE operations.operations
    SET state = 4, runner = '', fault = 'its command was not run again', end_time = CAST(:at AS timestamptz)
    WHERE state < 3 AND NOT shared AND coalesce(heartbeat_time, create_time) < CAST(:before AS timestamptz)
    """)
)
PRUNE = Statement(
    text("""
    WITH old AS (
        SELECT operation_id FROM operations.operations AS one
        WHERE end_time < CAST(:before AS timestamptz) AND NOT (state = 3 AND NOT EXISTS (
            SELECT FROM operations.operations AS later
            WHERE later.kind = one.kind AND later.state = 3 AND later.end_time > one.end_time
        ))
        ORDER BY end_time LIMIT :limit
    ), forgotten AS (
        DELETE FROM operations.problems USING old WHERE problems.operation_id = old.operation_id
    ), gone AS (
        DELETE FROM operations.operations USING old WHERE operations.operation_id = old.operation_id RETURNING 1
    )
    SELECT count(*) FROM gone
    """)
)
