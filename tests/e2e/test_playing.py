"""A video is played to its end through the gateway, by its viewer alone, and only while its address is good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from domain.kernel import new_id
from tests.stack import Stack
from tests.waiting import until

PLAYLIST = "application/vnd.apple.mpegurl"
HOST = "origin.test"
SEGMENTS = 4
# What a video is made of; its third segment is an ad.
FILES = {
    "/v/master.m3u8": b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=854x480\n480/index.m3u8?utm_source=x\n",
    "/v/480/index.m3u8": (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n0.ts\n#EXTINF:4,\n1.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:4,\nad/0.ts\n"
        b"#EXT-X-DISCONTINUITY\n#EXTINF:4,\n2.ts\n#EXTINF:4,\n3.ts\n#EXT-X-ENDLIST\n"
    ),
    **{f"/v/480/{number}.ts": b"G" * (1000 + number) for number in range(SEGMENTS)},
    "/v/480/ad/0.ts": b"ad",
}


@asynccontextmanager
async def origin() -> AsyncIterator[tuple[int, list[str]]]:
    """Serve the video; yields the port, and what was asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        asked.append(path)
        body = FILES.get(path.partition("?")[0])
        status = b"200 OK" if body is not None else b"404 Not Found"
        writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body or b""), body or b""))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose addresses are good for a short time, and that plays from this machine."""
    settings = {"ANI_VIDEO_LOCAL_HOSTS": f"{HOST}=127.0.0.1", "ANI_PLAYBACK_SECONDS": "6"}
    with Stack(tmp_path_factory.mktemp("playing"), **settings) as stack:
        yield stack


async def made(editor: httpx.AsyncClient, port: int) -> str:
    """Publish a release with an episode and a video; return the episode's id."""
    at = datetime.now(UTC)
    release_id, episode_id = new_id(at=at), new_id(at=at)
    release: dict[str, Any] = {
        "releaseId": release_id,
        "alias": f"release-{release_id[-12:]}",
        "titles": [{"language": "en", "text": "Wind"}],
        "kind": "RELEASE_KIND_TV",
        "status": "RELEASE_STATUS_ONGOING",
        "ageRating": "AGE_RATING_12",
        "publication": "PUBLICATION_PUBLISHED",
    }
    episode = {"episodeId": episode_id, "releaseId": release_id, "number": "1", "state": "EPISODE_STATE_RELEASED"}
    source = {
        "episodeId": episode_id,
        "kind": "SOURCE_KIND_HLS",
        "url": f"http://{HOST}:{port}/v/master.m3u8",
        "adPatterns": ["*/ad/*"],
        "enabled": True,
    }
    for path, body in (("/v1/releases", release), ("/v1/episodes", episode), ("/v1/video-sources", source)):
        answer = await editor.post(path, json=body)
        assert answer.is_success, answer.text
    return episode_id


def links(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


class TestPlaying:
    async def test_goes_to_the_end_and_is_for_one_viewer_for_a_short_time(self, stack: Stack) -> None:
        async with (
            origin() as (port, asked),
            stack.http(headers=stack.credentials("editor")) as editor,
            stack.http(headers=stack.credentials("user")) as viewer,
            stack.http() as nobody,
            httpx.AsyncClient(trust_env=False) as player,
        ):
            episode_id = await made(editor, port)
            started = await viewer.post("/v1/streams", json={"episodeId": episode_id, "deviceId": "device-0001"})
            assert started.is_success, started.text
            url = started.json()["playbackUrl"]
            master = await viewer.get(url)
            (variant,) = links(master.text)
            media = await viewer.get(variant)
            segments = [link.replace(HOST, "127.0.0.1") for link in links(media.text)]
            played = [(await player.get(link)).content for link in segments]
            strangers = await nobody.get(url)
            others = await editor.get(url)
            changed = await viewer.get(url.replace("device-0001", "device-0002"))

            async def late() -> bool:
                return (await viewer.get(url)).status_code == httpx.codes.BAD_REQUEST

            await until(late, seconds=15)
            expired = await viewer.get(url)

        assert [PLAYLIST] * 2 == [master.headers["content-type"], media.headers["content-type"]]
        assert all("max-age" not in answer.headers.get("cache-control", "") for answer in (master, media))
        assert [FILES[f"/v/480/{number}.ts"] for number in range(SEGMENTS)] == played
        assert "/v/480/ad/0.ts" not in asked
        assert "/v/480/index.m3u8" in asked
        assert [401, 403, 403] == [answer.status_code for answer in (strangers, others, changed)]
        assert "GRANT_EXPIRED" in expired.text
