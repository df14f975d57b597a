"""Processes under measurement: started on a core of their own, with the CPU they use and the memory they hold."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WARM_UP = 1000
ROOT = Path(__file__).parents[2]
CORES = sorted(os.sched_getaffinity(0))
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls a second, the server's CPU for each in microseconds, and the callers' waits in milliseconds."""

    rate: float
    cpu: float
    p50: float
    p99: float


def describe() -> str:
    """Say what this machine is, without its name."""
    models = (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    model = next(models, "an unknown CPU")
    memory = next(int(line.split()[1]) / 1048576 for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    python = platform.python_version()
    return f"{len(CORES)} cores of {model}, {memory:.0f} GB, Linux {platform.release().split('-')[0]}, CPython {python}"


@contextmanager
def process(argv: Sequence[str], *, core: int | None = None, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a process that says when it is ready, by a first line or by answering; end it by its own id."""
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    child = subprocess.Popen(
        argv,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=pin,  # noqa: PLW1509 - one thread at this point
    )
    try:
        yield child.pid
    finally:
        child.terminate()
        child.wait(60)


def await_socket(path: Path, *, seconds: float = 20.0) -> None:
    """Wait until something listens on a unix socket."""
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


def load(
    pid: int | Sequence[int],
    address: str,
    method: str,
    request: bytes,
    *,
    metadata: Sequence[tuple[str, str]] = (),
    calls: int = 20_000,
    callers: int = 32,
) -> Rate:
    """Load a server from another core."""
    pids = [pid] if isinstance(pid, int) else pid
    plan = {
        "address": address,
        "method": method,
        "request": request.hex(),
        "metadata": list(metadata),
        "calls": calls,
        "callers": callers,
        "warm_up": WARM_UP,
    }
    before = sum(map(cpu_seconds, pids))
    argv = [sys.executable, "-m", "tests.bench.load", json.dumps(plan)]
    pin = lambda: os.sched_setaffinity(0, {CORES[-1]})  # noqa: E731
    out = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True, preexec_fn=pin)
    found: dict[str, Any] = json.loads(out.stdout)
    spent = sum(map(cpu_seconds, pids)) - before
    return Rate(found["rate"], spent / (calls + WARM_UP) * 1e6, found["p50"] * 1000, found["p99"] * 1000)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = entry.read_text().partition(" ")
            children.setdefault(int(rest.rpartition(")")[2].split()[1]), []).append(int(number))
        except OSError:
            continue
    found, ahead = [], [pid]
    while ahead:
        one = ahead.pop()
        found.append(one)
        ahead += children.get(one, [])
    return found


def proportional_megabytes(pid: int, *, of: str = "Pss") -> float:
    """Return a process's share of memory: what it holds alone, and its part of what is shared; or of what it filled itself."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in rollup.splitlines() if line.startswith(f"{of}:")), 0.0)


def title(pid: int) -> str:
    """Name a process for people."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
    except OSError:
        return "gone"
    if "server" in words:
        command = words[words.index("server") + 1]
        return {"serve": "server", "up": "supervisor"}.get(command, command)
    names = [name for name in ("envoy", "valkey", "postgres") if any(name in word for word in words[:1])]
    return names[0] if names else words[0]


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
