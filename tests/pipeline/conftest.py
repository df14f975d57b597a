"""A servicer that does what a test says, behind the whole pipeline of a real server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from google.protobuf.message import Message

from server.pipeline.call import Call
from server.pipeline.front import Machinery
from server.settings import Settings
from tests.pipeline import contract
from tests.platform.conftest import OwnValkey, own_valkey  # noqa: F401 - a fixture
from tests.serving import Metadata, Served, serving

Doing = Callable[[Any, Call], Any]
Start = Callable[..., Awaitable["Probe"]]
Eventually = Callable[..., Coroutine[Any, Any, None]]
Token = Callable[..., Metadata]
# For what takes a moment, on a machine that may be busy with other things.
PATIENCE_SECONDS = 20.0


class Probe:
    """ProbeService on a server: what its methods do, what they were asked, and how to call them."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.does: dict[str, Doing] = {}
        self.asked: list[tuple[str, Any, Call]] = []
        self.Request = contract.message("ProbeRequest")
        self.Response = contract.message("ProbeResponse")
        self.Thing = contract.message("Thing")
        served.application.pipeline.add(contract.service(), _Servicer(self))

    @property
    def machinery(self) -> Machinery:
        return self.served.application.pipeline._machinery

    def __call__(
        self,
        method: str,
        request: Message | bytes | AsyncIterable[Any] | Iterable[Any] | None = None,
        *,
        metadata: Metadata = (),
        timeout: float | None = None,
        **fields: Any,
    ) -> Any:
        """Call a method, with a request made of these fields if none is given."""
        planned = contract.service().methods_by_name[method]
        kind = f"{_arity(planned.client_streaming)}_{_arity(planned.server_streaming)}"
        response = contract.message(planned.output_type.name)
        multicallable: Any = getattr(self.served.channel, kind)(
            f"/{contract.service().full_name}/{method}", request_serializer=_bytes, response_deserializer=response.FromString
        )
        return multicallable(self.Request(**fields) if request is None else request, metadata=metadata, timeout=timeout)

    async def listening(self) -> Probe:
        """Wait until drops are heard, or known not to be: whatever was kept before is dropped then."""
        cache = self.machinery.cache
        await until(lambda: cache is None or cache._drops or cache._deaf)
        return self

    def count(self, method: str) -> int:
        """Return how often a method was reached."""
        return sum(name == method for name, _, _ in self.asked)


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0.002)


class _Servicer:
    """Answers with the id of the request, unless the test says something else."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def __getattr__(self, name: str) -> Doing:
        planned = contract.service().methods_by_name[name]
        usual = self._stream if planned.server_streaming else self._answer

        def method(request: Any, call: Call) -> Any:
            self._probe.asked.append((name, request, call))
            doing: Doing = self._probe.does.get(name, usual)
            return doing(request, call)

        return method

    async def _answer(self, request: Any, call: Call) -> Any:
        return self._probe.Response(text=request.id)

    async def _stream(self, request: Any, call: Call) -> AsyncIterator[Any]:
        for number in itertools.count():
            yield self._probe.Response(text=request.id, cursor=str(number))
            await asyncio.sleep(0)


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"


def _bytes(request: Any) -> Any:
    return request if isinstance(request, bytes) else request.SerializeToString()


@pytest.fixture
def eventually() -> Eventually:
    return until


@pytest.fixture
async def probe(served: Served) -> Probe:
    """ProbeService on the test's server."""
    return await Probe(served).listening()


@pytest.fixture
async def start(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Start]:
    """Start further servers, on the same database and Valkey unless other settings are given."""
    async with AsyncExitStack() as stack:

        async def start_one(chosen: Settings = settings) -> Probe:
            address = f"unix:{tmp_path_factory.mktemp('s')}/s"
            return await Probe(await stack.enter_async_context(serving(chosen, address))).listening()

        yield start_one
