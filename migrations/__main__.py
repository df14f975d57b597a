"""Drafts a migration: what the tables in the code have beyond those that the migrations make. `make revision NAME="add a note"`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from adapters.local.postgres import LocalPostgres
from adapters.local.runtime import runtime_folder
from adapters.postgres import migrate


def main(words: str) -> int:
    """Compare with a PostgreSQL that lives as long as it takes; return the exit status."""
    if not words:
        sys.stderr.write('say what it does: make revision NAME="add a note to genres"\n')
        return 2
    with tempfile.TemporaryDirectory(prefix="ani-revision-") as folder:
        runtime = runtime_folder(Path(folder))
        postgres = LocalPostgres(Path(folder, "postgres"), runtime, durable=False)
        postgres.prepare()
        process = postgres.start(subprocess.DEVNULL)
        try:
            postgres.wait_ready()
            path = asyncio.run(draft(postgres.url, words))
        finally:
            postgres.stop(process)
            shutil.rmtree(runtime, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "ruff", "check", "--quiet", "--fix", "--select", "F401,I", path], check=False)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", path], check=False)
    print(f"{path}: read it, and mend what no machine can know")
    return 0


async def draft(url: str, words: str) -> Path:
    await migrate.upgrade(url)
    return await migrate.draft(url, words)


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
