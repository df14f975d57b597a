"""Answers kept as bytes: first in the process, then in Valkey, then the handler; concurrent identical reads share one call."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

# How stale an answer of another process's making may be while drops cannot be heard of.
DEAF_SECONDS = 2.0
ENTRY_OVERHEAD = 700
# An answer larger than this part of the memory would drive out too many others.
LARGEST_PART = 8
# Loads take less time than it takes to drop so many tags.
REMEMBERED_DROPS = 4096


@dataclass(slots=True)
class Entry:
    """An answer: its bytes, and what it takes to say whether it is still true."""

    body: bytes
    tags: tuple[str, ...]
    expires: float
    revision: int
    etag: str
    used: bool = False

    @property
    def size(self) -> int:
        return len(self.body) + ENTRY_OVERHEAD + 100 * len(self.tags)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler gives to be kept."""

    body: bytes
    tags: tuple[str, ...]


class Kept(Protocol):
    """An entry of the shared cache, which ends by the wall's clock."""

    @property
    def body(self) -> bytes: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def expires(self) -> float: ...
    @property
    def revision(self) -> int: ...


class SharedCache(Protocol):
    """The cache that all processes share. It may be down at any time, and then holds nothing."""

    async def get(self, key: bytes) -> tuple[int, Kept | None] | None:
        """Return the cache's clock, which dates whatever is loaded now, and what it holds; None when it is down."""

    async def put(self, key: bytes, answer: Answer, *, clock: int, ttl: float, revision: int) -> None:
        """Keep an answer that was loaded when the clock said so, unless one of its tags was dropped since."""

    async def drop(self, tags: Iterable[str], *, revision: int) -> None:
        """Forget every answer with one of the tags, and tell every process to do so."""


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[Entry]
    revision: int
    waiting: int = 0


class AnswerCache:
    """The cache of one process, bounded in memory, over the shared one."""

    def __init__(
        self,
        shared: SharedCache,
        *,
        megabytes: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._shared = shared
        self._wall = wall
        self._limit = megabytes * 1024 * 1024
        self._clock = clock
        self._size = 0
        self._entries: dict[tuple[str, bytes], Entry] = {}
        self._by_tag: dict[str, set[tuple[str, bytes]]] = {}
        self._flights: dict[tuple[str, bytes], _Flight] = {}
        self._deaf = False
        # Drops are counted; of each tag that was dropped of late, which one it was. Loads that began before `_unsure` are not kept.
        self._drops = self._unsure = 0
        self._dropped: dict[str, int] = {}
        self.revision = 0
        self.local_hits = self.shared_hits = self.misses = self.evictions = 0

    def peek(self, key: tuple[str, bytes], revision: int) -> Entry | None:
        """Return the process's own answer if it is true as of a revision."""
        entry = self._entries.get(key)
        if entry is None or entry.expires <= self._clock() or entry.revision < revision:
            return None
        entry.used = True
        self.local_hits += 1
        return entry

    async def load(self, key: tuple[str, bytes], revision: int, ttl: float, handle: Callable[[], Awaitable[Answer]]) -> Entry:
        """Return an answer true as of a revision, from the shared cache or the handler; one call serves all who wait for it."""
        flight = self._flights.get(key)
        if flight is None or flight.revision < revision:
            task = asyncio.ensure_future(self._fetch(key, revision, ttl, handle))
            flight = self._flights[key] = _Flight(task, revision)
            task.add_done_callback(lambda _: self._land(key, task))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._land(key, flight.task)
                flight.task.cancel()

    def _land(self, key: tuple[str, bytes], task: asyncio.Task[Entry]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]
        if task.done() and not task.cancelled():
            task.exception()  # each waiter was told; a flight without any must not be reported as forgotten

    async def _fetch(self, key: tuple[str, bytes], revision: int, ttl: float, handle: Callable[[], Awaitable[Answer]]) -> Entry:
        shared_key = hashlib.blake2b(key[0].encode() + b"\0" + key[1], digest_size=16).digest()
        began, known = self._drops, max(self.revision, revision)
        found = await self._shared.get(shared_key)
        kept = found[1] if found else None
        if kept is not None and kept.revision >= revision:
            self.shared_hits += 1
            entry = _entry(kept.body, kept.tags, self._clock() + kept.expires - self._wall(), kept.revision)
        else:
            self.misses += 1
            answer = await handle()
            # Out of reach: of the drops of others, who knows which will be heard.
            entry = _entry(answer.body, answer.tags, self._clock() + (ttl if found else min(ttl, DEAF_SECONDS)), known)
            if found:
                await self._shared.put(shared_key, answer, clock=found[0], ttl=ttl, revision=known)
        # What was dropped while this was loading may be in it: it answers those who asked before, and is not kept.
        if began >= self._unsure and all(self._dropped.get(tag, 0) <= began for tag in entry.tags):
            self._keep(key, entry)
        return entry

    def _keep(self, key: tuple[str, bytes], entry: Entry) -> None:
        self._forget(key)
        if entry.size > self._limit // LARGEST_PART:
            return
        if self._deaf:
            entry.expires = min(entry.expires, self._clock() + DEAF_SECONDS)
        self._entries[key] = entry
        self._size += entry.size + len(key[1])
        for tag in entry.tags:
            self._by_tag.setdefault(tag, set()).add(key)
        while self._size > self._limit:
            self._evict()

    def _evict(self) -> None:
        """Let the oldest go, but give those that were used since a second round."""
        key = next(iter(self._entries))
        entry = self._entries[key]
        if entry.used and entry.expires > self._clock():
            entry.used = False
            del self._entries[key]
            self._entries[key] = entry
        else:
            self._forget(key)
            self.evictions += 1

    def _forget(self, key: tuple[str, bytes]) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._size -= entry.size + len(key[1])
        for tag in entry.tags:
            keys = self._by_tag[tag]
            keys.discard(key)
            if not keys:
                del self._by_tag[tag]

    def heard(self, tags: Iterable[str], revision: int) -> None:
        """Forget what a drop names; from now on nothing older than its revision is kept."""
        self.revision = max(self.revision, revision)
        self._drops += 1
        self._flights.clear()  # whoever comes now must not join a call that began before the drop
        for tag in tags:
            self._dropped.pop(tag, None)  # to be the youngest
            self._dropped[tag] = self._drops
            for key in tuple(self._by_tag.get(tag, ())):
                self._forget(key)
        while len(self._dropped) > REMEMBERED_DROPS:
            self._unsure = self._dropped.pop(next(iter(self._dropped)))

    async def drop(self, tags: Iterable[str], revision: int) -> None:
        """Forget answers here in the same breath, and in every other process by publication."""
        named = tuple(tags)
        self.heard(named, revision)
        await self._shared.drop(named, revision=revision)

    def deafen(self) -> None:
        """Know that drops of other processes are not heard: answers live only a moment from now on."""
        self._deaf = True
        latest = self._clock() + DEAF_SECONDS
        for entry in self._entries.values():
            entry.expires = min(entry.expires, latest)

    def hear_again(self) -> None:
        """Know that drops are heard again; what was missed in between is unknown, so nothing is kept."""
        self._deaf = False
        self.clear()

    def clear(self) -> None:
        self._drops += 1
        self._unsure = self._drops
        self._flights.clear()
        self._entries.clear()
        self._by_tag.clear()
        self._size = 0

    @property
    def megabytes(self) -> float:
        return self._size / 1048576

    @property
    def entries(self) -> int:
        return len(self._entries)


def _entry(body: bytes, tags: tuple[str, ...], expires: float, revision: int) -> Entry:
    return Entry(body, tags, expires, revision, f'"{hashlib.blake2b(body, digest_size=9).hexdigest()}"')
