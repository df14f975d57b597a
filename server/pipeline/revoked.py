"""Access tokens that are void before they expire: whoever holds one is let in no more, within a second, on every server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from domain.kernel import Refusal, Unauthenticated, Viewer

log = logging.getLogger("ani.pipeline")

# Transactions end in another order than they begin, and servers' clocks differ.
OVERLAP = timedelta(seconds=60)
# The bell may be missed while the database is away and back again.
LOOK_SECONDS = 20.0
# Longer than a token of a session lives.
KEPT_SECONDS = 25 * 3600.0


class SessionRevoked(Unauthenticated):
    """Raised when an access token is void before its time: its session has ended, or what it says is true no more."""

    text = "The access token is not good any more: get a new one, or sign in again."


class Revocation(Protocol):
    """Access tokens that were made void: those of one session of an account, or all of them when it names none."""

    @property
    def account_id(self) -> str: ...
    @property
    def session_id(self) -> str: ...
    @property
    def time(self) -> datetime:
        """Tokens issued later are good."""


class Bell(Protocol):
    """Rings when there may be something new."""

    def rings(self) -> int: ...
    async def wait(self, rings: int, *, seconds: float) -> bool: ...


class Revoked:
    """What a process knows to be void."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        # Until when tokens are void, by (account, session) or (account, "") for all of an account's.
        self._until: dict[tuple[str, str], float] = {}
        self._followers: dict[int, tuple[Viewer, float, Callable[[], None]]] = {}

    def add(self, revocations: Iterable[Revocation]) -> bool:
        """Take revocations in, end what their tokens opened, and tell whether there was anything new."""
        news = False
        for revocation in revocations:
            key, until = (revocation.account_id, revocation.session_id), revocation.time.timestamp()
            if until > self._until.get(key, 0.0):
                self._until[key] = until
                news = True
        if news:
            self._forget()
            for viewer, issued, end in list(self._followers.values()):
                if self.is_void(viewer, issued):
                    end()
        return news

    def is_void(self, viewer: Viewer, issued: float) -> bool:
        if not viewer.account_id:
            return False
        until = self._until
        return issued <= max(until.get((viewer.account_id, ""), 0.0), until.get((viewer.account_id, viewer.session_id), 0.0))

    @contextmanager
    def followed(self, viewer: Viewer, issued: float, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` when the token is made void while the block runs."""
        self._followers[id(end)] = (viewer, issued, end)
        try:
            yield
        finally:
            del self._followers[id(end)]

    def _forget(self) -> None:
        oldest = self._clock() - KEPT_SECONDS
        for key in [key for key, until in self._until.items() if until < oldest]:
            del self._until[key]


class RevocationWatch:
    """Keeps what a process knows to be void up with the database."""

    def __init__(
        self,
        revoked: Callable[[Iterable[Revocation]], None],
        load: Callable[[datetime], Awaitable[Iterable[Revocation]]],
        bell: Bell,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._take = revoked
        self._load = load
        self._bell = bell
        self._clock = clock
        self._since = clock() - timedelta(seconds=KEPT_SECONDS)

    async def look(self) -> None:
        """Take in what is new. Raises refusals of the database."""
        began = self._clock()
        self._take(await self._load(self._since))
        self._since = began - OVERLAP

    async def run(self) -> None:
        """Look whenever the bell rings, until cancelled."""
        while True:
            rings = self._bell.rings()
            try:
                await self.look()
            except Refusal:
                # Also one that a migration brought about: whoever stops looking lets everybody in.
                log.warning("what was revoked cannot be looked up for now: tokens stay good until they expire")
                await asyncio.sleep(1)
                continue
            await self._bell.wait(rings, seconds=LOOK_SECONDS)
