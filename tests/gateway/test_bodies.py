"""Content that is no JSON: answers served as what they are, and files sent up piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.running import Running
from tests.gateway.test_json import reason

IMAGE = "0191d7a0-0000-7000-8000-000000000001"
MEGABYTE = 1024 * 1024


class TestAnswer:
    async def test_is_the_content_itself_with_its_type(self, http: httpx.AsyncClient) -> None:
        answer = await http.get(f"/v1/images/{IMAGE}", headers={"authorization": "Bearer x"})

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/webp"
        assert answer.content.startswith(b"\x00RIFF\xff")
        assert answer.headers["x-ratelimit-limit"] == "60"
        assert answer.headers["etag"] == '"image"'
        assert not [name for name in answer.headers if name.startswith("grpc-")]

    async def test_keeps_its_type_in_the_cache(self, http: httpx.AsyncClient) -> None:
        for _ in range(100):
            answer = await http.get(f"/v1/images/{IMAGE}")
            if "age" in answer.headers:
                break
            await asyncio.sleep(0.02)

        assert "age" in answer.headers
        assert answer.headers["content-type"] == "image/webp"
        assert answer.content.startswith(b"\x00RIFF\xff")

    async def test_is_left_out_for_whom_nothing_changed(self, http: httpx.AsyncClient) -> None:
        answer = await http.get(f"/v1/images/{IMAGE}", headers={"if-none-match": '"image"'})

        assert (answer.status_code, answer.content) == (304, b"")


class TestUpload:
    @pytest.mark.parametrize("size", [0, 1, 100_000, 5 * MEGABYTE])
    async def test_arrives_whole_with_its_fields(self, http: httpx.AsyncClient, size: int) -> None:
        answer = await http.post(
            f"/v1/files?file_id={IMAGE}&language=ja", content=b"\xff" * size, headers={"content-type": "text/vtt"}
        )

        assert answer.status_code == 200, answer.text
        file = answer.json()["file"]
        assert (file["fileId"], file["language"], file["size"]) == (IMAGE, "ja/text/vtt", str(size))

    async def test_goes_up_piece_by_piece(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/v1/files", content=b"\xff" * 8 * MEGABYTE, headers={"content-type": "image/png"})

        assert int(answer.headers["x-pieces"]) > 4
        assert int(answer.headers["x-largest"]) <= MEGABYTE

    async def test_is_refused_before_all_of_it_is_sent(self, http: httpx.AsyncClient, running: Running) -> None:
        sent = 0

        async def parts() -> AsyncIterator[bytes]:
            nonlocal sent
            yield b"no"
            while sent < 1000:
                sent += 1
                yield b"\xff" * MEGABYTE

        try:
            answer = await http.post("/v1/files", content=parts(), headers={"content-type": "image/png"})
            assert (answer.status_code, reason(answer)) == (400, "INVALID")
        except httpx.TransportError:
            pass  # the connection was closed while the client still sent
        assert sent < 1000
