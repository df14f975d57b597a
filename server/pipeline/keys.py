"""Callers who show an API key: whose it is takes asking, and is then known for a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from domain.accounts.api_keys import KEY_PREFIX, Holder, check_form

# For so long a key is good without asking again; its last use is written when it is asked for.
KNOWN_SECONDS = 60.0
KNOWN_KEYS = 5_000
# What is revoked bears the time at which that began, and holds from the moment at which it was kept.
REVOKING_SECONDS = 5.0
# The second is what a header of its own, x-api-key, is read as.
SHOWN = (f"Bearer {KEY_PREFIX}", "ApiKey ")

Recognise = Callable[[str], Awaitable[Holder]]


class KeyShown(Exception):
    """Raised when a caller shows an API key and it takes waiting to let them in."""


@dataclass(frozen=True, slots=True)
class Known:
    """The holder of a key, since when that is known, and for how long it needs no asking."""

    holder: Holder
    since: float
    until: float


class KnownKeys:
    """Remembers who holds which key, until something of the account is revoked; asks but once however many wait."""

    def __init__(self, recognise: Recognise, *, clock: Callable[[], float] = time.time) -> None:
        self._recognise = recognise
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._asking: dict[str, asyncio.Task[Known]] = {}

    def known(self, key: str) -> Known | None:
        """Return what needs no asking."""
        found = self._known.get(key)
        return found if found is not None and found.until > self._clock() else None

    async def find(self, key: str) -> Known:
        """Raises refusals of kind Unauthenticated, and Unavailable."""
        if found := self.known(key):
            return found
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key))
            task.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(task)

    def forget(self, accounts: Collection[str]) -> None:
        """Ask anew for the keys of these accounts, and for all that are being asked for: the answers may be older."""
        self._asking.clear()
        for key, known in list(self._known.items()):
            if known.holder.viewer.account_id in accounts:
                del self._known[key]

    async def _ask(self, key: str) -> Known:
        began = self._clock()
        holder = await self._recognise(key)
        return Known(holder, began - REVOKING_SECONDS, min(began + KNOWN_SECONDS, holder.expires.timestamp()))

    def _keep(self, key: str, task: asyncio.Task[Known]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if self._asking.get(key) is not task:
            return
        del self._asking[key]
        if not failed:
            if len(self._known) >= KNOWN_KEYS:
                self._known.pop(next(iter(self._known)))
            self._known[key] = task.result()


def shown_key(credentials: str) -> str:
    """Return the API key in an authorization header, or nothing when there is none. Raises ApiKeyMalformed."""
    if not credentials.startswith(SHOWN):
        return ""
    key = credentials.partition(" ")[2]
    check_form(key)
    return key
