"""Imports from files: what is added, changed, left alone and skipped."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres import Database
from adapters.postgres.catalog.items import ITEMS
from adapters.postgres.catalog.store import PostgresCatalog
from domain.catalog.model import Kind, Provider, Release, Status, Title
from domain.kernel import Page
from domain.operations.model import State
from domain.operations.service import Operations
from domain.visibility import Publication
from tests.builders import a_release, an_editor
from tests.importing.conftest import Imported, rows

zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def an_item(number: int = 1, **over: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "title": f"風の歌{number}",
        "titleTranslate": {"en": [f"Song of the Wind {number}", "Wind Song"], "zh-Hans": ["风之歌"]},
        "type": "tv",
        "lang": "ja",
        "begin": "2010-04-04T15:30:00.000Z",
        "end": "2010-06-27T15:30:00.000Z",
        "sites": [{"site": "bangumi", "id": str(number)}, {"site": "mal", "id": str(100 + number)}],
    }
    return facts | over


def a_file(folder: Path, *items: object, name: str = "items.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in items))
    return path


def a_table(folder: Path, *lines: str) -> Path:
    path = folder / "genres.csv"
    path.write_text("anime_id,name,genre,type,episodes,rating,members\n" + "".join(f"{line}\n" for line in lines))
    return path


async def found(database: Database, mal_id: int) -> Release:
    async with database.reads(PostgresCatalog)() as store:
        release = await store.release_by_external_id(Provider.MAL, str(mal_id))
    assert release is not None
    return release


class TestBangumi:
    async def test_adds_a_title_with_all_that_is_told(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        ended = await imported("bangumi", a_file(tmp_path, an_item()))
        assert (ended.state, ended.counts["added"]) == (State.SUCCEEDED, 1)
        release = await found(database, 101)
        assert release.alias == "song-of-the-wind-1"
        assert release.titles == (Title("en", "Song of the Wind 1"), Title("ja", "風の歌1"), Title("zh-Hans", "风之歌"))
        assert release.synonyms == (Title("en", "Wind Song"),)
        assert (release.kind, release.status, release.year, release.age_rating) == (Kind.TV, Status.FINISHED, 2010, 16)
        assert release.publication is Publication.PUBLISHED

    async def test_leaves_drafts_where_that_is_asked_for(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        await imported("bangumi", a_file(tmp_path, an_item()), publish=False)
        assert (await found(database, 101)).publication is Publication.DRAFT

    async def test_changes_nothing_when_it_is_run_again(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        file = a_file(tmp_path, *map(an_item, range(1, 6)))
        await imported("bangumi", file)
        count = "SELECT (SELECT count(*) FROM catalog.changes), (SELECT max(xmin::text::bigint) FROM catalog.releases)"
        before = await rows(database, count)
        again = await imported("bangumi", file)
        assert dict(again.counts) == {"added": 0, "changed": 0, "unchanged": 5, "skipped": 0, "problems": 0}
        assert await rows(database, count) == before

    async def test_tells_the_feed_and_one_event_for_all(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        await imported("bangumi", a_file(tmp_path, *map(an_item, range(1, 6))))
        assert await rows(database, "SELECT count(*) FROM catalog.changes") == [(5,)]
        names = [name for (name,) in await rows(database, "SELECT name FROM platform.events ORDER BY number")]
        assert names == ["OperationStarted", "ParserJobStarted", "CatalogImported", "ParserJobCompleted", "OperationEnded"]

    async def test_lets_the_planner_know_of_many(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        await imported("bangumi", a_file(tmp_path, *map(an_item, range(1, 1001))))
        known = (
            "SELECT relname, reltuples FROM pg_class WHERE relnamespace = 'catalog'::regnamespace AND relname = any($1) ORDER BY 1"
        )
        assert await rows(database, known, ["releases", "external_ids"]) == [("external_ids", 2000), ("releases", 1000)]

    async def test_changes_what_the_source_tells_anew(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        await imported("bangumi", a_file(tmp_path, an_item()))
        changed = an_item(begin="2011-01-09T15:30:00.000Z", titleTranslate={"en": ["The Wind's Song"]})
        ended = await imported("bangumi", a_file(tmp_path, changed))
        release = await found(database, 101)
        assert (ended.counts["changed"], release.version, release.year) == (1, 2, 2011)
        assert release.titles == (Title("en", "The Wind's Song"), Title("ja", "風の歌1"))
        assert release.alias == "song-of-the-wind-1"

    async def test_leaves_what_an_editor_decided(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        await imported("bangumi", a_file(tmp_path, an_item()))
        release = await found(database, 101)
        mended = replace(release, year=2009, titles=(Title("en", "Wind, Sing"), *release.titles[1:2]), version=2)
        async with database.begins(PostgresCatalog)() as store:
            await store.save_release(mended)
        await imported("bangumi", a_file(tmp_path, an_item(begin="2011-01-09T15:30:00.000Z", type="movie")))
        after = await found(database, 101)
        assert (after.year, after.titles) == (2009, mended.titles)
        assert after.kind is Kind.MOVIE

    async def test_does_not_bring_back_what_an_editor_deleted(
        self, imported: Imported, database: Database, tmp_path: Path, operations: Operations
    ) -> None:
        await imported("bangumi", a_file(tmp_path, an_item()))
        release = await found(database, 101)
        async with database.begins(lambda connection: connection)() as connection:
            await ITEMS["release"].keeper.delete(connection, release.release_id, at=release.create_time)
        ended = await imported("bangumi", a_file(tmp_path, an_item(type="movie")))
        problems, _ = await operations.list_problems(ended.operation_id, Page(), viewer=an_editor())
        assert [problem.reason for problem in problems] == ["RELEASE_DELETED"]

    async def test_finds_a_release_by_its_id_elsewhere(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        known = a_release(external_ids=(), year=2010, kind=Kind.TV, alias="song-of-the-wind-1")
        async with database.begins(PostgresCatalog)() as store:
            await store.add_release(known)
        ended = await imported("bangumi", a_file(tmp_path, an_item()))
        assert (ended.counts["added"], ended.counts["changed"]) == (0, 1)
        assert (await found(database, 101)).release_id == known.release_id

    async def test_gives_titles_of_one_name_aliases_of_their_own(
        self, imported: Imported, database: Database, tmp_path: Path
    ) -> None:
        same = {"en": ["Berserk"]}
        items = [an_item(n, titleTranslate=same, begin=f"{year}-04-04T15:30:00Z") for n, year in [(1, 1997), (2, 2016), (3, 2016)]]
        await imported("bangumi", a_file(tmp_path, *items))
        assert [(await found(database, 100 + n)).alias for n in (1, 2, 3)] == ["berserk", "berserk-2016", "berserk-bangumi-3"]

    async def test_names_and_skips_what_cannot_be_used(
        self, imported: Imported, database: Database, tmp_path: Path, operations: Operations
    ) -> None:
        broken = ["{", "[]", an_item(2, title=" ", titleTranslate={}), an_item(3, type="opera"), "null", an_item(1)]
        ended = await imported("bangumi", a_file(tmp_path, an_item(1), *broken, an_item(4)))
        assert (ended.state, ended.counts["added"], ended.counts["skipped"]) == (State.SUCCEEDED, 2, 6)
        problems, _ = await operations.list_problems(ended.operation_id, Page(), viewer=an_editor())
        assert [(problem.row, problem.reason) for problem in problems] == [
            (2, "NO_JSON"), (3, "NO_OBJECT"), (4, "TITLE_MISSING"), (5, "KIND_UNKNOWN"), (6, "NO_OBJECT"), (7, "KEY_REPEATED"),
        ]  # fmt: skip

    async def test_keeps_what_came_before_the_end_of_a_broken_file(
        self, imported: Imported, database: Database, tmp_path: Path
    ) -> None:
        path = tmp_path / "items.jsonl.gz"
        text = "".join(json.dumps(an_item(number)) + "\n" for number in range(1, 2001))
        path.write_bytes(gzip.compress(text.encode())[:-400])
        ended = await imported("bangumi", path)
        assert ended.state is State.FAILED
        assert "ends in the middle" in ended.fault
        assert ended.counts["added"] >= 500

    async def test_reads_the_real_file(self, imported: Imported, database: Database, shared_data: Path) -> None:
        ended = await imported("bangumi", shared_data / "catalog" / "bangumi_items.jsonl.gz")
        assert ended.state is State.SUCCEEDED
        assert sum(ended.counts[name] for name in ("added", "changed", "unchanged", "skipped")) == 8821
        assert ended.counts["added"] > 8700
        genres = await imported("mal-genres", shared_data / "catalog" / "mal_anime_genres.csv.gz")
        assert genres.counts["changed"] > 5000
        rating = "SELECT count(*) FROM catalog.releases JOIN catalog.release_genres USING (release_id) WHERE genre_id = 'drama'"
        assert (await rows(database, rating))[0][0] > 500


class TestMalGenres:
    async def test_adds_genres_and_ratings_to_what_is_there(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        await imported("bangumi", a_file(tmp_path, an_item()))
        line = '101,Kaze &amp; Uta,"Drama, Slice of Life, Hentai",TV,Unknown,8.25,1200'
        ended = await imported("mal-genres", a_table(tmp_path, line, "999,Unknown,Drama,TV,1,5,3"))
        release = await found(database, 101)
        assert [genre.genre_id for genre in release.genres] == ["drama", "hentai", "slice-of-life"]
        assert (release.rating, release.popularity, release.age_rating) == (8.25, 1200, 18)
        assert release.titles[0] == Title("ja-Latn", "Kaze & Uta")
        assert (ended.counts["changed"], ended.counts["skipped"]) == (1, 1)

    async def test_does_not_give_back_a_genre_that_an_editor_took(
        self, imported: Imported, database: Database, tmp_path: Path
    ) -> None:
        await imported("bangumi", a_file(tmp_path, an_item()))
        await imported("mal-genres", a_table(tmp_path, '101,Kaze,"Drama, Action",TV,12,8,1'))
        release = await found(database, 101)
        async with database.begins(PostgresCatalog)() as store:
            await store.save_release(replace(release, genres=release.genres[1:], version=release.version + 1))
        await imported("mal-genres", a_table(tmp_path, '101,Kaze,"Drama, Action, Music",TV,12,8,1'))
        assert [genre.genre_id for genre in (await found(database, 101)).genres] == ["drama", "music"]

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("x,Kaze,Drama,TV,12,8,1", "ID_UNREADABLE"),
            ("101,Kaze,Drama,TV,many,8,1", "NUMBER_UNREADABLE"),
            ("101,Kaze,Drama,TV,12,11,1", "RATING_UNREADABLE"),
            ("101,Kaze,Drama,TV,12,nan,1", "RATING_UNREADABLE"),
            ("101,Kaze,Drama", "COLUMNS_WRONG"),
        ],
    )
    async def test_names_a_row_that_cannot_be_used(
        self, imported: Imported, tmp_path: Path, operations: Operations, line: str, reason: str
    ) -> None:
        ended = await imported("mal-genres", a_table(tmp_path, line))
        problems, _ = await operations.list_problems(ended.operation_id, Page(), viewer=an_editor())
        assert [problem.reason for problem in problems] == [reason]

    async def test_refuses_another_table(self, imported: Imported, tmp_path: Path) -> None:
        path = tmp_path / "other.csv"
        path.write_text("a,b\n1,2\n")
        ended = await imported("mal-genres", path)
        assert (ended.state, "first line" in ended.fault) == (State.FAILED, True)


ENTRY = {
    "sources": ["https://anidb.net/anime/1", "https://myanimelist.net/anime/101", "https://kitsu.app/anime/7", "http://[bad"],
    "title": "Kaze no Uta",
    "type": "TV",
    "episodes": 12,
    "status": "FINISHED",
    "animeSeason": {"season": "SPRING", "year": 2010},
    "score": {"arithmeticMean": 7.456},
    "synonyms": ["Wind Song"],
    "studios": ["Studio Kaze"],
    "tags": ["drama", "wind"],
}


class TestOfflineDatabase:
    @pytest.mark.parametrize("name", ["db.json", "db-minified.json", "db.jsonl", "db.json.zst", "db.jsonl.zst", "db.json.gz"])
    async def test_reads_every_form(self, imported: Imported, database: Database, tmp_path: Path, name: str) -> None:
        whole = {"license": {"name": "x"}, "lastUpdate": "2026-01-01", "data": [ENTRY]}
        minified = json.dumps(whole, separators=(",", ":"))
        lines = f"{json.dumps({'license': {}})}\n{json.dumps(ENTRY)}\n"
        text = lines if "jsonl" in name else minified if "minified" in name else json.dumps(whole, indent=2)
        packed = {".zst": zstd.compress, ".gz": gzip.compress}.get(Path(name).suffix, bytes)(text.encode())
        (tmp_path / name).write_bytes(packed)
        ended = await imported("offline-database", tmp_path / name)
        assert (ended.state, ended.counts["added"]) == (State.SUCCEEDED, 1), ended.fault
        release = await found(database, 101)
        assert (release.alias, release.year, release.planned_episode_count, release.rating) == ("kaze-no-uta", 2010, 12, 7.46)
        assert [tag.tag_id for tag in release.tags] == ["drama", "wind"]
        assert {one.provider for one in release.external_ids} == {Provider.MAL, Provider.ANIDB, Provider.KITSU}
        assert release.studios == ("Studio Kaze",)

    async def test_says_when_a_document_ends_in_the_middle(self, imported: Imported, tmp_path: Path) -> None:
        path = tmp_path / "db.json"
        path.write_text(json.dumps({"data": [ENTRY]})[:-20])
        ended = await imported("offline-database", path)
        assert (ended.state, "ends in the middle" in ended.fault) == (State.FAILED, True)


class TestRelations:
    async def test_replaces_the_rules(self, imported: Imported, database: Database, shared_data: Path) -> None:
        ended = await imported("relations", shared_data / "catalog" / "anime_relations.txt")
        assert (ended.state, ended.counts["added"] > 500) == (State.SUCCEEDED, True)
        again = await imported("relations", shared_data / "catalog" / "anime_relations.txt")
        assert (again.counts["added"], again.counts["removed"]) == (0, 0)

    async def test_tells_of_new_rules_once(self, imported: Imported, database: Database, tmp_path: Path) -> None:
        path = tmp_path / "rules.txt"
        path.write_text("::rules\n- 1|2|3:13-24 -> 4|5|6:1-12\n")

        await imported("relations", path)
        await imported("relations", path)

        told = "SELECT payload->>'added', payload->>'removed' FROM platform.events WHERE name = 'EpisodeRulesReplaced'"
        assert await rows(database, told) == [("3", "0")]


class TestUnknownSource:
    async def test_fails_in_words(self, imported: Imported) -> None:
        ended = await imported("kodik")
        assert (ended.state, ended.fault) == (State.FAILED, "Importing from kodik is not set up here.")

    async def test_fails_for_a_missing_file(self, imported: Imported, tmp_path: Path) -> None:
        ended = await imported("bangumi", tmp_path / "none.jsonl")
        assert (ended.state, "none.jsonl" in ended.fault) == (State.FAILED, True)
