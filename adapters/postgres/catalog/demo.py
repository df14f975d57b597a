"""Puts the demo catalog into an empty database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Table, Text, bindparam, func, insert, literal_column, select

from adapters.postgres import Connection
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.catalog.tables import episodes, franchise_members, franchises, genres, releases
from adapters.postgres.statement import Statement
from domain.catalog.model import Genre, Release

EPISODE = ("episode_id", "release_id", "number", "position", "title", "duration_seconds", "air_time")
ANY = Statement(select(literal_column("1")).where(select(releases.c.release_id).exists()))
ALONE = Statement(select(func.pg_advisory_xact_lock(literal_column("7301"))))
ADD_GENRE = Statement(insert(genres).values({name: bindparam(name, type_=Text) for name in ("genre_id", "name")}))


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
    named = [{"franchise_id": i, "name": name} for i, name, _ in demo.franchises]
    await _add(connection, franchises, named)
    members = [
        {"release_id": release_id, "franchise_id": i, "position": place}
        for i, _, members in demo.franchises
        for place, release_id in enumerate(members, 1)
    ]
    await _add(connection, franchise_members, members)
    await _add(connection, episodes, [{name: getattr(episode, name) for name in EPISODE} for episode in demo.episodes])
    return len(demo.releases)


async def _add(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        statement = Statement(insert(table).values({name: bindparam(name, type_=table.c[name].type) for name in rows[0]}))
        await connection.executemany(statement.text, [statement.arguments(row) for row in rows])
