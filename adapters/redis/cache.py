"""The cache that all processes share, in Valkey: an entry is good while every tag of it has the date it had when it was kept."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from adapters.redis import Script, Subscription, Valkey, ValkeyDown

CHANNEL = "ani:cache:drops"
# The braces keep the clock and the tags on one node of a cluster, for they change together.
CLOCK = "{ani:cache}:clock"
TAG = "{{ani:cache}}:tag:{}"
# Longer than any answer is kept. A tag that is forgotten makes its entries invalid, so forgetting early is safe too.
TAG_SECONDS = 7_200
# Drops that could not be said are said again, if there are not too many; entries that escape so end with their time.
AGAIN_SECONDS = 0.1
MOST_UNSAID = 10_000

# The clock only goes forward, also over the loss of everything that Valkey holds.
DROP = Script("""
local time = redis.call('TIME')
local clock = math.max(time[1] * 1000000 + time[2], (tonumber(redis.call('GET', KEYS[1]) or 0)) + 1)
clock = string.format('%.0f', clock)
redis.call('SET', KEYS[1], clock)
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], clock, 'EX', ARGV[1])
end
redis.call('PUBLISH', ARGV[2], ARGV[3])
""")
# A Valkey without a clock is given one before anything is loaded, or the load could not be dated.
START = Script("""
local clock = redis.call('GET', KEYS[1])
if not clock then
  local time = redis.call('TIME')
  clock = string.format('%.0f', time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[1], clock)
end
return clock
""")
# A tag without a date may have been dropped and forgotten up to now, as may any tag where there is no clock.
DATES = Script("""
local dates, clock = {}, redis.call('GET', KEYS[1])
if not clock then
  local time = redis.call('TIME')
  clock = string.format('%.0f', time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[1], clock)
end
for i = 2, #KEYS do
  local date = redis.call('GET', KEYS[i])
  if not date then
    date = clock
    redis.call('SET', KEYS[i], date, 'EX', ARGV[1])
  end
  dates[i - 1] = date
end
return dates
""")


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
    """Shares answers between processes; its clock moves with each drop, and dates what is loaded and what is dropped.

    Whatever was loaded before a drop of one of its tags is not there any more: a load reads the clock first, a drop moves it after
    the change is kept, and an entry is only kept, and only found, while no tag was dropped since.
    """

    def __init__(self, valkey: Valkey, *, release: str, wall: Callable[[], float] = time.time) -> None:
        self._valkey = valkey
        self._prefix = f"ani:cache:{release}:".encode()
        self._wall = wall
        self._self = uuid4().hex
        self._unsaid: dict[str, int] = {}
        self._count = 0
        self._saying: asyncio.Task[None] | None = None

    async def get(self, key: bytes) -> tuple[int, Kept | None] | None:
        """Return the clock and what is kept under a key, or None without Valkey."""
        if self._unsaid:
            return None
        try:
            clock, raw = await self._valkey.pipeline([("GET", CLOCK), ("GET", self._prefix + key)])
            kept, dates = _unpack(raw) if raw else (None, [])
            if kept and (kept.expires <= self._wall() or await self._present(kept.tags) != dates):
                kept = None
            return int(clock or await self._valkey.script(START, [CLOCK], [])), kept
        except ValkeyDown:
            return None

    async def put(self, key: bytes, answer: Loaded, *, clock: int, ttl: float, revision: int) -> None:
        """Keep an answer that was loaded when the clock said so, unless one of its tags was dropped since."""
        kept = Kept(answer.body, answer.tags, self._wall() + ttl, revision)
        with suppress(ValkeyDown):
            found = await self._valkey.script(DATES, [CLOCK, *map(TAG.format, kept.tags)], [TAG_SECONDS])
            dates = [int(date) for date in found]
            if max(dates, default=0) <= clock:
                await self._valkey.run("SET", self._prefix + key, _pack(kept, dates), "PX", int(ttl * 1000))

    async def drop(self, tags: Iterable[str], *, revision: int) -> None:
        """Forget every entry with one of the tags, and tell every process to do so; without Valkey, as soon as it is back."""
        named = list(tags)
        try:
            await self._say(named, revision)
        except ValkeyDown:
            self._count += 1
            self._unsaid |= dict.fromkeys(named, self._count)
            while len(self._unsaid) > MOST_UNSAID:
                del self._unsaid[next(iter(self._unsaid))]
            if self._saying is None or self._saying.done():
                self._saying = asyncio.create_task(self._say_again(), name="unsaid-drops")

    async def close(self) -> None:
        if self._saying is not None:
            self._saying.cancel()
            await asyncio.gather(self._saying, return_exceptions=True)

    async def _say(self, tags: list[str], revision: int) -> None:
        message = json.dumps({"from": self._self, "tags": tags, "revision": revision})
        await self._valkey.script(DROP, [CLOCK, *map(TAG.format, tags)], [TAG_SECONDS, CHANNEL, message])

    async def _say_again(self) -> None:
        while self._unsaid:
            await asyncio.sleep(AGAIN_SECONDS)
            unsaid = dict(self._unsaid)
            with suppress(ValkeyDown):
                await self._say(list(unsaid), 0)
                # What could not be said once more meanwhile is still to be said.
                self._unsaid = {tag: count for tag, count in self._unsaid.items() if unsaid.get(tag) != count}

    def listen(
        self, heard: Callable[[list[str], int], None], *, connected: Callable[[], None], lost: Callable[[], None]
    ) -> Subscription:
        """Hear of the drops of other processes."""

        def hear(_: str, payload: bytes) -> None:
            message = json.loads(payload)
            if message["from"] != self._self:
                heard(message["tags"], message["revision"])

        return self._valkey.subscribe([CHANNEL], hear, connected=connected, lost=lost)

    async def _present(self, tags: Iterable[str]) -> list[int | None]:
        keys = [TAG.format(tag) for tag in tags]
        found = await self._valkey.pipeline([("GET", key) for key in keys]) if keys else []
        return [None if date is None else int(date) for date in found]


def _pack(kept: Kept, dates: list[int]) -> bytes:
    head = json.dumps([kept.expires, kept.revision, kept.tags, dates]).encode()
    return b"%d:%b%b" % (len(head), head, kept.body)


def _unpack(raw: bytes) -> tuple[Kept, list[int]]:
    length, _, rest = raw.partition(b":")
    expires, revision, tags, dates = json.loads(rest[: int(length)])
    return Kept(rest[int(length) :], tuple(tags), expires, revision), dates
