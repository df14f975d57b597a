"""Holds work back under overload: as much at once as brings more done, a short queue before it, the least critical shed first."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import IntEnum

from domain.kernel import Exhausted

FEWEST, FIRST, MOST = 4.0, 32.0, 1000.0
# Beyond what the throughput needs: with less a slot stands idle now and then, with more calls only wait further inside.
GAIN, HEADROOM = 1.5, 4.0
TICK_SECONDS = 0.1
# Fewer calls than this say little; the window goes on.
ENOUGH = 10
LONGEST_WINDOW = 1.0
# How soon it is believed that a kind of call became slower or faster by nature, while nothing is held back.
SLOWER_SECONDS, FASTER_SECONDS = 10.0, 3.0
# While calls wait, their time says little of their nature: now and then half as many are let in, for a look.
FIRST_LOOK_SECONDS, NEXT_LOOK_SECONDS = 1.0, 5.0
LOOK_PART, LOOK_BELIEVED, STEP = 0.5, (0.5, 1.0), 0.9
# A burst may queue this long and hurts nobody. Once calls must be shed, a long queue would only make every answer late.
CALM_WAIT = 0.25
LEAST_PRESSED_WAIT, MOST_PRESSED_WAIT = 0.005, 0.015
PRESSED_SECONDS = 1.0
STALLED = 3
LONGEST_QUEUE = 1000
# An event loop this late says that the process itself is behind. It tells of calls that hold the loop, not of too many: those
# queue unseen inside gRPC, which takes one in per turn of the loop, so the gateway bounds how many are under way (ADR 0010).
BEHIND_SECONDS = 0.1
# What is shown of it is the worst of late: a look now and then would miss it.
LAG_FADES = 0.9
SUPPOSED_SECONDS, LEAST_TURN = 0.01, 1e-6
# How long the call at work here stood aside: no part of how long its kind takes.
_aside: ContextVar[float] = ContextVar("aside", default=0.0)


class Criticality(IntEnum):
    """What is shed first. The first three are the contract's; the last is for health checks, which are never held back."""

    SHEDDABLE = 1
    DEFAULT = 2
    CRITICAL = 3
    EXEMPT = 4


EXEMPT = int(Criticality.EXEMPT)


class Overloaded(Exhausted):
    """Raised when a call is shed so that others can be answered."""

    text = "The server is overloaded."


class Pace:
    """How long one kind of call takes by nature, and what it took since the last look."""

    __slots__ = ("bare", "calls", "seconds")

    def __init__(self) -> None:
        self.bare = 0.0
        self.calls = 0
        self.seconds = 0.0

    def renew(self, slower: float, faster: float) -> None:
        """Move the bare time some way towards the mean of late, up or down, and begin a new mean."""
        if self.calls:
            mean = self.seconds / self.calls
            share = slower if mean > self.bare else faster
            self.bare += (mean - self.bare) * (share if self.bare else 1.0)
        self.calls = 0
        self.seconds = 0.0


class _Waiter:
    __slots__ = ("criticality", "future", "since", "until")

    def __init__(self, criticality: int, since: float, until: float) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.criticality = criticality
        self.since = since
        self.until = until


class Limiter:
    """Bounds how many calls are at work at once.

    By Little's law the throughput of late needs as many at once as calls a second times their bare seconds. The limit is half as
    much again: below what there is capacity for, throughput follows the limit and the limit grows with it; beyond, more at once
    does not bring more done, and the limit stays. Each kind of call has its own pace, so another mix is not taken for another load.
    """

    def __init__(self, *, fixed: int = 0, clock: Callable[[], float] = time.perf_counter) -> None:
        self.limit = float(fixed) if fixed else FIRST
        self.inflight = 0
        self.waiting = 0
        self.lag = 0.0
        self.shed = dict.fromkeys(Criticality, 0)
        self._fixed = fixed > 0
        self._clock = clock
        self._queues: tuple[deque[_Waiter], ...] = (deque(), deque(), deque())
        self._paces: list[Pace] = []
        self._common = self.pace()
        self._since = clock()
        self._ended = 0
        self._held_back = False
        self._look_at = clock() + FIRST_LOOK_SECONDS
        self._looking = 0
        self._limit_before = self.limit
        self._mean = SUPPOSED_SECONDS
        self._turn = SUPPOSED_SECONDS / self.limit
        self._pressed_until = -math.inf
        self._behind = False
        self._task: asyncio.Task[None] | None = None

    def pace(self) -> Pace:
        """Make a pace for a kind of call, at start-up."""
        self._paces.append(Pace())
        return self._paces[-1]

    def try_enter(self, criticality: int) -> bool:
        """Let a call in if there is room at once."""
        if self.inflight < self.limit or criticality >= EXEMPT:
            self.inflight += 1
            return True
        return False

    async def enter(self, criticality: int, seconds: float | None) -> None:
        """Let a call in as soon as there is room, within its time. Raises Overloaded."""
        if self.try_enter(criticality):
            return
        now = self._clock()
        self._held_back = True
        until = now + seconds if seconds is not None else math.inf
        self._find_place(criticality, now, until)
        waiter = _Waiter(criticality, now, until)
        self._queues[criticality - 1].append(waiter)
        self.waiting += 1
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter.future.cancelled():
                with suppress(ValueError):  # it may have been passed over already
                    self._queues[criticality - 1].remove(waiter)
                    self.waiting -= 1
            elif waiter.future.exception() is None:
                self.leave()  # the slot was handed over just when its caller went away
            raise

    def leave(self, started: float = 0.0, pace: Pace | None = None) -> None:
        """End a call. Tell when it started if it was answered: a quick refusal says nothing about how long work takes."""
        if started:
            pace = pace or self._common
            pace.calls += 1
            pace.seconds += self._clock() - started
            if seconds := _aside.get():
                pace.seconds -= seconds
                _aside.set(0.0)
        self._ended += 1
        self.inflight -= 1
        if self.waiting:
            self._let_in()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let others in meanwhile: the call waits in a line that has bounds of its own, and is no work until its turn comes."""
        since = self._clock()
        self.inflight -= 1
        if self.waiting:
            self._let_in()
        try:
            yield
        finally:
            # It does not queue again, with half of its work done.
            self.inflight += 1
            _aside.set(_aside.get() + self._clock() - since)

    def start(self) -> None:
        """Begin to look at the load ten times a second."""
        self._task = asyncio.create_task(self._beat(), name="overload")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def tick(self, lag: float) -> None:
        """Look back on what was done, and set the limit for what comes."""
        now = self._clock()
        self.lag = max(lag, self.lag * LAG_FADES)
        self._behind = lag > BEHIND_SECONDS
        calls = sum(pace.calls for pace in self._paces)
        span = now - self._since
        if span > 0 and (calls >= ENOUGH or (calls and span >= LONGEST_WINDOW)):
            self._learn(now, span, calls)
        elif not calls and not self.inflight:
            # Idle time is in no window, or it would pass for low throughput.
            self._since, self._ended, self._look_at = now, 0, now + FIRST_LOOK_SECONDS
        self._let_in()
        self._drop_stale(now)

    async def _beat(self) -> None:
        while True:
            due = self._clock() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self.tick(max(0.0, self._clock() - due))

    def _learn(self, now: float, span: float, calls: int) -> None:
        mean = sum(pace.seconds for pace in self._paces) / calls
        self._mean += (mean - self._mean) * 0.5
        turn = span / self._ended if self._held_back else self._mean / self.limit
        self._turn = max(LEAST_TURN, (self._turn + turn) / 2)
        bare = sum(pace.calls * pace.bare for pace in self._paces)
        slower, faster = 0.0 if self._held_back else span / SLOWER_SECONDS, span / FASTER_SECONDS
        if self._looking == 1:
            slower, faster = LOOK_BELIEVED
            # A pace learned under load comes down in steps: each look at half the limit shows the next.
            self._look_at = now + (FIRST_LOOK_SECONDS if mean * calls < bare * STEP else NEXT_LOOK_SECONDS)
        if not self._fixed:
            self._adapt(now, bare / span)
        for pace in self._paces:
            pace.renew(min(1.0, slower), min(1.0, faster))
        self._since = now
        self._ended = 0
        self._held_back = self.waiting > 0

    def _adapt(self, now: float, needed: float) -> None:
        if self._looking:
            self._looking -= 1
            if not self._looking:
                self.limit = self._limit_before
        elif not self._held_back:
            self.limit += (FIRST - self.limit) * 0.05
            self._look_at = now + FIRST_LOOK_SECONDS
        elif now >= self._look_at:
            self._looking = 2
            self._limit_before = self.limit
            self.limit = max(FEWEST, self.limit * LOOK_PART)
        else:
            goal = (1.0 if self._behind else GAIN) * needed + HEADROOM
            self.limit = min(MOST, max(FEWEST, (self.limit + goal) / 2))

    def _pressed(self, now: float) -> bool:
        return self._behind or now < self._pressed_until

    def _patience(self, now: float) -> float:
        """Return how long calls may wait."""
        if self._pressed(now):
            return min(MOST_PRESSED_WAIT, max(LEAST_PRESSED_WAIT, self._mean / 2))
        return max(CALM_WAIT, self._mean)

    def _room(self, now: float) -> int:
        """Return how many calls may wait."""
        return max(1, min(LONGEST_QUEUE, int(self._patience(now) / self._turn)))

    def _find_place(self, criticality: int, now: float, until: float) -> None:
        """Make room in the queue at the cost of less critical calls. Raises Overloaded when there is none, or not in time."""
        self._drop_stale(now)
        ahead = sum(map(len, self._queues[criticality - 1 :]))
        if now + (ahead + 1) * self._turn > until:
            raise self._shed(criticality)
        room = self._room(now)
        if self.waiting < room:
            return
        self._pressed_until = now + PRESSED_SECONDS
        room = self._room(now)
        while self.waiting > room and self._displace(EXEMPT):
            pass
        if self.waiting >= room and not self._displace(criticality):
            raise self._shed(criticality)

    def _displace(self, criticality: int) -> bool:
        """Shed the waiter who came last among the least critical, if less critical than this."""
        for queue in self._queues[: criticality - 1]:
            if queue:
                self._turn_away(queue.pop())
                return True
        return False

    def _turn_away(self, waiter: _Waiter) -> None:
        self.waiting -= 1
        if not waiter.future.done():
            waiter.future.set_exception(self._shed(waiter.criticality))

    def _shed(self, criticality: int) -> Overloaded:
        self.shed[Criticality(criticality)] += 1
        # Callers who all come back in the same moment would be the next overload.
        return Overloaded(retry_after=random.uniform(1, 2))  # noqa: S311 - it spreads load and guards nothing

    def _let_in(self) -> None:
        """Give free slots to those who wait: the most critical first, among them who came first."""
        now = self._clock()
        for queue in reversed(self._queues):
            while queue and self.inflight < self.limit:
                waiter = queue.popleft()
                if waiter.future.done():
                    self.waiting -= 1
                elif waiter.until <= now:
                    self._turn_away(waiter)
                else:
                    self.waiting -= 1
                    self.inflight += 1
                    waiter.future.set_result(None)

    def _drop_stale(self, now: float) -> None:
        """Shed those who wait longer than was foreseen: others go first, or nothing moves any more."""
        longest = self._patience(now) * (1 if self._pressed(now) else STALLED)
        for queue in self._queues:
            while queue and (queue[0].until <= now or now - queue[0].since > longest):
                self._turn_away(queue.popleft())
