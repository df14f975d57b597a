"""Uploads over the real store, storage and image program, and a catalog to attach files to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.images import ChildImages
from adapters.postgres import Database, bare
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.media.uploads import PostgresUploads
from adapters.storage import LocalSpooling, LocalStorage
from domain.catalog.model import Release
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
