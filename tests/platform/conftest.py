"""A Valkey of a test's own to kill and freeze, and time that passes only when nothing else can happen."""

from __future__ import annotations

import asyncio
import os
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from adapters.local.runtime import runtime_folder
from adapters.local.valkey import LocalValkey
from adapters.redis import Valkey

ROOT = Path(__file__).parents[2]
Simulate = Callable[[Coroutine[Any, Any, Any]], Any]


def run_python(source: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start another process of the platform."""
    paths = f"{ROOT}{os.pathsep}{ROOT / 'gen'}"
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


class OwnValkey(LocalValkey):
    """A Valkey without memory beyond its life."""

    def begin(self) -> None:
        self.prepare()
        self.process = self.start(subprocess.DEVNULL)
        self.wait_ready()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[OwnValkey]:
    """A Valkey that runs."""
    runtime = runtime_folder(tmp_path)
    valkey = OwnValkey(tmp_path / "valkey", runtime, durable=False)
    valkey.begin()
    yield valkey
    valkey.kill()
    shutil.rmtree(runtime)


@pytest.fixture
async def client(own_valkey: OwnValkey) -> AsyncIterator[Valkey]:
    """A client of the test's own Valkey."""
    client = await Valkey.connect(own_valkey.url)
    yield client
    await client.close()


@pytest.fixture
def eventually() -> Callable[..., Coroutine[Any, Any, None]]:
    """Waits until something holds."""

    async def wait(holds: Callable[[], object], *, seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - what is waited for knows of no event
                await asyncio.sleep(0.005)

    return wait


class _Leap(selectors.DefaultSelector):
    """Waits by moving the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class _Simulated(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now


@pytest.fixture
def simulate() -> Simulate:
    """Runs a coroutine in a loop whose time passes only while everybody waits: minutes take a moment, and always the same."""

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=_Simulated) as runner:
            return runner.run(coroutine)

    return run
