"""A gateway for all tests that leave it as it is, and gateways of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pb2

from ani.options.v1 import policy_pb2
from gateway.contract import GEN
from tests.gateway.running import Open, Running, opened


@pytest.fixture
def open_gateway() -> Iterator[Open]:
    """Open gateways of the test's own, with other wishes or servers to be killed."""
    with ExitStack() as ends:
        yield lambda **wishes: ends.enter_context(opened(**wishes))


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """A gateway for all tests that leave everything as it is."""
    with opened(cors_origins=("https://app.example",), country_header="cf-ipcountry", cache_megabytes=8) as found:
        yield found


@pytest.fixture
async def http(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.url, timeout=20) as client:
        yield client


@pytest.fixture
async def channel(running: Running) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(running.target) as channel:
        yield channel


@pytest.fixture
def changed_contract(tmp_path: Path) -> Callable[..., Path]:
    """Return the contract with one method's idempotency or time changed."""

    def change(name: str, *, idempotency: str = "", seconds: int = 0) -> Path:
        for file in ("descriptor.binpb", "image.binpb"):
            files = descriptor_pb2.FileDescriptorSet.FromString((GEN / file).read_bytes())
            found = [m for f in files.file for s in f.service for m in s.method if m.name == name]
            assert len(found) == 1
            if idempotency:
                found[0].options.idempotency_level = descriptor_pb2.MethodOptions.IdempotencyLevel.Value(idempotency)
            if seconds:
                found[0].options.Extensions[policy_pb2.policy].timeout.seconds = seconds
            (tmp_path / file).write_bytes(files.SerializeToString())
        return tmp_path

    return change
