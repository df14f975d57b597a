"""The relay: makes deliveries of events, and sends what is due to the workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from domain.kernel import Refusal
from server.events.deliveries import PATIENCE

log = logging.getLogger("ani.relay")

BATCH = 100
# More than this does not wait in the broker: the rest is as safe where it is.
WINDOW = 256
# What is due by the clock is found this late at most; what was just recorded rings.
POLL_SECONDS = 1.0
FULL_SECONDS = 0.1
RETRY_SECONDS = 1.0


class Outbox(Protocol):
    """Keeps what is to be delivered. Every method raises a refusal of kind Unavailable when it is out of reach."""

    async def route(self, routes: Iterable[tuple[str, str]], *, limit: int) -> int:
        """Make deliveries of new events, by routes from an event's name to a consumer; return how many events were new."""

    async def claim(self, *, limit: int, patience: timedelta) -> list[str]:
        """Return deliveries to be sent now, which come again after `patience` unless they are done by then."""

    async def postpone(self, delivery_ids: Sequence[str], *, by: timedelta) -> None:
        """Take back that deliveries were sent, and have them sent later."""


class Queue(Protocol):
    """Carries ids of deliveries to the workers. Every method raises a refusal of kind Unavailable when it is out of reach."""

    async def waiting(self) -> int:
        """Return how many ids no worker has taken yet."""

    async def send(self, delivery_ids: Sequence[str]) -> None:
        """Queue deliveries; when it fails, some of them may be queued."""


class Bell(Protocol):
    """Rings when something was recorded."""

    def rings(self) -> int:
        """Return how often it has rung."""

    async def wait(self, rings: int, *, seconds: float) -> bool:
        """Return True once it has rung more often than that, False after this many seconds."""


class Relay:
    """Any number of relays may run: what one has taken in hand the others pass over."""

    def __init__(self, outbox: Outbox, queue: Queue, bell: Bell, routes: Sequence[tuple[str, str]]) -> None:
        self._outbox = outbox
        self._queue = queue
        self._bell = bell
        self._routes = routes

    async def run(self) -> None:
        """Relay until cancelled, through outages of the database and of the broker."""
        troubled = False
        while True:
            rings = self._bell.rings()
            try:
                pause = await self._turn()
            except Refusal as fault:
                if not troubled:
                    log.warning("events wait in the outbox: %s", fault)
                troubled = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if troubled:
                log.info("events are relayed again")
                troubled = False
            if pause:
                await self._bell.wait(rings, seconds=pause)

    async def _turn(self) -> float:
        """Relay a batch; return how long to wait for the next one."""
        routed = await self._outbox.route(self._routes, limit=BATCH)
        room = WINDOW - await self._queue.waiting()
        if room <= 0:
            await asyncio.sleep(FULL_SECONDS)
            return 0.0
        claimed = await self._outbox.claim(limit=min(room, BATCH), patience=PATIENCE)
        if claimed:
            await self._send(claimed)
        return 0.0 if len(claimed) == min(room, BATCH) or routed == BATCH else POLL_SECONDS

    async def _send(self, claimed: Sequence[str]) -> None:
        try:
            await self._queue.send(claimed)
        except Refusal:
            await self._outbox.postpone(claimed, by=timedelta(seconds=RETRY_SECONDS))
            raise
