"""A cached read through the whole pipeline, against an empty handler on the same grpcio and on the newest one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from ani.catalog.v1 import catalog_service_pb2 as pb
from domain.kernel import Role
from server.settings import Settings
from server.wiring.tokens import AccessTokens
from tests.bench.engines import Engines, engines
from tests.bench.machine import CORES, ROOT, Rate, await_socket, load, process

ROUNDS = 5
Server = Callable[[], AbstractContextManager[tuple[int, str]]]
METHOD = "/ani.catalog.v1.CatalogService/GetRelease"
REQUEST = pb.GetReleaseRequest(release="cowboy-bebop").SerializeToString()


def measure() -> str:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ani-bench-")))
        running = stack.enter_context(engines(folder))
        metadata = _metadata(running.settings)
        servers = {"pipeline, GetRelease from the cache": application(running, folder)}
        servers[f"empty handler, grpcio {grpc.__version__}"] = empty(Path(sys.executable), folder / "empty.sock")
        newest = _newest()
        if newest:
            servers[f"empty handler, grpcio {newest[1]}"] = empty(newest[0], folder / "newest.sock")
        rounds: dict[str, list[Rate]] = {name: [] for name in servers}
        # All of them run throughout, on one core; only the one that is asked has anything to do.
        started = {name: stack.enter_context(server()) for name, server in servers.items()}
        for _ in range(ROUNDS):
            for name, (pid, address) in started.items():
                rounds[name].append(load(pid, address, METHOD, REQUEST, metadata=metadata))
    return _table(rounds, newest is not None)


def _table(rounds: dict[str, list[Rate]], compared: bool) -> str:
    names = list(rounds)
    lines = ["One core for the server, one connection, 32 callers, who send all servers the same request and token.", ""]
    lines += ["| server | calls/s | CPU µs/call | p50 ms | p99 ms |", "|---|---|---|---|---|"]
    for name, found in rounds.items():
        middle = [statistics.median(getattr(rate, field) for rate in found) for field in ("rate", "cpu", "p50", "p99")]
        lines.append(f"| {name} | {middle[0]:,.0f} | {middle[1]:.0f} | {middle[2]:.2f} | {middle[3]:.2f} |")
    lines.append("")
    for other, bar in zip(names[1:], (0.75, 1.2), strict=False):
        ratios = [a.rate / b.rate for a, b in zip(rounds[names[0]], rounds[other], strict=True)]
        lines.append(f"* pipeline / {other}: median **{statistics.median(ratios):.2f}** of {len(ratios)} pairs (bar: {bar})")
    if not compared:
        lines.append("* the newest grpcio could not be installed here, so it was not compared")
    return "\n".join(lines)


def application(running: Engines, folder: Path, **more: str) -> Server:
    """Return what runs one of our servers, with more settings where they are given."""

    @contextmanager
    def start() -> Iterator[tuple[int, str]]:
        socket = folder / "app.sock"
        environment = {
            **running.environment,
            "ANI_QUOTA_PER_MINUTE": "1000000000",
            "ANI_LOG_FILE": str(folder / "app.log"),
            "ANI_SERVERS": "1",
            "PROMETHEUS_MULTIPROC_DIR": str(folder),
            "ANI_DRAIN_SECONDS": "0",
            **more,
        }
        argv = [sys.executable, "-m", "server", "serve", "--index", "0", "--listen", f"unix:{socket}"]
        with process(argv, core=CORES[0], environment=environment) as pid:
            await_socket(socket)
            yield pid, f"unix:{socket}"

    return start


def empty(python: Path, socket: Path) -> Server:
    """Return what runs a server whose handlers do nothing."""

    @contextmanager
    def start() -> Iterator[tuple[int, str]]:
        socket.unlink(missing_ok=True)
        with process([str(python), str(ROOT / "tests/bench/empty.py"), f"unix:{socket}"], core=CORES[0]) as pid:
            await_socket(socket)
            yield pid, f"unix:{socket}"

    return start


def _metadata(settings: Settings) -> list[tuple[str, str]]:
    token = AccessTokens.of(settings).issuer.issue(
        "0191d7a0-0000-7000-8000-0000000000aa", Role.USER, at=datetime.now(UTC), lifetime=timedelta(hours=1)
    )
    return [("authorization", f"Bearer {token}"), ("x-request-id", "0191d7a000007000"), ("x-forwarded-for", "192.0.2.1")]


def _newest() -> tuple[Path, str] | None:
    """Return a Python with the newest grpcio, in a virtual environment of its own, or None where it cannot be had."""
    home = ROOT / ".venv-bench"
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--upgrade", "grpcio", "uvloop"], check=False)
    if done.returncode:
        return None
    out = subprocess.run([str(python), "-c", "import grpc; print(grpc.__version__)"], check=True, capture_output=True, text=True)
    return python, out.stdout.strip()
