"""The editors' dashboard, counted over the tables of all contexts in one statement."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, Table, bindparam, cast, func, literal_column, select, union_all
from sqlalchemy.sql.elements import KeyedColumnElement

from adapters.postgres.catalog.tables import episodes, franchises, genres, releases, tags
from adapters.postgres.editing.store import PostgresEditing
from adapters.postgres.editing.tables import change_sets, revisions
from adapters.postgres.operations.tables import operations
from adapters.postgres.platform import dead_letters, deliveries, events
from adapters.postgres.schema import Moment
from adapters.postgres.statement import Statement
from domain.editing.dashboard import Counts
from domain.editing.model import Action, Revision, State
from domain.visibility import Publication

# As domain/operations numbers them.
QUEUED, RUNNING, SUCCEEDED, FAILED = 1, 2, 3, 4
_since = bindparam("since", type_=Moment)


def _count(part: str, name: str, table: Table, *conditions: ColumnElement[bool], of: ColumnElement[Any] | None = None) -> Any:
    number = func.count() if of is None else func.count(of.distinct())
    named: list[Any] = [literal_column(f"'{word}'").label(label) for word, label in ((part, "part"), (name, "name"))]
    return select(*named, cast(number, BigInteger).label("number")).select_from(table).where(*conditions)


def _is(column: KeyedColumnElement[Any], value: int) -> ColumnElement[bool]:
    return column == literal_column(str(int(value)))


_present = releases.c.delete_time.is_(None)
_without = ~select(episodes.c.episode_id).where(episodes.c.release_id == releases.c.release_id).exists()
_edited = revisions.c.time >= _since, ~_is(revisions.c.action, Action.FOUND)
COUNTS = Statement(
    union_all(
        _count("content", "releases", releases, _present),
        *(
            _count("content", f"releases.{state.name.lower()}", releases, _present, _is(releases.c.publication, state))
            for state in Publication
        ),
        _count("content", "releases.without_episodes", releases, _present, _without),
        _count("content", "episodes", episodes),
        *(_count("content", table.name, table, table.c.delete_time.is_(None)) for table in (genres, tags, franchises)),
        *(
            _count("queue", f"change_sets.{state.name.lower()}", change_sets, _is(change_sets.c.state, state))
            for state in (State.DRAFT, State.SUBMITTED, State.TAKEN, State.SCHEDULED)
        ),
        _count("queue", "operations.queued", operations, _is(operations.c.state, QUEUED)),
        _count("queue", "operations.running", operations, _is(operations.c.state, RUNNING)),
        _count("queue", "events.unrouted", events, events.c.route_time.is_(None)),
        _count("queue", "events.undelivered", deliveries, deliveries.c.done_time.is_(None)),
        _count("queue", "events.dead", dead_letters, dead_letters.c.replay_time.is_(None)),
        _count("last_day", "edits", revisions, revisions.c.time >= _since, ~_is(revisions.c.action, Action.FOUND)),
        _count(
            "last_day",
            "editors",
            revisions,
            revisions.c.time >= _since,
            ~_is(revisions.c.action, Action.FOUND),
            of=revisions.c.account_id,
        ),
        _count("last_day", "releases.published", releases, _present, releases.c.publish_time >= _since),
        _count("last_day", "operations.succeeded", operations, _is(operations.c.state, SUCCEEDED), operations.c.end_time >= _since),
        _count("last_day", "operations.failed", operations, _is(operations.c.state, FAILED), operations.c.end_time >= _since),
    )
)
LATEST = Statement(
    select(*revisions.c)
    .where(~_is(revisions.c.action, Action.FOUND))
    .order_by(revisions.c.time.desc(), revisions.c.kind, revisions.c.item_id, revisions.c.version.desc())
    .limit(bindparam("limit", type_=Integer))
)


class PostgresDashboard(PostgresEditing):
    """What the dashboard shows, on one connection."""

    async def counts(self, *, since: datetime) -> Counts:
        parts: dict[str, dict[str, int]] = {"content": {}, "queue": {}, "last_day": {}}
        for row in await COUNTS.fetch(self._connection, since=since):
            parts[row["part"]][row["name"]] = row["number"]
        return Counts(**parts)

    async def latest_revisions(self, limit: int) -> list[Revision]:
        return [self._revision(row) for row in await LATEST.fetch(self._connection, limit=limit)]
