"""Whom the gateway believes: callers say who they are by token alone (B5)."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.gateway.running import Open, Running, until

FORGED = {
    "forwarded": "for=1.2.3.4",
    "x-account-id": "somebody",
    "x-ani-country": "US",
    "x-ani-anything": "1",
    "x-envoy-max-retries": "100",
    "x-envoy-original-path": "/admin",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-forwarded-for": "1.2.3.4",
    "x-forwarded-host": "evil.example",
    "x-http-method-override": "DELETE",
    "x-original-url": "/admin",
    "x-real-ip": "1.2.3.4",
    "x-user-id": "root",
}


async def seen(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    """Return the metadata that the server got, past the cache."""
    answer = await client.get("/v1/releases/echo", headers=headers | {"authorization": "Bearer x"})
    found: dict[str, Any] = json.loads(answer.json()["release"]["synopsis"])
    return found


class TestHeaders:
    async def test_that_only_the_gateway_may_send_are_dropped(self, http: httpx.AsyncClient) -> None:
        metadata = await seen(http, FORGED)

        assert not {value for name, value in FORGED.items() if metadata.get(name) == value}
        assert metadata["authorization"] == "Bearer x"

    async def test_of_signed_calls_get_through_and_are_not_made_up(self, http: httpx.AsyncClient) -> None:
        signed = {"x-ani-signature": "ab" * 32, "x-ani-timestamp": "1700000000", "x-ani-nonce": "0123456789abcdef"}

        metadata, without = await seen(http, signed | FORGED), await seen(http, {})

        assert signed.items() <= metadata.items()
        assert {"x-ani-anything", "x-ani-country"}.isdisjoint(metadata)
        assert not [name for name in (*metadata, *without) if name.startswith("kept-")]
        assert not signed.keys() & without.keys()

    async def test_say_when_a_message_was_made_from_json(self, http: httpx.AsyncClient) -> None:
        """Servers go by that: nobody can sign such a message."""
        metadata = await seen(http, {"x-envoy-original-path": ""})

        assert metadata["x-envoy-original-path"] == "/v1/releases/echo"

    async def test_with_underscores_are_refused(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/genres", headers={"x_user_id": "root"})

        assert answer.status_code == 400
        assert answer.json()["details"][0]["reason"] == "REQUEST_MALFORMED"

    async def test_of_the_caller_never_reach_the_cached_path_either(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases/echo-shared", headers=FORGED)

        metadata = json.loads(answer.json()["release"]["synopsis"])
        assert not {value for name, value in FORGED.items() if metadata.get(name) == value}
        assert "," not in metadata["x-forwarded-for"]


class TestAddress:
    async def test_is_the_connections_own_without_trusted_proxies(self, http: httpx.AsyncClient) -> None:
        plain = await seen(http, {})
        forged = await seen(http, {"x-forwarded-for": "1.2.3.4, 5.6.7.8"})

        assert forged["x-forwarded-for"] == plain["x-forwarded-for"]

    async def test_follows_the_trusted_proxies_and_ends_with_the_last(self, open_gateway: Open) -> None:
        running = open_gateway(servers=1, trusted_hops=1, cache_megabytes=1)
        async with httpx.AsyncClient(base_url=running.url) as client:
            direct = await seen(client, {"x-forwarded-for": "9.9.9.9, 1.2.3.4"})
            shared = await client.get("/v1/releases/echo-shared", headers={"x-forwarded-for": "9.9.9.9, 1.2.3.4"})

        hops = [hop.strip() for hop in direct["x-forwarded-for"].split(",")]
        assert hops[:2] == ["9.9.9.9", "1.2.3.4"]
        assert len(hops) == 3
        assert json.loads(shared.json()["release"]["synopsis"])["x-forwarded-for"] == direct["x-forwarded-for"]


class TestCountry:
    async def test_comes_from_the_header_of_the_trusted_proxy_alone(self, http: httpx.AsyncClient) -> None:
        headers = {"x-ani-country": "US", "cf-ipcountry": "DE"}

        assert (await http.get("/v1/caller", headers=headers)).json()["country"] == "DE"
        assert (await http.get("/v1/caller", headers={"x-ani-country": "US"})).json()["country"] == ""
        assert "cf-ipcountry" not in await seen(http, headers)

    async def test_is_unknown_where_no_header_is_trusted(self, open_gateway: Open) -> None:
        running = open_gateway(servers=1)
        async with httpx.AsyncClient(base_url=running.url) as client:
            answer = await client.get("/v1/caller", headers={"x-ani-country": "US", "cf-ipcountry": "DE"})

        assert answer.json()["country"] == ""


class TestRequestId:
    @pytest.mark.parametrize("given", ["", "short", "x" * 65, "with space in it", "with/slash/in-it", "new\tline-long"])
    async def test_is_made_where_there_is_no_sane_one(self, http: httpx.AsyncClient, given: str) -> None:
        answer = await http.get("/v1/genres", headers={"x-request-id": given} if given else {})

        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])

    @pytest.mark.parametrize("path", ["/v1/genres", "/v1/releases/bebop", "/v1/releases/missing", "/nothing", "/v1/releases:watch"])
    async def test_is_taken_and_returned_when_it_is_sane(self, http: httpx.AsyncClient, path: str) -> None:
        answer = await http.get(path, headers={"x-request-id": "Trace_01.a-b"})

        assert answer.headers.get_list("x-request-id") == ["Trace_01.a-b"]

    async def test_reaches_the_server_and_the_access_log(self, running: Running, http: httpx.AsyncClient) -> None:
        metadata = await seen(http, {"x-request-id": "find-me-in-the-log"})

        def line() -> dict[str, Any] | None:
            found = [text for text in running.log.read_text().splitlines() if "find-me-in-the-log" in text]
            return json.loads(found[0]) if found else None

        logged = until(line)
        assert metadata["x-request-id"] == "find-me-in-the-log"
        assert logged["verb"] == "GET"
        assert logged["path"] == "/v1/releases/echo"
        assert logged["status"] == 200
        assert logged["caller"] == "127.0.0.1"

    async def test_cannot_forge_lines_of_the_access_log(self, running: Running, http: httpx.AsyncClient) -> None:
        forged = {"x-request-id": "forger-of-lines", "user-agent": '"}\\n{"status":999,"x":"'}
        await http.get("/v1/genres", headers=forged)

        def lines() -> list[str]:
            return [text for text in running.log.read_text().splitlines() if "forger-of-lines" in text]

        logged = json.loads(until(lines)[0])
        assert logged["status"] == 200
        assert "999" in logged["user_agent"]
