"""Loads, drops, waiters and memory of AnswerCache over a real Valkey: one call for all who ask, and nothing untrue is kept."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from adapters.redis import Valkey
from adapters.redis.cache import CLOCK, TAG, ValkeyCache
from server.pipeline.cache import DEAF_SECONDS, REMEMBERED_DROPS, Answer, AnswerCache
from tests.pipeline.conftest import Eventually
from tests.platform.conftest import OwnValkey

Make = Callable[..., Awaitable[AnswerCache]]
KEY = ("/Method:segment", b"request")
TTL = 600.0


class Source:
    """A handler whose answer comes when the test says so."""

    def __init__(self, *tags: str, held: bool = True) -> None:
        self.tags = tags
        self.calls = 0
        self.body = b"old"
        self.reading = asyncio.Event()
        self.go = asyncio.Event()
        self.cancelled = 0
        if not held:
            self.go.set()

    async def __call__(self) -> Answer:
        self.calls += 1
        body = self.body  # read now, answered when it may
        self.reading.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Answer(body, self.tags)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time_passes() -> Clock:
    return Clock()


@pytest.fixture
async def make(time_passes: Clock, eventually: Eventually) -> AsyncIterator[Make]:
    """Make the cache of one process over the shared one at a URL, listening."""
    async with AsyncExitStack() as stack:

        async def made(url: str, *, megabytes: int = 8) -> AnswerCache:
            valkey = await Valkey.connect(url, patience=1.0)
            stack.push_async_callback(valkey.close)
            shared = ValkeyCache(valkey, release="tests", wall=time_passes)
            stack.push_async_callback(shared.close)
            cache = AnswerCache(shared, megabytes=megabytes, clock=time_passes, wall=time_passes)
            before = cache._drops
            shared.listen(cache.heard, connected=cache.hear_again, lost=cache.deafen)
            await eventually(lambda: not valkey.up or cache._drops > before)
            return cache

        yield made


@pytest.fixture
async def cache(make: Make, valkey_url: str) -> AnswerCache:
    return await make(valkey_url)


def loading(cache: AnswerCache, source: Source, *, key: tuple[str, bytes] = KEY, revision: int = 0) -> asyncio.Task[Any]:
    return asyncio.ensure_future(cache.load(key, revision, TTL, source))


class TestOneCallForAll:
    async def test_a_thousand_who_ask_at_once_wait_for_one(self, cache: AnswerCache) -> None:
        """F10."""
        source = Source("a")
        asking = [loading(cache, source) for _ in range(1000)]
        await source.reading.wait()
        source.go.set()

        answers = await asyncio.gather(*asking)

        assert {b"old"} == {entry.body for entry in answers}
        assert 1 == source.calls == cache.misses

    async def test_who_leaves_does_not_take_the_others_along(self, cache: AnswerCache) -> None:
        source = Source("a")
        first, second, third = (loading(cache, source) for _ in range(3))
        await source.reading.wait()
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        source.go.set()

        assert b"old" == (await third).body
        assert (1, 0) == (source.calls, source.cancelled)

    async def test_ends_when_the_last_leaves(self, cache: AnswerCache) -> None:
        source = Source("a")
        asking = [loading(cache, source) for _ in range(3)]
        await source.reading.wait()
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(0)

        assert 1 == source.cancelled
        assert {} == cache._flights
        source.go.set()
        assert b"old" == (await loading(cache, source)).body

    async def test_fails_for_all_who_wait_and_for_nobody_after(self, cache: AnswerCache) -> None:
        source = Source("a")

        async def fail() -> Answer:
            await source()
            raise OSError("gone")

        asking = [asyncio.ensure_future(cache.load(KEY, 0, TTL, fail)) for _ in range(3)]
        await source.reading.wait()
        source.go.set()
        results = await asyncio.gather(*asking, return_exceptions=True)

        assert [OSError] * 3 == [type(result) for result in results]
        assert b"old" == (await loading(cache, source)).body
        assert 2 == source.calls

    async def test_does_not_join_who_wants_a_later_revision_to_one_that_may_find_less(self, cache: AnswerCache) -> None:
        source = Source("a")
        early = loading(cache, source)
        await source.reading.wait()
        source.body = b"new"
        late = loading(cache, source, revision=7)
        later = loading(cache, source, revision=7)
        source.go.set()

        assert [b"old", b"new", b"new"] == [(await one).body for one in (early, late, later)]
        assert 2 == source.calls


class TestLoadAndDrop:
    async def test_a_load_that_began_before_the_drop_is_given_and_not_kept(self, cache: AnswerCache) -> None:
        source = Source("a")
        before = loading(cache, source)
        await source.reading.wait()
        source.body = b"new"
        await cache.drop(["a"], 1)
        after = loading(cache, source)
        source.go.set()

        assert (b"old", b"new") == ((await before).body, (await after).body)
        assert b"new" == cache.peek(KEY, 0).body  # type: ignore[union-attr]

    async def test_nor_is_it_when_it_ends_after_everything_else(self, cache: AnswerCache) -> None:
        slow, quick = Source("a"), Source("a", held=False)
        quick.body = b"new"
        before = loading(cache, slow)
        await slow.reading.wait()
        await cache.drop(["a"], 1)
        await loading(cache, quick)
        slow.go.set()
        await before

        assert b"new" == cache.peek(KEY, 0).body  # type: ignore[union-attr]

    async def test_nor_in_the_cache_of_all(self, cache: AnswerCache, make: Make, valkey_url: str) -> None:
        second, third = await make(valkey_url), await make(valkey_url)
        slow, quick = Source("a"), Source("a", held=False)
        quick.body = b"new"
        before = loading(cache, slow)
        await slow.reading.wait()
        await second.drop(["a"], 1)
        slow.go.set()
        await before

        assert b"new" == (await loading(third, quick)).body

    async def test_a_drop_of_something_else_does_not_keep_it_out(self, cache: AnswerCache) -> None:
        source = Source("a")
        asking = loading(cache, source)
        await source.reading.wait()
        await cache.drop(["b"], 1)
        source.go.set()
        await asking

        assert cache.peek(KEY, 0)

    async def test_more_drops_than_are_remembered_keep_it_out(self, cache: AnswerCache) -> None:
        source = Source("a")
        asking = loading(cache, source)
        await source.reading.wait()
        cache.heard(["a"], 1)
        for number in range(REMEMBERED_DROPS):
            cache.heard([f"b{number}"], 1)
        source.go.set()
        await asking

        assert cache.peek(KEY, 0) is None
        assert REMEMBERED_DROPS == len(cache._dropped)

    async def test_listening_again_keeps_it_out(self, cache: AnswerCache) -> None:
        """What was dropped while nobody listened is not known."""
        source = Source("a")
        asking = loading(cache, source)
        await source.reading.wait()
        cache.deafen()
        cache.hear_again()
        source.go.set()
        await asking

        assert cache.peek(KEY, 0) is None

    async def test_drops_at_once_leave_the_later_date(self, cache: AnswerCache, make: Make, valkey_url: str) -> None:
        """The date of a tag only goes forward, whichever of two drops is said first."""
        second, client = await make(valkey_url), await Valkey.connect(valkey_url)
        dates = []
        for _ in range(20):
            await asyncio.gather(*(one.drop(["a"], 1) for one in (cache, second) for _ in range(5)))
            clock, date = await client.pipeline([("GET", CLOCK), ("GET", TAG.format("a"))])
            assert clock == date
            dates.append(int(date))
        await client.close()

        assert dates == sorted(set(dates))

    async def test_a_tag_that_valkey_forgot_meanwhile_keeps_it_out(self, cache: AnswerCache, make: Make, valkey_url: str) -> None:
        """An eviction may take the date of a drop away: then a load that began before it has nothing to be compared with."""
        second, third, client = await make(valkey_url), await make(valkey_url), await Valkey.connect(valkey_url)
        slow, quick = Source("a"), Source("a", held=False)
        quick.body = b"new"
        before = loading(cache, slow)
        await slow.reading.wait()
        await second.drop(["a"], 1)
        await client.run("DEL", TAG.format("a"))
        slow.go.set()
        await before
        await client.close()

        assert b"new" == (await loading(third, quick)).body

    @pytest.mark.parametrize("forgets_first", [True, False])
    async def test_a_valkey_that_forgot_everything_keeps_it_out(
        self, cache: AnswerCache, make: Make, valkey_url: str, forgets_first: bool
    ) -> None:
        second, third, client = await make(valkey_url), await make(valkey_url), await Valkey.connect(valkey_url)
        slow, quick = Source("a"), Source("a", held=False)
        quick.body = b"new"
        await cache.drop(["z"], 1)
        before = loading(cache, slow)
        await slow.reading.wait()
        for step in (client.run("FLUSHDB"), second.drop(["a"], 1))[:: 1 if forgets_first else -1]:
            await step
        slow.go.set()
        await before
        await client.close()

        assert b"new" == (await loading(third, quick)).body


class TestMemory:
    async def test_stays_below_its_bound_whatever_is_asked(self, make: Make, valkey_url: str) -> None:
        cache = await make(valkey_url, megabytes=1)
        tracemalloc.start()
        try:
            for number in range(2000):
                await cache.load(("/Method:", b"%d" % number), 0, TTL, Source(f"a{number}", "all", held=False))
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert cache.evictions > 500
        assert 0.9 < cache.megabytes <= 1
        assert used < 1.25 * 1024 * 1024
        await cache.drop(["all"], 1)
        assert (0, 0) == (cache.entries, cache.megabytes)
        assert {} == cache._by_tag

    async def test_keeps_what_is_used(self, make: Make, valkey_url: str) -> None:
        cache = await make(valkey_url, megabytes=1)
        for number in range(2000):
            await cache.load(("/Method:", b"%d" % number), 0, TTL, Source("all", held=False))
            assert cache.peek(("/Method:", b"0"), 0)

    async def test_is_not_given_to_one_answer_alone(self, make: Make, valkey_url: str) -> None:
        cache = await make(valkey_url, megabytes=1)
        small, large = Source("a", held=False), Source("a", held=False)
        large.body = bytes(200_000)
        await loading(cache, small)
        await loading(cache, large, key=("/Method:", b"large"))

        assert cache.peek(KEY, 0)
        assert cache.peek(("/Method:", b"large"), 0) is None


class TestWithoutValkey:
    async def test_what_is_kept_lives_two_seconds_at_most(
        self, make: Make, own_valkey: OwnValkey, time_passes: Clock, eventually: Eventually
    ) -> None:
        """F6: kept before the loss or after it."""
        cache = await make(own_valkey.url)
        await loading(cache, Source("a", held=False))
        own_valkey.kill()
        await eventually(lambda: cache._deaf)
        await loading(cache, Source("a", held=False), key=("/Method:", b"after"))

        time_passes.now += DEAF_SECONDS - 0.01
        assert cache.peek(KEY, 0)
        assert cache.peek(("/Method:", b"after"), 0)
        time_passes.now += 0.02
        assert cache.peek(KEY, 0) is None
        assert cache.peek(("/Method:", b"after"), 0) is None

    async def test_at_the_start_it_is_no_different(self, make: Make, tmp_path: Any, time_passes: Clock) -> None:
        cache = await make(f"unix://{tmp_path}/nobody")
        await loading(cache, Source("a", held=False))

        time_passes.now += DEAF_SECONDS + 0.01

        assert cache.peek(KEY, 0) is None

    async def test_it_lives_as_long_as_ever_when_it_is_back(
        self, make: Make, own_valkey: OwnValkey, time_passes: Clock, eventually: Eventually
    ) -> None:
        cache = await make(own_valkey.url)
        await loading(cache, Source("a", held=False))
        valkey = cache._shared._valkey  # type: ignore[attr-defined]
        own_valkey.kill()
        await eventually(lambda: cache._deaf and not valkey.up)
        own_valkey.begin()
        await eventually(lambda: not cache._deaf and valkey.up)

        assert cache.peek(KEY, 0) is None
        await loading(cache, Source("a", held=False))
        time_passes.now += TTL - 1
        assert cache.peek(KEY, 0)

    async def test_drops_are_said_when_it_is_back(self, make: Make, own_valkey: OwnValkey, eventually: Eventually) -> None:
        """A Valkey that hung still holds what was dropped meanwhile, and gives it to nobody."""
        writer, reader, third = [await make(own_valkey.url) for _ in range(3)]
        await loading(reader, Source("a", held=False))
        quick = Source("a", held=False)
        quick.body = b"new"

        own_valkey.freeze()
        await writer.drop(["a"], 1)
        own_valkey.thaw()
        in_between = await loading(writer, quick)
        await eventually(lambda: not writer._shared._unsaid)  # type: ignore[attr-defined]
        await eventually(lambda: reader.peek(KEY, 0) is None)

        assert b"new" == in_between.body == (await loading(third, quick)).body == (await loading(reader, quick)).body

    async def test_what_is_still_to_be_said_is_bounded(self, make: Make, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("adapters.redis.cache.MOST_UNSAID", 10)
        cache = await make(f"unix://{tmp_path}/nobody")
        for number in range(30):
            await cache.drop([f"a{number}"], 1)

        assert [f"a{number}" for number in range(20, 30)] == list(cache._shared._unsaid)  # type: ignore[attr-defined]
