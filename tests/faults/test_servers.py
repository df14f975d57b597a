"""One of two servers goes away under load: by a crash, by a restart, one after the other."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest

from tests.faults.books import balance
from tests.faults.load import Load, working
from tests.stack import Stack
from tests.waiting import until


async def back(load: Load, stack: Stack, part: str, restarts: Counter[str]) -> None:
    """Wait until a part was started again, and the gateway gives it calls."""
    await asyncio.to_thread(stack.await_restarts, restarts + Counter([part]))
    before = await asyncio.to_thread(stack.calls_by_server)

    async def takes_calls() -> bool:
        now = await asyncio.to_thread(stack.calls_by_server)
        return now[part] >= before[part] + 5

    await until(takes_calls, seconds=30)


class TestCrash:
    async def test_fails_no_call_that_may_be_repeated(self, stack: Stack) -> None:
        """F2."""
        restarts = stack.restarts()
        async with Load(stack, readers=12) as load:
            await working(load)
            for part in ("server-0", "server-1"):
                await asyncio.to_thread(stack.kill, part)
                await back(load, stack, part, stack.restarts())
            await working(load)

        assert load.failed == []
        assert stack.restarts() - restarts == Counter(["server-0", "server-1"])
        await balance(load, stack)


class TestRollingRestart:
    @pytest.mark.long
    async def test_fails_no_call_of_any_kind(self, stack: Stack) -> None:
        """F1, F3: each server drains, ends with its calls finished, and is started again."""
        async with Load(stack, readers=12) as load:
            await working(load)
            for part in ("server-0", "server-1"):
                await asyncio.to_thread(stack.tell, part, signal.SIGTERM)
                await back(load, stack, part, stack.restarts())
            await working(load)

        assert load.failed == []
        assert [line for line in stack.lines if "ended" in line][-2:] == [
            line for line in stack.lines if "(exit 0); starting it again" in line
        ]
        await balance(load, stack)
