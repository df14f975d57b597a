"""What tests of accounts share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters.postgres import Database
from server.settings import Settings
from tests.accounts.homes import home, pins  # noqa: F401 - fixtures
from tests.accounts.people import People, PostOffice
from tests.accounts.staff import Office
from tests.serving import Metadata, Served


@pytest.fixture
def post(settings: Settings) -> PostOffice:
    return PostOffice(settings)


@pytest.fixture
def people(served: Served, post: PostOffice) -> People:
    return People(served, post)


@pytest.fixture
def office(served: Served, database: Database, token: Callable[..., Metadata]) -> Office:
    return Office(served, database, token)
