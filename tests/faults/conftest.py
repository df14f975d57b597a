"""Stacks to be broken: one for the tests of a module, which leave it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack

pytest.register_assert_rewrite("tests.faults.books")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("faults"), ANI_DRAIN_SECONDS="2") as stack:
        yield stack
