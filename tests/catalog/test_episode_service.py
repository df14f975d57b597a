"""Every rule and refusal of episodes, over the real store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.catalog.episodes import PostgresEpisodes
from domain.catalog.episodes import (
    EPISODE,
    Episode,
    EpisodeNotFound,
    EpisodePositionTaken,
    EpisodeReleaseUnknown,
    Episodes,
    EpisodeState,
)
from domain.catalog.model import Release, ReleaseBlocked, ReleaseNotFound, RightsBlock, Title
from domain.catalog.service import Catalog
from domain.editing.model import ItemChangedMeanwhile, ItemIdReused
from domain.editing.service import Editing
from domain.kernel import Page, new_id
from domain.paging import PageTokenInvalid, place_token
from domain.visibility import Publication
from tests.builders import GUEST, NOON, a_release, a_viewer, an_editor, an_episode
from tests.catalog.conftest import AUTHOR, Desk

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def episodes(database: Database) -> Episodes:
    return Episodes(read=database.reads(PostgresEpisodes))


@pytest.fixture
async def release(admin: Desk) -> Release:
    created, _ = await admin.create_release(a_release(alias="kaze-no-uta"))
    return created


async def created(editing: Editing, release: Release, **over: object) -> Episode:
    episode, _ = await editing.create(EPISODE, an_episode(release, **over), author=AUTHOR)
    return episode


class TestGetEpisode:
    async def test_shows_what_was_created(self, episodes: Episodes, editing: Editing, release: Release) -> None:
        episode = await created(
            editing, release, number="12.5", absolute_number="37.5", season_number="1", synopsis="A recap.", air_time=NOON
        )

        assert replace(episode, position=12_500) == await episodes.get_episode(episode.episode_id, viewer=GUEST)

    async def test_hides_what_belongs_to_a_hidden_release(self, episodes: Episodes, editing: Editing, admin: Desk) -> None:
        for over in ({"publication": Publication.DRAFT}, {"age_rating": 18}, {"blocked_countries": ("JP",)}):
            hidden, _ = await admin.create_release(a_release(**over))
            episode = await created(editing, hidden)

            with pytest.raises(EpisodeNotFound):
                await episodes.get_episode(episode.episode_id, viewer=a_viewer(country="JP", maturity=12))
            assert episode == await episodes.get_episode(episode.episode_id, viewer=an_editor())

    async def test_refuses_what_is_deleted_with_its_release_or_by_itself(
        self, episodes: Episodes, editing: Editing, admin: Desk, release: Release
    ) -> None:
        alone, along = await created(editing, release), await created(editing, release, number="2")
        await editing.delete(EPISODE, alone.episode_id, version=0, author=AUTHOR, at=LATER)
        with pytest.raises(EpisodeNotFound):
            await episodes.get_episode(alone.episode_id, viewer=an_editor())

        await admin.delete_release(release.release_id, version=0, at=LATER)
        with pytest.raises(EpisodeNotFound):
            await episodes.get_episode(along.episode_id, viewer=an_editor())

    async def test_reads_what_an_older_release_kept(self, episodes: Episodes, release: Release, database: Database) -> None:
        episode_id = new_id(at=NOON)
        old = "INSERT INTO catalog.episodes (episode_id, release_id, number, position, title) VALUES ($1, $2, '1', 1, 'Once')"
        async with database.begins(bare)() as connection:
            await connection.execute(old, episode_id, release.release_id)

        episode = await episodes.get_episode(episode_id, viewer=GUEST)

        assert ((Title("und", "Once"),), EpisodeState.RELEASED) == (episode.titles, episode.state)
        assert episode.release_time is not None


class TestBatchGetEpisodes:
    async def test_keeps_the_order_and_names_what_is_missing(
        self, episodes: Episodes, editing: Editing, release: Release, admin: Desk
    ) -> None:
        first, second = await created(editing, release), await created(editing, release, number="2")
        draft, _ = await admin.create_release(a_release(publication=Publication.DRAFT))
        hidden, none = await created(editing, draft), new_id(at=NOON)

        found, missing = await episodes.batch_get_episodes(
            [second.episode_id, hidden.episode_id, first.episode_id, none], viewer=GUEST
        )

        assert [second, first] == found
        assert [hidden.episode_id, none] == missing


class TestListEpisodes:
    async def test_goes_through_all_in_their_order_page_by_page(
        self, episodes: Episodes, editing: Editing, release: Release
    ) -> None:
        for number in ("2", "0", "12.5", "13", "1", "12"):
            await created(editing, release, number=number)
        await created(editing, release, number="SP1", position=99_000)

        found, token, pages = [], "", 0
        while token or not pages:
            release_id, page, token = await episodes.list_episodes("kaze-no-uta", Page(3, token), viewer=GUEST)
            found += [episode.number for episode in page]
            pages += 1

        assert release.release_id == release_id
        assert (3, ["0", "1", "2", "12", "12.5", "13", "SP1"]) == (pages, found)

    async def test_leaves_out_none_that_stays_while_others_come_and_go(
        self, episodes: Episodes, editing: Editing, release: Release
    ) -> None:
        kept = [await created(editing, release, number=str(number)) for number in range(1, 5)]
        _, first, token = await episodes.list_episodes(release.release_id, Page(2), viewer=GUEST)
        await editing.delete(EPISODE, kept[1].episode_id, version=0, author=AUTHOR, at=LATER)
        await created(editing, release, number="0")

        _, second, _ = await episodes.list_episodes(release.release_id, Page(2, token), viewer=GUEST)

        assert kept == [*first, *second]

    async def test_hides_what_the_viewer_may_not_see(self, episodes: Episodes, editing: Editing, admin: Desk) -> None:
        draft, _ = await admin.create_release(a_release(publication=Publication.DRAFT))
        await created(editing, draft)

        for release in (draft.release_id, new_id(at=NOON), "no-such-release"):
            with pytest.raises(ReleaseNotFound):
                await episodes.list_episodes(release, Page(), viewer=GUEST)
        assert 1 == len((await episodes.list_episodes(draft.release_id, Page(), viewer=an_editor()))[1])

    async def test_says_what_is_blocked_in_the_words_of_its_release(self, episodes: Episodes, admin: Desk) -> None:
        abroad, held = {"blocked_countries": ("DE",)}, {"rights_blocks": (RightsBlock("Toho", "in dispute", ("DE",)),)}
        for over, words in ((abroad, "not licensed"), (held, "in dispute")):
            blocked, _ = await admin.create_release(a_release(**over))

            with pytest.raises(ReleaseBlocked, match=words):
                await episodes.list_episodes(blocked.release_id, Page(), viewer=a_viewer(country="DE"))
            assert (await episodes.list_episodes(blocked.release_id, Page(), viewer=a_viewer(country="JP")))[1] == []

    async def test_refuses_foreign_tokens(self, episodes: Episodes, release: Release) -> None:
        binding = f"episodes/{release.release_id}"
        for token in ("x", place_token(1, binding="episodes/other"), *(place_token(v, binding=binding) for v in (2**31, -1, "1"))):
            with pytest.raises(PageTokenInvalid):
                await episodes.list_episodes(release.release_id, Page(2, token), viewer=GUEST)


class TestCreate:
    async def test_gives_the_first_result_back_when_it_is_repeated(self, editing: Editing, release: Release) -> None:
        draft = an_episode(release)
        first = await editing.create(EPISODE, draft, author=AUTHOR)
        again = await editing.create(EPISODE, draft, author=AUTHOR)

        assert (first[0], []) == again
        with pytest.raises(ItemIdReused):
            await editing.create(EPISODE, replace(draft, number="2"), author=AUTHOR)

    async def test_counts_in_the_release(self, editing: Editing, release: Release, catalog: Catalog) -> None:
        first, _ = await created(editing, release), await created(editing, release, number="2")
        await editing.delete(EPISODE, first.episode_id, version=0, author=AUTHOR, at=LATER)

        assert 1 == (await catalog.get_release(release.release_id, viewer=GUEST)).episode_count

    async def test_refuses_a_release_that_does_not_exist(self, editing: Editing, release: Release, admin: Desk) -> None:
        await admin.delete_release(release.release_id, version=0, at=LATER)

        for missing in (release, a_release()):
            with pytest.raises(EpisodeReleaseUnknown) as refusal:
                await created(editing, missing)
            assert "episode.release_id" == refusal.value.details["field"]

    async def test_refuses_a_position_that_is_taken_until_it_is_free(self, editing: Editing, release: Release) -> None:
        first = await created(editing, release)
        with pytest.raises(EpisodePositionTaken):
            await created(editing, release)
        other = await created(editing, release, number="2")
        with pytest.raises(EpisodePositionTaken):
            await editing.update(EPISODE, other.episode_id, {"position": 1000}, version=0, author=AUTHOR, at=LATER)

        await editing.delete(EPISODE, first.episode_id, version=0, author=AUTHOR, at=LATER)
        await created(editing, release)

        with pytest.raises(EpisodePositionTaken):
            await editing.undelete_item("episode", first.episode_id, author=AUTHOR, at=LATER)


class TestUpdate:
    async def test_releases_an_episode_and_tells_of_it_once(self, editing: Editing, release: Release, database: Database) -> None:
        episode, effects = await editing.create(EPISODE, an_episode(release), author=AUTHOR)
        released, fields, more = await editing.update(
            EPISODE, episode.episode_id, {"state": EpisodeState.RELEASED}, version=1, author=AUTHOR, at=LATER
        )

        assert (["EpisodeAdded"], ["EpisodeUpdated", "EpisodeReleased"]) == (effects, more)
        assert (["state"], LATER, 2) == (fields, released.release_time, released.version)
        async with database.reads(bare)() as connection:
            events = await connection.fetch("SELECT name FROM platform.events WHERE name LIKE 'Episode%' ORDER BY number")
        assert ["EpisodeAdded", "EpisodeUpdated", "EpisodeReleased"] == [row["name"] for row in events]
        with pytest.raises(ItemChangedMeanwhile):
            await editing.update(EPISODE, episode.episode_id, {"number": "2"}, version=1, author=AUTHOR, at=LATER)

    async def test_keeps_history_to_go_back_to(self, editing: Editing, release: Release, episodes: Episodes) -> None:
        episode = await created(editing, release)
        await editing.update(EPISODE, episode.episode_id, {"titles": ()}, version=0, author=AUTHOR, at=LATER)
        await editing.delete(EPISODE, episode.episode_id, version=0, author=AUTHOR, at=LATER)
        await editing.undelete_item("episode", episode.episode_id, author=AUTHOR, at=LATER)

        await editing.revert_item("episode", episode.episode_id, to=1, version=0, author=AUTHOR, at=LATER)

        back = await episodes.get_episode(episode.episode_id, viewer=GUEST)
        assert (episode.titles, 5) == (back.titles, back.version)
