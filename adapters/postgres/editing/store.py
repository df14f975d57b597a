"""Editing's store: it finds the items of each kind where that kind is kept, and keeps history and change sets itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, Protocol

import asyncpg
from sqlalchemy import BigInteger, Integer, SmallInteger, Text, bindparam, func, literal_column, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres import Connection, outbox
from adapters.postgres.editing.entrusted import IS_ENTRUSTED, REVIEWABLE
from adapters.postgres.editing.tables import change_sets, revisions
from adapters.postgres.payload import plain, typed_fields
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.editing.model import OPEN, Action, Author, ChangeSet, Edit, Revision, State
from domain.items import Item
from domain.kernel import Event


class Keeper(Protocol):
    """Where the items of one kind are kept. Deleted ones are there but not found."""

    async def find(self, connection: Connection, item_id: str) -> Any | None: ...
    async def lock(self, connection: Connection, item_id: str) -> Any | None: ...
    async def add(self, connection: Connection, item: Any) -> bool: ...
    async def save(self, connection: Connection, item: Any) -> None: ...
    async def delete(self, connection: Connection, item_id: str, *, at: datetime) -> None: ...
    async def undelete(self, connection: Connection, item_id: str, *, at: datetime) -> None: ...


class Kept(NamedTuple):
    """What items of a kind are, and where."""

    of: type[Any]
    keeper: Keeper


_kind, _item = bindparam("kind", type_=Text), bindparam("item_id", type_=Text)
_of_item = select(*revisions.c).where(revisions.c.kind == _kind, revisions.c.item_id == _item)
_latest_first = revisions.c.version.desc()
KEEP = Statement(insert(revisions).values({c.name: bindparam(c.name, type_=c.type) for c in revisions.c}).on_conflict_do_nothing())
LATEST = Statement(_of_item.order_by(_latest_first).limit(literal_column("1")))
REVISION = Statement(_of_item.where(revisions.c.version == bindparam("version", type_=BigInteger)))
REVISIONS = Statement(_of_item.order_by(_latest_first).limit(bindparam("limit", type_=Integer)))
EARLIER = Statement(
    _of_item.where(revisions.c.version < bindparam("below", type_=BigInteger))
    .order_by(_latest_first)
    .limit(bindparam("limit", type_=Integer))
)
_one_set = select(*change_sets.c).where(change_sets.c.change_set_id == bindparam("change_set_id", type_=Id))
_set_values = {c.name: bindparam(c.name, type_=c.type) for c in change_sets.c}
ADD_SET = Statement(insert(change_sets).values(_set_values).on_conflict_do_nothing().returning(change_sets.c.change_set_id))
SET = Statement(_one_set)
LOCK_SET = Statement(_one_set.with_for_update())
SAVE_SET = Statement(
    update(change_sets)
    .where(change_sets.c.change_set_id == bindparam("change_set_id", type_=Id))
    .values({name: value for name, value in _set_values.items() if name != "change_set_id"})
)
ALONE = Statement(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("author_id", type_=Text), literal_column("7302"))))
)
_item_hash = func.hashtextextended(bindparam("name", type_=Text), literal_column("7304"))
HOLD = Statement(select(func.pg_advisory_xact_lock(_item_hash)))
OPEN_SETS = Statement(
    select(func.count())
    .select_from(change_sets)
    .where(
        change_sets.c.author_id == bindparam("author_id", type_=Text),
        change_sets.c.state.in_([literal_column(str(state.value)) for state in sorted(OPEN)]),
    )
)
DUE = Statement(
    select(change_sets.c.change_set_id)
    .where(
        change_sets.c.state == literal_column(str(State.SCHEDULED.value)),
        change_sets.c.publish_time <= bindparam("now", type_=Moment),
    )
    .order_by(change_sets.c.publish_time)
    .limit(literal_column("100"))
)


@cache
def _sets(*, by_state: bool, by_author: bool, goes_on: bool) -> Statement:
    """Return the statement of a list; one for each shape."""
    query = select(*change_sets.c).order_by(change_sets.c.update_time.desc(), change_sets.c.change_set_id.desc())
    if by_state:
        query = query.where(change_sets.c.state == bindparam("state", type_=SmallInteger))
    if by_author:
        query = query.where(change_sets.c.author_id == bindparam("author_id", type_=Text))
    if goes_on:
        place = tuple_(bindparam("after_time", type_=Moment), bindparam("after_id", type_=Id))
        query = query.where(tuple_(change_sets.c.update_time, change_sets.c.change_set_id) < place)
    return Statement(query.limit(bindparam("limit", type_=Integer)))


class PostgresEditing:
    """Items, revisions and change sets on one connection."""

    def __init__(self, connection: Connection, kept: Mapping[str, Kept]) -> None:
        self._connection = connection
        self._kept = kept

    async def item(self, kind: str, item_id: str) -> Item | None:
        return await self._kept[kind].keeper.find(self._connection, item_id)

    async def item_to_change(self, kind: str, item_id: str) -> Item | None:
        return await self._kept[kind].keeper.lock(self._connection, item_id)

    async def add_item(self, kind: str, item: Item) -> bool:
        return await self._kept[kind].keeper.add(self._connection, item)

    async def save_item(self, kind: str, item: Item) -> None:
        await self._kept[kind].keeper.save(self._connection, item)

    async def delete_item(self, kind: str, item_id: str, *, at: datetime) -> None:
        await self._kept[kind].keeper.delete(self._connection, item_id, at=at)

    async def hold(self, kind: str, item_id: str) -> None:
        await HOLD.execute(self._connection, name=f"{kind}/{item_id}")

    async def undelete_item(self, kind: str, item_id: str, *, at: datetime) -> None:
        await self._kept[kind].keeper.undelete(self._connection, item_id, at=at)

    async def keep_revision(self, revision: Revision) -> None:
        await KEEP.execute(
            self._connection,
            kind=revision.kind,
            item_id=revision.item_id,
            version=revision.version,
            action=revision.action,
            fields=list(revision.fields),
            account_id=revision.author.account_id,
            note=revision.author.note,
            change_set_id=revision.author.change_set_id,
            time=revision.time,
            decided={name: plain(value) for name, value in revision.decided.items()},
        )

    async def revision(self, kind: str, item_id: str, version: int | None = None) -> Revision | None:
        if version is None:
            row = await LATEST.fetchrow(self._connection, kind=kind, item_id=item_id)
        else:
            row = await REVISION.fetchrow(self._connection, kind=kind, item_id=item_id, version=version)
        return self._revision(row) if row else None

    async def revisions(self, kind: str, item_id: str, *, below: int | None, limit: int) -> list[Revision]:
        if below is None:
            rows = await REVISIONS.fetch(self._connection, kind=kind, item_id=item_id, limit=limit)
        else:
            rows = await EARLIER.fetch(self._connection, kind=kind, item_id=item_id, below=below, limit=limit)
        return [self._revision(row) for row in rows]

    async def add_change_set(self, change_set: ChangeSet) -> bool:
        return await ADD_SET.fetchrow(self._connection, **_set_row(change_set)) is not None

    async def change_set(self, change_set_id: str) -> ChangeSet | None:
        row = await SET.fetchrow(self._connection, change_set_id=change_set_id)
        return self._change_set(row) if row else None

    async def change_set_to_change(self, change_set_id: str) -> ChangeSet | None:
        row = await LOCK_SET.fetchrow(self._connection, change_set_id=change_set_id)
        return self._change_set(row) if row else None

    async def save_change_set(self, change_set: ChangeSet) -> None:
        await SAVE_SET.execute(self._connection, **_set_row(change_set))

    async def change_sets(
        self, *, state: State | None, author_id: str | None, after: tuple[datetime, str] | None, limit: int
    ) -> list[ChangeSet]:
        values: dict[str, Any] = {"limit": limit}
        if state is not None:
            values["state"] = state
        if author_id is not None:
            values["author_id"] = author_id
        if after is not None:
            values["after_time"], values["after_id"] = after
        statement = _sets(by_state=state is not None, by_author=author_id is not None, goes_on=after is not None)
        return [self._change_set(row) for row in await statement.fetch(self._connection, **values)]

    async def open_change_sets(self, author_id: str) -> int:
        await ALONE.execute(self._connection, author_id=author_id)
        return int(await OPEN_SETS.fetchval(self._connection, author_id=author_id))

    async def is_entrusted(self, change_set_id: str, account_id: str, fields: Mapping[str, Sequence[str]]) -> bool:
        values = {"change_set_id": change_set_id, "account_id": account_id, "entrusted": fields}
        return bool(await IS_ENTRUSTED.fetchval(self._connection, **values))

    async def reviewable_change_sets(
        self, account_id: str, *, fields: Mapping[str, Sequence[str]] | None, after: tuple[datetime, str] | None, limit: int
    ) -> list[ChangeSet]:
        time, change_set_id = after or (None, None)
        values = {"after_time": time, "after_id": change_set_id, "entrusted": fields, "limit": limit}
        rows = await REVIEWABLE.fetch(self._connection, author_id=account_id, account_id=account_id, **values)
        return [self._change_set(row) for row in rows]

    async def due_change_sets(self, now: datetime) -> Sequence[str]:
        return [row["change_set_id"] for row in await DUE.fetch(self._connection, now=now)]

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)

    def _revision(self, row: asyncpg.Record) -> Revision:
        return Revision(
            kind=row["kind"],
            item_id=row["item_id"],
            version=row["version"],
            action=Action(row["action"]),
            fields=tuple(row["fields"]),
            author=Author(row["account_id"], row["note"], row["change_set_id"]),
            time=row["time"],
            decided=typed_fields(self._kept[row["kind"]].of, row["decided"]),
        )

    def _change_set(self, row: asyncpg.Record) -> ChangeSet:
        return ChangeSet(
            change_set_id=row["change_set_id"],
            title=row["title"],
            note=row["note"],
            state=State(row["state"]),
            author_id=row["author_id"],
            reviewer_id=row["reviewer_id"],
            reason=row["reason"],
            edits=tuple(self._edit(edit) for edit in row["edits"]),
            done=tuple((kind, item_id, version) for kind, item_id, version in row["done"]),
            publish_time=row["publish_time"],
            version=row["version"],
            create_time=row["create_time"],
            update_time=row["update_time"],
        )

    def _edit(self, edit: dict[str, Any]) -> Edit:
        changes = typed_fields(self._kept[edit["kind"]].of, edit["changes"])
        return Edit(
            kind=edit["kind"], item_id=edit["item_id"], action=Action(edit["action"]), changes=changes, version=edit["version"]
        )


def _set_row(change_set: ChangeSet) -> dict[str, Any]:
    row: dict[str, Any] = {c.name: getattr(change_set, c.name) for c in change_sets.c}
    edits = [
        {
            "kind": edit.kind,
            "item_id": edit.item_id,
            "action": edit.action.value,
            "version": edit.version,
            "changes": {name: plain(value) for name, value in edit.changes.items()},
        }
        for edit in change_set.edits
    ]
    return row | {"edits": edits, "done": [list(one) for one in change_set.done]}
