"""What callers over JSON see: answers, refusals, and the gateway's own answers, all of one shape."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

STATUSES = [
    ("missing", 404, 5),
    ("taken", 409, 6),
    ("invalid", 400, 3),
    ("early", 400, 9),
    ("changed", 409, 10),
    ("forbidden", 403, 7),
    ("unknown", 401, 16),
    ("exhausted", 429, 8),
    ("down", 503, 14),
    ("overdue", 504, 4),
    ("broken", 500, 13),
]


def reason(answer: httpx.Response) -> Any:
    return answer.json()["details"][0]["reason"]


class TestAnswer:
    async def test_is_json_with_the_servers_metadata_as_headers(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases/bebop", headers={"authorization": "Bearer x"})

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["release"]["alias"] == "bebop"
        assert answer.headers["x-ratelimit-limit"] == "60"
        assert answer.headers["etag"] == '"strong-0123"'
        assert answer.headers["server"] == "ani"
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_leaks_nothing_of_grpc_or_envoy(self, http: httpx.AsyncClient) -> None:
        answers = [await http.get(path, headers={"x-revision": "1"}) for path in ("/v1/releases/bebop", "/v1/releases/missing")]
        answers.append(await http.get("/v1/releases/bebop"))

        leaked = [name for answer in answers for name in answer.headers if name.startswith(("grpc-", "x-envoy-", "x-ani-"))]
        assert leaked == []

    async def test_prints_defaults_and_keeps_long_numbers_whole(self, http: httpx.AsyncClient) -> None:
        release = (await http.get("/v1/releases/bebop")).json()["release"]

        assert release["version"] == "9007199254740993"
        assert release["genres"] == []
        assert release["kind"] == "RELEASE_KIND_UNSPECIFIED"

    async def test_is_not_kept_by_anyone_when_the_server_says_nothing(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/caller")

        assert answer.headers["cache-control"] == "no-store"

    async def test_is_compressed_on_demand_and_keeps_its_etag(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases/big-one", headers={"accept-encoding": "gzip", "authorization": "Bearer x"})

        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["etag"] == 'W/"strong-0123"'


class TestRequest:
    async def test_reads_query_parameters_by_both_names(self, http: httpx.AsyncClient) -> None:
        one = await http.get("/v1/releases?page_size=5&kind=RELEASE_KIND_TV&genres=a&genres=b")
        other = await http.get("/v1/releases?pageSize=5&kind=release_kind_tv&genres=a&genres=b")

        assert one.json()["nextPageToken"] == "5/1/a,b"
        assert other.json()["nextPageToken"] == "5/1/a,b"

    async def test_drops_unknown_fields_of_a_body(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/v1/releases", json={"alias": "bebop", "nonsense": 1, "version": "9007199254740993"})

        assert answer.json()["release"]["alias"] == "bebop"
        assert answer.json()["release"]["version"] == "9007199254740993"

    async def test_takes_no_body_for_an_empty_one(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/v1/releases")

        assert answer.status_code == 200
        assert answer.json()["release"]["alias"] == ""

    @pytest.mark.parametrize("query", ["update_mask=synopsis,titles", "update_mask.paths=synopsis&update_mask.paths=titles"])
    async def test_reads_field_masks(self, http: httpx.AsyncClient, query: str) -> None:
        answer = await http.patch(f"/v1/releases/abc?{query}", json={"synopsis": "x"})

        assert answer.json()["changedFields"] == "synopsis,titles"
        assert answer.json()["release"]["releaseId"] == "abc"

    async def test_never_takes_the_body_against_the_path(self, http: httpx.AsyncClient) -> None:
        one = await http.patch("/v1/releases/abc", json={"releaseId": "another"})
        other = await http.patch("/v1/releases/abc", json={"release_id": "another"})

        assert one.status_code == 400 or one.json()["release"]["releaseId"] == "abc"
        assert other.status_code == 400
        assert "release_id" in other.json()["message"]

    @pytest.mark.parametrize(
        ("path", "named"),
        [
            ("/v1/releases?bogus=1", "bogus"),
            ("/v1/releases?page_size=many", "page_size"),
            ("/v1/releases?page_size=99999999999", "page_size"),
            ("/v1/releases?kind=NOPE", "kind"),
            ("/v1/releases/x?page_size=1", "page_size"),
        ],
    )
    async def test_is_refused_with_the_parameter_named(self, http: httpx.AsyncClient, path: str, named: str) -> None:
        answer = await http.get(path)

        assert answer.status_code == 400
        assert answer.json()["code"] == 3
        assert named in answer.json()["message"]
        assert reason(answer) == "REQUEST_MALFORMED"

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ('{"alias": 5}', "alias"),
            ('{"year": "x"}', "year"),
            ('{"titles": [3]}', "titles"),
            ('{"kind": []}', ""),
            ("{", ""),
            ("[1", ""),
        ],
    )
    async def test_is_refused_with_the_field_named(self, http: httpx.AsyncClient, body: str, named: str) -> None:
        answer = await http.post("/v1/releases", content=body)

        assert answer.status_code == 400
        assert answer.json()["code"] == 3
        assert named in answer.json()["message"]
        assert answer.json()["message"]


class TestRefusal:
    @pytest.mark.parametrize(("name", "status", "code"), STATUSES)
    async def test_carries_code_message_and_details(self, http: httpx.AsyncClient, name: str, status: int, code: int) -> None:
        for headers in ({}, {"x-revision": "1"}):
            answer = await http.get(f"/v1/releases/{name}", headers=headers)

            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["retry-after"] == "2"
            assert answer.json().keys() == {"code", "message", "details"}
            assert answer.json()["code"] == code
            assert answer.json()["details"] == [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": name.upper(),
                    "domain": "ani",
                    "metadata": {"release": name},
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"},
            ]

    async def test_of_a_write_looks_the_same(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/v1/releases", json={"alias": "taken"})

        assert answer.status_code == 409
        assert reason(answer) == "TAKEN"


class TestGateway:
    async def test_knows_no_other_paths(self, http: httpx.AsyncClient) -> None:
        for path in ("/nothing", "/v1/releases/a/b", "/v1", "/ani.catalog.v1.CatalogService/GetRelease"):
            answer = await http.get(path)

            assert answer.status_code == 404
            assert answer.json()["code"] == 5
            assert reason(answer) == "PATH_UNKNOWN"

    @pytest.mark.parametrize(
        ("verb", "path", "allowed"),
        [
            ("POST", "/v1/releases/bebop", "DELETE, GET, PATCH"),
            ("PUT", "/v1/releases", "GET, POST"),
            ("DELETE", "/v1/releases:watch", "GET"),
            ("TRACE", "/v1/filters", "GET"),
            ("OPTIONS", "/v1/genres", "GET, POST"),
        ],
    )
    async def test_names_the_verbs_that_a_path_takes(self, http: httpx.AsyncClient, verb: str, path: str, allowed: str) -> None:
        answer = await http.request(verb, path)

        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
        assert answer.json()["code"] == 12

    async def test_takes_only_verbs_that_http_knows(self, http: httpx.AsyncClient) -> None:
        answer = await http.request("QUERY", "/v1/releases")

        assert answer.status_code == 400
        assert reason(answer) == "REQUEST_MALFORMED"
        assert answer.json()["message"]

    async def test_unescapes_paths_but_not_slashes(self, http: httpx.AsyncClient) -> None:
        assert (await http.get("/v1/releases/%62ebop")).json()["release"]["alias"] == "bebop"
        assert (await http.get("/v1/releases/a%2fb")).status_code == 400
        assert (await http.get("/v1/genres/../releases/bebop")).json()["release"]["alias"] == "bebop"


class TestStream:
    async def test_comes_as_server_sent_events(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases:watch?cursor=c")

        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n") if line]
        assert [event["cursor"] for event in events] == ["c0", "c1", "c2"]

    async def test_sends_each_message_when_it_is_there(self, http: httpx.AsyncClient) -> None:
        async with http.stream("GET", "/v1/releases:watch?cursor=stay") as answer:
            lines = answer.aiter_lines()
            first = await anext(lines)

        assert json.loads(first.removeprefix("data: "))["cursor"] == "stay0"

    async def test_is_refused_like_anything_else(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases:watch?cursor=exhausted")

        assert answer.status_code == 429
        assert reason(answer) == "EXHAUSTED"
        assert answer.headers["retry-after"] == "2"


class TestOtherOrigins:
    async def test_may_call_when_they_are_allowed(self, http: httpx.AsyncClient) -> None:
        asked = await http.options(
            "/v1/releases",
            headers={
                "origin": "https://app.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,content-type",
            },
        )
        answer = await http.get("/v1/releases/bebop", headers={"origin": "https://app.example"})

        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == "https://app.example"
        assert "authorization" in asked.headers["access-control-allow-headers"]
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "grpc-status-details-bin" in answer.headers["access-control-expose-headers"]
        assert "x-revision" in answer.headers["access-control-expose-headers"]
        assert "origin" in answer.headers["vary"]

    async def test_may_not_when_they_are_not(self, http: httpx.AsyncClient) -> None:
        origin = {"origin": "https://app.example.evil.example"}
        asked = await http.options("/v1/releases", headers=origin | {"access-control-request-method": "POST"})
        answer = await http.get("/v1/releases/bebop", headers=origin)

        assert asked.status_code == 405
        assert "access-control-allow-origin" not in asked.headers
        assert "access-control-allow-origin" not in answer.headers
