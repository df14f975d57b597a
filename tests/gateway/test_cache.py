"""What the gateway answers by itself, for whom, and how much of it it keeps."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import httpx
import pytest

from gateway.envoy import write
from tests.gateway.running import Open, Running, until


def made(answer: httpx.Response) -> str:
    """Tell which call of which server made an answer."""
    text: str = answer.json()["release"]["synopsis"]
    return text


async def kept(client: httpx.AsyncClient, path: str, **headers: str) -> httpx.Response:
    """Ask until the answer comes from the cache: it is written in the background."""
    for _ in range(100):
        answer = await client.get(path, headers=headers)
        if "age" in answer.headers:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"{path} is never kept")


class TestAnswer:
    async def test_is_kept_for_anonymous_callers(self, http: httpx.AsyncClient) -> None:
        answer = await kept(http, "/v1/releases/kept")
        again = await http.get("/v1/releases/kept")

        assert made(answer) == made(again)
        assert again.headers["cache-control"] == "public, max-age=600, s-maxage=10"
        assert again.headers["vary"].startswith("authorization, x-ani-country, x-revision")

    async def test_carries_nothing_of_who_asked_first(self, http: httpx.AsyncClient) -> None:
        await http.get("/v1/releases/first", headers={"x-request-id": "the-first-one"})
        answer = await kept(http, "/v1/releases/first")

        assert answer.headers["x-request-id"] != "the-first-one"
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
        assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize("header", ["authorization", "x-revision", "x-api-key", "cookie"])
    async def test_is_made_anew_for_whom_something_tells_apart(self, http: httpx.AsyncClient, header: str) -> None:
        shared = await kept(http, f"/v1/releases/apart-{header}")
        own = await http.get(f"/v1/releases/apart-{header}", headers={header: "1"})

        assert made(own) != made(shared)
        assert "age" not in own.headers

    async def test_is_kept_for_each_country_by_itself(self, http: httpx.AsyncClient) -> None:
        german = await kept(http, "/v1/releases/country", **{"cf-ipcountry": "DE"})
        french = await kept(http, "/v1/releases/country", **{"cf-ipcountry": "FR"})
        nowhere = await kept(http, "/v1/releases/country")

        assert len({made(german), made(french), made(nowhere)}) == 3

    async def test_is_the_same_whatever_the_host(self, http: httpx.AsyncClient) -> None:
        one = await kept(http, "/v1/releases/hosts", host="one.example")
        other = await http.get("/v1/releases/hosts", headers={"host": "other.example"})

        assert made(one) == made(other)

    @pytest.mark.parametrize("name", ["private-one", "odd-one"])
    async def test_is_not_kept_unless_the_server_says_so(self, http: httpx.AsyncClient, name: str) -> None:
        answers = [await http.get(f"/v1/releases/{name}") for _ in range(5)]

        assert len({made(answer) for answer in answers}) == 5
        assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}

    async def test_is_not_kept_when_it_is_a_refusal(self, http: httpx.AsyncClient) -> None:
        answers = [await http.get("/v1/releases/missing") for _ in range(5)]

        assert all("age" not in answer.headers for answer in answers)
        assert answers[0].headers["x-ratelimit-remaining"] == "59"

    async def test_is_made_anew_when_it_may_be_stale(self, http: httpx.AsyncClient) -> None:
        first = made(await kept(http, "/v1/releases/short-lived"))

        deadline = time.monotonic() + 10
        while made(await http.get("/v1/releases/short-lived")) == first:
            assert time.monotonic() < deadline

    async def test_is_not_spared_by_callers_who_will_not_have_it_from_the_cache(self, http: httpx.AsyncClient) -> None:
        shared = await kept(http, "/v1/releases/insistent")
        answer = await http.get("/v1/releases/insistent", headers={"cache-control": "no-cache", "pragma": "no-cache"})

        assert made(answer) == made(shared)

    async def test_is_not_sent_to_those_who_hold_it(self, http: httpx.AsyncClient) -> None:
        await kept(http, "/v1/releases/held")
        same = await http.get("/v1/releases/held", headers={"if-none-match": 'W/"other", "strong-0123"'})
        other = await http.get("/v1/releases/held", headers={"if-none-match": '"strong-01"'})

        assert same.status_code == 304
        assert same.content == b""
        assert same.headers["etag"] == '"strong-0123"'
        assert other.status_code == 200


class TestSpace:
    async def test_is_bounded_however_many_urls_are_asked_for(self, open_gateway: Open) -> None:
        running = open_gateway(servers=1, cache_megabytes=1)
        limits = httpx.Limits(max_connections=16)
        async with httpx.AsyncClient(base_url=running.url, limits=limits, timeout=30) as client:
            for start in range(0, 1500, 50):
                await asyncio.gather(*(client.get(f"/v1/releases?page_token={number}") for number in range(start, start + 50)))

            until(lambda: used(running) <= 1024 * 1024)
            answer = await client.get("/v1/releases?page_token=1499")

        assert answer.status_code == 200
        assert len(list(running.gateway.cache_folder.iterdir())) <= 200

    def test_is_empty_at_the_start(self, running: Running) -> None:
        folder = running.gateway.cache_folder.parent / "other cache"
        folder.mkdir()
        (folder / "cache-1").write_text("an answer of an earlier run")

        write(replace(running.gateway, cache_folder=folder), folder.parent / "other.json")

        assert list(folder.iterdir()) == []


def used(running: Running) -> int:
    """Return the disk that the cache takes, in whole blocks."""
    total = 0
    for file in running.gateway.cache_folder.iterdir():
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


class TestOff:
    async def test_leaves_every_answer_to_the_servers(self, open_gateway: Open) -> None:
        running = open_gateway(servers=1, cache_megabytes=0)
        async with httpx.AsyncClient(base_url=running.url) as client:
            answers = [await client.get("/v1/releases/kept") for _ in range(3)]

        assert len({made(answer) for answer in answers}) == 3
        assert answers[0].headers["cache-control"] == "public, max-age=600"
