"""Puts the demo catalog into an empty database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Table, bindparam, func, insert, literal_column, select

from adapters.postgres import Connection
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.catalog.tables import episodes, franchise_members, franchises, genres, releases
from adapters.postgres.statement import Statement
from domain.catalog.model import Genre, Release

ANY = Statement(select(literal_column("1")).where(select(releases.c.release_id).exists()))
ALONE = Statement(select(func.pg_advisory_xact_lock(literal_column("7301"))))
ADD_GENRE = Statement(insert(genres).values({c.name: bindparam(c.name, type_=c.type) for c in genres.c}))


class Demo(Protocol):
    """A demo catalog."""

    @property
    def genres(self) -> Sequence[Genre]: ...
    @property
    def releases(self) -> Sequence[Release]: ...
    @property
    def episodes(self) -> Sequence[Any]: ...
    @property
    def franchises(self) -> Sequence[tuple[str, str, list[str]]]: ...


async def plant(connection: Connection, demo: Demo) -> int:
    """Store a demo catalog unless there is any release; return how many releases were stored. Announces nothing to anyone."""
    await ALONE.execute(connection)
    if await ANY.fetchrow(connection):
        return 0
    for genre in demo.genres:
        await ADD_GENRE.execute(connection, genre_id=genre.genre_id, name=genre.name)
    store = PostgresCatalog(connection)
    for release in demo.releases:
        await store.add_release(release)
    await _add(connection, franchises, [(i, name) for i, name, _ in demo.franchises])
    members = [(r, i, place) for i, _, members in demo.franchises for place, r in enumerate(members, 1)]
    await _add(connection, franchise_members, members)
    rows = [(e.episode_id, e.release_id, e.number, e.position, e.title, e.duration_seconds, e.air_time) for e in demo.episodes]
    await _add(connection, episodes, rows)
    return len(demo.releases)


async def _add(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    statement = Statement(insert(table).values({c.name: bindparam(c.name, type_=c.type) for c in table.c}))
    names = [c.name for c in table.c]
    await connection.executemany(statement.text, [statement.arguments(dict(zip(names, row, strict=True))) for row in rows])
