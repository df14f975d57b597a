"""What tests of accounts share."""

from __future__ import annotations

import pytest

from server.settings import Settings
from tests.accounts.homes import home, pins  # noqa: F401 - fixtures
from tests.accounts.people import People, PostOffice
from tests.serving import Served


@pytest.fixture
def post(settings: Settings) -> PostOffice:
    return PostOffice(settings)


@pytest.fixture
def people(served: Served, post: PostOffice) -> People:
    return People(served, post)
