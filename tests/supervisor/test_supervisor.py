"""The supervisor starts in order, revives what crashes, gives up in words, and ends everything in reverse order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server.stack import supervisor as module
from server.stack.supervisor import Log, Part, PartFailed, Supervisor, run

SLEEP = "import time; time.sleep(60)"


def python(script: str, *words: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, "-I", "-S", "-c", script, *words]


@asynccontextmanager
async def supervised(logs: Path | None, said: list[str], ended: list[int] | None = None) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(logs=logs, say=said.append, ended=(ended if ended is not None else []).append)
    try:
        yield supervisor
    finally:
        await supervisor.stop()


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


def pid_of(supervisor: Supervisor, name: str) -> int:
    return next(child.pid for child in supervisor.children if child.part.name == name)


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)


class TestStart:
    async def test_waits_until_each_wave_answers(self, tmp_path: Path, said: list[str]) -> None:
        script = "import sys, time, pathlib; time.sleep(0.3); pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
        sign = tmp_path / "sign"
        seen: list[bool] = []

        async with supervised(tmp_path, said) as supervisor:
            await supervisor.start(Part(name="first", argv=python(script, str(sign)), ready=sign.exists))
            await supervisor.start(Part(name="second", argv=python(SLEEP), prepare=lambda: seen.append(sign.exists())))
            alive = [child.alive for child in supervisor.children]

        assert seen == [True]
        assert alive == [True, True]

    async def test_gives_a_part_its_environment_and_keeps_what_it_says(self, tmp_path: Path, said: list[str]) -> None:
        script = "import os, sys; print(os.environ['COLOUR'], file=sys.stderr); print('to output')"
        part = Part(name="once", argv=python(script), environment={"COLOUR": "blue"})

        async with supervised(tmp_path, said) as supervisor:
            await supervisor.complete(part)

        assert sorted((tmp_path / "once.log").read_text().split("\n")) == ["", "blue", "to output"]

    async def test_says_at_once_what_is_notable(self, tmp_path: Path, said: list[str]) -> None:
        part = Part(
            name="once",
            argv=python("print('fine'); print('WARNING disk is nearly full')"),
            notable=lambda line: line.removeprefix("WARNING ") if line.startswith("WARNING ") else "",
        )

        async with supervised(tmp_path, said) as supervisor:
            await supervisor.complete(part)

        assert said == ["once: disk is nearly full"]

    async def test_says_once_what_a_part_says_again_and_again(self, tmp_path: Path, said: list[str]) -> None:
        script = "for n in range(100): print('no answer'); print('no room') if n == 50 else None"

        async with supervised(tmp_path, said) as supervisor:
            await supervisor.complete(Part(name="once", argv=python(script), notable=str))

        assert said == ["once: no answer", "once: no room"]

    async def test_gives_up_with_the_last_words_of_a_part_that_ends_again_and_again(self, tmp_path: Path, said: list[str]) -> None:
        part = Part(name="broken", argv=python("raise SystemExit('the disk is full')"), ready=lambda: False)

        with pytest.raises(
            PartFailed, match=rf"broken ended at its start \(exit 1: the disk is full\), 3 times; {tmp_path}/broken.log"
        ):
            async with supervised(tmp_path, said) as supervisor:
                await supervisor.start(part)

        assert said == ["broken ended at its start (exit 1: the disk is full); trying again"] * 2

    async def test_ends_a_part_that_never_answers(self, tmp_path: Path, said: list[str]) -> None:
        part = Part(name="mute", argv=python(SLEEP), ready=lambda: False, patience=0.2)

        with pytest.raises(PartFailed, match=r"mute did not answer within 0 seconds \(signal 9\), 3 times"):
            async with supervised(tmp_path, said) as supervisor:
                await supervisor.start(part)

        assert len(said) == 2

    async def test_tells_what_a_part_that_runs_once_failed_of(self, tmp_path: Path, said: list[str]) -> None:
        with pytest.raises(PartFailed, match=r"migrate failed \(exit 3: no such table\)"):
            async with supervised(tmp_path, said) as supervisor:
                await supervisor.complete(Part(name="migrate", argv=python("print('no such table'); raise SystemExit(3)")))

        assert said == []


class TestRestart:
    async def test_revives_a_killed_part_and_says_so(self, tmp_path: Path, said: list[str]) -> None:
        ended: list[int] = []
        async with supervised(tmp_path, said, ended) as supervisor:
            await supervisor.start(Part(name="worker", argv=python(SLEEP)))
            first = pid_of(supervisor, "worker")

            os.kill(first, signal.SIGKILL)
            await until(lambda: len(said) == 2)
            second = pid_of(supervisor, "worker")

        assert said[0] == "worker ended (signal 9); starting it again"
        assert said[1].startswith("worker started again after ")
        assert first != second
        assert ended == [first]

    @pytest.mark.usefixtures("quick")
    async def test_ends_when_it_does_not_help(self, tmp_path: Path, said: list[str]) -> None:
        sign = tmp_path / "sign"
        script = "import sys, time, pathlib; sys.exit('worn out') if pathlib.Path(sys.argv[1]).exists() else time.sleep(60)"
        async with supervised(tmp_path, said) as supervisor:
            await supervisor.start(Part(name="worker", argv=python(script, str(sign))))
            sign.touch()

            os.kill(pid_of(supervisor, "worker"), signal.SIGKILL)
            with pytest.raises(PartFailed, match=r"worker ended \(exit 1: worn out\), 9 times in a row"):
                await supervisor.failure()

        assert len([line for line in said if line.endswith("starting it again")]) == module.TRIES

    async def test_revives_a_part_whose_own_child_outlived_it(self, tmp_path: Path, said: list[str]) -> None:
        # The child holds the output, so that it does not end with the part.
        script = "import os, time; child = os.fork(); child and print(child, flush=True); time.sleep(60)"
        log = tmp_path / "parent.log"
        async with supervised(tmp_path, said) as supervisor:
            await supervisor.start(Part(name="parent", argv=python(script), ready=lambda: log.stat().st_size > 0))
            left = int(log.read_text())

            os.kill(pid_of(supervisor, "parent"), signal.SIGKILL)
            await until(lambda: len(said) == 2)
            await until(lambda: not is_running(left))

        assert said[0] == "parent ended (signal 9); starting it again"

    async def test_prepares_the_part_anew(self, tmp_path: Path, said: list[str]) -> None:
        prepared: list[float] = []
        async with supervised(tmp_path, said) as supervisor:
            await supervisor.start(Part(name="worker", argv=python(SLEEP), prepare=lambda: prepared.append(time.monotonic())))

            os.kill(pid_of(supervisor, "worker"), signal.SIGKILL)
            await until(lambda: len(said) == 2)

        assert len(prepared) == 2


class TestStop:
    async def test_ends_the_last_wave_first_and_drains_it_before(self, tmp_path: Path, said: list[str]) -> None:
        events: list[str] = []
        script = (
            "import signal, sys, time; signal.signal(15, lambda *_: (print(time.monotonic()), sys.exit())); print('up', flush=True)"
        )
        script += "; time.sleep(60)"

        def part(name: str) -> Part:
            log = tmp_path / f"{name}.log"
            return Part(name=name, argv=python(script), ready=lambda: b"up" in log.read_bytes(), drain=lambda: events.append(name))

        async with supervised(tmp_path, said) as supervisor:
            await supervisor.start(part("database"))
            await supervisor.start(part("server"))

        ends = [float((tmp_path / f"{name}.log").read_text().split()[1]) for name in ("server", "database")]
        assert events == ["server", "database"]
        assert ends == sorted(ends)

    async def test_kills_a_part_that_will_not_end(self, tmp_path: Path, said: list[str]) -> None:
        script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
        part = Part(name="stubborn", argv=python(script), ready=lambda: (tmp_path / "stubborn.log").stat().st_size > 0, grace=0.2)

        async with supervised(tmp_path, said) as supervisor:
            await supervisor.start(part)

        assert said == ["stubborn did not end within 0 seconds; killed"]

    async def test_starts_nothing_again_that_it_killed(self, tmp_path: Path, said: list[str]) -> None:
        async with supervised(tmp_path, said) as supervisor:
            await supervisor.start(Part(name="worker", argv=python(SLEEP)))

            supervisor.kill()
            await asyncio.wait_for(asyncio.gather(*supervisor._keepers), 20)
            alive = [child.alive for child in supervisor.children]

        assert alive == [False]
        assert said == []

    async def test_ends_a_wave_that_is_still_starting(self, tmp_path: Path, said: list[str]) -> None:
        async with supervised(tmp_path, said) as supervisor:
            starting = asyncio.create_task(supervisor.start(Part(name="slow", argv=python(SLEEP), ready=lambda: False)))
            await until(lambda: any(child.alive for child in supervisor.children))
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            children = list(supervisor.children)

        assert [child.alive for child in children] == [False]


class TestRun:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    async def test_ends_on_a_signal(self, number: signal.Signals, tmp_path: Path, said: list[str]) -> None:
        supervisor = Supervisor(logs=tmp_path, say=said.append)
        running = asyncio.create_task(run(supervisor, lambda: supervisor.start(Part(name="part", argv=python(SLEEP)))))
        await until(lambda: any(child.alive for child in supervisor.children))
        children = list(supervisor.children)

        os.kill(os.getpid(), number)
        await asyncio.wait_for(running, 20)

        assert [child.alive for child in children] == [False]
        assert said == []

    async def test_ends_at_once_on_the_second_signal(self, tmp_path: Path, said: list[str]) -> None:
        supervisor = Supervisor(logs=tmp_path, say=said.append)
        script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
        part = Part(name="stubborn", argv=python(script), ready=lambda: (tmp_path / "stubborn.log").stat().st_size > 0)
        running = asyncio.create_task(run(supervisor, lambda: supervisor.start(part)))
        await until(lambda: any(child._answered for child in supervisor.children))

        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGINT)
        began = time.monotonic()
        await asyncio.wait_for(running, 20)

        assert time.monotonic() - began < part.grace / 2

    async def test_passes_on_why_a_part_failed_for_good(self, tmp_path: Path, said: list[str]) -> None:
        supervisor = Supervisor(logs=tmp_path, say=said.append)
        part = Part(name="broken", argv=python("raise SystemExit('the disk is full')"), ready=lambda: False)

        with pytest.raises(PartFailed, match="the disk is full"):
            await run(supervisor, lambda: supervisor.start(part))

        assert not any(child.alive for child in supervisor.children)


class TestLog:
    def test_is_turned_over_when_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Log, "LARGEST", 100)
        log = Log(tmp_path / "part.log")

        for number in range(12):
            log.write(f"{number:02}{'x' * 47}\n".encode())
        log.close()

        assert sorted(path.name for path in tmp_path.iterdir()) == ["part.log", "part.log.1", "part.log.2", "part.log.3"]
        assert [(tmp_path / name).read_text()[:2] for name in ("part.log.3", "part.log.2", "part.log.1", "part.log")] == [
            "04",
            "06",
            "08",
            "10",
        ]
