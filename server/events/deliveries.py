"""Delivering events: to each reaction once, again until it succeeds, and aside when it never does."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from prometheus_client import Counter, Histogram

from domain.kernel import Event, Refusal, Unavailable
from server.telemetry import bind_request_id

log = logging.getLogger("ani.deliveries")

# A delivery that is neither done nor being tried this long after it was sent is sent again.
PATIENCE = timedelta(seconds=8)
# With the pauses between them these take a little over an hour.
TRIES = 12
LONGEST_PAUSE_SECONDS = 3600.0
# What fails because something is out of reach is tried for as long as that lasts.
OUTAGE_PAUSE = timedelta(seconds=5)

DELIVERIES = Counter("ani_deliveries", "Attempts to deliver an event, by what came of them.", ["consumer", "outcome"])
SECONDS = Histogram("ani_delivery_seconds", "How long the attempts took.", ["consumer"])


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a consumer does about an event: within one transaction, in which the delivery is marked as done too.

    `act` gets the event and its id. Whatever it does outside of the database may happen twice, so the id goes with it.
    """

    consumer: str
    event: type[Event]
    act: Callable[[Any, str], Awaitable[None]]
    seconds: float = 60.0
    # Otherwise its deliveries are made by whoever records the event.
    routed: bool = True


class Attempt(Protocol):
    """A delivery that is being tried."""

    @property
    def delivery_id(self) -> str: ...
    @property
    def event_id(self) -> str: ...
    @property
    def consumer(self) -> str: ...
    @property
    def number(self) -> int:
        """How often it was tried, this attempt included."""

    @property
    def name(self) -> str:
        """The event's name."""

    def event(self, kind: type[Event]) -> Event:
        """Return the event. Raises TypeError when it lacks what the class needs."""


class Outbox(Protocol):
    """Keeps what is to be delivered. Every method raises a refusal of kind Unavailable when it is out of reach."""

    async def attempt(self, delivery_id: str, *, patience: timedelta) -> Attempt | None:
        """Count an attempt that starts now; None when the delivery is done, gone or being tried elsewhere."""

    def completing(self, delivery_id: str) -> AbstractAsyncContextManager[bool]:
        """Mark it done in the transaction that whatever is begun inside joins; False when another has it."""

    async def release(self, delivery_id: str, *, fault: str, again_in: timedelta) -> None:
        """Take back an attempt that failed for no fault of its own, and say when the next one is due."""

    async def fail(self, delivery_id: str, *, fault: str, again_in: timedelta) -> None:
        """Keep why an attempt failed, and when the next one is due."""

    async def bury(self, delivery_id: str, *, fault: str) -> None:
        """Give a delivery up: it goes to the dead letters."""


class ReactionUnknown(Exception):
    """Raised when this worker has no reaction for a delivery, perhaps because it is older than who made it."""


class AttemptsUsedUp(Exception):
    """Raised when a delivery was tried as often as it may be, the last time by a worker that did not survive it."""


class Deliveries:
    """Carries deliveries out."""

    def __init__(
        self, outbox: Outbox, reactions: Iterable[Reaction], *, tries: int = TRIES, pause: Callable[[int], float] | None = None
    ) -> None:
        self._outbox = outbox
        self._reactions = {(reaction.consumer, reaction.event.__name__): reaction for reaction in reactions}
        self._tries = tries
        self._pause = pause or pause_before

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Return which consumers the events go to, by their names."""
        return [(reaction.event.__name__, reaction.consumer) for reaction in self._reactions.values() if reaction.routed]

    async def deliver(self, delivery_id: str) -> None:
        """Try a delivery. Raises nothing: what went wrong is kept with the delivery."""
        try:
            attempt = await self._outbox.attempt(delivery_id, patience=PATIENCE)
            if attempt is not None:
                with bind_request_id(attempt.event_id):
                    await self._try(attempt)
        except Refusal as fault:
            log.warning("a delivery waits, since the database does not answer: %s", fault)

    async def _try(self, attempt: Attempt) -> None:
        began = time.perf_counter()
        outcome = "broken off"
        try:
            outcome = "done" if await self._react(attempt) else "elsewhere"
        except asyncio.CancelledError:
            with suppress(Refusal):
                await self._outbox.release(attempt.delivery_id, fault="the worker was stopped", again_in=timedelta(0))
            raise
        except Unavailable as fault:
            outcome = "postponed"
            await self._outbox.release(attempt.delivery_id, fault=_words(fault), again_in=OUTAGE_PAUSE)
        except Exception as fault:  # noqa: BLE001 - whatever a reaction raises is kept with its delivery
            outcome = await self._failed(attempt, fault)
        finally:
            DELIVERIES.labels(attempt.consumer, outcome).inc()
            SECONDS.labels(attempt.consumer).observe(time.perf_counter() - began)

    async def _react(self, attempt: Attempt) -> bool:
        if attempt.number > self._tries:
            raise AttemptsUsedUp("the worker ended during the last attempt")
        reaction = self._reactions.get((attempt.consumer, attempt.name))
        if reaction is None:
            raise ReactionUnknown(f"nothing here reacts to {attempt.name} as {attempt.consumer}")
        event = attempt.event(reaction.event)
        async with asyncio.timeout(reaction.seconds), self._outbox.completing(attempt.delivery_id) as mine:
            if mine:
                await reaction.act(event, attempt.event_id)
        return mine

    async def _failed(self, attempt: Attempt, fault: Exception) -> str:
        if attempt.number >= self._tries:
            log.error("%s gives up %s after %d attempts", attempt.consumer, attempt.name, attempt.number, exc_info=fault)
            await self._outbox.bury(attempt.delivery_id, fault=_words(fault))
            return "dead"
        log.warning("%s failed to react to %s", attempt.consumer, attempt.name, exc_info=fault)
        await self._outbox.fail(attempt.delivery_id, fault=_words(fault), again_in=timedelta(seconds=self._pause(attempt.number)))
        return "failed"


def _words(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"


def pause_before(attempt: int) -> float:
    """Return the seconds between an attempt and the next: twice as long each time, and never the same for many at once."""
    return min(2.0**attempt, LONGEST_PAUSE_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311 - spreads, keeps no secret
