"""The concurrency limit: its queue step by step, and whole days of load in simulated time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from server.pipeline.overload import FEWEST, FIRST, TICK_SECONDS, Criticality, Limiter, Overloaded, Pace
from tests.platform.conftest import Simulate

SHEDDABLE, DEFAULT, CRITICAL, EXEMPT = Criticality


class Hands:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hands() -> Hands:
    return Hands()


async def arrives(limiter: Limiter, criticality: int, seconds: float | None = None) -> asyncio.Task[None]:
    """A call that has come as far as it gets for now."""
    task = asyncio.create_task(limiter.enter(criticality, seconds))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


class TestTryEnter:
    def test_lets_in_as_many_as_the_limit_and_the_exempt_always(self) -> None:
        limiter = Limiter(fixed=2)

        assert [limiter.try_enter(CRITICAL) for _ in range(3)] == [True, True, False]
        assert limiter.try_enter(EXEMPT)
        assert limiter.inflight == 3

    def test_lets_in_again_after_one_has_left(self) -> None:
        limiter = Limiter(fixed=1)
        limiter.try_enter(DEFAULT)
        limiter.leave()

        assert limiter.try_enter(DEFAULT)


class TestAside:
    async def test_lets_others_in_meanwhile(self) -> None:
        limiter = Limiter(fixed=1)
        limiter.try_enter(DEFAULT)
        waiting = await arrives(limiter, DEFAULT)

        with limiter.aside():
            await asyncio.sleep(0)
            let_in = waiting.done()
            room = limiter.try_enter(DEFAULT)

        assert (let_in, room, limiter.inflight) == (True, False, 2)
        limiter.leave()
        limiter.leave()
        assert limiter.try_enter(DEFAULT)

    async def test_gives_the_place_back_when_the_call_is_given_up(self) -> None:
        limiter = Limiter(fixed=1)

        async def call() -> None:
            limiter.try_enter(DEFAULT)
            try:
                with limiter.aside():
                    await asyncio.Event().wait()
            finally:
                limiter.leave()

        calling = asyncio.create_task(call())
        await asyncio.sleep(0)
        aside = limiter.inflight
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)

        assert aside == limiter.inflight == 0

    def test_is_no_part_of_how_long_a_call_takes(self, hands: Hands) -> None:
        limiter = Limiter(fixed=1, clock=hands)
        pace, started = limiter.pace(), hands.now
        limiter.try_enter(DEFAULT)

        hands.now += 1
        with limiter.aside():
            hands.now += 60
        hands.now += 2
        limiter.leave(started, pace)
        limiter.try_enter(DEFAULT)
        limiter.leave(hands.now - 4, pace)

        assert (pace.calls, pace.seconds) == (2, 3 + 4)


class TestEnter:
    async def test_waits_for_a_place_and_takes_the_most_critical_first(self) -> None:
        limiter = Limiter(fixed=1)
        limiter.try_enter(DEFAULT)
        order: list[str] = []
        waiting = []
        for name, criticality in (("b1", SHEDDABLE), ("d1", DEFAULT), ("d2", DEFAULT), ("c1", CRITICAL)):
            task = await arrives(limiter, criticality)
            task.set_name(name)
            task.add_done_callback(lambda ended: order.append(ended.get_name()))
            waiting.append(task)
        for _ in waiting:
            limiter.leave()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)

        assert order == ["c1", "d1", "d2", "b1"]
        assert (limiter.inflight, limiter.waiting) == (1, 0)

    async def test_sheds_the_least_critical_when_the_queue_is_full(self, hands: Hands) -> None:
        limiter = Limiter(fixed=1, clock=hands)
        limiter._turn = 0.1  # one place in the queue
        limiter.try_enter(DEFAULT)
        sheddable = await arrives(limiter, SHEDDABLE)
        default = await arrives(limiter, DEFAULT)
        again = await arrives(limiter, DEFAULT)
        critical = await arrives(limiter, CRITICAL)
        limiter.leave()
        await critical

        for shed in (sheddable, again, default):
            with pytest.raises(Overloaded) as caught:
                await shed
            assert 1 <= caught.value.retry_after <= 2
        assert limiter.shed == {SHEDDABLE: 1, DEFAULT: 2, CRITICAL: 0, EXEMPT: 0}

    async def test_sheds_at_once_what_would_not_begin_in_time(self, hands: Hands) -> None:
        limiter = Limiter(fixed=1, clock=hands)
        limiter._turn = 0.05
        limiter.try_enter(DEFAULT)
        patient = await arrives(limiter, DEFAULT, 0.2)

        with pytest.raises(Overloaded):
            await limiter.enter(DEFAULT, 0.09)
        assert not patient.done()
        patient.cancel()

    async def test_sheds_whom_the_time_ran_out_for_while_waiting(self, hands: Hands) -> None:
        limiter = Limiter(fixed=1, clock=hands)
        limiter.try_enter(DEFAULT)
        late = await arrives(limiter, DEFAULT, 0.1)
        in_time = await arrives(limiter, DEFAULT, 10)
        hands.now += 0.11
        limiter.leave()

        await in_time
        with pytest.raises(Overloaded):
            await late

    async def test_sheds_all_when_nothing_moves_any_more(self, hands: Hands) -> None:
        limiter = Limiter(fixed=1, clock=hands)
        limiter.try_enter(DEFAULT)
        stuck = [await arrives(limiter, DEFAULT) for _ in range(5)]
        hands.now += 0.9
        limiter.tick(0)

        assert {type(one) for one in await asyncio.gather(*stuck, return_exceptions=True)} == {Overloaded}
        assert limiter.waiting == 0

    @pytest.mark.parametrize("handed_over", [False, True])
    async def test_gives_the_place_on_when_a_caller_goes_away(self, handed_over: bool) -> None:
        limiter = Limiter(fixed=1)
        limiter.try_enter(DEFAULT)
        gone = await arrives(limiter, DEFAULT)
        stays = await arrives(limiter, DEFAULT)
        if handed_over:
            limiter.leave()
            gone.cancel()
        else:
            gone.cancel()
            limiter.leave()
        with pytest.raises(asyncio.CancelledError):
            await gone

        await asyncio.wait_for(stays, 1)
        assert (limiter.inflight, limiter.waiting) == (1, 0)


class TestLeave:
    def test_learns_nothing_from_calls_that_were_not_answered(self, hands: Hands) -> None:
        limiter = Limiter(clock=hands)
        pace = limiter.pace()
        for seconds in (0.0, 0.02):
            started = hands.now if seconds else 0.0
            limiter.try_enter(DEFAULT)
            hands.now += seconds
            limiter.leave(started, pace)

        assert pace.calls == 1
        assert pace.seconds == pytest.approx(0.02)


@dataclass
class Day:
    """What came of the calls of a simulated day: when each came, how long it took, and how critical it was."""

    answered: list[tuple[float, float, int]] = field(default_factory=list)
    shed: list[tuple[float, float, int]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    def rate(self, since: float, until: float) -> float:
        return sum(since <= came + took < until for came, took, _ in self.answered) / (until - since)

    def worst(self, since: float, until: float) -> float:
        times = sorted(took for came, took, _ in self.answered if since <= came < until)
        return times[int(len(times) * 0.99)]

    def part_shed(self, criticality: int) -> float:
        shed = sum(one[2] == criticality for one in self.shed)
        return shed / (shed + sum(one[2] == criticality for one in self.answered))


PLACES, WORK = 8, 0.02
CAPACITY = PLACES / WORK


async def day(
    load: Callable[[float], float], *, seconds: float, seed: int = 1, slower: Callable[[float], float] = lambda _: 1.0
) -> Day:
    """Calls come at random at a rate that depends on the time, to a limiter before a server with so many places."""
    loop = asyncio.get_running_loop()
    chance = random.Random(seed)
    limiter, day = Limiter(clock=loop.time), Day()
    pace = limiter.pace()
    limiter.start()
    places = asyncio.Semaphore(PLACES)

    async def call(criticality: int) -> None:
        came = loop.time()
        try:
            if not limiter.try_enter(criticality):
                await limiter.enter(criticality, 10)
        except Overloaded:
            day.shed.append((came, loop.time() - came, criticality))
            return
        started = loop.time()
        async with places:
            await asyncio.sleep(WORK * slower(came) * chance.gammavariate(4, 0.25))
        limiter.leave(started, pace)
        day.answered.append((came, loop.time() - came, criticality))

    async with asyncio.TaskGroup() as calls:
        while loop.time() < seconds:
            await asyncio.sleep(chance.expovariate(load(loop.time())))
            calls.create_task(call(chance.choices((SHEDDABLE, DEFAULT, CRITICAL), (2, 7, 1))[0]))
            day.limits.append(limiter.limit)
    await limiter.close()
    return day


class TestLimiter:
    def test_sheds_nobody_below_capacity(self, simulate: Simulate) -> None:
        calm = simulate(day(lambda _: 0.8 * CAPACITY, seconds=20))

        assert not calm.shed

    def test_keeps_its_goodput_at_five_times_capacity(self, simulate: Simulate) -> None:
        """CHECKLIST F4."""
        peak = simulate(day(lambda _: CAPACITY, seconds=10))
        flood = simulate(day(lambda at: CAPACITY * (5 if 3 <= at < 13 else 0.8), seconds=25))
        refused = sorted(took for _, took, _ in flood.shed)

        assert flood.rate(4, 13) >= 0.9 * peak.rate(1, 10)
        assert flood.worst(3, 13) < 2 * peak.worst(0, 10)
        assert refused[int(len(refused) * 0.99)] < 0.02
        assert max(came for came, _, _ in flood.shed) < 13 + 5
        assert flood.worst(18, 25) < 1.2 * simulate(day(lambda _: 0.8 * CAPACITY, seconds=10)).worst(0, 10)

    def test_sheds_the_least_critical(self, simulate: Simulate) -> None:
        flood = simulate(day(lambda _: 2 * CAPACITY, seconds=10))

        assert flood.part_shed(SHEDDABLE) > flood.part_shed(DEFAULT) > 10 * flood.part_shed(CRITICAL)

    def test_serves_a_hundred_patient_callers_without_shedding(self, simulate: Simulate) -> None:
        async def patient() -> tuple[int, dict[Criticality, int]]:
            loop = asyncio.get_running_loop()
            limiter, served = Limiter(clock=loop.time), 0
            pace = limiter.pace()
            limiter.start()
            places = asyncio.Semaphore(PLACES)

            async def caller() -> None:
                nonlocal served
                while loop.time() < 10:
                    if not limiter.try_enter(DEFAULT):
                        await limiter.enter(DEFAULT, 10)
                    started = loop.time()
                    async with places:
                        await asyncio.sleep(0.008)
                    limiter.leave(started, pace)
                    served += 1

            await asyncio.gather(*(caller() for _ in range(100)))
            await limiter.close()
            return served, limiter.shed

        served, shed = simulate(patient())

        assert not any(shed.values())
        assert served >= 0.97 * PLACES / 0.008 * 10

    def test_follows_a_server_that_becomes_slower(self, simulate: Simulate) -> None:
        slow = simulate(day(lambda _: 2 * CAPACITY, seconds=40, slower=lambda at: 4.0 if at > 10 else 1.0))

        assert slow.rate(25, 40) >= 0.9 * CAPACITY / 4
        assert FEWEST < slow.limits[-1] < 4 * PLACES

    def test_does_not_creep_upwards_in_a_long_overload(self, simulate: Simulate) -> None:
        flood = simulate(day(lambda _: 2 * CAPACITY, seconds=60))
        late = flood.limits[len(flood.limits) // 2 :]

        assert sum(late) / len(late) < 3 * PLACES
        assert flood.rate(10, 60) >= 0.95 * CAPACITY

    def test_takes_another_mix_of_calls_for_no_overload(self, hands: Hands) -> None:
        limiter = Limiter(clock=hands)
        quick, slow = limiter.pace(), limiter.pace()
        rounds(limiter, hands, [(quick, 0.001, 30)], 20)
        rounds(limiter, hands, [(slow, 0.1, 30)], 20)
        learned = (quick.bare, slow.bare)
        rounds(limiter, hands, [(quick, 0.001, 30)], 20, held_back=True)
        limiter._look_at = hands.now + 1000
        rounds(limiter, hands, [(quick, 0.001, 3), (slow, 0.1, 30)], 20, held_back=True)

        assert learned == pytest.approx((0.001, 0.1))
        # 300 calls a second of 0.1 s need 30 places: half as many again, and some.
        assert limiter.limit == pytest.approx(49, rel=0.05)

    def test_does_not_take_an_idle_night_for_low_throughput(self, hands: Hands) -> None:
        limiter = Limiter(clock=hands)
        pace = limiter.pace()
        rounds(limiter, hands, [(pace, 0.1, 30)], 20)
        rounds(limiter, hands, [], 1000)
        rounds(limiter, hands, [(pace, 0.1, 30)], 1, held_back=True)

        assert limiter.limit > FIRST

    def test_returns_to_its_first_limit_in_calm(self, hands: Hands) -> None:
        limiter = Limiter(clock=hands)
        limiter.limit = 500.0
        rounds(limiter, hands, [(limiter.pace(), 0.01, 20)], 100)

        assert limiter.limit == pytest.approx(FIRST, rel=0.1)

    def test_grows_no_further_than_needed_while_the_loop_is_late(self, hands: Hands) -> None:
        limiter = Limiter(clock=hands)
        pace = limiter.pace()
        rounds(limiter, hands, [(pace, 0.1, 20)], 10)
        limiter._look_at = hands.now + 1000
        rounds(limiter, hands, [(pace, 0.1, 20)], 20, held_back=True, lag=0.2)

        assert limiter.limit == pytest.approx(20 + 4, rel=0.05)
        assert limiter.lag == 0.2

    async def test_shortens_the_queue_while_the_loop_is_late(self, hands: Hands) -> None:
        limiter = Limiter(fixed=1, clock=hands)
        limiter.try_enter(DEFAULT)
        limiter._turn = 0.01
        waiting = [await arrives(limiter, DEFAULT) for _ in range(10)]
        limiter.tick(0.2)
        hands.now += 0.02
        limiter.tick(0.2)

        assert {type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)} == {Overloaded}

    def test_stays_where_it_is_fixed(self, hands: Hands) -> None:
        limiter = Limiter(fixed=7, clock=hands)
        rounds(limiter, hands, [(limiter.pace(), 0.1, 20)], 20, held_back=True)

        assert limiter.limit == 7


def rounds(
    limiter: Limiter, hands: Hands, calls: list[tuple[Pace, float, int]], count: int, *, held_back: bool = False, lag: float = 0
) -> None:
    """Let ticks pass in each of which so many calls of each kind end."""
    for _ in range(count):
        hands.now += TICK_SECONDS
        for pace, seconds, number in calls:
            pace.calls += number
            pace.seconds += number * seconds
        limiter._ended += sum(number for _, _, number in calls)
        limiter._held_back = held_back
        limiter.tick(lag)


class TestStart:
    async def test_looks_at_the_loop_by_itself(self, eventually: Callable[..., Coroutine[Any, Any, None]]) -> None:
        limiter = Limiter()
        limiter.start()
        limiter.lag = 10.0

        await eventually(lambda: limiter.lag < 9)
        await limiter.close()
        assert limiter.limit == FIRST
