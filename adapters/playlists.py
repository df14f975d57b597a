"""Fetches playlists from where videos are: from allowed hosts, at public addresses, and not more than fits."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import zlib
from urllib.parse import urlsplit, urlunsplit

import httpx

from domain.kernel import FailedPrecondition, Unavailable
from domain.media.playlists import MOST_BYTES, PlaylistInvalid
from domain.media.sources import Origins

log = logging.getLogger("ani.playlists")

PATIENCE_SECONDS = 5.0
MOST_AT_ONCE = 100
NAT64 = ipaddress.ip_network("64:ff9b::/96")
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class OriginRefused(FailedPrecondition):
    """Raised when a playlist is at a place that nothing is fetched from."""

    text = "The source is at a place that nothing is played from."


class OriginUnavailable(Unavailable):
    """Raised when a source does not answer, or not with a playlist."""

    text = "The video's source does not answer for now."


class HttpPlaylists:
    """Fetches playlists over HTTP.

    Each request names the address that was looked up and checked, so that a second look-up cannot lead elsewhere, and has a
    connection of its own, so that none that was made for one host serves another one at the same address.
    """

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._client = httpx.AsyncClient(
            timeout=PATIENCE_SECONDS,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=MOST_AT_ONCE, max_keepalive_connections=0),
        )

    async def fetch(self, url: str) -> str:
        """Return a playlist's text. Raises OriginRefused, OriginUnavailable, PlaylistInvalid."""
        if not self._origins.allow(url):
            raise OriginRefused
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                data = await self._fetched(url)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as fault:
            log.warning("a source does not answer: %s", type(fault).__name__)
            raise OriginUnavailable from fault
        try:
            return data.decode()
        except UnicodeDecodeError as fault:
            raise PlaylistInvalid(reason="it is no text") from fault

    async def _fetched(self, url: str) -> bytes:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        address = await self._address(host)
        place = f"[{address}]" if ":" in address else address
        target = urlunsplit(parts._replace(netloc=f"{place}:{parts.port}" if parts.port else place))
        # The certificate is checked for the host, not for the address.
        request = self._client.build_request(
            "GET",
            target,
            headers={"host": parts.netloc, "accept-encoding": "gzip, deflate", "user-agent": "Ani"},
            extensions={"sni_hostname": host},
        )
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                log.warning("a source answers %d", response.status_code)
                raise OriginUnavailable
            return await _bounded(response)
        finally:
            await response.aclose()

    async def _address(self, host: str) -> str:
        """Look a host up. Raises OriginRefused when any of its addresses is not public."""
        if (local := self._origins.address_of(host)) is not None:
            return local
        found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(is_public(address) for address in addresses):
            raise OriginRefused
        return addresses[0]

    async def close(self) -> None:
        await self._client.aclose()


def is_public(text: str) -> bool:
    """Tell whether an address is one of the public network, whatever it is wrapped in."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if address.scope_id or address.is_site_local or int(address) >> 32 == 0:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


async def _bounded(response: httpx.Response) -> bytes:
    """Read a body, and stop when it is too large: as it comes, or once it is unpacked. Raises PlaylistInvalid."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise PlaylistInvalid(reason="it is packed in an unknown way")
    unpack = zlib.decompressobj(GZIP_OR_ZLIB) if encoding not in {"", "identity"} else None
    data = bytearray()
    async for chunk in response.aiter_raw():
        room = MOST_BYTES - len(data) + 1
        try:
            data += unpack.decompress(chunk, room) if unpack else chunk[:room]
        except zlib.error as fault:
            raise PlaylistInvalid(reason="it cannot be unpacked") from fault
        if len(data) > MOST_BYTES:
            raise PlaylistInvalid(reason="it is too large")
    if unpack and not unpack.eof:
        raise PlaylistInvalid(reason="it cannot be unpacked")
    return bytes(data)
