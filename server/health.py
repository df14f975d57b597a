"""How the server and what it depends on are doing, for people, for Envoy and for orchestrators."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from grpc_health.v1 import health, health_pb2

from domain.kernel import Refusal, Unavailable

log = logging.getLogger("ani.health")

CHECK_SECONDS = 1.0
WATCH_SECONDS = 1.0


class NotReady(Unavailable):
    """Raised when the server cannot do its work for now."""

    text = "Not ready: {problems}."


class State(IntEnum):
    """How a part is."""

    OK = 1
    DEGRADED = 2
    DOWN = 3


@dataclass(frozen=True, slots=True)
class Part:
    """Something the server depends on; without an essential one it cannot do its work."""

    name: str
    check: Callable[[], Awaitable[None]]
    essential: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of a part found."""

    name: str
    state: State
    detail: str
    seconds: float


class Health:
    """Checks the parts, and keeps the standard health service true."""

    def __init__(self, parts: Iterable[Part], services: Iterable[str]) -> None:
        self._parts = tuple(parts)
        self._services = tuple(services)
        self._stopping = False
        self.servicer = health.aio.HealthServicer()

    async def check(self) -> list[Finding]:
        """Check all parts at once."""
        return await asyncio.gather(*(self._check(part) for part in self._parts))

    async def ready(self) -> None:
        """Raises NotReady while the server is stopping or misses an essential part."""
        essential = [part for part in self._parts if part.essential]
        findings = await asyncio.gather(*(self._check(part) for part in essential))
        problems = [f"{finding.name}: {finding.detail.rstrip('.')}" for finding in findings if finding.state is not State.OK]
        if self._stopping:
            problems.append("the server is stopping")
        if problems:
            raise NotReady(problems="; ".join(problems))

    async def _check(self, part: Part) -> Finding:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await part.check()
        except TimeoutError:
            detail = f"no answer within {CHECK_SECONDS:g} seconds"
        except Refusal as refusal:
            detail = str(refusal)
        except Exception:
            # Whatever it is, the check of one part must not end the watch over all.
            log.exception("%s could not be checked", part.name)
            detail = "the check itself failed; the log says why"
        else:
            return Finding(part.name, State.OK, "", time.perf_counter() - began)
        return Finding(part.name, State.DOWN if part.essential else State.DEGRADED, detail, time.perf_counter() - began)

    async def begin(self) -> None:
        """Make every service known, before anyone can ask.

        The nameless service is SERVING until the server drains, even without a database: Envoy goes on sending calls, which are
        answered from the cache or refused at once. The named ones say whether the server can do its work, which is not known yet.
        """
        await self.servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        await self._announce(serving=False)

    async def watch(self) -> None:
        """Keep the standard health service true until cancelled."""
        serving = None
        while True:
            try:
                await self.ready()
                found, why = True, ""
            except NotReady as refusal:
                found, why = False, str(refusal)
            if found != serving:
                log.log(logging.INFO if found else logging.WARNING, "ready" if found else why)
                serving = found
                await self._announce(serving)
            await asyncio.sleep(WATCH_SECONDS)

    async def _announce(self, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self.servicer.set(service, status)

    async def drain(self) -> None:
        """Say NOT_SERVING everywhere, so that no new call comes."""
        self._stopping = True
        await self.servicer.enter_graceful_shutdown()
