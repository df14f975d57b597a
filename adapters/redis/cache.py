"""The cache that all processes share, in Valkey: an entry is good while every tag of it has the date it had when it was kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from adapters.redis import Subscription, Valkey, ValkeyDown

CHANNEL = "ani:cache:drops"
CLOCK = "ani:cache:clock"
# Longer than any answer is kept. A tag that is forgotten makes its entries invalid, so forgetting early is safe too.
TAG_SECONDS = 7_200


@dataclass(slots=True)
class Kept:
    """An entry as it is shared: its bytes, its tags, when it ends by the wall's clock, the revision it was read at."""

    body: bytes
    tags: tuple[str, ...]
    expires: float
    revision: int


class Loaded(Protocol):
    """An answer that a handler gave."""

    @property
    def body(self) -> bytes: ...
    @property
    def tags(self) -> tuple[str, ...]: ...


class ValkeyCache:
    """Shares answers between processes; its clock counts drops, and dates what is loaded and what is dropped.

    Whatever was loaded before a drop of one of its tags is not there any more: a load reads the clock first, a drop moves it after
    the change is kept, and an entry is only kept, and only found, while no tag was dropped since.
    """

    def __init__(self, valkey: Valkey, *, release: str, wall: Callable[[], float] = time.time) -> None:
        self._valkey = valkey
        self._prefix = f"ani:cache:{release}:".encode()
        self._wall = wall
        self._self = uuid4().hex

    async def get(self, key: bytes) -> tuple[int, Kept | None] | None:
        """Return the clock and what is kept under a key, or None without Valkey."""
        try:
            clock, raw = await self._valkey.pipeline([("GET", CLOCK), ("GET", self._prefix + key)])
            kept, dates = _unpack(raw) if raw else (None, [])
            if kept and (kept.expires <= self._wall() or await self._dates(kept.tags) != dates):
                kept = None
            return int(clock or 0), kept
        except ValkeyDown:
            return None

    async def put(self, key: bytes, answer: Loaded, *, clock: int, ttl: float, revision: int) -> None:
        """Keep an answer that was loaded when the clock said so, unless one of its tags was dropped since."""
        kept = Kept(answer.body, answer.tags, self._wall() + ttl, revision)
        with suppress(ValkeyDown):
            await self._valkey.pipeline([("SET", _tag(tag), clock, "NX", "EX", TAG_SECONDS) for tag in kept.tags])
            dates = await self._dates(kept.tags)
            if all(date is not None and date <= clock for date in dates):
                await self._valkey.run("SET", self._prefix + key, _pack(kept, dates), "PX", int(ttl * 1000))

    async def drop(self, tags: Iterable[str], *, revision: int) -> None:
        """Forget every entry with one of the tags, and tell every process to do so."""
        named = list(tags)
        with suppress(ValkeyDown):
            clock = await self._valkey.run("INCR", CLOCK)
            message = json.dumps({"from": self._self, "tags": named, "revision": revision})
            dated = [("SET", _tag(tag), clock, "EX", TAG_SECONDS) for tag in named]
            await self._valkey.pipeline([*dated, ("PUBLISH", CHANNEL, message)])

    def listen(
        self, heard: Callable[[list[str], int], None], *, connected: Callable[[], None], lost: Callable[[], None]
    ) -> Subscription:
        """Hear of the drops of other processes."""

        def hear(_: str, payload: bytes) -> None:
            message = json.loads(payload)
            if message["from"] != self._self:
                heard(message["tags"], message["revision"])

        return self._valkey.subscribe([CHANNEL], hear, connected=connected, lost=lost)

    async def _dates(self, tags: Iterable[str]) -> list[int | None]:
        keys = [_tag(tag) for tag in tags]
        found = await self._valkey.pipeline([("GET", key) for key in keys]) if keys else []
        return [None if date is None else int(date) for date in found]


def _tag(tag: str) -> str:
    return f"ani:cache:tag:{tag}"


def _pack(kept: Kept, dates: list[int | None]) -> bytes:
    head = json.dumps([kept.expires, kept.revision, kept.tags, dates]).encode()
    return b"%d:%b%b" % (len(head), head, kept.body)


def _unpack(raw: bytes) -> tuple[Kept, list[int | None]]:
    length, _, rest = raw.partition(b":")
    expires, revision, tags, dates = json.loads(rest[: int(length)])
    return Kept(rest[int(length) :], tuple(tags), expires, revision), dates
