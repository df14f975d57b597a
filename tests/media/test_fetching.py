"""Playlists are fetched from allowed hosts at public addresses, and never more of them than fits."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.playback_keys import PlaybackKeys, PlaybackKeysMissing
from adapters.playlists import HttpPlaylists, OriginRefused, OriginUnavailable, is_public
from domain.media.playlists import MOST_BYTES, PlaylistInvalid
from domain.media.sources import Origins
from tests.media.playing import ORIGINS

TEXT = b"#EXTM3U\n"


@asynccontextmanager
async def origin(answer: bytes, *, repeat: int = 1) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve one answer to whoever asks; yields the address, and what was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        try:
            for _ in range(repeat):
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://origin.test:{server.sockets[0].getsockname()[1]}/a/master.m3u8?x=1", asked


def answer(body: bytes, *, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
async def playlists() -> AsyncIterator[HttpPlaylists]:
    fetcher = HttpPlaylists(ORIGINS)
    yield fetcher
    await fetcher.close()


class TestFetch:
    @pytest.mark.parametrize(
        "served",
        [
            answer(TEXT),
            answer(gzip.compress(TEXT), content_encoding="gzip"),
            answer(zlib.compress(TEXT), content_encoding="deflate"),
        ],
    )
    async def test_returns_the_text_and_asks_the_host_by_its_name(self, playlists: HttpPlaylists, served: bytes) -> None:
        async with origin(served) as (url, asked):
            assert TEXT.decode() == await playlists.fetch(url)

        assert asked[0].startswith(b"GET /a/master.m3u8?x=1 HTTP/1.1\r\n")
        assert b"\r\nhost: origin.test:" in asked[0].lower()

    @pytest.mark.parametrize(
        "served",
        [
            answer(b"", status="302 Found", location="http://127.0.0.1:1/"),
            answer(b"", status="500 Internal Server Error"),
            answer(b"", status="204 No Content"),
            b"nonsense\r\n\r\n",
            b"",
        ],
    )
    async def test_follows_nobody_and_takes_nothing_else(self, playlists: HttpPlaylists, served: bytes) -> None:
        async with origin(served) as (url, asked):
            with pytest.raises(OriginUnavailable):
                await playlists.fetch(url)
        assert 1 == len(asked)

    async def test_refuses_a_playlist_of_fifty_megabytes_while_it_reads(self, playlists: HttpPlaylists) -> None:
        async with origin(answer(b"#" * 100_000) + b"#" * 100_000, repeat=500) as (url, _):
            with pytest.raises(PlaylistInvalid, match="too large"):
                await playlists.fetch(url)

    async def test_refuses_a_bomb(self, playlists: HttpPlaylists) -> None:
        bomb = gzip.compress(b"#" * (MOST_BYTES * 20))
        async with origin(answer(bomb, content_encoding="gzip")) as (url, _):
            with pytest.raises(PlaylistInvalid, match="too large"):
                await playlists.fetch(url)

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [(b"no gzip", "gzip"), (gzip.compress(TEXT * 100)[:-9], "gzip"), (TEXT, "br"), (TEXT, "gzip, gzip"), (b"\xff\xfe", "")],
    )
    async def test_refuses_what_cannot_be_unpacked(self, playlists: HttpPlaylists, body: bytes, encoding: str) -> None:
        async with origin(answer(body, **({"content_encoding": encoding} if encoding else {}))) as (url, _):
            with pytest.raises(PlaylistInvalid):
                await playlists.fetch(url)

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/", "http://localhost/", "https://[::1]/", "https://evil.example/", "http://video.example/",
            "https://user@video.example/", "https://video.example:22/", "file:///etc/passwd", "https://2130706433/", "",
        ],
    )  # fmt: skip
    async def test_refuses_other_hosts(self, playlists: HttpPlaylists, url: str) -> None:
        with pytest.raises(OriginRefused):
            await playlists.fetch(url)

    @pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.1.2.3"], ["93.184.216.34", "::1"], []])
    async def test_refuses_a_host_that_leads_inside(
        self, playlists: HttpPlaylists, addresses: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def look_up(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]

        resolve: Callable[..., Awaitable[list[Any]]] = look_up
        monkeypatch.setattr(asyncio, "get_running_loop", type("Loop", (), {"getaddrinfo": staticmethod(resolve)}))

        with pytest.raises(OriginRefused):
            await playlists._address("video.example")


class TestIsPublic:
    @pytest.mark.parametrize(
        "address",
        [
            "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "192.168.1.1",
            "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1",
            "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
            "2002:a00:1::1", "fc00::1", "fd00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1", "2001::1",
            "localhost", "", "2130706433", "0x7f.1",
        ],
    )  # fmt: skip
    def test_refuses(self, address: str) -> None:
        assert not is_public(address)

    @pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
    def test_lets_through(self, address: str) -> None:
        assert is_public(address)


class TestOrigins:
    def test_stand_for_what_is_below_them(self) -> None:
        origins = Origins(("video.example",))

        assert origins.allow("https://a.b.video.example/x")
        assert origins.allow("https://video.example:443/")
        assert not origins.allow("https://notvideo.example/")
        assert not origins.allow("http://video.example/")


class TestPlaybackKeys:
    def test_makes_a_key_that_stays(self, tmp_path: Any) -> None:
        folder = tmp_path / "keys"
        PlaybackKeys(folder).signer()
        key = (folder / "1.key").read_bytes()
        PlaybackKeys(folder).signer()

        assert (32, key) == (len(key), (folder / "1.key").read_bytes())
        assert 0o600 == (folder / "1.key").stat().st_mode & 0o777

    def test_notices_a_new_key(self, tmp_path: Any) -> None:
        now = [0.0]
        keys = PlaybackKeys(tmp_path, clock=lambda: now[0])
        keys.signer()
        (tmp_path / "2.key").write_bytes(b"n" * 32)
        now[0] = 61.0

        assert "2" == keys.signer()._newest

    def test_signs_nothing_with_a_short_key(self, tmp_path: Any) -> None:
        (tmp_path / "1.key").write_bytes(b"short")

        with pytest.raises(PlaybackKeysMissing):
            PlaybackKeys(tmp_path).signer()
