"""A visitor looks around: the first page, the next ones, by genre, by alias; in JSON and natively through the same port."""

from __future__ import annotations

from typing import Any

import grpc
import httpx
import pytest

from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_list_pb2, release_pb2
from ani.system.v1 import system_service_pb2, system_service_pb2_grpc
from tests.e2e.conftest import Catalog
from tests.stack import Stack

# What the demo catalog holds; journeys that write come and go beside it.
LEAST = 50


async def walk(http: httpx.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    """Turn all pages of a list."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        page = (await http.get("/v1/releases", params=filters | {"page_token": token})).raise_for_status().json()
        found += page["releases"]
        token = page["nextPageToken"]
        if not token:
            return found


class TestListReleases:
    async def test_shows_the_demo_catalog_page_by_page(self, editor: httpx.AsyncClient) -> None:
        by_seven = await walk(editor, page_size=7, year_to=2025)
        by_hundred = await walk(editor, page_size=100, year_to=2025)

        ids = [release["releaseId"] for release in by_seven]
        assert len(ids) == len(set(ids)) >= LEAST
        assert ids == [release["releaseId"] for release in by_hundred]

    async def test_narrows_by_what_the_visitor_picks(self, http: httpx.AsyncClient) -> None:
        found = await walk(http, genres=["action", "drama"], kind="RELEASE_KIND_TV", year_from=1990, year_to=2020, page_size=50)

        assert found
        for release in found:
            assert {"action", "drama"} <= {genre["genreId"] for genre in release["genres"]}
            assert release["kind"] == "RELEASE_KIND_TV"
            assert 1990 <= release["year"] <= 2020

    async def test_tells_browsers_how_long_an_answer_may_be_kept(self, http: httpx.AsyncClient) -> None:
        first = await http.get("/v1/releases", params={"page_size": 3})
        again = await http.get("/v1/releases", params={"page_size": 3}, headers={"if-none-match": first.headers["etag"]})

        assert "public" in first.headers["cache-control"]
        assert len(first.json()["releases"]) == 3
        assert (again.status_code, again.content) == (304, b"")

    async def test_is_the_same_natively(self, http: httpx.AsyncClient, catalog: Catalog) -> None:
        shown = (await http.get("/v1/releases", params={"page_size": 20, "year_to": 2000})).json()["releases"]
        answer = await catalog.ListReleases(release_list_pb2.ListReleasesRequest(page_size=20, year_to=2000))

        assert [release.release_id for release in answer.releases] == [release["releaseId"] for release in shown]
        assert [release.titles[0].text for release in answer.releases] == [release["titles"][0]["text"] for release in shown]


class TestGetRelease:
    async def test_takes_the_alias_for_the_id(self, http: httpx.AsyncClient, catalog: Catalog) -> None:
        by_alias = (await http.get("/v1/releases/cowboy-bebop")).json()["release"]
        by_id = (await http.get(f"/v1/releases/{by_alias['releaseId']}")).json()["release"]
        natively = (await catalog.GetRelease(pb.GetReleaseRequest(release="cowboy-bebop"))).release

        assert by_alias == by_id
        assert (natively.release_id, natively.kind) == (by_id["releaseId"], release_pb2.RELEASE_KIND_TV)

    async def test_answers_many_callers_of_one_channel(self, catalog: Catalog) -> None:
        first = await catalog.ListReleases(release_list_pb2.ListReleasesRequest(page_size=50))

        for release in first.releases:
            answer = await catalog.GetRelease(pb.GetReleaseRequest(release=release.alias), timeout=10)
            assert answer.release.release_id == release.release_id


class TestBatchGetReleases:
    async def test_keeps_the_order_and_names_what_is_missing(self, http: httpx.AsyncClient) -> None:
        known = [release["releaseId"] for release in (await http.get("/v1/releases?page_size=3")).json()["releases"]]
        missing = "0191d7a0-0000-7000-8000-00000000dead"

        answer = await http.get("/v1/releases:batchGet", params={"release_ids": [known[2], missing, known[0]]})

        assert [release["releaseId"] for release in answer.json()["releases"]] == [known[2], known[0]]
        assert answer.json()["missingReleaseIds"] == [missing]


class TestListGenres:
    async def test_counts_for_every_client_alike(self, http: httpx.AsyncClient, catalog: Catalog) -> None:
        shown = (await http.get("/v1/genres")).json()["genres"]
        natively = (await catalog.ListGenres(pb.ListGenresRequest())).genres

        assert "drama" in [genre["genreId"] for genre in shown]
        assert [genre["name"] for genre in shown] == sorted(genre.name for genre in natively)


class TestSystem:
    @pytest.mark.parametrize("path", ["/live", "/ready"])
    async def test_says_that_it_works(self, http: httpx.AsyncClient, path: str) -> None:
        answer = await http.get(path)

        assert (answer.status_code, answer.json()) == (200, {})

    async def test_names_each_part(self, http: httpx.AsyncClient) -> None:
        health = (await http.get("/health")).json()

        assert health["state"] == "HEALTH_STATE_OK"
        assert {part["name"]: part["state"] for part in health["parts"]} == dict.fromkeys(
            ("database", "schema", "valkey"), "HEALTH_STATE_OK"
        )

    async def test_tells_callers_how_it_sees_them(self, http: httpx.AsyncClient, editor: httpx.AsyncClient) -> None:
        guest = (await http.get("/v1/caller")).json()
        known = (await editor.get("/v1/caller")).json()

        assert (guest["accountId"], guest["role"]) == ("", "ROLE_UNSPECIFIED")
        assert known["role"] == "ROLE_EDITOR"
        assert known["allowances"][0]["limit"] == 100_000

    async def test_believes_nobody_who_says_who_they_are(self, http: httpx.AsyncClient) -> None:
        """B5."""
        forged = {"x-user-id": "root", "x-role": "ADMIN", "x-ani-country": "JP", "x-envoy-internal": "true"}

        seen = (await http.get("/v1/caller", headers=forged)).json()

        assert (seen["accountId"], seen["role"], seen["country"]) == ("", "ROLE_UNSPECIFIED", "")

    async def test_is_served_natively_with_the_rest(self, stack: Stack) -> None:
        async with stack.channel() as channel:
            system: Any = system_service_pb2_grpc.SystemServiceStub(channel)
            version = await system.GetVersion(system_service_pb2.GetVersionRequest())

        assert version.version
        assert version.schema_revision

    async def test_stays_inside_the_deadline(self, catalog: Catalog) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await catalog.ListReleases(release_list_pb2.ListReleasesRequest(year_from=1950), timeout=0.000_01)

        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
