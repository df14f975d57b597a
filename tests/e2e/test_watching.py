"""Whoever watches the catalog sees each change once: as server-sent events, natively and over gRPC-Web, also after a break."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from ani.catalog.v1 import catalog_service_pb2 as pb
from tests.e2e.conftest import Body, Catalog

LIST_GENRES = "/ani.catalog.v1.CatalogService/ListGenres"
TRAILERS = 0x80


@asynccontextmanager
async def watching(http: httpx.AsyncClient, cursor: str = "") -> AsyncIterator[AsyncIterator[Body]]:
    """Listen to the events of the catalog, from a cursor on."""
    async with http.stream("GET", "/v1/releases:watch", params={"cursor": cursor} if cursor else {}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"

        async def messages() -> AsyncIterator[Body]:
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

        yield messages()


async def following(messages: AsyncIterator[Body], *releases: str) -> list[Body]:
    """Return the next messages that are about these releases, one for each that is named."""
    found: list[Body] = []
    async with asyncio.timeout(15):
        while len(found) < len(releases):
            message = await anext(messages)
            if message.get("change", {}).get("releaseId") in releases:
                found.append(message)
    return found


class TestServerSentEvents:
    async def test_begin_with_where_one_stands(self, http: httpx.AsyncClient) -> None:
        async with watching(http) as messages, asyncio.timeout(10):
            first = await anext(messages)

        assert first["heartbeat"]["time"]
        assert first["cursor"]

    async def test_go_on_after_a_break_without_gap_or_repeat(
        self, http: httpx.AsyncClient, editor: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        """D6."""
        one, two, three = a_body(), a_body(), a_body()
        async with watching(http) as messages:
            await anext(messages)
            await editor.post("/v1/releases", json=one)
            (seen,) = await following(messages, one["releaseId"])
        # Nobody watches now.
        await editor.post("/v1/releases", json=two)
        await editor.patch(f"/v1/releases/{one['releaseId']}?update_mask.paths=synopsis", json={"synopsis": "Wind."})
        async with watching(http, seen["cursor"]) as messages:
            await editor.post("/v1/releases", json=three)
            named = [body["releaseId"] for body in (one, two, three)]
            told = await following(messages, *named)

        assert seen["change"]["release"]["synopsis"] == ""
        assert [message["change"]["releaseId"] for message in told] == [named[1], named[0], named[2]]
        assert told[1]["change"]["release"]["synopsis"] == "Wind."

    async def test_tell_of_what_is_gone(
        self, http: httpx.AsyncClient, editor: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        body = a_body()
        await editor.post("/v1/releases", json=body)
        async with watching(http) as messages:
            await anext(messages)
            await editor.delete(f"/v1/releases/{body['releaseId']}")
            (told,) = await following(messages, body["releaseId"])

        assert "release" not in told["change"]

    async def test_are_refused_like_any_call_before_they_begin(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases:watch", params={"cursor": "yesterday"})

        assert (answer.status_code, answer.json()["code"]) == (400, 3)


class TestNativeStream:
    async def test_tells_the_same(self, catalog: Catalog, editor: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        body = a_body()
        stream = catalog.WatchReleases(pb.WatchReleasesRequest())
        messages = aiter(stream)
        async with asyncio.timeout(15):
            beginning = await anext(messages)
            await editor.post("/v1/releases", json=body)
            while (message := await anext(messages)).change.release_id != body["releaseId"]:
                pass
        stream.cancel()

        assert beginning.HasField("heartbeat")
        assert message.change.release.alias == body["alias"]


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """Take the body of a gRPC-Web answer apart: a flag and the bytes of each frame."""
    found = []
    while body:
        flag, length = struct.unpack(">BI", body[:5])
        found.append((flag, body[5 : 5 + length]))
        body = body[5 + length :]
    return found


class TestGrpcWeb:
    @pytest.mark.parametrize("kind", ["application/grpc-web+proto", "application/grpc-web-text+proto"])
    async def test_reaches_the_same_methods(self, http: httpx.AsyncClient, catalog: Catalog, kind: str) -> None:
        text = "text" in kind
        empty = struct.pack(">BI", 0, 0)

        answer = await http.post(
            LIST_GENRES,
            content=base64.b64encode(empty) if text else empty,
            headers={"content-type": kind, "accept": kind, "x-grpc-web": "1"},
        )
        body = b"".join(map(base64.b64decode, _padded(answer.text))) if text else answer.content
        (_, message), (flag, trailers) = frames(body)

        assert answer.headers["content-type"] == kind
        assert flag & TRAILERS
        assert b"grpc-status:0" in trailers.replace(b" ", b"")
        assert pb.ListGenresResponse.FromString(message) == await catalog.ListGenres(pb.ListGenresRequest())

    async def test_carries_refusals_with_their_details(self, http: httpx.AsyncClient) -> None:
        request = pb.GetReleaseRequest(release="none").SerializeToString()

        answer = await http.post(
            LIST_GENRES.replace("ListGenres", "GetRelease"),
            content=struct.pack(">BI", 0, len(request)) + request,
            headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
        )

        told = str(answer.headers) + answer.text
        assert answer.headers.get("grpc-status") == "5" or "grpc-status:5" in answer.text.replace(" ", "")
        assert "grpc-status-details-bin" in told


def _padded(text: str) -> list[str]:
    """Split base64 that was encoded in pieces, each with a padding of its own."""
    pieces, start = [], 0
    for end in range(4, len(text) + 1, 4):
        if text[end - 1] == "=" or end == len(text):
            pieces.append(text[start:end])
            start = end
    return pieces
