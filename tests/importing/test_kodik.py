"""Importing from Kodik: pages and cursors, refusals and retries, records brought together, and a token that nobody sees."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.importers.kodik import Kodik, KodikRefused, KodikUnavailable
from adapters.postgres import Database
from adapters.postgres.catalog.store import PostgresCatalog
from domain.catalog.model import Credit, Kind, Provider, Role, Title
from domain.operations.model import State
from tests.importing.a_kodik import AKodik, Answer, a_kodik, a_record, said
from tests.importing.conftest import KODIK_TOKEN, Imported, rows


@pytest.fixture
async def kodik() -> AsyncIterator[AKodik]:
    async with a_kodik() as running:
        yield running


class Sleeping:
    """Notes for how long it was to sleep, and does not."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def sleeping() -> Sleeping:
    return Sleeping()


def a_client(kodik: AKodik, sleeping: Sleeping) -> Kodik:
    return Kodik(kodik.url, KODIK_TOKEN, rate=1_000_000, sleep=sleeping)


async def asked_once(kodik: AKodik, sleeping: Sleeping) -> list[object]:
    async with a_client(kodik, sleeping).open() as client:
        return (await client.page()).records


class TestAsking:
    async def test_sends_the_token_and_asks_for_the_latest_first(self, kodik: AKodik, sleeping: Sleeping) -> None:
        await asked_once(kodik, sleeping)
        path, query = kodik.asked[0]
        assert path == "/list"
        assert (query["token"], query["sort"], query["order"], query["limit"]) == (KODIK_TOKEN, "updated_at", "desc", "100")

    @pytest.mark.parametrize("status", [200, 401])
    async def test_takes_an_error_in_the_body_for_one_whatever_the_status(
        self, kodik: AKodik, sleeping: Sleeping, status: int
    ) -> None:
        kodik.answers = [said({"error": f"Отсутствует или неверный токен {KODIK_TOKEN}"}, status)]
        with pytest.raises(KodikRefused) as refused:
            await asked_once(kodik, sleeping)
        assert "неверный токен" in str(refused.value)
        assert KODIK_TOKEN not in str(refused.value)

    async def test_asks_again_when_it_is_not_answered(self, kodik: AKodik, sleeping: Sleeping) -> None:
        busy: Answer = said({}, 503)
        broken: Answer = (200, {}, b"<html>")
        kodik.answers = [busy, broken, said({}, 429, retry_after="7"), said({"results": [a_record(1)]})]
        assert len(await asked_once(kodik, sleeping)) == 1
        first, second, third = (pause for pause in sleeping.pauses if pause > 0.5)
        assert first < second
        assert third == 7

    async def test_gives_up_after_some_tries(self, kodik: AKodik, sleeping: Sleeping) -> None:
        kodik.otherwise = lambda _: said({}, 500)
        with pytest.raises(KodikUnavailable):
            await asked_once(kodik, sleeping)
        assert len(kodik.asked) == 6

    async def test_does_not_follow_to_other_addresses(self, kodik: AKodik, sleeping: Sleeping) -> None:
        kodik.answers = [said({}, 302, location="http://169.254.169.254/")]
        with pytest.raises(KodikRefused):
            await asked_once(kodik, sleeping)
        assert len(kodik.asked) == 1

    async def test_asks_no_faster_than_it_may(self, kodik: AKodik, sleeping: Sleeping) -> None:
        client = Kodik(kodik.url, KODIK_TOKEN, rate=2, sleep=sleeping)
        async with client.open():
            for _ in range(3):
                await client.search(shikimori_id="20")
        assert len(sleeping.pauses) == 2
        assert sleeping.pauses[-1] > 0.5
        assert kodik.asked[0][1]["shikimori_id"] == "20"


class TestImporting:
    async def test_brings_translations_of_a_title_together(self, imported: Imported, kodik: AKodik, database: Database) -> None:
        subtitles = {"id": 3, "title": "Subs", "type": "subtitles"}
        kodik.paged([a_record(3, translation=subtitles), a_record(2)], [a_record(1)])
        ended = await imported("kodik", kodik_url=kodik.url)
        assert (ended.state, ended.counts["added"], ended.result["newest"]) == (State.SUCCEEDED, 1, "2024-01-03T00:00:00Z")
        async with database.reads(PostgresCatalog)() as store:
            release = await store.release_by_external_id(Provider.SHIKIMORI, "20")
        assert release is not None
        assert set(release.credits) == {
            Credit(Role.VOICING, "Team 1"), Credit(Role.VOICING, "Team 2"), Credit(Role.TRANSLATING, "Subs"),
        }  # fmt: skip
        assert release.titles == (Title("ja-Latn", "Naruto"), Title("ru", "Наруто"))
        assert (release.kind, release.year, release.alias) == (Kind.TV, 2002, "naruto")
        assert {one.provider for one in release.external_ids} == {Provider.SHIKIMORI, Provider.MAL, Provider.KODIK}

    async def test_keeps_links_with_their_protocol(self, imported: Imported, kodik: AKodik, database: Database) -> None:
        seasons = {"1": {"link": "//kodik.info/season/1/a/720p", "episodes": {"1": "//kodik.info/seria/1/b/720p"}}}
        kodik.paged([a_record(1, seasons=seasons, blocked_countries=["UA", "x"])])
        await imported("kodik", kodik_url=kodik.url)
        [(links,)] = await rows(database, "SELECT facts -> 'links' FROM catalog.import_facts")
        assert [(link["url"][:22], link["season"], link["episode"]) for link in links] == [
            ("https://kodik.info/ser", None, None), ("https://kodik.info/sea", 1, None), ("https://kodik.info/ser", 1, 1),
        ]  # fmt: skip
        assert {tuple(link["blocked_countries"]) for link in links} == {("UA",)}
        # What one translation may not be shown in, another may.
        assert await rows(database, "SELECT blocked_countries FROM catalog.releases") == [([],)]

    async def test_uses_what_is_told_of_the_material(self, imported: Imported, kodik: AKodik, database: Database) -> None:
        material = {
            "anime_kind": "tv_24", "anime_status": "released", "anime_genres": ["Экшен"], "anime_studios": ["Pierrot"],
            "shikimori_rating": 7.99, "minimal_age": 13, "rating_mpaa": "R", "episodes_total": 220, "aired_at": "2002-10-03",
        }  # fmt: skip
        kodik.paged([a_record(1, material_data=material)])
        await imported("kodik", kodik_url=kodik.url)
        query = "SELECT age_rating, rating, planned_episode_count, studios, season FROM catalog.releases"
        assert await rows(database, query) == [(18, 7.99, 220, ["Pierrot"], 4)]

    async def test_goes_back_to_where_the_last_import_began(self, imported: Imported, kodik: AKodik) -> None:
        kodik.paged([a_record(2)], [a_record(1)])
        await imported("kodik", kodik_url=kodik.url)
        kodik.asked.clear()
        kodik.paged([a_record(5), a_record(2)], [a_record(1)])
        again = await imported("kodik", kodik_url=kodik.url)
        assert (again.counts["changed"], again.counts["unchanged"], again.result["newest"]) == (1, 1, "2024-01-05T00:00:00Z")
        assert len(kodik.asked) == 2  # the page where what is known begins is the last one
        kodik.asked.clear()
        await imported("kodik", kodik_url=kodik.url, since="2024-01-04T00:00:00Z")
        assert len(kodik.asked) == 1

    async def test_names_and_skips_what_cannot_be_used(self, imported: Imported, kodik: AKodik) -> None:
        unmatched = a_record(2, shikimori_id="", title_orig="Another", title="")
        kodik.paged([a_record(1), unmatched, a_record(3, type="foreign-serial"), {"id": 4}])
        ended = await imported("kodik", kodik_url=kodik.url)
        assert (ended.state, ended.counts["added"], ended.counts["skipped"]) == (State.SUCCEEDED, 1, 3)

    async def test_leaves_the_token_nowhere(
        self, imported: Imported, kodik: AKodik, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        kodik.paged([a_record(2)], [a_record(1)])
        kodik.answers = [said({}, 500)]
        await imported("kodik", kodik_url=kodik.url)
        kodik.otherwise = lambda _: said({"error": f"wrong token {KODIK_TOKEN}"})
        failed = await imported("kodik", kodik_url=kodik.url, since="2020-01-01T00:00:00Z")
        assert failed.state is State.FAILED
        ours = [record for record in caplog.records if record.name.startswith(("ani", "http"))]
        assert KODIK_TOKEN not in "".join(record.getMessage() for record in ours)
        tables = ("operations.operations", "operations.problems", "catalog.import_facts", "platform.events")
        kept = [await rows(database, f"SELECT coalesce(string_agg(one::text, ''), '') FROM {table} AS one") for table in tables]
        assert KODIK_TOKEN not in str(kept)

    async def test_reads_the_records_of_the_documentation(
        self, imported: Imported, kodik: AKodik, database: Database, shared_data: Path
    ) -> None:
        pages = [json.loads(path.read_text())["results"] for path in sorted((shared_data / "kodik").glob("*.json"))]
        kodik.paged(*pages)
        ended = await imported("kodik", kodik_url=kodik.url, since="2000-01-01T00:00:00Z")
        assert ended.state is State.SUCCEEDED
        assert ended.counts["skipped"] == 1  # a series that is no anime
        assert ended.counts["added"] == len(
            {record["shikimori_id"] for page in pages for record in page if "shikimori_id" in record}
        )
