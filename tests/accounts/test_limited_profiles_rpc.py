"""What a viewer on a limited profile may do of what their account may: nothing that is about the account itself."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from ani.accounts.v1 import account_pb2, profile_pb2, sign_in_pb2, team_pb2
from ani.accounts.v1 import own_account_service_pb2 as own_pb
from ani.accounts.v1 import own_data_service_pb2 as data_pb
from ani.accounts.v1 import profiles_service_pb2 as profiles_pb
from ani.accounts.v1 import second_factors_service_pb2 as factors_pb
from ani.accounts.v1 import second_factors_service_pb2_grpc as factors_grpc
from ani.accounts.v1 import session_service_pb2 as session_pb
from ani.accounts.v1 import teams_service_pb2 as teams_pb
from ani.accounts.v1 import teams_service_pb2_grpc as teams_grpc
from ani.options.v1 import policy_pb2
from server.wiring.application import SERVICES
from tests.accounts.households import Family
from tests.accounts.people import PASSWORD, Kind, People
from tests.serving import Metadata, Served, refusal

DENIED = grpc.StatusCode.PERMISSION_DENIED
# What leads back to the owner, what is the profile's own, and what has rules of its own for limited profiles.
OPEN = {
    "OwnAccountService.BeginProof",
    "SessionService.SignOut",
    "ProfilesService",
    "DeviceLoginService",
    "GuestPassService.CreateGuestPass",
    "GuestPassService.ListGuestPasses",
    "TeamsService.ListOwnTeams",
}


def on_the_account(served: Served, who: Metadata) -> list[Any]:
    """Call what is about the account itself."""
    renaming = own_pb.UpdateAccountRequest(account=account_pb2.Account(name="Mine"), update_mask=FieldMask(paths=["name"]))
    team = teams_pb.CreateTeamRequest(team=team_pb2.Team(name="The children"))
    return [
        served.own_account.UpdateAccount(renaming, metadata=who),
        served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=who),
        served.sessions.RevokeSessions(session_pb.RevokeSessionsRequest(), metadata=who),
        teams_grpc.TeamsServiceStub(served.channel).CreateTeam(team, metadata=who),
        factors_grpc.SecondFactorsServiceStub(served.channel).GetSecondFactors(factors_pb.GetSecondFactorsRequest(), metadata=who),
        served.own_data.CancelDeletion(data_pb.CancelDeletionRequest(), metadata=who),
    ]


class TestLimitedProfile:
    async def test_does_nothing_to_the_account(self, people: People, served: Served) -> None:
        family = await Family.of(people)
        parent = await family.elsewhere()
        child = await family.switch(family.kid)
        refused = [await refusal(call) for call in on_the_account(served, child)]
        account = (await served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=await parent.refresh())).account

        assert {(DENIED, "LIMITED_PROFILE_INSUFFICIENT")} == {(one.code, one.reason) for one in refused}
        assert "Mio" == account.name

    async def test_stays_so_when_its_tokens_are_refreshed(self, people: People, served: Served) -> None:
        family = await Family.of(people)
        await family.switch(family.kid)
        child = await family.refresh()

        assert {"LIMITED_PROFILE_INSUFFICIENT"} == {(await refusal(call)).reason for call in on_the_account(served, child)}

    @pytest.mark.parametrize("facts", [{"kids": True, "maturity_limit": 12}, {"maturity_limit": 16}])
    async def test_is_one_as_soon_as_it_is_limited_and_does_not_lift_its_limit(
        self, people: People, served: Served, facts: dict[str, Any]
    ) -> None:
        """The proof by which the limit was set is not the child's."""
        family = await Family.of(people)
        main = await family.add("Main")
        limited, unlimited = (profile_pb2.Profile(profile_id=main.profile_id, **one) for one in (facts, {"maturity_limit": 18}))
        limit = profiles_pb.UpdateProfileRequest(profile=limited, update_mask=FieldMask(paths=list(facts)))
        await served.profiles.UpdateProfile(limit, metadata=await family.switch(main))
        child = await family.refresh()
        lift = profiles_pb.UpdateProfileRequest(profile=unlimited, update_mask=FieldMask(paths=["kids", "maturity_limit"]))
        refused = await refusal(served.profiles.UpdateProfile(lift, metadata=child))

        assert "PROOF_TOO_OLD" == refused.reason
        assert {"LIMITED_PROFILE_INSUFFICIENT"} == {(await refusal(call)).reason for call in on_the_account(served, child)}

    async def test_is_left_by_its_owners_proof_and_by_a_pin(self, people: People, served: Served) -> None:
        family = await Family.of(people)
        child = await family.switch(family.kid)
        step = (await served.own_account.BeginProof(own_pb.BeginProofRequest(), metadata=child)).step
        proven: sign_in_pb2.SignInStep = await people.answer(step, Kind.CHALLENGE_KIND_PASSWORD, PASSWORD)
        still = await refusal(served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=child))
        parent = await family.switch(family.parent, "4321")
        account = (await served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=parent)).account

        assert proven.WhichOneof("next") != "challenge"
        assert "LIMITED_PROFILE_INSUFFICIENT" == still.reason
        assert "Mio" == account.name

    async def test_signs_itself_out(self, people: People, served: Served) -> None:
        family = await Family.of(people)
        await served.sessions.SignOut(session_pb.SignOutRequest(), metadata=await family.switch(family.kid))

        with pytest.raises(grpc.aio.AioRpcError):
            await family.refresh()

    def test_is_kept_from_all_that_is_not_named_here(self) -> None:
        """A new method of accounts is for owners unless somebody decides otherwise."""
        for service in (one for one in SERVICES if one.full_name.startswith("ani.accounts.")):
            for method in service.methods:
                access = method.GetOptions().Extensions[policy_pb2.policy].access
                if access.role == policy_pb2.ROLE_USER:
                    is_open = service.name in OPEN or f"{service.name}.{method.name}" in OPEN
                    assert access.owner is not is_open, method.full_name
