"""Being woken by PostgreSQL: NOTIFY heard on a connection of its own."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import asyncpg

from adapters.postgres import UNREACHABLE

log = logging.getLogger("ani.postgres")

RETRY_SECONDS = 0.5
CONNECT_SECONDS = 2.0
# A connection that died without a word is noticed after this long.
PULSE_SECONDS = 15.0


class Bell:
    """Rings when something may have happened; it may ring for nothing, and rings once for much."""

    def __init__(self) -> None:
        self._rings = 0
        self._next = asyncio.Event()

    def ring(self) -> None:
        self._rings += 1
        self._next.set()
        self._next = asyncio.Event()

    def rings(self) -> int:
        """Return how often it has rung; taken before a look, so that no ring falls between look and wait."""
        return self._rings

    async def wait(self, rings: int, *, seconds: float) -> bool:
        """Return True once it has rung more often than that, False after this many seconds."""
        if self._rings > rings:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._next.wait()
        return self._rings > rings


class Listener:
    """Rings a bell for each channel; after an outage it rings them all, since something may have been missed."""

    def __init__(self, url: str, *, application: str = "ani") -> None:
        self._url = url
        self._application = application
        self._bells: dict[str, Bell] = {}
        self._deaf = False

    def bell(self, channel: str) -> Bell:
        """Return the bell of a channel; ask before `run`."""
        return self._bells.setdefault(channel, Bell())

    async def run(self) -> None:
        """Listen until cancelled, connecting again whenever the server was away."""
        while True:
            try:
                await self._listen()
            except (*UNREACHABLE, asyncpg.InterfaceError) as fault:
                if not self._deaf:
                    log.warning("not hearing the database: %s", str(fault) or type(fault).__name__)
                self._deaf = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_SECONDS,
            command_timeout=CONNECT_SECONDS,
            server_settings={"application_name": self._application},
        )
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            for channel, bell in self._bells.items():
                await connection.add_listener(channel, lambda *_, bell=bell: bell.ring())
            if self._deaf:
                log.info("hearing the database again")
            self._deaf = False
            for bell in self._bells.values():
                bell.ring()
            while not lost.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(PULSE_SECONDS):
                        await lost.wait()
                await connection.execute("SELECT 1")
        finally:
            connection.terminate()
