"""Allowances: the rule itself, one process, several processes over a real Valkey, and Valkey gone and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.redis import Valkey
from adapters.redis.quotas import ValkeyQuotas
from server.pipeline.quotas import CALLERS, HURRY, ROUNDING, Allowance, Quotas, spend, standing
from tests.platform.conftest import OwnValkey

Eventually = Callable[..., Coroutine[Any, Any, None]]

allowances = st.builds(Allowance, st.just("any"), st.integers(1, 1000), st.floats(0.5, 86_400))
starts = st.floats(0, 1e7)
# Gaps between calls in parts of the allowance's interval: bursts, a steady pace, and pauses in which it becomes whole.
gaps = st.lists(st.one_of(st.just(0.0), st.floats(0, 2), st.floats(0, 2000)), min_size=1, max_size=200)


class TestSpend:
    @given(allowances, starts, gaps)
    def test_never_grants_more_than_the_limit_and_what_grew_back(
        self, allowance: Allowance, start: float, gaps: list[float]
    ) -> None:
        granted = [at for at, wait in played(allowance, start, gaps) if not wait]

        for first, at in enumerate(granted):
            for last in range(first, len(granted)):
                span = granted[last] - at
                assert last - first + 1 <= allowance.limit + span / allowance.interval + 0.02

    @given(allowances, starts, gaps)
    def test_takes_nothing_for_a_refused_call(self, allowance: Allowance, start: float, gaps: list[float]) -> None:
        calls = played(allowance, start, gaps)
        granted_only = [at for at, wait in calls if not wait]
        steps = [0.0, *(after - before for before, after in pairwise(granted_only))]

        again = played(allowance, granted_only[0], [step / allowance.interval for step in steps])

        assert not [wait for _, wait in again if wait > allowance.interval * 1e-3]

    @given(allowances, starts, gaps)
    def test_grants_after_the_wait_it_names(self, allowance: Allowance, start: float, gaps: list[float]) -> None:
        whole_at, now = start, start
        for gap in gaps:
            now += gap * allowance.interval
            whole_at, wait = spend(whole_at, now, allowance)

            if wait:
                assert wait <= allowance.interval * 1.001
                assert spend(whole_at, now + wait * 1.0001, allowance)[1] == pytest.approx(0, abs=allowance.interval * 1e-3)

    @given(allowances, starts, st.integers(0, 1000))
    def test_grants_exactly_what_it_says_remains(self, allowance: Allowance, now: float, spent: int) -> None:
        whole_at = now
        for _ in range(min(spent, allowance.limit)):
            whole_at, _ = spend(whole_at, now, allowance)
        remaining = standing(allowance, whole_at - now, 0).remaining

        for _ in range(remaining):
            whole_at, wait = spend(whole_at, now, allowance)
            assert not wait
        assert spend(whole_at, now, allowance)[1] > 0
        assert remaining == allowance.limit - min(spent, allowance.limit)

    @given(allowances, starts, gaps)
    def test_is_whole_again_when_it_says(self, allowance: Allowance, start: float, gaps: list[float]) -> None:
        whole_at, now = start, start
        for gap in gaps:
            now += gap * allowance.interval
            before = whole_at
            whole_at, _ = spend(whole_at, now, allowance)

            assert whole_at >= before
            assert 0 <= whole_at - now <= allowance.window * (1 + 1e-6) + allowance.interval * ROUNDING
        assert standing(allowance, max(0.0, whole_at - (now + whole_at - now)), 0).remaining == allowance.limit


def played(allowance: Allowance, start: float, gaps: list[float]) -> list[tuple[float, float]]:
    """Play calls through, and return when each came and the wait it was told."""
    whole_at, now, calls = start, start, []
    for gap in gaps:
        now += gap * allowance.interval
        whole_at, wait = spend(whole_at, now, allowance)
        calls.append((now, wait))
    return calls


class TestAllowance:
    @pytest.mark.parametrize(("limit", "window"), [(0, 60), (-1, 60), (10, 0)])
    def test_refuses_to_be_nothing(self, limit: int, window: float) -> None:
        with pytest.raises(ValueError, match="comments: an allowance holds"):
            Allowance("comments", limit, window)


class Hands:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hands() -> Hands:
    return Hands()


MINUTE = Allowance("calls a minute", 60, 60)
HOURLY = Allowance("comments an hour", 10, 3600)


class TestTake:
    def test_grants_the_limit_and_then_names_the_wait(self, hands: Hands) -> None:
        quotas = Quotas(None, usual=[MINUTE], clock=hands)
        granted = [quotas.take(MINUTE, "ann") for _ in range(60)]
        refused = quotas.take(MINUTE, "ann")
        hands.now += 1
        later = quotas.take(MINUTE, "ann")

        assert [standing.remaining for standing in granted] == list(range(59, -1, -1))
        assert (refused.allowance, refused.remaining) == (MINUTE, 0)
        assert refused.retry_after == pytest.approx(1)
        assert refused.reset_after == pytest.approx(60)
        assert later.retry_after == 0
        assert quotas.refused == 1

    def test_counts_each_caller_and_each_allowance_apart(self, hands: Hands) -> None:
        quotas = Quotas(None, clock=hands)
        for _ in range(60):
            quotas.take(MINUTE, "ann")

        assert quotas.take(MINUTE, "ben").remaining == 59
        assert quotas.take(HOURLY, "ann").remaining == 9

    def test_keeps_a_million_callers_out_of_memory_and_the_busy_one_in(self, hands: Hands) -> None:
        quotas = Quotas(None, clock=hands)
        for number in range(1_000_000):
            quotas.take(HOURLY, f"2001:db8:{number:x}::/64")
            if number % 10_000 == 0:
                quotas.take(HOURLY, "busy")
        ledger = quotas._ledgers[HOURLY.name]

        assert len(ledger.young) + len(ledger.old) <= 2 * CALLERS
        assert quotas.take(HOURLY, "busy").retry_after > 0


class TestStandings:
    def test_takes_nothing_and_shows_what_is_usual_or_begun(self, hands: Hands) -> None:
        quotas = Quotas(None, usual=[MINUTE], clock=hands)
        before = quotas.standings("ann")
        quotas.take(HOURLY, "ann")
        after = [quotas.standings("ann") for _ in range(3)][-1]

        assert before == (standing(MINUTE, 0, 0),)
        assert [(one.allowance, one.remaining) for one in after] == [(MINUTE, 60), (HOURLY, 9)]


@pytest.fixture
async def two(own_valkey: OwnValkey) -> AsyncIterator[tuple[Quotas, Quotas]]:
    """The quotas of two processes."""
    clients = [await Valkey.connect(own_valkey.url) for _ in range(2)]
    first, second = (Quotas(ValkeyQuotas(client), usual=[MINUTE]) for client in clients)
    for quotas in (first, second):
        quotas.start()
    yield first, second
    for quotas in (first, second):
        await quotas.close()
    for client in clients:
        await client.close()


class TestSharing:
    async def test_holds_two_processes_to_about_one_limit(self, two: tuple[Quotas, Quotas]) -> None:
        began = time.monotonic()
        granted = 0
        for number in range(400):
            granted += not two[number % 2].take(MINUTE, "ann").retry_after
            await asyncio.sleep(0.005)
        grown = time.monotonic() - began

        # Each process may have granted what makes it hurry before it heard of the other, and once more on the way.
        assert 60 <= granted <= 60 + grown + 4 * (60 // HURRY)

    async def test_never_grants_more_than_the_limit_of_each_and_is_paid_back(
        self, two: tuple[Quotas, Quotas], eventually: Eventually
    ) -> None:
        granted = sum(not quotas.take(MINUTE, "ann").retry_after for _ in range(200) for quotas in two)

        def waits() -> list[float]:
            return [quotas.take(MINUTE, "ann").retry_after for quotas in two]

        await eventually(lambda: min(waits()) > 50)

        assert granted == 120
        assert max(waits()) <= 61

    async def test_tells_the_other_within_a_second(self, two: tuple[Quotas, Quotas], eventually: Eventually) -> None:
        for _ in range(50):
            two[0].take(MINUTE, "ann")
        two[1].take(MINUTE, "ann")

        await eventually(lambda: two[1].standings("ann")[0].remaining <= 11, seconds=1)
        assert two[1].standings("ben")[0].remaining == 60

    async def test_goes_on_alone_without_valkey_and_tells_of_it_afterwards(
        self, two: tuple[Quotas, Quotas], own_valkey: OwnValkey, eventually: Eventually
    ) -> None:
        own_valkey.kill()
        granted = [sum(not quotas.take(MINUTE, "ann").retry_after for _ in range(100)) for quotas in two]
        two[0].take(MINUTE, "ben")
        for _ in range(40):
            two[0].take(MINUTE, "cid")
        await eventually(lambda: not two[0]._ledgers[MINUTE.name].unsent)
        own_valkey.begin()

        async def told() -> None:
            # The new Valkey is empty: what is known of a caller comes with the next call.
            while two[1].standings("cid")[0].remaining > 25:
                two[0].take(MINUTE, "cid")
                two[1].take(MINUTE, "cid")
                await asyncio.sleep(0.2)

        await asyncio.wait_for(told(), 5)
        assert granted == [60, 60]
        assert two[1].standings("ann")[0].remaining <= 5

    async def test_spreads_an_exchange_of_many_callers(self, two: tuple[Quotas, Quotas], eventually: Eventually) -> None:
        for number in range(3000):
            two[0].take(MINUTE, f"caller-{number}")
            two[0].take(MINUTE, f"caller-{number}")
        await eventually(lambda: not two[0]._ledgers[MINUTE.name].unsent)
        two[1].take(MINUTE, "caller-2999")

        await eventually(lambda: two[1].standings("caller-2999")[0].remaining == 57)
        assert two[0].standings("caller-0")[0].remaining == 58


class TestTakeStrict:
    async def test_grants_exactly_the_limit_to_two_processes_at_once(self, two: tuple[Quotas, Quotas]) -> None:
        standings = await asyncio.gather(*(two[number % 2].take_strict(HOURLY, "ann") for number in range(40)))
        granted = [one for one in standings if not one.retry_after]
        refused = [one for one in standings if one.retry_after]

        assert sorted(one.remaining for one in granted) == list(range(10))
        assert len(refused) == 30
        assert all(one.remaining == 0 and 350 < one.retry_after <= 360 and 3590 < one.reset_after <= 3600 for one in refused)

    async def test_outlives_the_process_that_counted(self, two: tuple[Quotas, Quotas], own_valkey: OwnValkey) -> None:
        for _ in range(10):
            await two[0].take_strict(HOURLY, "ann")
        client = await Valkey.connect(own_valkey.url)
        newcomer = await Quotas(ValkeyQuotas(client)).take_strict(HOURLY, "ann")
        await client.close()

        assert newcomer.retry_after > 0

    async def test_leaves_nothing_behind_for_ever(self, two: tuple[Quotas, Quotas], client: Valkey) -> None:
        await two[0].take_strict(HOURLY, "ann")
        key = (await client.run("KEYS", "*"))[0]

        assert key == b"{quota}:comments an hour:ann"
        assert 359_000 < await client.run("PTTL", key) <= 360_010

    async def test_still_limits_without_valkey_and_never_waits_long(
        self, two: tuple[Quotas, Quotas], own_valkey: OwnValkey, eventually: Eventually
    ) -> None:
        for _ in range(4):
            await two[0].take_strict(HOURLY, "ann")
        own_valkey.kill()
        began = time.perf_counter()
        alone = [await two[0].take_strict(HOURLY, "ann") for _ in range(10)]
        took = time.perf_counter() - began
        own_valkey.begin()
        await eventually(lambda: two[0]._shared._valkey.up)  # type: ignore[union-attr]
        back = await two[0].take_strict(HOURLY, "ann")

        assert [not one.retry_after for one in alone] == [True] * 6 + [False] * 4
        assert took < 1.0
        assert back.retry_after > 0
