"""A catalog over the real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Any

import asyncpg
import pytest

from adapters.postgres import Database
from adapters.postgres.catalog.items import ITEMS
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.editing.store import PostgresEditing
from adapters.postgres.listen import Bell
from domain.catalog.kinds import KINDS, RELEASE
from domain.catalog.model import Release
from domain.catalog.service import Catalog
from domain.editing.model import Author
from domain.editing.service import Editing

AUTHOR = Author("0191d7a0-0000-7000-8000-000000000002", "because")
GENRES = {"action": "Action", "drama": "Drama", "mecha": "Mecha"}


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
async def catalog(database: Database, bell: Bell) -> Catalog:
    async with database.begins(lambda connection: connection)() as connection:
        await connection.executemany("INSERT INTO catalog.genres (genre_id, name) VALUES ($1, $2)", list(GENRES.items()))
    return Catalog(read=database.reads(PostgresCatalog), bell=bell)


class Desk:
    """An editor at work."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def create_release(self, draft: Release, *, validate_only: bool = False) -> tuple[Release, list[str]]:
        return await self._editing.create(RELEASE, draft, author=AUTHOR, validate_only=validate_only)

    async def update_release(
        self, release_id: str, changes: dict[str, Any], *, version: int, at: datetime, validate_only: bool = False
    ) -> tuple[Release, list[str], list[str]]:
        return await self._editing.update(
            RELEASE, release_id, changes, version=version, author=AUTHOR, at=at, validate_only=validate_only
        )

    async def delete_release(self, release_id: str, *, version: int, at: datetime, validate_only: bool = False) -> list[str]:
        return await self._editing.delete(RELEASE, release_id, version=version, author=AUTHOR, at=at, validate_only=validate_only)


@pytest.fixture
def editing(database: Database) -> Editing:
    kept = partial(PostgresEditing, kept=ITEMS)
    return Editing(KINDS, begin=database.begins(kept), read=database.reads(kept))


@pytest.fixture
async def admin(editing: Editing, catalog: Catalog) -> Desk:
    return Desk(editing)


@pytest.fixture
async def recorded(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that looks at what was kept."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
