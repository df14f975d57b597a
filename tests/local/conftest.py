"""Folders for embedded programs: one with a space in its path, and a runtime folder that is gone afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.local.postgres import LocalPostgres
from adapters.local.runtime import runtime_folder
from adapters.local.valkey import LocalValkey


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder's data"
    folder.mkdir()
    return folder


@pytest.fixture
def runtime(data: Path) -> Iterator[Path]:
    folder = runtime_folder(data)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def postgres(data: Path, runtime: Path) -> LocalPostgres:
    return LocalPostgres(data / "postgres", runtime, durable=False)


@pytest.fixture
def valkey(data: Path, runtime: Path) -> LocalValkey:
    return LocalValkey(data / "valkey", runtime)
