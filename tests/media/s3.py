"""A real S3 server for tests: rclone's, which keeps a bucket in a folder and checks every request's signature."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import free_port, until

KEY, SECRET = "ani-tests-key", "ani-tests-secret"


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where the server is, and what it can be told to do."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"s3://ani/files?endpoint=http://127.0.0.1:{self.port}"

    @property
    def bucket(self) -> Path:
        return self.folder / "ani"


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run a server with one empty bucket."""
    (folder / "ani").mkdir(parents=True)
    port = free_port()
    program = Path(sys.executable).with_name("rclone")
    options = ("--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", "--config", "", "--dir-cache-time", "0s")
    with subprocess.Popen(
        [program, "serve", "s3", *options, str(folder)],
        env={name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until(lambda: _answers(port))
        yield S3Server(port, folder, process)
        process.kill()


def _answers(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0
