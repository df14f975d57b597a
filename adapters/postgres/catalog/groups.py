"""Where genres, tags and franchises are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import Integer, Table, Text, any_, bindparam, delete, func, literal_column, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, insert

from adapters.postgres import Connection
from adapters.postgres.catalog.tables import franchise_members, franchises, genres, release_genres, release_tags, releases, tags
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.catalog.franchises import (
    DEEPEST,
    Franchise,
    FranchiseCyclic,
    FranchiseHasParts,
    FranchiseTooDeep,
    GenreEntry,
    MemberTaken,
    MemberUnknown,
    NameTaken,
    ParentUnknown,
    StillCarried,
    TagEntry,
)

ENTRY = ("name", "version", "create_time", "update_time")


class Named:
    """Genres or tags: a word for an id, a name, and releases that carry it."""

    def __init__(self, kind: str, of: type[Any], table: Table, carriers: Table) -> None:
        key = table.c[f"{kind}_id"]
        here = key == bindparam("item_id", type_=Text)
        values = {name: bindparam(name, type_=table.c[name].type) for name in ENTRY}
        present = select(key.label("item_id"), *(table.c[name] for name in ENTRY)).where(here, table.c.delete_time.is_(None))
        self._kind = kind
        self._of = of
        self._find = Statement(present)
        # Without the key, so that releases may be given it meanwhile; only whoever deletes it keeps them from that.
        self._lock = Statement(present.with_for_update(key_share=True))
        self._lock_whole = Statement(select(key).where(here).with_for_update())
        self._add = Statement(
            insert(table).values({key.name: bindparam("item_id", type_=Text), **values}).on_conflict_do_nothing().returning(key)
        )
        self._save = Statement(update(table).where(here).values(values))
        self._delete = Statement(
            update(table)
            .where(here)
            .values(
                delete_time=bindparam("at", type_=Moment), update_time=bindparam("at", type_=Moment), version=table.c.version + 1
            )
        )
        self._undelete = Statement(update(table).where(here).values(delete_time=None, update_time=bindparam("at", type_=Moment)))
        self._namesake = Statement(
            select(key).where(
                func.lower(table.c.name) == func.lower(bindparam("name", type_=Text)),
                key != bindparam("item_id", type_=Text),
                table.c.delete_time.is_(None),
            )
        )
        carried = carriers.c[f"{kind}_id"] == bindparam("item_id", type_=Text)
        self._carriers = Statement(select(func.count()).select_from(carriers).where(carried))

    async def find(self, connection: Connection, item_id: str) -> Any | None:
        return self._item(await self._find.fetchrow(connection, item_id=item_id))

    async def lock(self, connection: Connection, item_id: str) -> Any | None:
        return self._item(await self._lock.fetchrow(connection, item_id=item_id))

    async def add(self, connection: Connection, item: Any) -> bool:
        """Raises NameTaken."""
        # Before the row: an import that makes the same one would wait for it with the lock in hand.
        await NAMING_ALONE.execute(connection)
        if await self._add.fetchrow(connection, **self._row(item)) is None:
            return False
        await self._check(connection, item)
        return True

    async def save(self, connection: Connection, item: Any) -> None:
        """Raises NameTaken."""
        await NAMING_ALONE.execute(connection)
        await self._save.execute(connection, **self._row(item))
        await self._check(connection, item)

    async def delete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        """Raises StillCarried."""
        await self._lock_whole.execute(connection, item_id=item_id)
        if count := await self._carriers.fetchval(connection, item_id=item_id):
            raise StillCarried(id=item_id, count=count)
        await self._delete.execute(connection, item_id=item_id, at=at)

    async def undelete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await self._undelete.execute(connection, item_id=item_id, at=at)

    async def _check(self, connection: Connection, item: Any) -> None:
        if await self._namesake.fetchrow(connection, item_id=self._id(item), name=item.name):
            raise NameTaken(kind=self._kind, name=item.name, field=f"{self._kind}.name")

    def _id(self, item: Any) -> str:
        return str(getattr(item, f"{self._kind}_id"))

    def _row(self, item: Any) -> dict[str, Any]:
        return {"item_id": self._id(item), **{name: getattr(item, name) for name in ENTRY}}

    def _item(self, row: asyncpg.Record | None) -> Any | None:
        if row is None:
            return None
        return self._of(**{f"{self._kind}_id": row["item_id"]}, **{name: row[name] for name in ENTRY})


GENRES = Named("genre", GenreEntry, genres, release_genres)
TAGS = Named("tag", TagEntry, tags, release_tags)

_members = (
    select(
        func.coalesce(
            func.array_agg(aggregate_order_by(franchise_members.c.release_id, franchise_members.c.position)),
            literal_column("'{}'::uuid[]"),
        )
    )
    .where(franchise_members.c.franchise_id == franchises.c.franchise_id)
    .scalar_subquery()
    .label("release_ids")
)
_FIELDS = ("franchise_id", "name", "parent_franchise_id", "version", "create_time", "update_time")
_whole = select(*(franchises.c[name] for name in _FIELDS), _members).where(franchises.c.delete_time.is_(None))
_here = franchises.c.franchise_id == bindparam("franchise_id", type_=Id)
_values = {name: bindparam(name, type_=franchises.c[name].type) for name in _FIELDS}
FRANCHISE = Statement(_whole.where(_here))
# Without the key, so that another franchise may become part of this one meanwhile: each waiting for the other would end both.
LOCK = Statement(select(franchises.c.franchise_id).where(_here, franchises.c.delete_time.is_(None)).with_for_update(key_share=True))
# As of releases: nothing that may be in the way is named.
ADD = Statement(insert(franchises).values(_values).on_conflict_do_nothing().returning(franchises.c.franchise_id))
IS_THERE = Statement(select(franchises.c.franchise_id).where(_here))
SAVE = Statement(update(franchises).where(_here).values({n: v for n, v in _values.items() if n != "franchise_id"}))
DELETE = Statement(
    update(franchises)
    .where(_here)
    .values(delete_time=bindparam("at", type_=Moment), update_time=bindparam("at", type_=Moment), version=franchises.c.version + 1)
)
UNDELETE = Statement(update(franchises).where(_here).values(delete_time=None, update_time=bindparam("at", type_=Moment)))
CLEAR = Statement(delete(franchise_members).where(franchise_members.c.franchise_id == bindparam("franchise_id", type_=Id)))
MEMBERS = Statement(
    select(releases.c.release_id).where(
        releases.c.release_id == any_(bindparam("release_ids", type_=ARRAY(Id))), releases.c.delete_time.is_(None)
    )
)
JOIN_ONE = Statement(
    insert(franchise_members)
    .values(
        release_id=bindparam("release_id", type_=Id),
        franchise_id=bindparam("franchise_id", type_=Id),
        position=bindparam("position", type_=Integer),
    )
    .on_conflict_do_nothing()
    .returning(franchise_members.c.release_id)
)
PARENT = Statement(select(franchises.c.parent_franchise_id).where(_here, franchises.c.delete_time.is_(None)))
PARTS = Statement(
    select(func.count())
    .select_from(franchises)
    .where(franchises.c.parent_franchise_id == bindparam("franchise_id", type_=Id), franchises.c.delete_time.is_(None))
)
# Whoever gives a name to a genre or a tag sees the names that others give meanwhile.
NAMING_ALONE = Statement(select(func.pg_advisory_xact_lock(literal_column("7306"))))
# Whoever makes a franchise part of another waits here, so that no circle is closed from two sides.
ALONE = Statement(select(func.pg_advisory_xact_lock(literal_column("7303"))))
_by_name = _whole.order_by(franchises.c.name, franchises.c.franchise_id).limit(bindparam("limit", type_=Integer))
PAGE = Statement(_by_name)
NEXT_PAGE = Statement(
    _by_name.where(
        tuple_(franchises.c.name, franchises.c.franchise_id)
        > tuple_(bindparam("after_name", type_=Text), bindparam("after_id", type_=Id))
    )
)


class Franchises:
    """Franchises with their members; those of a deleted one are free for others."""

    async def find(self, connection: Connection, item_id: str) -> Franchise | None:
        row = await FRANCHISE.fetchrow(connection, franchise_id=item_id)
        return _franchise(row) if row else None

    async def page(self, connection: Connection, *, after: tuple[str, str] | None, limit: int) -> list[Franchise]:
        if after is None:
            rows = await PAGE.fetch(connection, limit=limit)
        else:
            rows = await NEXT_PAGE.fetch(connection, limit=limit, after_name=after[0], after_id=after[1])
        return [_franchise(row) for row in rows]

    async def lock(self, connection: Connection, item_id: str) -> Franchise | None:
        if await LOCK.fetchrow(connection, franchise_id=item_id) is None:
            return None
        return await self.find(connection, item_id)

    async def add(self, connection: Connection, item: Franchise) -> bool:
        """Raises NameTaken, MemberUnknown, MemberTaken, ParentUnknown, FranchiseCyclic, FranchiseTooDeep."""
        await self._check_parents(connection, item)
        if await ADD.fetchrow(connection, **_franchise_row(item)) is None:
            if await IS_THERE.fetchval(connection, franchise_id=item.franchise_id):
                return False
            raise NameTaken(kind="franchise", name=item.name, field="franchise.name")
        await self._take_in(connection, item)
        return True

    async def save(self, connection: Connection, item: Franchise) -> None:
        """Raises what adding one raises."""
        await self._check_parents(connection, item)
        try:
            await SAVE.execute(connection, **_franchise_row(item))
        except asyncpg.UniqueViolationError as fault:
            raise NameTaken(kind="franchise", name=item.name, field="franchise.name") from fault
        await CLEAR.execute(connection, franchise_id=item.franchise_id)
        await self._take_in(connection, item)

    async def delete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        """Raises FranchiseHasParts."""
        await ALONE.execute(connection)
        if await PARTS.fetchval(connection, franchise_id=item_id):
            raise FranchiseHasParts(franchise_id=item_id)
        await CLEAR.execute(connection, franchise_id=item_id)
        await DELETE.execute(connection, franchise_id=item_id, at=at)

    async def undelete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await UNDELETE.execute(connection, franchise_id=item_id, at=at)

    async def _check_parents(self, connection: Connection, item: Franchise) -> None:
        """Follow the line of those that it is part of: it must end, and not in the franchise itself."""
        if item.parent_franchise_id is None:
            return
        await ALONE.execute(connection)
        above: str | None = item.parent_franchise_id
        for _ in range(DEEPEST):
            if above is None:
                return
            if above == item.franchise_id:
                raise FranchiseCyclic(franchise_id=item.franchise_id, field="franchise.parent_franchise_id")
            row = await PARENT.fetchrow(connection, franchise_id=above)
            if row is None:
                raise ParentUnknown(franchise_id=above, field="franchise.parent_franchise_id")
            above = row["parent_franchise_id"]
        raise FranchiseTooDeep(field="franchise.parent_franchise_id")

    async def _take_in(self, connection: Connection, item: Franchise) -> None:
        if not item.release_ids:
            return
        found = {row["release_id"] for row in await MEMBERS.fetch(connection, release_ids=list(item.release_ids))}
        if missing := [release_id for release_id in item.release_ids if release_id not in found]:
            raise MemberUnknown(release_ids=", ".join(missing), field="franchise.release_ids")
        for position, release_id in enumerate(item.release_ids, 1):
            place = {"release_id": release_id, "franchise_id": item.franchise_id, "position": position}
            if await JOIN_ONE.fetchrow(connection, **place) is None:
                raise MemberTaken(release_id=release_id, field="franchise.release_ids")


def _franchise_row(item: Franchise) -> dict[str, Any]:
    return {name: getattr(item, name) for name in _FIELDS}


def _franchise(row: asyncpg.Record) -> Franchise:
    return Franchise(**{name: row[name] for name in _FIELDS}, release_ids=tuple(row["release_ids"]))
