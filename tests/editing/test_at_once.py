"""What several people and imports do to the same items at once."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.catalog.episode_imports import PostgresEpisodeImports
from adapters.postgres.catalog.importing import PostgresImports
from adapters.postgres.catalog.items import ITEMS
from adapters.postgres.editing.store import PostgresEditing
from adapters.postgres.media import sources
from adapters.postgres.media.importing import PostgresSourceImports
from domain.catalog.episodes import EPISODE, Episode
from domain.catalog.franchises import GenreEntry
from domain.catalog.kinds import GENRE, RELEASE
from domain.catalog.model import Genre, GenreUnknown, Release
from domain.editing import making
from domain.editing.change_sets import ChangeSets
from domain.editing.model import State
from domain.editing.ports import EditingStore
from domain.editing.service import Editing
from domain.kernel import Begin
from domain.media.importing import Player, SourceImports, source_id
from domain.media.sources import Origins, video_source_kind
from tests.builders import NOON, a_release, an_episode
from tests.editing.conftest import AUTHOR, Look
from tests.editing.test_change_sets import EDITOR, LATER, a_change, a_set
from tests.waiting import until_blocked

ORIGINS = Origins(("kodik.info",))


def a_genre(genre_id: str, name: str) -> GenreEntry:
    return GenreEntry(genre_id=genre_id, name=name, create_time=NOON, update_time=NOON)


@pytest.fixture
async def release(editing: Editing) -> Release:
    return (await editing.create(RELEASE, a_release(), author=AUTHOR))[0]


@pytest.fixture
def begin(database: Database) -> Begin[EditingStore]:
    """Begin what an editor is in the middle of."""
    return database.begins(partial(PostgresEditing, kept={**ITEMS, **sources.ITEMS}))


@pytest.fixture
async def imported_episode(database: Database, release: Release) -> Episode:
    """Keep an episode that no editor ever touched."""
    episode = an_episode(release, position=1)
    async with database.begins(bare)() as connection:
        await ITEMS["episode"].keeper.add(connection, episode)
    return episode


class TestDelete:
    async def test_is_done_once_for_all_who_ask_at_once(self, editing: Editing) -> None:
        for _ in range(10):
            release, _ = await editing.create(RELEASE, a_release(), author=AUTHOR)

            effects = await asyncio.gather(
                *(editing.delete(RELEASE, release.release_id, version=0, author=AUTHOR, at=NOON) for _ in range(4))
            )

            assert sorted(effects) == [[], [], [], ["ReleaseDeleted"]]


class TestPublishDue:
    async def test_comes_back_to_a_set_whose_item_somebody_held(
        self, change_sets: ChangeSets, release: Release, database: Database, look: Look
    ) -> None:
        draft = await change_sets.create_change_set(a_set(a_change(release, synopsis="Wind.")), viewer=EDITOR)
        await change_sets.publish_change_set(draft.change_set_id, publish_time=LATER, viewer=EDITOR, at=NOON)

        async with database.begins(bare)() as holder:
            await holder.execute("SELECT FROM catalog.releases WHERE release_id = $1 FOR UPDATE", release.release_id)
            held = await change_sets.publish_due(at=LATER)
        found = await change_sets.get_change_set(draft.change_set_id, viewer=EDITOR)
        then = await change_sets.publish_due(at=LATER)

        assert ([], State.SCHEDULED) == (held, found.state)
        assert [(draft.change_set_id, None)] == then
        assert "Wind." == (await look.present(release.release_id)).synopsis


class TestGenre:
    async def test_is_given_to_nothing_while_it_is_deleted(
        self, editing: Editing, begin: Begin[EditingStore], release: Release, database: Database
    ) -> None:
        async with begin() as store:
            await making.delete(store, GENRE, "mecha", version=0, author=AUTHOR, at=NOON)
            giving = asyncio.create_task(
                editing.update(RELEASE, release.release_id, {"genres": (Genre("mecha"),)}, version=0, author=AUTHOR, at=NOON)
            )
            await until_blocked(database, giving)

        with pytest.raises(GenreUnknown):
            await giving

    async def test_is_renamed_while_releases_are_given_it(
        self, editing: Editing, begin: Begin[EditingStore], release: Release, look: Look
    ) -> None:
        async with begin() as store:
            await making.update(
                store, RELEASE, release.release_id, {"genres": (Genre("mecha"),)}, version=0, author=AUTHOR, at=NOON
            )
            await editing.update(GENRE, "mecha", {"name": "Robots"}, version=0, author=AUTHOR, at=NOON)

        assert (Genre("mecha", "Robots"),) == (await look.present(release.release_id)).genres

    async def test_is_found_by_an_import_while_an_editor_adds_it(
        self, begin: Begin[EditingStore], look: Look, database: Database
    ) -> None:
        async def imported(name: str, genre_id: str) -> dict[str, str]:
            async with database.begins(PostgresImports)() as store:
                return await store.genre_ids({name: genre_id}, at=NOON)

        async with begin() as store:
            await making.create(store, GENRE, a_genre("space", "Space Opera"), author=AUTHOR)
            await making.create(store, GENRE, a_genre("idols", "Idols"), author=AUTHOR)
            tasks = [
                asyncio.create_task(imported("Space Opera", "space-opera")),
                asyncio.create_task(imported("Idols", "idols")),
            ]
            await until_blocked(database, *tasks)

        assert [{"Space Opera": "space"}, {"Idols": "idols"}] == [await task for task in tasks]

    async def test_that_is_there_keeps_imports_waiting_for_nobody(
        self, begin: Begin[EditingStore], look: Look, database: Database
    ) -> None:
        async with begin() as store, database.begins(PostgresImports)() as imports:
            await making.create(store, GENRE, a_genre("space", "Space Opera"), author=AUTHOR)

            assert {"Mecha": "mecha"} == await imports.genre_ids({"Mecha": "mecha"}, at=NOON)


class TestImport:
    async def test_leaves_an_episode_alone_that_an_editor_is_deciding_on(
        self, begin: Begin[EditingStore], imported_episode: Episode, database: Database
    ) -> None:
        async def known() -> tuple[bool, int]:
            async with database.begins(PostgresEpisodeImports)() as imports:
                ((found,),) = (await imports.known([imported_episode.release_id])).values()
                return found.edited, found.episode.version

        async with begin() as store:
            episode_id = imported_episode.episode_id
            decided, *_ = await making.update(store, EPISODE, episode_id, {"number": "7"}, version=0, author=AUTHOR, at=NOON)
            looking = asyncio.create_task(known())
            await until_blocked(database, looking)

        assert (True, decided.version) == await looking

    async def test_leaves_a_source_alone_that_an_editor_is_deciding_on(
        self, begin: Begin[EditingStore], imported_episode: Episode, database: Database
    ) -> None:
        imports = SourceImports(begin=database.begins(PostgresSourceImports), origins=ORIGINS)

        def a_player(url: str) -> Player:
            return Player(name="kodik/1", episode_id=imported_episode.episode_id, url=url, team="t", language="ru", voiced=True)

        await imports.keep("kodik", [a_player("https://kodik.info/1")], [], at=NOON)
        async with begin() as store:
            kind, item_id = video_source_kind(ORIGINS), source_id("kodik/1")
            await making.update(store, kind, item_id, {"enabled": False}, version=0, author=AUTHOR, at=NOON)
            keeping = asyncio.create_task(imports.keep("kodik", [a_player("https://kodik.info/2")], [], at=NOON))
            await until_blocked(database, keeping)
        await keeping

        async with database.reads(bare)() as connection:
            row = await connection.fetchrow("SELECT url, enabled FROM media.video_sources")
        assert row is not None
        assert ("https://kodik.info/1", False) == tuple(row)
