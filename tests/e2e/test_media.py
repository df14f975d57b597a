"""Files and promos through the gateway: sent and fetched as they are, by clients that know nothing of gRPC."""

from __future__ import annotations

import asyncio
import os
import signal
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Body, detail
from tests.media.images import an_image, opened
from tests.media.test_subtitles import VTT
from tests.stack import Stack
from tests.waiting import until

MEGABYTE = 1024 * 1024
POSTER = an_image("JPEG", size=(700, 1000))


async def sent(editor: httpx.AsyncClient, data: bytes, kind: str = "FILE_KIND_POSTER", **query: str) -> Any:
    answer = await editor.post("/v1/files", params={"kind": kind, **query}, content=data)
    assert answer.status_code == 200, answer.text
    return answer.json()["file"]


async def attached(editor: httpx.AsyncClient, file_id: str, body: Body) -> None:
    """Create a release, and attach a file to it."""
    assert (await editor.post("/v1/releases", json=body)).status_code == 200
    place = f"/v1/attachments/OWNER_KIND_RELEASE/{body['releaseId']}/{file_id}"
    answer = await editor.put(place, json={"position": 0})
    assert answer.status_code == 200, answer.text


class TestUpload:
    async def test_is_one_request_with_the_file_as_its_body(
        self, editor: httpx.AsyncClient, http: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        file = await sent(editor, POSTER)
        await attached(editor, file["fileId"], a_body())

        answer = await http.get(file["url"])
        again = await http.get(file["url"], headers={"if-none-match": answer.headers["etag"]})

        assert (200, "image/webp", "nosniff") == (
            answer.status_code,
            answer.headers["content-type"],
            answer.headers["x-content-type-options"],
        )
        assert (700, 1000) == opened(answer.content).size
        assert "max-age=86" in answer.headers["cache-control"]
        assert (304, b"") == (again.status_code, again.content)

    async def test_is_narrowed_by_the_worker(
        self, editor: httpx.AsyncClient, http: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        file = await sent(editor, POSTER)
        await attached(editor, file["fileId"], a_body())

        async def thumbnails() -> Any:
            return (await editor.get(f"/v1/files/{file['fileId']}")).json()["file"]["thumbnails"]

        made = await until(thumbnails, seconds=20)

        assert [160, 320, 640] == [one["width"] for one in made]
        answer = await http.get(made[0]["url"])
        assert (160, str(len(answer.content))) == (opened(answer.content).width, made[0]["size"])

    async def test_may_be_several_megabytes(self, editor: httpx.AsyncClient) -> None:
        """More than the gateway takes of JSON."""
        data = an_image("PNG", size=(900, 1200), compress_level=0)
        assert len(data) > 3 * MEGABYTE

        assert 900 == (await sent(editor, data))["width"]

    async def test_takes_subtitles_and_keeps_them_for_signed_in_callers(
        self, stack: Stack, editor: httpx.AsyncClient, http: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        file = await sent(editor, VTT.encode(), "FILE_KIND_SUBTITLE", language="en")
        await attached(editor, file["fileId"], a_body())

        guest = await http.get(file["url"])
        user = await http.get(file["url"], headers=stack.credentials("user"))

        assert 401 == guest.status_code
        assert ("text/vtt; charset=utf-8", VTT) == (user.headers["content-type"], user.text)

    @pytest.mark.parametrize(
        ("query", "data", "reason"),
        [
            ({"kind": "FILE_KIND_POSTER"}, b"<svg/>" * 9, "FILE_TYPE_REFUSED"),
            ({"kind": "FILE_KIND_POSTER"}, b"", "FILE_EMPTY"),
            ({}, POSTER, "FILE_KIND_MISSING"),
            ({"kind": "FILE_KIND_POSTER", "file_id": "../../etc"}, POSTER, "REQUEST_INVALID"),
            ({"kind": "FILE_KIND_SUBTITLE"}, b"WEBVTT\n\n\xff", "SUBTITLE_REFUSED"),
        ],
        ids=["type", "empty", "kind", "path", "UTF-8"],
    )
    async def test_says_what_is_wrong(self, editor: httpx.AsyncClient, query: dict[str, str], data: bytes, reason: str) -> None:
        answer = await editor.post("/v1/files", params=query, content=data)

        assert (400, reason) == (answer.status_code, detail(answer, "ErrorInfo")["reason"])

    async def test_is_refused_to_others_before_it_is_taken(self, stack: Stack, http: httpx.AsyncClient) -> None:
        answer = await http.post("/v1/files?kind=FILE_KIND_POSTER", content=POSTER, headers=stack.credentials("user"))

        assert 403 == answer.status_code

    async def test_of_five_gigabytes_ends_early_and_leaves_nothing(self, stack: Stack) -> None:
        """From a sender who looks whether he is still wanted, as curl does."""
        before = _files(stack)

        taken, answer = await _pour(stack, 5 * 1024 * MEGABYTE)

        assert b" 400 " in answer.partition(b"\r\n")[0]
        assert b"FILE_TOO_LARGE" in answer
        assert taken < 40 * MEGABYTE
        assert before == _files(stack)


async def _pour(stack: Stack, size: int) -> tuple[int, bytes]:
    """Send a file without end until somebody answers; return how much was taken, and the answer."""
    host, _, port = stack.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = {"host": stack.address, "content-length": str(size), "connection": "close", **stack.credentials("editor")}
    lines = ["POST /v1/files?kind=FILE_KIND_POSTER HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode() + POSTER)
    answering = asyncio.create_task(reader.read(64 * 1024))
    taken = 0
    with suppress(ConnectionError):
        while taken < size and not answering.done():
            writer.write(bytes(64 * 1024))
            taken += 64 * 1024
            await writer.drain()
    answer = await asyncio.wait_for(answering, 30)
    writer.close()
    return taken, answer


def _files(stack: Stack) -> set[str]:
    """All that is kept, or being taken, other than what the worker makes of it in its own time."""
    return {path.name for path in (stack.data / "files").rglob("*") if not path.name.endswith(("-160", "-320", "-640"))}


class TestWorker:
    async def test_killed_in_the_middle_of_a_thumbnail_leaves_it_to_the_next_one(
        self, stack: Stack, editor: httpx.AsyncClient
    ) -> None:
        file = await sent(editor, an_image("JPEG", size=(3000, 4000)))

        async def narrowing() -> int:
            return _narrowing(stack)

        worker = await until(narrowing, seconds=20)
        os.kill(worker, signal.SIGKILL)

        async def thumbnails() -> Any:
            return (await editor.get(f"/v1/files/{file['fileId']}")).json()["file"]["thumbnails"]

        made = await until(thumbnails, seconds=40)
        assert [160, 320, 640, 1280] == [one["width"] for one in made]
        assert [] == [name for name in _files(stack) if name.endswith(".part")]


def _narrowing(stack: Stack) -> int:
    """Return the worker's process while it has an image narrowed."""
    with suppress(OSError):
        worker = stack.pid("worker")
        for task in Path(f"/proc/{worker}/task").iterdir():
            for child in (task / "children").read_text().split():
                if "image_child" in Path(f"/proc/{child}/cmdline").read_text():
                    return worker
    return 0


class TestPromo:
    async def test_is_counted_and_told(self, stack: Stack, editor: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
        promo = {"format": "PROMO_FORMAT_BANNER", "placement": "PROMO_PLACEMENT_LIST", "title": "Soon", "enabled": True}
        made = (await editor.post("/v1/managed-promos", json=promo)).json()["promo"]

        shown = (await http.get("/v1/promos?placement=PROMO_PLACEMENT_LIST")).json()["promos"]
        event = {"eventId": "019d62a9-fa00-7000-8000-00000000abcd", "promoId": made["promoId"], "action": "PROMO_ACTION_CLICK"}
        counted = [
            (await http.post("/v1/promos:record", json={"events": [event]}, headers=stack.credentials("user"))).json()[
                "countedCount"
            ]
            for _ in range(2)
        ]
        statistics = (await editor.get(f"/v1/managed-promos/{made['promoId']}/statistics")).json()["counts"]

        assert [made] == shown
        assert [1, 0] == counted
        assert [("PROMO_ACTION_CLICK", "1")] == [(one["action"], one["count"]) for one in statistics]

    async def test_tags_are_an_xml_document(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/promos:vast?placement=PROMO_PLACEMENT_PRE_ROLL")

        assert "application/xml; charset=utf-8" == answer.headers["content-type"]
        assert "{http://www.iab.com/VAST}VAST" == ET.fromstring(answer.content).tag
