"""Our own commands as real processes, for tests that start, read, kill and end them."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

ROOT = Path(__file__).resolve().parents[1]
Found = TypeVar("Found")


def free_port() -> int:
    """Return a port that is free now, below those that the system gives to outgoing connections."""
    for port in random.sample(range(20_000, 30_000), 200):
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def until(condition: Callable[[], Found], *, seconds: float = 30.0) -> Found:
    """Wait for something to become true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come true in time")
        time.sleep(0.02)
    return found


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of a process of ours: that of the tests without anybody's settings, and these."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANI_", "PROMETHEUS_")) and not name.endswith("_URL")
    }
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}", **settings}


class Ani:
    """One `ani …` process; what it says is collected as lines."""

    def __init__(self, *words: str, settings: Mapping[str, str], folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "server", *words],
            cwd=folder,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines += (line.rstrip("\n") for line in output)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def await_line(self, words: str, *, seconds: float = 90.0) -> str:
        """Wait until a line with these words was said, and return it. Raises TimeoutError with all that was said instead."""

        def found() -> str:
            line = next((line for line in self.lines if words in line), "")
            if not line and self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode} before saying {words!r}:\n{self.text}")
            return line

        try:
            return until(found, seconds=seconds)
        except TimeoutError:
            raise TimeoutError(f"{words!r} was never said:\n{self.text}") from None

    def children(self) -> dict[int, str]:
        """Return the command lines of the direct children, by their numbers."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(pid): Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in listed}

    def end(self, number: signal.Signals = signal.SIGINT, *, seconds: float = 60.0) -> int:
        """End the process if it still runs, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self._reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.end()
