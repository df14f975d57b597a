"""Editing over the real store."""

from __future__ import annotations

from functools import partial

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.catalog.items import ITEMS
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.editing.store import PostgresEditing
from domain.catalog.kinds import KINDS
from domain.catalog.model import Release
from domain.editing.change_sets import ChangeSets
from domain.editing.model import Author
from domain.editing.service import Editing

AUTHOR = Author("0191d7a0-0000-7000-8000-000000000002", "because")


class Look:
    """Looks at what was kept."""

    def __init__(self, database: Database) -> None:
        self._catalog = database.reads(PostgresCatalog)
        self._bare = database.reads(bare)

    async def release(self, key: str) -> Release | None:
        async with self._catalog() as store:
            return await store.release(key)

    async def present(self, key: str) -> Release:
        found = await self.release(key)
        assert found is not None
        return found

    async def events(self) -> list[str]:
        async with self._bare() as connection:
            return [row["name"] for row in await connection.fetch("SELECT name FROM platform.events ORDER BY number")]


@pytest.fixture
async def look(database: Database) -> Look:
    async with database.begins(bare)() as connection:
        await connection.execute("INSERT INTO catalog.genres (genre_id, name) VALUES ('drama', 'Drama'), ('mecha', 'Mecha')")
    return Look(database)


@pytest.fixture
def editing(database: Database, look: Look) -> Editing:
    kept = partial(PostgresEditing, kept=ITEMS)
    return Editing(KINDS, begin=database.begins(kept), read=database.reads(kept))


@pytest.fixture
def change_sets(editing: Editing, database: Database) -> ChangeSets:
    kept = partial(PostgresEditing, kept=ITEMS)
    return ChangeSets(editing, begin=database.begins(kept), read=database.reads(kept))
