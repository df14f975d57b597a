"""Where the schedule is kept."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import BigInteger, Date, Integer, bindparam, func, insert, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_not

from adapters.postgres import Connection
from adapters.postgres.catalog.episodes import DEMANDS, RELEASE, demands, release_conditions
from adapters.postgres.catalog.listing import viewing, visible
from adapters.postgres.catalog.tables import releases, schedule_changes, schedule_entries, schedule_versions
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.catalog.model import Status, Title, WeeklySlot
from domain.catalog.schedule import (
    AiringState,
    Change,
    ChangeKind,
    Precision,
    ScheduleEntry,
    ScheduleReleaseUnknown,
    log,
)
from domain.catalog.seeing import Conditions
from domain.catalog.timetable import Broadcast
from domain.kernel import Viewer
from domain.visibility import Terms

_columns = [c for c in schedule_entries.c if c.name != "delete_time"]
_values = {c.name: bindparam(c.name, type_=c.type) for c in _columns}
_one = schedule_entries.c.schedule_entry_id == bindparam("schedule_entry_id", type_=Id)
_present = schedule_entries.c.delete_time.is_(None)
_release_present = releases.c.delete_time.is_(None)
_versioned = schedule_versions.c.release_id == releases.c.release_id
_broadcast = (
    *DEMANDS,
    *(releases.c[name] for name in ("alias", "titles", "weekday", "minute", "zone", "status", "premiere_time")),
    (releases.c.version + func.coalesce(schedule_versions.c.version, 0)).label("broadcast_version"),
    func.greatest(releases.c.update_time, schedule_versions.c.change_time).label("broadcast_update_time"),
)

BY_ID = Statement(select(*_columns).where(_one, _present))
LOCK = Statement(select(*_columns).where(_one, _present).with_for_update())
WITH_TERMS = Statement(
    select(*_columns, *DEMANDS).select_from(schedule_entries.join(releases)).where(_one, _present, _release_present)
)
ADD = Statement(
    insert_or_not(schedule_entries)
    .values(_values)
    .on_conflict_do_nothing(index_elements=["schedule_entry_id"])
    .returning(_columns[0])
)
SAVE = Statement(
    update(schedule_entries)
    .where(_one)
    .values({name: value for name, value in _values.items() if name not in {"schedule_entry_id", "release_id", "create_time"}})
)
_at = bindparam("at", type_=Moment)
DELETE = Statement(
    update(schedule_entries).where(_one).values(delete_time=_at, update_time=_at, version=schedule_entries.c.version + 1)
)
UNDELETE = Statement(update(schedule_entries).where(_one).values(delete_time=None, update_time=_at))
_log_values = {c.name: bindparam(c.name, type_=c.type) for c in schedule_changes.c if c.name != "change_id"}
COUNT = Statement(
    insert_or_not(schedule_versions)
    .from_select(
        ["release_id", "version", "change_time"], select(schedule_entries.c.release_id, literal_column("1"), _at).where(_one)
    )
    .on_conflict_do_update(
        index_elements=["release_id"],
        set_={"version": schedule_versions.c.version + 1, "change_time": func.greatest(schedule_versions.c.change_time, _at)},
    )
)
LOG = Statement(insert(schedule_changes).values(_log_values))
_changes = (
    select(*schedule_changes.c)
    .where(schedule_changes.c.schedule_entry_id == bindparam("schedule_entry_id", type_=Id))
    .order_by(schedule_changes.c.change_id.desc())
)
CHANGES = Statement(_changes.limit(bindparam("limit", type_=Integer)))
EARLIER = Statement(
    _changes.where(schedule_changes.c.change_id < bindparam("below", type_=BigInteger)).limit(bindparam("limit", type_=Integer))
)


@cache
def _entries(*, viewer_sees_drafts: bool, of_one: bool) -> Statement:
    """Return the statement that finds entries around some days; one for each shape."""
    start, end = bindparam("start", type_=Moment), bindparam("end", type_=Moment)
    first, last = bindparam("first", type_=Date), bindparam("last", type_=Date)
    # Each by an index of its own; what is joined with AND could use but one of them.
    around = or_(
        schedule_entries.c.planned_air_time.between(start, end),
        schedule_entries.c.actual_air_time.between(start, end),
        schedule_entries.c.slot_date.between(first, last),
    )
    query = select(*_columns, *_broadcast).select_from(schedule_entries.join(releases).outerjoin(schedule_versions, _versioned))
    query = query.where(around, _present, _release_present, *visible(viewer_sees_drafts=viewer_sees_drafts))
    if of_one:
        query = query.where(releases.c.release_id == bindparam("release_id", type_=Id))
    return Statement(query)


@cache
def _weekly(*, viewer_sees_drafts: bool, of_one: bool) -> Statement:
    """Return the statement that finds what airs weekly; one for each shape."""
    airs = releases.c.status == literal_column(str(Status.ONGOING.value))
    query = select(*_broadcast).select_from(releases.outerjoin(schedule_versions, _versioned))
    query = query.where(airs, releases.c.zone.is_not(None), _release_present)
    query = query.where(*visible(viewer_sees_drafts=viewer_sees_drafts))
    if of_one:
        query = query.where(releases.c.release_id == bindparam("release_id", type_=Id))
    return Statement(query)


class KeptSchedule:
    """Schedule entries, for editors; whatever is done to one is noted in its change log."""

    async def find(self, connection: Connection, item_id: str) -> ScheduleEntry | None:
        row = await BY_ID.fetchrow(connection, schedule_entry_id=item_id)
        return _entry(row) if row else None

    async def lock(self, connection: Connection, item_id: str) -> ScheduleEntry | None:
        row = await LOCK.fetchrow(connection, schedule_entry_id=item_id)
        return _entry(row) if row else None

    async def add(self, connection: Connection, item: ScheduleEntry) -> bool:
        """Raises ScheduleReleaseUnknown."""
        if await RELEASE.fetchrow(connection, release_id=item.release_id) is None:
            raise ScheduleReleaseUnknown(release=item.release_id, field="schedule_entry.release_id")
        if await ADD.fetchrow(connection, **_row(item)) is None:
            return False
        await COUNT.execute(connection, schedule_entry_id=item.schedule_entry_id, at=item.update_time)
        await _log(connection, None, item)
        return True

    async def save(self, connection: Connection, item: ScheduleEntry) -> None:
        before = await self.find(connection, item.schedule_entry_id)
        row = _row(item)
        del row["release_id"], row["create_time"]
        await SAVE.execute(connection, **row)
        await COUNT.execute(connection, schedule_entry_id=item.schedule_entry_id, at=item.update_time)
        await _log(connection, before, item)

    async def delete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await DELETE.execute(connection, schedule_entry_id=item_id, at=at)
        await COUNT.execute(connection, schedule_entry_id=item_id, at=at)

    async def undelete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await UNDELETE.execute(connection, schedule_entry_id=item_id, at=at)
        await COUNT.execute(connection, schedule_entry_id=item_id, at=at)


class PostgresSchedule:
    """The schedule on one connection, for viewers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def conditions(self, release: str) -> Conditions | None:
        return await release_conditions(self._connection, release)

    async def entry(self, schedule_entry_id: str) -> tuple[ScheduleEntry, Terms] | None:
        row = await WITH_TERMS.fetchrow(self._connection, schedule_entry_id=schedule_entry_id)
        return (_entry(row), demands(row)) if row else None

    async def entries(
        self, start: datetime, end: datetime, slots: tuple[date, date], *, release_id: str | None, viewer: Viewer
    ) -> list[tuple[ScheduleEntry, Broadcast]]:
        statement = _entries(viewer_sees_drafts=viewer.sees_drafts, of_one=release_id is not None)
        values: dict[str, Any] = {"start": start, "end": end, "first": slots[0], "last": slots[1], **viewing(viewer)}
        if release_id is not None:
            values["release_id"] = release_id
        return [(_entry(row), _as_broadcast(row)) for row in await statement.fetch(self._connection, **values)]

    async def weekly(self, *, release_id: str | None, viewer: Viewer) -> list[Broadcast]:
        statement = _weekly(viewer_sees_drafts=viewer.sees_drafts, of_one=release_id is not None)
        values = viewing(viewer) | ({"release_id": release_id} if release_id is not None else {})
        return [_as_broadcast(row) for row in await statement.fetch(self._connection, **values)]

    async def changes(self, schedule_entry_id: str, *, below: int | None, limit: int) -> list[tuple[int, Change]]:
        if below is None:
            rows = await CHANGES.fetch(self._connection, schedule_entry_id=schedule_entry_id, limit=limit)
        else:
            rows = await EARLIER.fetch(self._connection, schedule_entry_id=schedule_entry_id, below=below, limit=limit)
        return [(row["change_id"], _change(row)) for row in rows]


async def _log(connection: Connection, before: ScheduleEntry | None, after: ScheduleEntry) -> None:
    for change in log(before, after):
        await LOG.execute(
            connection,
            schedule_entry_id=after.schedule_entry_id,
            kind=change.kind,
            change_time=change.time,
            planned_before=change.planned_before,
            precision_before=change.precision_before,
            planned_after=change.planned_after,
            precision_after=change.precision_after,
            note=change.note,
        )


def _row(entry: ScheduleEntry) -> dict[str, Any]:
    row = {c.name: getattr(entry, c.name) for c in _columns}
    return row | {"slot_date": date.fromisoformat(entry.slot_date) if entry.slot_date else None}


def _entry(row: asyncpg.Record) -> ScheduleEntry:
    facts = {c.name: row[c.name] for c in _columns if c.name not in {"precision", "state", "slot_date"}}
    return ScheduleEntry(
        precision=Precision(row["precision"]),
        state=AiringState(row["state"]),
        slot_date=row["slot_date"].isoformat() if row["slot_date"] else "",
        **facts,
    )


def _as_broadcast(row: asyncpg.Record) -> Broadcast:
    airs_weekly = row["zone"] and row["status"] == Status.ONGOING
    return Broadcast(
        release_id=row["of_release"],
        alias=row["alias"],
        titles=tuple(Title(title["language"], title["text"]) for title in row["titles"]),
        terms=demands(row),
        slot=WeeklySlot(row["weekday"], row["minute"], row["zone"]) if airs_weekly else None,
        premiere_time=row["premiere_time"],
        version=row["broadcast_version"],
        update_time=row["broadcast_update_time"],
    )


def _change(row: asyncpg.Record) -> Change:
    before = row["precision_before"]
    return Change(
        kind=ChangeKind(row["kind"]),
        time=row["change_time"],
        planned_before=row["planned_before"],
        precision_before=Precision(before) if before is not None else None,
        planned_after=row["planned_after"],
        precision_after=Precision(row["precision_after"]),
        note=row["note"],
    )
