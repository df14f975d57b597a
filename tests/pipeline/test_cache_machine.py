"""Any order of loads, writes, evictions and time over three processes: whoever asks after a drop sees what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import uvloop
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test

from adapters.redis import Valkey
from adapters.redis.cache import CLOCK, TAG, ValkeyCache
from server.pipeline.cache import Answer, AnswerCache, Entry
from tests.pipeline.conftest import PATIENCE_SECONDS, until

PROCESSES = 2
processes = st.integers(0, PROCESSES - 1)
things = st.sampled_from(["a", "a", "b"])


@dataclass
class Load:
    """A load that has read and waits to be let on, or has joined in one that has."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    has_read: bool = False
    task: asyncio.Task[Entry] = field(init=False)


class Platform(RuleBasedStateMachine):
    """Processes with a cache each, one Valkey, and things with versions."""

    url = ""
    loads = Bundle("loads")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.versions = dict.fromkeys("ab", 0)
        self.now = 1000.0
        self.waiting: dict[tuple[int, str], list[Load]] = {}
        self.run(self.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def start(self) -> None:
        self.valkeys = [await Valkey.connect(self.url, patience=PATIENCE_SECONDS) for _ in range(PROCESSES)]
        await self.valkeys[0].run("FLUSHDB")
        self.shared = [ValkeyCache(valkey, release="tests", wall=lambda: self.now) for valkey in self.valkeys]
        self.caches = [AnswerCache(shared, megabytes=1, clock=lambda: self.now, wall=lambda: self.now) for shared in self.shared]
        for shared, cache in zip(self.shared, self.caches, strict=True):
            shared.listen(cache.heard, connected=cache.hear_again, lost=cache.deafen)
        await until(lambda: all(cache._drops for cache in self.caches))

    def teardown(self) -> None:
        self.run(self.end())
        self.runner.close()

    async def end(self) -> None:
        for load in [load for loads in self.waiting.values() for load in loads]:
            load.go.set()
            await load.task
        for shared, valkey in zip(self.shared, self.valkeys, strict=True):
            await shared.close()
            await valkey.close()

    async def load(self, process: int, thing: str, load: Load | None) -> Entry:
        async def read() -> Answer:
            version = self.versions[thing]
            if load is not None:
                load.has_read = True
                await load.go.wait()
            return Answer(b"%d" % version, (f"thing/{thing}", "all"))

        cache, key = self.caches[process], ("/Method:", thing.encode())
        return cache.peek(key, 0) or await cache.load(key, 0, 100.0, read)

    @rule(target=loads, process=processes, thing=things)
    def begin_to_load(self, process: int, thing: str) -> tuple[int, str, Load]:
        async def begin() -> Load:
            load = Load()
            load.task = asyncio.ensure_future(self.load(process, thing, load))
            await asyncio.sleep(0)
            flight = self.caches[process]._flights.get(("/Method:", thing.encode()))
            await until(lambda: load.has_read or load.task.done() or (flight and flight.waiting > 1))
            return load

        load = self.run(begin())
        self.waiting.setdefault((process, thing), []).append(load)
        return process, thing, load

    @rule(which=consumes(loads))
    def end_a_load(self, which: tuple[int, str, Load]) -> None:
        self.let_on(which[0], which[1], [which[2]])

    def let_on(self, process: int, thing: str, loads: list[Load]) -> None:
        async def on() -> None:
            for load in loads:
                load.go.set()
            await asyncio.gather(*(load.task for load in loads))

        mine = self.waiting.get((process, thing), [])
        # Some may have joined in others, so all of a kind end together.
        if loads := [load for load in mine if load in loads] and list(mine):
            self.run(on())
            mine.clear()

    @rule(process=processes, thing=things)
    def write(self, process: int, thing: str) -> None:
        async def keep_and_drop() -> None:
            self.versions[thing] += 1
            before = [cache._drops for cache in self.caches]
            await self.caches[process].drop([f"thing/{thing}"], self.versions[thing])
            await until(lambda: all(cache._drops > drops for cache, drops in zip(self.caches, before, strict=True)))

        self.run(keep_and_drop())

    @rule(process=processes, thing=things)
    def read(self, process: int, thing: str) -> None:
        self.let_on(process, thing, self.waiting.get((process, thing), []))

        entry = self.run(self.load(process, thing, None))

        assert b"%d" % self.versions[thing] == entry.body

    @rule(
        what=st.sampled_from(
            [("DEL", TAG.format("thing/a")), ("DEL", TAG.format("all")), ("DEL", CLOCK), ("FLUSHDB",), (1.0,), (60.0,), (200.0,)]
        )
    )
    def disturb(self, what: tuple[str | float, ...]) -> None:
        """Have Valkey forget something, or let time pass."""
        if isinstance(what[0], float):
            self.now += what[0]
        else:
            self.run(self.valkeys[0].run(*what))


def test_nobody_sees_less_than_was_written_before_they_asked(valkey_url: str) -> None:
    @seed(1)
    class OnValkey(Platform):
        url = valkey_url

    run_state_machine_as_test(
        OnValkey,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        ),
    )
