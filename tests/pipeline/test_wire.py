"""What no gRPC library sends: broken frames, lying prefixes, bombs. The server says no and goes on."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import grpc
import pytest

from tests.pipeline import contract
from tests.pipeline.conftest import Probe
from tests.pipeline.wire import Wire, framed, raw

READ = "/ani.probe.v1.ProbeService/Read"
MEGABYTE = 1024 * 1024
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
INVALID, OVERDUE, EXHAUSTED, UNIMPLEMENTED, INTERNAL = "3", "4", "8", "12", "13"


LIES = {
    "nothing": b"",
    "half a prefix": b"\0\0",
    "prefix too long": framed(b"abc", length=100),
    "prefix of 4 GB": framed(b"abc", length=2**32 - 1),
    "prefix too short": framed(b"abc", length=1),
    "no message": framed(b"\xff" * 10),
    "zeros": framed(bytes(1000)),
    "compressed by nothing": framed(b"abc", compressed=1),
}


@pytest.fixture
def good() -> bytes:
    return framed(contract.message("ProbeRequest")(id="a").SerializeToString())


async def answers(probe: Probe) -> bool:
    return bool("alive" == (await probe("Read", id="alive")).text)


class TestFrames:
    """C6."""

    async def test_of_a_good_call_are_answered(self, probe: Probe, good: bytes) -> None:
        """The others would prove little if this one failed."""
        async with Wire(probe.served.address) as wire:
            reply = await wire.call(READ, [good])

        assert ("0", framed(probe.Response(text="a").SerializeToString())) == (reply.status, reply.body)

    async def test_in_single_bytes_are_answered(self, probe: Probe, good: bytes) -> None:
        async with Wire(probe.served.address) as wire:
            reply = await wire.call(READ, [good[at : at + 1] for at in range(len(good))])

        assert "0" == reply.status

    @pytest.mark.parametrize("body", LIES.values(), ids=LIES.keys())
    async def test_that_lie_end_in_a_status(self, probe: Probe, body: bytes) -> None:
        """A call whose message never comes ends with its deadline; one without is the gateway's to end."""
        async with Wire(probe.served.address) as wire:
            reply = await wire.call(READ, [body], headers={"grpc-timeout": "300m"})

        assert reply.status in {INVALID, OVERDUE, EXHAUSTED, UNIMPLEMENTED, INTERNAL}
        assert [] == probe.asked
        assert await answers(probe)

    async def test_with_a_flag_of_tomorrow_end_in_a_status(self, probe: Probe) -> None:
        async with Wire(probe.served.address) as wire:
            reply = await wire.call(READ, [framed(b"abc", compressed=6)], headers={"grpc-timeout": "300m"})

        assert reply.status.isdecimal()
        assert await answers(probe)

    @pytest.mark.parametrize(
        "headers",
        [
            {"grpc-encoding": "snappy"},
            {"grpc-encoding": "gzip"},
            {"content-type": "application/json"},
            {"content-type": ""},
            {":method": "GET"},
            {":path": "/"},
            {":path": "no slash"},
            {":path": "/ani.probe.v1.ProbeService/Read/../Write"},
            {":path": "/" + "a" * 9000},
            {":scheme": "gopher"},
            {"te": "nothing"},
            {"grpc-timeout": "soon"},
            {"grpc-timeout": "-5S"},
            {"grpc-timeout": "99999999999H"},
            {"connection": "keep-alive"},
            {"content-length": "3"},
            {"x-bin": "!"},
            {"some-bin": "%%%"},
            {"Upper": "case"},
            {"authorization": "Bearer \x7f"},
            {"x-request-id": "\x01\x02"},
        ],
        ids=str,
    )
    async def test_with_wrong_headers_end_in_a_status(self, probe: Probe, good: bytes, headers: Mapping[str, str]) -> None:
        async with Wire(probe.served.address) as wire:
            reply = await wire.call(READ, [good], headers={"grpc-timeout": "300m"} | dict(headers))

        assert re.fullmatch(r"\d+|reset|http 4\d\d", reply.status)
        assert await answers(probe)

    async def test_with_megabytes_of_headers_end_in_a_status(self, probe: Probe, good: bytes) -> None:
        """GRPC bounds what comes in one HTTP/2 frame; the gateway bounds all of it (F9)."""
        with Peak() as peak:
            async with Wire(probe.served.address) as wire:
                reply = await wire.call(READ, [good], headers={f"x-{number}": "v" * 1000 for number in range(2000)})

        assert reply.status in {"0", EXHAUSTED, "reset"}
        assert peak.grown < 32 * MEGABYTE
        assert await answers(probe)

    async def test_of_two_messages_where_there_is_to_be_one_end_in_a_status(self, probe: Probe, good: bytes) -> None:
        async with Wire(probe.served.address) as wire:
            reply = await wire.call(READ, [good, good])

        assert reply.status in {"0", INTERNAL, UNIMPLEMENTED}
        assert await answers(probe)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x16\x03\x01\x02\x00" * 100,
            bytes(range(256)) * 40,
            PREFACE[:10],
            PREFACE,
            PREFACE + SETTINGS + b"\xff\xff\xff\x00\0\0\0\0\x01",
            PREFACE + SETTINGS + b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff" * 3,
            PREFACE + SETTINGS + b"\0\0\x05\x01\x04\0\0\0\x02\xff\xff\xff\xff\xff",
            PREFACE + SETTINGS + b"\0\0\x01\x00\x01\0\0\0\x01a",
            PREFACE + SETTINGS + b"\0\0\x00\x09\x04\0\0\0\x01",
            PREFACE + SETTINGS + b"\0\0\x06\x04\0\0\0\0\0\0\x04\xff\xff\xff\xff",
            PREFACE + SETTINGS + b"\0\0\0\x63\0\0\0\0\0" * 100,
        ],
        ids=[
            "nothing",
            "HTTP/1.1",
            "TLS",
            "every byte",
            "half a preface",
            "preface",
            "huge frame",
            "window overflow",
            "bad header block",
            "data first",
            "continuation first",
            "impossible setting",
            "unknown frames",
        ],
    )
    async def test_that_are_none_end_the_connection_alone(self, probe: Probe, data: bytes) -> None:
        await raw(probe.served.address, data)

        assert await answers(probe)


class TestSizes:
    """C7."""

    async def test_beyond_the_bound_are_refused(self, probe: Probe) -> None:
        small = probe.Request(by_name={"a": probe.Thing(note="x" * (3 * MEGABYTE))})
        large = probe.Request(by_name={"a": probe.Thing(note="x" * (5 * MEGABYTE))})

        assert "" == (await probe("Read", small)).text
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await probe("Read", large)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED is refused.value.code()

    async def test_of_a_bomb_are_never_reached(self, probe: Probe) -> None:
        """Compressed requests are refused: gRPC would unpack all of it before it looks how large it is."""
        bomb = b"".join(_bomb(200))
        assert len(bomb) < MEGABYTE
        with Peak() as peak:
            async with Wire(probe.served.address) as wire:
                reply = await wire.call(READ, [framed(bomb, compressed=1)], headers={"grpc-encoding": "gzip"})

        # Its last word may be cut off by the reset that follows it, while the client still sends.
        assert reply.status in {UNIMPLEMENTED, "reset"}
        assert peak.grown < 32 * MEGABYTE
        assert [] == probe.asked
        assert await answers(probe)

    async def test_of_many_messages_in_one_stream_are_bounded_each(self, probe: Probe) -> None:
        """A prefix that promises four megabytes reserves nothing before they come."""
        with Peak() as peak:
            wires = [Wire(probe.served.address) for _ in range(50)]
            for wire in wires:
                await wire.__aenter__()
                wire.writer.write(_half_a_call())
                await wire.writer.drain()
            assert await answers(probe)
            for wire in wires:
                await wire.__aexit__()

        assert peak.grown < 32 * MEGABYTE


def _bomb(megabytes: int) -> Iterator[bytes]:
    packer = zlib.compressobj(level=1, wbits=31)
    for _ in range(megabytes):
        yield packer.compress(bytes(MEGABYTE))
    yield packer.flush()


def _half_a_call() -> bytes:
    """Return the headers of a call and the beginning of a large message, as HTTP/2 frames without compression tricks."""
    names = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", READ),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    block = b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in names)
    data = framed(b"x" * 100, length=4 * MEGABYTE - 1)
    return _frame(1, 4, block) + _frame(0, 0, data)


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + (1).to_bytes(4) + payload


class Peak:
    """How much memory this process, in which the server runs, takes more at its highest than before."""

    grown = 0

    def __enter__(self) -> Self:
        Path("/proc/self/clear_refs").write_text("5")  # the highest mark begins anew
        self._before = _status("VmRSS")
        return self

    def __exit__(self, *fault: object) -> None:
        self.grown = _status("VmHWM") - self._before


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
