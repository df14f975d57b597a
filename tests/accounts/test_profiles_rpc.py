"""What only the wire shows of profiles: mapping, masks, other people's, and what a session may once it is on a profile."""

from __future__ import annotations

import pytest

from adapters.postgres import Database
from ani.accounts.v1 import profiles_service_pb2 as pb
from tests.accounts.households import Household, an_account
from tests.pipeline.conftest import Token
from tests.serving import Served


@pytest.fixture
async def household(served: Served, token: Token, database: Database) -> Household:
    return Household(served, token, database, await an_account(database))


class TestListProfiles:
    async def test_begins_with_one_named_like_the_account(self, household: Household) -> None:
        answer = await household.served.profiles.ListProfiles(pb.ListProfilesRequest(), metadata=household.on())
        again = await household.served.profiles.ListProfiles(pb.ListProfilesRequest(), metadata=household.on())

        assert ["Akiyama"] == [one.name for one in answer.profiles]
        assert answer == again
        assert "fox" in answer.avatars
        assert "" == answer.current_profile_id
