"""A catalog over the real store."""

from __future__ import annotations

import asyncpg
import pytest

from adapters.postgres import Database
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.listen import Bell
from domain.catalog.admin import CatalogAdmin
from domain.catalog.service import Catalog

GENRES = {"action": "Action", "drama": "Drama", "mecha": "Mecha"}


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
async def catalog(database: Database, bell: Bell) -> Catalog:
    async with database.begins(lambda connection: connection)() as connection:
        await connection.executemany("INSERT INTO catalog.genres (genre_id, name) VALUES ($1, $2)", list(GENRES.items()))
    return Catalog(read=database.reads(PostgresCatalog), bell=bell)


@pytest.fixture
async def admin(database: Database, catalog: Catalog) -> CatalogAdmin:
    return CatalogAdmin(begin=database.begins(PostgresCatalog))


@pytest.fixture
async def recorded(database_url: str) -> asyncpg.Connection:
    """A connection that looks at what was kept."""
    return await asyncpg.connect(database_url)
