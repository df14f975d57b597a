"""A PostgreSQL of a test's own, to kill and to freeze."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.local.postgres import LocalPostgres
from adapters.local.runtime import residents, runtime_folder
from adapters.postgres import migrate


class OwnPostgres(LocalPostgres):
    """A PostgreSQL as `ani up` runs it, unless it is told that nothing needs to be durable."""

    def begin(self) -> None:
        self.prepare()
        self.process = self.start(subprocess.DEVNULL)
        self.wait_ready()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop the server and its sessions in the middle of whatever they do."""
        self._tell_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._tell_all(signal.SIGCONT)

    def _tell_all(self, number: signal.Signals) -> None:
        for process in residents(self.data, "postgres"):
            os.kill(process, number)


@pytest.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator[OwnPostgres]:
    """A PostgreSQL that runs and is migrated."""
    runtime = runtime_folder(tmp_path)
    postgres = OwnPostgres(tmp_path / "postgres", runtime)
    postgres.begin()
    await migrate.upgrade(postgres.url)
    yield postgres
    postgres.kill()
    shutil.rmtree(runtime, ignore_errors=True)
