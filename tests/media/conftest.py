"""Uploads and promos over the real store, storage and image program, and a catalog that they belong to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from adapters.images import ChildImages
from adapters.postgres import Database, bare
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.editing.store import PostgresEditing
from adapters.postgres.media.promos import ITEMS, PostgresPromos
from adapters.postgres.media.uploads import PostgresUploads
from adapters.storage import LocalSpooling, LocalStorage
from domain.catalog.model import Release
from domain.editing.service import Editing
from domain.media.promos import Hosts, promo_kind
from domain.media.promotion import Promos
from domain.media.uploads import Uploads


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "files")


@pytest.fixture
async def uploads(database: Database, storage: LocalStorage, tmp_path: Path) -> AsyncIterator[Uploads]:
    images = ChildImages(folder=tmp_path)
    yield Uploads(
        begin=database.begins(PostgresUploads),
        read=database.reads(PostgresUploads),
        storage=storage,
        spool=LocalSpooling(tmp_path / "spool"),
        images=images,
    )
    images.close()


async def kept(database: Database, release: Release) -> Release:
    """Put a release into the catalog."""
    async with database.begins(PostgresCatalog)() as catalog:
        assert await catalog.add_release(release)
    return release


async def event_names(database: Database) -> list[str]:
    """Return the names of the events that were recorded, the oldest first."""
    async with database.reads(bare)() as connection:
        return [row["name"] for row in await connection.fetch("SELECT name FROM platform.events ORDER BY record_time, event_id")]


HOSTS = Hosts(("shop.example", "ads.example.org"))
PROMO = promo_kind(HOSTS)


@pytest.fixture
def promos(database: Database) -> Promos:
    begin, read = database.begins(PostgresPromos), database.reads(PostgresPromos)
    return Promos(begin=begin, read=read, hosts=HOSTS, serves_vast=True)


@pytest.fixture
def editing(database: Database) -> Editing:
    kept = partial(PostgresEditing, kept=ITEMS)
    return Editing([PROMO], begin=database.begins(kept), read=database.reads(kept))
