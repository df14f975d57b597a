"""PostgreSQL and Valkey for measurements, as `ani up` runs them, with the demo catalog in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.local.postgres import LocalPostgres
from adapters.local.runtime import runtime_folder
from adapters.local.valkey import LocalValkey
from adapters.postgres import migrate
from server import imports
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class Engines:
    """Where they are."""

    settings: Settings

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ANI_DATA": str(self.settings.data),
            "DATABASE_URL": self.settings.database_url,
            "REDIS_URL": self.settings.redis_url,
            "BROKER_URL": self.settings.broker_url,
        }


@contextmanager
def engines(folder: Path) -> Iterator[Engines]:
    """Run both for the length of a block."""
    data = folder / "data"
    data.mkdir()
    runtime = runtime_folder(data)
    postgres, valkey = LocalPostgres(data / "postgres", runtime), LocalValkey(data / "valkey", runtime)
    started = []
    try:
        for program in (postgres, valkey):
            program.prepare()
            started.append((program, program.start()))
            program.wait_ready()
        settings = Settings(data=data, database_url=postgres.url, redis_url=valkey.url, broker_url=valkey.broker_url)
        asyncio.run(migrate.upgrade(settings.database_url))
        asyncio.run(imports.plant_demo(settings))
        yield Engines(settings)
    finally:
        for program, child in reversed(started):
            program.stop(child)
