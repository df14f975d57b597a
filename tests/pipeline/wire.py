"""A client that may send anything: HTTP/2 by hand over the server's socket."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

PATIENCE_SECONDS = 20.0


def framed(message: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """Return a gRPC message with its prefix, which may lie."""
    return struct.pack("!BI", compressed, len(message) if length is None else length) + message


@dataclass
class Reply:
    """What came back on a stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: bool = False

    @property
    def status(self) -> str:
        """The gRPC status, or how the stream ended without one; with its connection, it was reset."""
        if self.reset or not self.headers:
            return "reset"
        return self.headers.get("grpc-status") or f"http {self.headers.get(':status')}"


class Wire:
    """One connection."""

    def __init__(self, address: str) -> None:
        self._path = address.removeprefix("unix:")
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False))

    async def __aenter__(self) -> Self:
        self._reader, self.writer = await asyncio.open_unix_connection(self._path)
        self._h2.initiate_connection()
        await self._flush()
        return self

    async def __aexit__(self, *fault: object) -> None:
        self.writer.close()

    async def call(self, path: str, pieces: Iterable[bytes], *, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request in pieces, as fast as the server takes them, and return what came back."""
        stream = self._h2.get_next_available_stream_id()
        usual = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "te": "trailers"}
        asked = usual | {"content-type": "application/grpc"} | dict(headers or {})
        self._h2.send_headers(stream, list(asked.items()))
        reply, left, ahead = Reply(), b"", iter(pieces)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                left, more = self._send(stream, left, ahead)
                await self._flush()
                if not more and await self._read(reply):
                    return reply
                if more and await self._read(reply):  # the window is full, or the server has said its last word
                    return reply

    def _send(self, stream: int, left: bytes, ahead: Iterable[bytes]) -> tuple[bytes, bool]:
        """Send what the windows allow; return what is left, and whether there is more to come."""
        while True:
            if not left:
                left = next(iter(ahead), b"")
            if stream in self._ended or not left:
                return b"", self._end(stream)
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, len(left))
            if not room:
                return left, True
            self._h2.send_data(stream, left[:room])
            left = left[room:]

    _ended: frozenset[int] = frozenset()

    def _end(self, stream: int) -> bool:
        if stream not in self._ended:
            self._ended |= {stream}
            self._h2.end_stream(stream)
        return False

    async def _read(self, reply: Reply) -> bool:
        """Read once; tell whether the stream is over."""
        data = await self._reader.read(65536)
        try:
            events = self._h2.receive_data(data) if data else []
        except ProtocolError:
            data, events = b"", []
        over = not data
        for event in events:
            if isinstance(event, ResponseReceived | TrailersReceived):
                reply.headers |= {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, DataReceived):
                reply.body += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            over = over or isinstance(event, StreamEnded | StreamReset | ConnectionTerminated)
            reply.reset = reply.reset or isinstance(event, StreamReset | ConnectionTerminated)
        await self._flush()
        return over

    async def _flush(self) -> None:
        self.writer.write(self._h2.data_to_send())
        await self.writer.drain()


async def raw(address: str, data: bytes) -> bytes:
    """Send bytes as they are, and return what the server says before it closes, or in a moment."""
    reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
    writer.write(data)
    writer.write_eof()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
