"""Parts are killed under load, in turn and at random: nothing acknowledged is lost, nothing acts twice, all of it comes back."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.books import balance
from tests.faults.load import Load, working
from tests.stack import PARTS, Stack


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Stack]:
    """A stack for one test: whatever is killed too often in a row is given up by and by."""
    with Stack(tmp_path / "fresh") as stack:
        yield stack


def living(processes: Iterable[int]) -> list[int]:
    """Return those that still run; what has ended and is not yet buried by whoever inherited it does not."""
    return [pid for pid in processes if _state(pid) not in {"", "Z"}]


def _state(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


class TestKill:
    @pytest.mark.parametrize(
        "part", ["postgres", "gateway", *(pytest.param(name, marks=pytest.mark.long) for name in ("worker", "valkey"))]
    )
    async def test_loses_nothing(self, part: str, stack: Stack) -> None:
        """E1, E3: of a crash while writes are under way."""
        restarts = stack.restarts()
        async with Load(stack) as load:
            await working(load)
            await asyncio.to_thread(stack.kill, part)
            await asyncio.to_thread(stack.await_restarts, restarts + Counter([part]))
            await working(load)

        assert f"{part} ended (signal 9); starting it again" in stack.text
        assert stack.restarts() - restarts == Counter([part])
        if part in {"worker", "valkey"}:
            assert load.failed == []
        await balance(load, stack)

    @pytest.mark.long
    async def test_loses_nothing_with_all_that_valkey_knew(self, stack: Stack) -> None:
        """E2: its folder goes with it, so that it comes back with nothing."""
        restarts = stack.restarts()
        async with Load(stack) as load:
            await working(load)
            # Nobody starts it again before its folder is gone.
            stack.process.send_signal(signal.SIGSTOP)
            stack.kill("valkey")
            shutil.rmtree(stack.data / "valkey")
            stack.process.send_signal(signal.SIGCONT)
            await asyncio.to_thread(stack.await_restarts, restarts + Counter(["valkey"]))
            await working(load)

        assert load.failed == []
        await balance(load, stack)


class TestChaos:
    SECONDS = 20.0
    PAUSE = 1.5

    @pytest.mark.long
    @pytest.mark.timeout(180)
    async def test_loses_nothing(self, fresh: Stack) -> None:
        """E3: whatever runs is killed, again and again."""
        killed: Counter[str] = Counter()
        async with Load(fresh, readers=4, writers=3) as load:
            await working(load)
            end = time.monotonic() + self.SECONDS
            while time.monotonic() < end:
                part = random.choice([name for name in PARTS if killed[name] < 4])
                await asyncio.to_thread(fresh.kill, part)
                killed[part] += 1
                await asyncio.sleep(self.PAUSE * random.uniform(0.5, 1.5))
            await working(load, seconds=60)

        await balance(load, fresh)
        # One that is killed again while it starts is said to have started again once.
        assert fresh.restarts().keys() == killed.keys()
        assert sum("(signal 9)" in line for line in fresh.lines) == killed.total() >= 5
        assert fresh.metrics()["ani_part_up"] == dict.fromkeys(PARTS, 1.0)


class TestSupervisor:
    @pytest.mark.long
    async def test_takes_everything_with_it_and_starts_again_with_all_data(self, tmp_path: Path) -> None:
        with Stack(tmp_path / "twice") as stack:
            async with Load(stack, watchers=0) as load:
                await working(load)
                left = stack.children()
                stack.process.kill()
                stack.process.wait()
                with Stack(stack.folder, **stack.settings) as again:
                    await working(load)
                    survivors = await asyncio.to_thread(living, left)
                    await load.finish()
                    await balance(load, again)

        assert len(left) == len(PARTS)
        assert survivors == []
