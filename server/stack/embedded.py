"""Composition root of what one machine runs itself; besides server.wiring the only module that imports adapters."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from adapters.local.envoy import LocalEnvoy
from adapters.local.postgres import LocalPostgres
from adapters.local.runtime import DataFolder, LocalRefused, Program, launched, runtime_folder, runtime_path
from adapters.local.valkey import LocalValkey
from server.settings import Settings
from server.stack.supervisor import Part

Refused = LocalRefused

# Of these, server.stack.up and server.gateway get hold here.
__all__ = [
    "LocalEnvoy",
    "LocalPostgres",
    "LocalValkey",
    "Refused",
    "command",
    "folders",
    "program_part",
    "resolved",
    "runtime_folder",
]


def folders(data: Path) -> tuple[DataFolder, Path]:
    """Claim the data folder and make the one for sockets. Raises Refused."""
    folder = DataFolder(data)
    folder.claim()
    return folder, runtime_folder(folder.path)


def resolved(settings: Settings) -> Settings:
    """Return the settings with the addresses of this data folder's stack where no outside ones are named."""
    runtime = runtime_path(settings.data)
    store = LocalValkey(settings.data / "valkey", runtime)
    return replace(
        settings,
        database_url=settings.database_url or LocalPostgres(settings.data / "postgres", runtime).url,
        redis_url=settings.redis_url or store.url,
        broker_url=settings.broker_url or store.broker_url,
    )


def program_part(program: Program, *, notable: Callable[[str], str]) -> Part:
    return Part(
        name=program.name,
        argv=program.argv,
        prepare=program.prepare,
        ready=program.ready,
        stop_signal=program.stop_signal,
        grace=program.grace,
        notable=notable,
    )


def command(*words: str) -> Callable[[], list[str]]:
    """Return what runs one of our own commands; it is killed with the supervisor, for nothing of it outlives a call."""
    # -P: a folder called `server` where `ani` is started must not be taken for ours.
    return lambda: launched([sys.executable, "-P", "-m", "server", *words], orphan=signal.SIGKILL)
