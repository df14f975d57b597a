"""Editors and those who propose, through the gateway in JSON: history, change sets, review, and what viewers see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from tests.e2e.conftest import Body, detail
from tests.stack import Stack


@pytest.fixture
async def user(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.http(headers=stack.credentials("user")) as client:
        yield client


@pytest.fixture
async def release(editor: httpx.AsyncClient, a_body: Callable[..., Body]) -> Body:
    answer = await editor.post("/v1/releases", json=a_body())
    found: Body = answer.json()["release"]
    return found


class TestProposal:
    async def test_is_made_by_a_viewer_and_accepted_by_an_editor(
        self, user: httpx.AsyncClient, editor: httpx.AsyncClient, http: httpx.AsyncClient, release: Body
    ) -> None:
        edit = {"updateRelease": {"release": {"releaseId": release["releaseId"], "synopsis": "Wind."}, "updateMask": "synopsis"}}

        made = (await user.post("/v1/changeSets", json={"title": "A synopsis", "edits": [edit]})).json()["changeSet"]
        path = f"/v1/changeSets/{made['changeSetId']}"
        preview = await user.get(f"{path}:preview")
        hasty = await user.post(f"{path}:publish", json={})
        await user.post(f"{path}:submit", json={})
        waiting = await editor.get("/v1/changeSets", params={"state": "CHANGE_SET_STATE_SUBMITTED"})
        await editor.post(f"{path}:take", json={})
        accepted = await editor.post(f"{path}:accept", json={})
        seen = await http.get(f"/v1/releases/{release['releaseId']}", headers={"x-revision": accepted.headers["x-revision"]})

        assert preview.json()["outcomes"][0]["differences"] == [{"field": "synopsis", "before": "", "after": "Wind."}]
        assert (hasty.status_code, detail(hasty, "ErrorInfo")["reason"]) == (403, "ROLE_TOO_LOW")
        assert made["changeSetId"] in {one["changeSetId"] for one in waiting.json()["changeSets"]}
        assert accepted.json()["changeSet"]["state"] == "CHANGE_SET_STATE_PUBLISHED"
        assert seen.json()["release"]["synopsis"] == "Wind."


class TestHistory:
    async def test_is_gone_back_in(self, editor: httpx.AsyncClient, http: httpx.AsyncClient, release: Body) -> None:
        path, item = f"/v1/releases/{release['releaseId']}", f"/v1/items/release/{release['releaseId']}"
        await editor.patch(f"{path}?update_mask.paths=synopsis&note=because", json={"synopsis": "Worse."})

        revisions = (await editor.get(f"{item}/revisions")).json()["revisions"]
        diff = (await editor.get(f"{item}/revisions:diff", params={"before_version": 1, "after_version": 2})).json()
        await editor.delete(path)
        undeleted = await editor.post(f"{item}:undelete", json={})
        reverted = await editor.post(f"{item}:revert", json={"toVersion": "1", "note": "it was better"})
        seen = await http.get(path, headers={"x-revision": reverted.headers["x-revision"]})

        assert [(revision["version"], revision["note"]) for revision in revisions] == [("2", "because"), ("1", "")]
        assert [difference["field"] for difference in diff["differences"]] == ["synopsis"]
        assert undeleted.json()["version"] == "4"
        assert (seen.json()["release"]["synopsis"], seen.json()["release"]["version"]) == ("", "5")

    async def test_is_for_editors(self, user: httpx.AsyncClient, release: Body) -> None:
        answer = await user.get(f"/v1/items/release/{release['releaseId']}/revisions")

        assert answer.status_code == 403


class TestDashboard:
    async def test_counts(self, editor: httpx.AsyncClient, release: Body) -> None:
        shown = (await editor.get("/v1/dashboard")).json()

        assert int(shown["content"]["releases.published"]) >= 64
        assert shown["latest"][0]["itemId"] == release["releaseId"]


class TestBrowsing:
    async def test_narrows_and_orders_as_people_write_it(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases?genres=Drama&year_from=2000&order_by=title&page_size=5&read_mask=alias,titles,year")

        found = answer.json()["releases"]
        assert 0 < len(found) <= 5
        assert [one["titles"][0]["text"].lower() for one in found] == sorted(one["titles"][0]["text"].lower() for one in found)
        assert all(one["year"] >= 2000 for one in found)
        assert {"alias", "titles", "year"} <= {name for name, value in found[0].items() if value not in ([], "", 0, False, "0")}

    async def test_offers_what_can_be_narrowed_to(self, http: httpx.AsyncClient) -> None:
        filters = {one["filter"]: one["values"] for one in (await http.get("/v1/filters")).json()["filters"]}

        drama = next(value for value in filters["genre"] if value["value"] == "drama")
        listed = (await http.get("/v1/releases?genres=drama&page_size=100")).json()["releases"]
        assert drama["label"] == "Drama"
        assert drama["releaseCount"] >= len(listed) > 0

    async def test_shows_franchises_with_their_releases(self, http: httpx.AsyncClient) -> None:
        named = (await http.get("/v1/franchises?page_size=100")).json()["franchises"]

        shown = (await http.get(f"/v1/franchises/{named[0]['franchiseId']}")).json()["franchise"]

        assert [release["releaseId"] for release in shown["releases"]] == shown["releaseIds"]
        assert shown["totals"]["releaseCount"] == len(shown["releases"])

    async def test_finds_a_random_one(self, http: httpx.AsyncClient) -> None:
        found = {(await http.get("/v1/releases:random")).json()["release"]["alias"] for _ in range(8)}

        assert len(found) > 1
