"""What becomes of items that were deleted too long ago to be brought back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.editing.purging import PostgresPurge
from adapters.postgres.media.sources import Keeper
from domain.catalog.episodes import EPISODE
from domain.catalog.franchises import Franchise
from domain.catalog.kinds import FRANCHISE, RELEASE
from domain.catalog.model import Genre, Release
from domain.catalog.schedule import SCHEDULE_ENTRY
from domain.editing.model import UNDELETE_WITHIN, Action, DeletedTooLongAgo, ItemIdReused
from domain.editing.service import Editing
from domain.items import Kind
from domain.kernel import Page, new_id
from server.editing.tasks import MARGIN, purging
from tests.builders import NOON, a_release, an_entry, an_episode
from tests.editing.conftest import AUTHOR, Look
from tests.media.playing import a_source

AFTER = NOON + UNDELETE_WITHIN + MARGIN + timedelta(hours=1)


@pytest.fixture
async def release(editing: Editing) -> Release:
    made, _ = await editing.create(RELEASE, a_release(alias="kaze", genres=(Genre("drama"),)), author=AUTHOR)
    return made


async def deleted(editing: Editing, kind: Kind[Any], item: Any, *, at: datetime = NOON) -> str:
    key = kind.key(item)
    await editing.delete(kind, key, version=0, author=AUTHOR, at=at)
    return key


async def purge(database: Database, *, at: datetime = AFTER) -> None:
    await purging(database.begins(PostgresPurge)).act(at)


async def count(database: Database, table: str) -> int:
    async with database.reads(bare)() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


class TestPurging:
    async def test_leaves_what_may_be_brought_back(
        self, editing: Editing, database: Database, release: Release, look: Look
    ) -> None:
        await deleted(editing, RELEASE, release)
        await purge(database, at=NOON + UNDELETE_WITHIN)

        await editing.undelete_item("release", release.release_id, author=AUTHOR, at=NOON + UNDELETE_WITHIN)

        assert (await look.present("kaze")).titles == release.titles

    async def test_empties_a_release_with_all_its_parts_and_frees_its_alias(
        self, editing: Editing, database: Database, release: Release, look: Look
    ) -> None:
        episode, _ = await editing.create(EPISODE, an_episode(release), author=AUTHOR)
        await editing.create(SCHEDULE_ENTRY, an_entry(release), author=AUTHOR)
        async with database.begins(bare)() as connection:
            await Keeper().add(connection, a_source(episode_id=episode.episode_id))
        await deleted(editing, RELEASE, release)

        await purge(database)

        parts = ("catalog.episodes", "catalog.schedule_entries", "catalog.schedule_changes", "catalog.release_genres")
        assert [await count(database, table) for table in (*parts, "media.video_sources")] == [0] * 5
        async with database.reads(bare)() as connection:
            (left,) = await connection.fetch("SELECT titles, synopsis, delete_time FROM catalog.releases")
        assert (left["titles"], left["synopsis"], left["delete_time"]) == ([], "", NOON)
        again, _ = await editing.create(RELEASE, a_release(alias="kaze"), author=AUTHOR)
        assert await look.present("kaze") == again

    async def test_keeps_history_and_refusals_as_they_were(self, editing: Editing, database: Database, release: Release) -> None:
        episode, _ = await editing.create(EPISODE, an_episode(release), author=AUTHOR)
        key = await deleted(editing, EPISODE, episode)

        await purge(database)

        assert await count(database, "catalog.episodes") == 0
        revisions, _ = await editing.list_revisions("episode", key, Page())
        assert [revision.action for revision in revisions] == [Action.DELETE, Action.CREATE]
        assert await editing.delete(EPISODE, key, version=0, author=AUTHOR, at=AFTER) == []
        with pytest.raises(DeletedTooLongAgo):
            await editing.undelete_item("episode", key, author=AUTHOR, at=AFTER)
        with pytest.raises(ItemIdReused):
            await editing.create(EPISODE, episode, author=AUTHOR)

    async def test_takes_entries_and_franchises_and_does_so_once(
        self, editing: Editing, database: Database, release: Release
    ) -> None:
        entry, _ = await editing.create(SCHEDULE_ENTRY, an_entry(release), author=AUTHOR)
        draft = Franchise(franchise_id=new_id(at=NOON), name="Wind", release_ids=(), create_time=NOON, update_time=NOON)
        franchise, _ = await editing.create(FRANCHISE, draft, author=AUTHOR)
        for kind, item in ((SCHEDULE_ENTRY, entry), (FRANCHISE, franchise), (RELEASE, release)):
            await deleted(editing, kind, item)

        await purge(database)

        assert [await count(database, table) for table in ("catalog.schedule_entries", "catalog.franchises")] == [0, 0]
        async with database.begins(PostgresPurge)() as items:
            assert not any((await items.purge(before=AFTER, limit=10)).values())
