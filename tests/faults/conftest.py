"""Stacks to be broken, one for the tests of a module, which leave it whole; and what was measured meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from tests.stack import Stack

pytest.register_assert_rewrite("tests.faults.books")

Findings: TypeAlias = Callable[[str], None]
MEASURED = pytest.StashKey[list[str]]()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("faults"), ANI_DRAIN_SECONDS="2") as stack:
        yield stack


@pytest.fixture
def findings(request: pytest.FixtureRequest) -> Findings:
    """Take down what was measured, to be shown at the end: figures of the machine and the moment, which no test asserts."""
    return request.config.stash.setdefault(MEASURED, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if measured := config.stash.get(MEASURED, []):
        terminalreporter.section("measured")
        for line in measured:
            terminalreporter.write_line(line)
