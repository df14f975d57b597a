"""PostgreSQL and Valkey for one run of the tests: started with the first test that needs them, gone with the run, however it ends.

Run as a program by whichever test process comes first; a program of its own, since that process may well end before the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from adapters.local.postgres import DATABASE, LocalPostgres
from adapters.local.runtime import runtime_folder
from adapters.local.valkey import LocalValkey
from adapters.postgres import migrate

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Engines:
    """Where the engines of this run are; PostgreSQL's URL names an empty, migrated database from which others are copied."""

    postgres: str
    valkey: str

    def database(self, name: str) -> str:
        return urlunsplit(urlsplit(self.postgres)._replace(path=f"/{name}"))

    def valkey_database(self, number: int) -> str:
        return self.valkey.replace("?db=0", f"?db={number}")

    async def copy_database(self, name: str) -> str:
        """Return the URL of a new database that is as the template."""
        connection = await asyncpg.connect(self.database("postgres"))
        try:
            await connection.execute("SELECT pg_advisory_lock(1)")  # one copy at a time, since nobody else may be in the template
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {DATABASE}")
        finally:
            await connection.close()
        return self.database(name)


class RoomyValkey(LocalValkey):
    """Two databases for each test process."""

    def argv(self) -> list[str]:
        return [*super().argv(), "--databases", "128"]


def start(folder: Path, run: int) -> Engines:
    """Return the engines of a run, whose main process is named, starting them if this is the first to ask."""
    answer = folder / "engines.json"
    if not answer.exists():
        with (folder / "engines.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.engines", str(folder), str(run)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        assert process.stdout is not None
        with process.stdout:
            if not process.stdout.readline():
                raise RuntimeError(f"the engines of the tests did not start:\n{(folder / 'engines.log').read_text()}")
        # It is not ours to wait for: it outlives this process.
        process.returncode = 0
    return Engines(**json.loads(answer.read_text()))


def main(folder: Path, run: int) -> None:
    data = folder / "engines"
    data.mkdir()
    runtime = runtime_folder(data)
    try:
        postgres = LocalPostgres(data / "postgres", runtime, durable=False)
        valkey = RoomyValkey(data / "valkey", runtime, durable=False)
        processes = []
        for program in (valkey, postgres):
            program.prepare()
            processes.append(program.start(output=sys.stderr.fileno()))
        for program in (valkey, postgres):
            program.wait_ready()
        asyncio.run(migrate.upgrade(postgres.url))
        (folder / "engines.json").write_text(json.dumps({"postgres": postgres.url, "valkey": valkey.url}))
        print("ready", flush=True)
        _await_end(run)
        for process in processes:
            process.send_signal(signal.SIGQUIT if process is processes[-1] else signal.SIGKILL)
            process.wait()
    finally:
        shutil.rmtree(runtime, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)


def _await_end(process: int) -> None:
    """Wait until a process that is no child of ours has ended."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    select.select([handle], [], [])
    os.close(handle)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
