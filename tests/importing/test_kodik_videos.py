"""What Kodik lets be watched: episodes and embedded players, kept in step with Kodik and never against an editor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from adapters.postgres import Database
from adapters.postgres.catalog.items import ITEMS
from adapters.postgres.editing.purging import PostgresPurge
from adapters.postgres.editing.store import PostgresEditing
from adapters.postgres.media import sources as source_store
from adapters.postgres.media.playback import PostgresPlayback
from domain.catalog.episode_imports import SPECIALS, numbered
from domain.catalog.episodes import EPISODE
from domain.catalog.importing import VideoLink
from domain.catalog.kinds import KINDS, RELEASE
from domain.catalog.model import ExternalId, Kind, Provider, Title
from domain.editing.model import Author
from domain.editing.service import Editing
from domain.media.sources import Origins, SourceKind, video_source_kind
from domain.operations.model import State
from tests.builders import NOON, a_release, an_episode
from tests.importing.a_kodik import AKodik, a_kodik, a_record
from tests.importing.conftest import Imported, rows

AUTHOR = Author("0191d7a0-0000-7000-8000-000000000002", "because")
VIDEO_SOURCE = video_source_kind(Origins(("kodik.info", "video.example")))
# A run that reads everything again.
AGAIN = {"since": "2020-01-01T00:00:00Z"}
EPISODES = "SELECT number, state FROM catalog.episodes WHERE delete_time IS NULL ORDER BY position"
SOURCES = "SELECT url, enabled, version FROM media.video_sources WHERE delete_time IS NULL ORDER BY url"
ROWS = """
    SELECT episode_id, xmin::text FROM catalog.episodes
    UNION ALL SELECT video_source_id, xmin::text FROM media.video_sources ORDER BY 1
"""
NEWS = "SELECT name FROM platform.events WHERE name IN ('EpisodeAdded', 'EpisodeReleased') ORDER BY number"


@pytest.fixture
async def kodik() -> AsyncIterator[AKodik]:
    async with a_kodik() as running:
        yield running


@pytest.fixture
def editing(database: Database) -> Editing:
    kept = partial(PostgresEditing, kept={**ITEMS, **source_store.ITEMS})
    return Editing([*KINDS, VIDEO_SOURCE], begin=database.begins(kept), read=database.reads(kept))


def link(episode: int, *, mark: str = "a") -> str:
    return f"//kodik.info/seria/{episode}/{mark}/720p"


def aired(number: int, *episodes: int, mark: str = "", season: str = "1", **over: Any) -> dict[str, Any]:
    """Return the record of a translation with its episodes."""
    links = {str(one): link(one, mark=mark or f"t{number}") for one in episodes}
    return a_record(number, seasons={season: {"link": f"//kodik.info/season/{season}/x/720p", "episodes": links}}, **over)


class TestEpisodes:
    async def test_come_of_all_translations_each_with_its_players(
        self, imported: Imported, kodik: AKodik, database: Database
    ) -> None:
        subtitles = {"id": 2, "title": "Subs", "type": "subtitles"}
        kodik.paged([aired(3, 1, 2, 3), aired(2, 1, translation=subtitles)])

        ended = await imported("kodik", kodik_url=kodik.url)

        assert (ended.state, ended.counts["episodes_added"], ended.counts["videos_added"]) == (State.SUCCEEDED, 3, 4)
        assert await rows(database, EPISODES) == [("1", 2), ("2", 2), ("3", 2)]
        (episode,) = await rows(database, "SELECT episode_id FROM catalog.episodes WHERE number = '1'")
        async with database.reads(PostgresPlayback)() as store:
            playable = await store.playable(episode[0], account_id="", profile_id="")
        assert playable is not None
        by_url = {source.url: source for source in playable.sources}
        voiced, read = by_url["https://kodik.info/seria/1/t3/720p"], by_url["https://kodik.info/seria/1/t2/720p"]
        assert {source.kind for source in playable.sources} == {SourceKind.EMBED}
        assert [(track.language, track.team) for track in voiced.audio_tracks] == [("ru", "Team 3")]
        assert ([(track.language, track.team) for track in read.subtitle_tracks], read.audio_tracks) == ([("ru", "Subs")], ())

    async def test_change_nothing_when_they_are_told_again(self, imported: Imported, kodik: AKodik, database: Database) -> None:
        kodik.paged([aired(2, 1, 2), aired(1, 1)])
        await imported("kodik", kodik_url=kodik.url)
        before = await rows(database, ROWS)

        again = await imported("kodik", kodik_url=kodik.url, **AGAIN)

        assert await rows(database, ROWS) == before
        assert dict(again.counts) == {"added": 0, "changed": 0, "unchanged": 2, "skipped": 0, "problems": 0}

    async def test_of_a_movie_are_one(self, imported: Imported, kodik: AKodik, database: Database) -> None:
        kodik.paged([a_record(1, type="anime")])

        await imported("kodik", kodik_url=kodik.url)

        assert await rows(database, EPISODES) == [("1", 2)]

    async def test_are_news_only_where_there_were_some_before(self, imported: Imported, kodik: AKodik, database: Database) -> None:
        kodik.paged([aired(1, 1, 2)])
        await imported("kodik", kodik_url=kodik.url)
        assert await rows(database, NEWS) == []

        kodik.paged([aired(1, 1, 2, 3)])
        await imported("kodik", kodik_url=kodik.url, **AGAIN)

        assert await rows(database, NEWS) == [("EpisodeAdded",), ("EpisodeReleased",)]
        told = "SELECT count(*) FROM platform.events WHERE name = 'EpisodesImported'"
        assert await rows(database, told) == [(2,)]

    async def test_wait_for_their_host_to_be_allowed(self, imported: Imported, kodik: AKodik, database: Database) -> None:
        kodik.paged([aired(1, 1)])
        first = await imported("kodik", kodik_url=kodik.url, video_hosts=())
        assert (first.counts["problems"], first.counts["skipped"]) == (1, 0)
        assert await rows(database, "SELECT reason FROM operations.problems") == [("VIDEO_HOST_REFUSED",)]
        assert (await rows(database, EPISODES), await rows(database, SOURCES)) == ([("1", 1)], [])

        second = await imported("kodik", kodik_url=kodik.url, **AGAIN)

        assert (second.counts["unchanged"], second.counts["episodes_released"], second.counts["videos_added"]) == (1, 1, 1)
        assert await rows(database, EPISODES) == [("1", 2)]


class TestPlayers:
    async def test_follow_their_address_and_go_and_come_with_it(
        self, imported: Imported, kodik: AKodik, database: Database
    ) -> None:
        for records, expected in (
            ([aired(1, 1, 2)], [("1/t1", True, 1), ("2/t1", True, 1)]),
            ([aired(1, 1, 2, mark="new")], [("1/new", True, 2), ("2/new", True, 2)]),
            ([aired(1, 1, mark="new")], [("1/new", True, 2), ("2/new", False, 3)]),
            ([aired(1, 1, 2, mark="new")], [("1/new", True, 2), ("2/new", True, 4)]),
        ):
            kodik.paged(records)
            await imported("kodik", kodik_url=kodik.url, **AGAIN)

            found = [(url.removeprefix("https://kodik.info/seria/")[:-5], *rest) for url, *rest in await rows(database, SOURCES)]
            assert found == expected
        assert await rows(database, EPISODES) == [("1", 2), ("2", 2)]

    async def test_are_blocked_where_their_translation_is(self, imported: Imported, kodik: AKodik, database: Database) -> None:
        kodik.paged([aired(2, 1, blocked_countries=["UA", "x"]), aired(1, 1)])

        await imported("kodik", kodik_url=kodik.url)

        kept = await rows(database, "SELECT blocked_countries FROM media.video_sources ORDER BY url")
        assert kept == [([],), (["UA"],)]


class TestEditors:
    async def test_keep_what_they_changed_or_deleted(
        self, imported: Imported, kodik: AKodik, database: Database, editing: Editing
    ) -> None:
        kodik.paged([aired(1, 1, 2, 3, 4)])
        await imported("kodik", kodik_url=kodik.url)
        ids = dict(await rows(database, "SELECT split_part(url, '/', 5), video_source_id::text FROM media.video_sources"))
        episodes = dict(await rows(database, "SELECT number, episode_id::text FROM catalog.episodes"))
        mended = {"url": "https://video.example/1"}
        await editing.update(VIDEO_SOURCE, ids["1"], mended, version=0, author=AUTHOR, at=NOON)
        await editing.update(VIDEO_SOURCE, ids["2"], {"enabled": False}, version=0, author=AUTHOR, at=NOON)
        await editing.delete(VIDEO_SOURCE, ids["3"], version=0, author=AUTHOR, at=NOON)
        await editing.delete(EPISODE, episodes["4"], version=0, author=AUTHOR, at=NOON)
        before = await rows(database, ROWS)

        kodik.paged([aired(1, 2, 3, 4, mark="new")])
        ended = await imported("kodik", kodik_url=kodik.url, **AGAIN)

        assert await rows(database, ROWS) == before
        assert not [name for name in ended.counts if name.startswith(("videos", "episodes"))]

    async def test_release_their_own_episodes_themselves(
        self, imported: Imported, kodik: AKodik, database: Database, editing: Editing
    ) -> None:
        kodik.paged([aired(1, 1)])
        await imported("kodik", kodik_url=kodik.url)
        ((release_id,),) = await rows(database, "SELECT release_id::text FROM catalog.releases")
        mine = an_episode(a_release(release_id=release_id), number="2", titles=(Title("en", "Mine"),))
        crossing = an_episode(a_release(release_id=release_id), number="SP9", position=3000)
        for episode in (mine, crossing):
            await editing.create(EPISODE, episode, author=AUTHOR)

        kodik.paged([aired(1, 1, 2, 3)])
        await imported("kodik", kodik_url=kodik.url, **AGAIN)

        assert await rows(database, EPISODES) == [("1", 2), ("2", 1), ("SP9", 1), ("3", 2)]
        beside = "SELECT count(*) FROM media.video_sources WHERE episode_id = $1"
        assert await rows(database, beside, mine.episode_id) == [(1,)]

    async def test_who_deleted_a_release_see_nothing_of_it_again(
        self, imported: Imported, kodik: AKodik, database: Database, editing: Editing
    ) -> None:
        kodik.paged([aired(1, 1)])
        await imported("kodik", kodik_url=kodik.url)
        ((release_id,),) = await rows(database, "SELECT release_id::text FROM catalog.releases")
        await editing.delete(RELEASE, release_id, version=0, author=AUTHOR, at=NOON)

        kodik.paged([aired(1, 1, 2)])
        ended = await imported("kodik", kodik_url=kodik.url, **AGAIN)

        assert (ended.counts["skipped"], len(await rows(database, EPISODES))) == (1, 1)

        async with database.begins(PostgresPurge)() as items:
            await items.purge(before=NOON + timedelta(days=1), limit=10)
        purged = await imported("kodik", kodik_url=kodik.url, **AGAIN)

        assert (purged.counts["skipped"], purged.counts["added"]) == (1, 0)
        assert (await rows(database, EPISODES), await rows(database, SOURCES)) == ([], [])

    async def test_who_deleted_an_episode_see_nothing_of_it_again(
        self, imported: Imported, kodik: AKodik, database: Database, editing: Editing
    ) -> None:
        kodik.paged([aired(1, 1, 2)])
        await imported("kodik", kodik_url=kodik.url)
        episodes = dict(await rows(database, "SELECT number, episode_id::text FROM catalog.episodes"))
        ids = dict(await rows(database, "SELECT split_part(url, '/', 5), video_source_id::text FROM media.video_sources"))
        await editing.delete(EPISODE, episodes["1"], version=0, author=AUTHOR, at=NOON)
        await editing.delete(VIDEO_SOURCE, ids["2"], version=0, author=AUTHOR, at=NOON)

        async with database.begins(PostgresPurge)() as items:
            counts = await items.purge(before=NOON + timedelta(days=1), limit=10)
        await imported("kodik", kodik_url=kodik.url, **AGAIN)

        assert not any(counts.values())
        assert await rows(database, EPISODES) == [("2", 2)]
        assert [url for url, *_ in await rows(database, SOURCES)] == ["https://kodik.info/seria/1/t1/720p"]


class TestWithoutShikimori:
    @pytest.mark.parametrize(
        "pair",
        [
            ({"external_ids": (ExternalId(Provider.IMDB, "tt0409591"),)}, {"imdb_id": "tt0409591", "title_orig": "Another"}),
            ({"external_ids": (ExternalId(Provider.KINOPOISK, "283290"),)}, {"kinopoisk_id": "283290", "title_orig": "Another"}),
            ({"alias": "naruto", "external_ids": (ExternalId(Provider.MAL, "20"),)}, {}),
            ({"alias": "naruto-2002"}, {}),
        ],
        ids=["by IMDb", "by Kinopoisk", "by title and year", "by title and year in the alias"],
    )
    async def test_joins_a_release_that_is_there(
        self, imported: Imported, kodik: AKodik, database: Database, editing: Editing, pair: tuple[dict[str, Any], dict[str, Any]]
    ) -> None:
        known, told = pair
        release, _ = await editing.create(RELEASE, a_release(year=2002, kind=Kind.TV, **known), author=AUTHOR)
        kodik.paged([aired(1, 1, shikimori_id="", **told)])

        ended = await imported("kodik", kodik_url=kodik.url)

        assert (ended.counts["added"], ended.counts["skipped"]) == (0, 0)
        assert await rows(database, "SELECT release_id::text FROM catalog.episodes") == [(release.release_id,)]

    @pytest.mark.parametrize("known", [{"year": 2003}, {"kind": Kind.MOVIE}, {"alias": "other"}])
    async def test_is_counted_where_none_is(
        self, imported: Imported, kodik: AKodik, database: Database, editing: Editing, known: dict[str, Any]
    ) -> None:
        shared = (ExternalId(Provider.IMDB, "tt0409591"),) if "alias" not in known else ()
        facts = {"alias": "naruto", "year": 2002, "kind": Kind.TV, "external_ids": shared} | known
        await editing.create(RELEASE, a_release(**facts), author=AUTHOR)
        kodik.paged([aired(1, 1, shikimori_id="", imdb_id="tt0409591")])

        ended = await imported("kodik", kodik_url=kodik.url)

        assert (ended.counts["unmatched"], ended.counts["skipped"], ended.counts["added"]) == (1, 1, 0)
        assert await rows(database, "SELECT reason FROM operations.problems") == [("RELEASE_UNMATCHED",)]
        assert await rows(database, EPISODES) == []

    async def test_joins_what_the_same_page_brings(self, imported: Imported, kodik: AKodik, database: Database) -> None:
        kodik.paged([aired(2, 2, shikimori_id=""), aired(1, 1)])

        ended = await imported("kodik", kodik_url=kodik.url)

        assert (ended.counts["added"], "unmatched" in ended.counts) == (1, False)
        assert await rows(database, EPISODES) == [("1", 2), ("2", 2)]


class TestNumbered:
    def test_counts_the_first_season_as_the_release_and_the_rest_beside_it(self) -> None:
        links = [VideoLink(f"https://kodik.info/{s}/{e}", s, e) for s, e in ((3, 2), (0, 1), (2, 0), (2, 1), (2, None), (None, 4))]

        found = {number: position for number, position, _ in numbered(links)}

        assert found == {"0": 1, "1": 1000, "4": 4000, "S3E2": 60_002_000, "SP1": SPECIALS + 1000}

    def test_leaves_out_what_is_no_number_of_an_episode(self) -> None:
        assert not list(numbered([VideoLink("https://kodik.info/1", 1, 10_001), VideoLink("https://kodik.info/2", 1)]))
