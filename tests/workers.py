"""Workers as processes of their own, with all that they need, to be killed and started again."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from adapters.local.runtime import runtime_folder
from adapters.local.valkey import LocalValkey
from adapters.postgres import Database, DatabaseUnavailable, bare, migrate, outbox
from adapters.postgres.outbox import PostgresOutbox
from tests.own_engines import OwnPostgres
from tests.platform.a_worker import TABLES, Written
from tests.processes import ROOT, environment


class Yard:
    """PostgreSQL, a Valkey that forgets everything when it is killed, and workers."""

    PARTS: ClassVar = ("worker", "valkey", "postgres")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runtime = runtime_folder(folder)
        self.postgres = OwnPostgres(folder / "postgres", self._runtime)
        self.valkey = LocalValkey(folder / "valkey", self._runtime, durable=False)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.database: Database

    async def open(self) -> None:
        self.start("postgres")
        self.start("valkey")
        await migrate.upgrade(self.postgres.url)
        self.database = await Database.connect(self.postgres.url, size=4, application="ani-tests")
        async with self.database.begins(bare)() as connection:
            await connection.execute(TABLES)

    async def close(self) -> None:
        await self.database.close()
        for name in list(self._processes):
            self.kill(name)
        shutil.rmtree(self._runtime, ignore_errors=True)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a part and wait until it answers; workers are called worker, worker-2 and so on."""
        if name.startswith("worker"):
            process = self._start_worker(name)
        else:
            program = {"postgres": self.postgres, "valkey": self.valkey}[name]
            program.prepare()
            process = program.start(subprocess.DEVNULL)
            program.wait_ready()
        self._processes[name] = process
        return process

    def _start_worker(self, name: str) -> subprocess.Popen[bytes]:
        settings = environment(
            DATABASE_URL=self.postgres.url, REDIS_URL=self.valkey.url, BROKER_URL=self.valkey.broker_url, ANI_LOG_LEVEL="warning"
        )
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.platform.a_worker"], cwd=ROOT, env=settings, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    async def end(self, name: str, *, seconds: float) -> int:
        """End a worker in good order; return its exit status."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(process.wait, seconds)
        finally:
            process.kill()

    async def write(self, number: int, *, seconds: float = 0.0) -> bool:
        """Write something down and record it; tell whether that was acknowledged."""
        with suppress(DatabaseUnavailable):
            async with self.database.begins(bare)() as connection:
                await connection.execute("INSERT INTO writes (number) VALUES ($1)", number)
                await outbox.record(connection, Written(time=datetime.now(UTC), number=number, seconds=seconds))
            return True
        return False

    async def is_done(self) -> bool:
        """Tell whether everything recorded was delivered; false as well while that cannot be seen."""
        with suppress(DatabaseUnavailable):
            return (await PostgresOutbox(self.database).depth()).pending == 0
        return False

    async def numbers(self, table: str) -> list[int]:
        async with self.database.reads(bare)() as connection:
            return [row["number"] for row in await connection.fetch(f"SELECT number FROM {table} ORDER BY number")]


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    """A yard without workers."""
    yard = Yard(tmp_path)
    await yard.open()
    yield yard
    await yard.close()


async def havoc(yard: Yard, *, seconds: float, pause: float) -> set[int]:
    """Write while one part after the other is killed and started again; return what was acknowledged."""
    acknowledged: set[int] = set()
    over = asyncio.Event()

    async def write(first: int) -> None:
        number = first
        while not over.is_set():
            if await yard.write(number):
                acknowledged.add(number)
            number += 4
            await asyncio.sleep(0.01)

    writers = [asyncio.create_task(write(first)) for first in range(4)]
    deadline = asyncio.get_running_loop().time() + seconds
    turn = 0
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(pause)
        name = Yard.PARTS[turn % len(Yard.PARTS)]
        await asyncio.to_thread(yard.kill, name)
        await asyncio.to_thread(yard.start, name)
        turn += 1
    over.set()
    await asyncio.gather(*writers)
    return acknowledged
