"""The embedded Envoy, run from a configuration file that the gateway writes."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import ClassVar

from adapters.local.runtime import Program, launched, wheel


class LocalEnvoy(Program):
    """One Envoy; its admin page answers on a unix socket in the runtime folder."""

    name: ClassVar = "envoy"
    # It holds the public port: nothing of it may outlive its starter.
    orphan_signal: ClassVar = signal.SIGKILL
    # How long calls at work, endless streams among them, may hold up the end.
    drain_seconds: ClassVar = 3.0

    def __init__(self, admin: Path, configuration: Path | None = None, *, concurrency: int = 1) -> None:
        self.admin = admin
        self.configuration = configuration
        self.concurrency = concurrency

    def prepare(self) -> None:
        self.admin.unlink(missing_ok=True)

    def command(self) -> list[str]:
        """Return Envoy's own command line."""
        words = ["--concurrency", str(self.concurrency), "--disable-hot-restart", "--log-level", "warning"]
        # It warns without ground for each answer that it stores.
        words += ["--component-log-level", "cache_filter:error"]
        return [str(wheel("envoy", "_bin", "envoy")), "--config-path", str(self.configuration), *words]

    def argv(self) -> list[str]:
        return launched(self.command(), orphan=self.orphan_signal)

    def ready(self) -> bool:
        return self._ask("GET", "/ready").startswith(b"HTTP/1.1 200")

    def drain(self) -> None:
        """Send callers away and wait, for a while, until no call is at work."""
        self._ask("POST", "/healthcheck/fail")
        self._ask("POST", "/drain_listeners?graceful&skip_exit")
        deadline = time.monotonic() + self.drain_seconds
        while time.monotonic() < deadline and self._at_work():
            time.sleep(0.05)

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        self.drain()
        return super().stop(process)

    def _at_work(self) -> int:
        """Count the calls at work, leaving out the one that asks."""
        lines = (
            self._ask("GET", "/stats?usedonly&filter=%5Ehttp%5C..*downstream_rq_active%24").decode(errors="replace").splitlines()
        )
        counts = [
            line.rpartition(": ") for line in lines if "downstream_rq_active: " in line and not line.startswith("http.admin.")
        ]
        return sum(int(count) for _, _, count in counts)

    def _ask(self, method: str, path: str) -> bytes:
        """Return the admin page's whole answer, or nothing when there is none."""
        try:
            with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answer:
                connection.settimeout(2)
                connection.connect(str(self.admin))
                connection.sendall(
                    f"{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()
                )
                return answer.read()
        except OSError:
            return b""
