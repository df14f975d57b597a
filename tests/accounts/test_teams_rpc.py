"""What only the wire shows of teams: mapping, refusals by name, who may call what, and that nobody reaches into another's team."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from adapters.postgres import Database, bare
from ani.accounts.v1 import team_members_service_pb2 as members_pb
from ani.accounts.v1 import team_members_service_pb2_grpc as members_rpc
from ani.accounts.v1 import team_pb2
from ani.accounts.v1 import team_roles_service_pb2 as roles_pb
from ani.accounts.v1 import team_roles_service_pb2_grpc as roles_rpc
from ani.accounts.v1 import teams_admin_service_pb2 as admin_pb
from ani.accounts.v1 import teams_admin_service_pb2_grpc as admin_rpc
from ani.accounts.v1 import teams_service_pb2 as pb
from ani.accounts.v1 import teams_service_pb2_grpc as rpc
from domain.kernel import Role, Viewer, new_id
from tests.accounts.teaming import Studio
from tests.builders import NOON
from tests.serving import Metadata, Served, refusal

Token = Callable[..., Metadata]
Code = grpc.StatusCode


class Wire:
    """The four services over one channel."""

    def __init__(self, served: Served) -> None:
        self.teams = rpc.TeamsServiceStub(served.channel)
        self.members = members_rpc.TeamMembersServiceStub(served.channel)
        self.roles = roles_rpc.TeamRolesServiceStub(served.channel)
        self.admin = admin_rpc.TeamsAdminServiceStub(served.channel)


@pytest.fixture
def wire(served: Served) -> Wire:
    return Wire(served)


@pytest.fixture
def studio(database: Database) -> Studio:
    return Studio(database)


@pytest.fixture
async def founder(studio: Studio) -> Viewer:
    return await studio.person("Mio")


@pytest.fixture
def signed(token: Token) -> Callable[[Viewer], Metadata]:
    return lambda viewer: token(viewer.role, account_id=viewer.account_id)


Signed = Callable[[Viewer], Metadata]


async def kept(database: Database) -> list[str]:
    """Return all that is known of teams, as text."""
    async with database.reads(bare)() as connection:
        tables = ("teams", "team_roles", "team_members", "team_invitations")
        rows = [await connection.fetch(f"SELECT t::text FROM accounts.{table} t ORDER BY 1") for table in tables]
        return [row[0] for found in rows for row in found]


class TestTeams:
    async def test_are_founded_shown_changed_and_handed_over(
        self, wire: Wire, studio: Studio, founder: Viewer, signed: Signed
    ) -> None:
        """The whole way over the wire, as two people go it."""
        azusa, mio = await studio.person("Azusa"), signed(founder)
        sent = team_pb2.Team(name="Wind Voices", description="We sing.", website_url="https://wind.example", languages=["ru", "en"])

        team = (await wire.teams.CreateTeam(pb.CreateTeamRequest(team=sent), metadata=mio)).team
        role = team_pb2.TeamRole(name="Reviewer", weight=10, permissions=[team_pb2.TEAM_PERMISSION_REVIEW])
        made = (await wire.roles.CreateRole(roles_pb.CreateRoleRequest(team_id=team.team_id, role=role), metadata=mio)).role
        invite = members_pb.AddMemberRequest(team_id=team.team_id, account_name="AZUSA", role_id=made.role_id)
        invitation = (await wire.members.AddMember(invite, metadata=mio)).invitation
        accept = members_pb.AcceptInvitationRequest(team_id=team.team_id)
        member = (await wire.members.AcceptInvitation(accept, metadata=signed(azusa))).member
        transfer = pb.TransferTeamRequest(team_id=team.team_id, account_id=azusa.account_id, role_id=made.role_id)
        moved = (await wire.teams.TransferTeam(transfer, metadata=mio)).team
        own = (await wire.teams.ListOwnTeams(pb.ListOwnTeamsRequest(), metadata=signed(azusa))).teams

        for name in ("name", "description", "website_url", "languages"):
            assert getattr(sent, name) == getattr(team, name)
        assert (role.name, role.weight, role.permissions) == (made.name, made.weight, made.permissions)
        assert (azusa.account_id, "Azusa", "Wind Voices") == (
            invitation.account_id,
            invitation.account_name,
            invitation.team_name,
        )
        assert (made, azusa.account_id) == (member.role, member.account_id)
        assert (1, 2) == (team.member_count, moved.member_count)
        assert [(True, 1000)] == [(one.member.role.founder, one.member.role.weight) for one in own]

    async def test_are_open_to_everyone(self, wire: Wire, studio: Studio, founder: Viewer) -> None:
        team = await studio.team(founder)

        got = (await wire.teams.GetTeam(pb.GetTeamRequest(team_id=team.team_id))).team
        found = (await wire.teams.ListTeams(pb.ListTeamsRequest(query="voices"))).teams
        members = (await wire.members.ListMembers(members_pb.ListMembersRequest(team_id=team.team_id))).members

        assert [got] == list(found)
        assert [("Mio", "", True)] == [(one.account_name, one.account_id, one.role.founder) for one in members]

    @pytest.mark.parametrize(
        ("over", "field"),
        [
            ({"name": "x"}, "team.name"),
            ({"website_url": "http://wind.example"}, "team.website_url"),
            ({"website_url": "javascript:alert(1)"}, "team.website_url"),
            ({"languages": ["ru", "ru"]}, "team.languages"),
            ({"team_id": "me"}, "team.team_id"),
            ({"name": "Wind Vоices"}, "team.name"),  # noqa: RUF001
            ({"name": "\u202eWind"}, "team.name"),
        ],
    )
    async def test_are_refused_with_the_field_that_is_wrong(
        self, wire: Wire, founder: Viewer, signed: Signed, over: dict[str, Any], field: str
    ) -> None:
        sent = team_pb2.Team(**{"name": "Wind Voices", **over})

        refused = await refusal(wire.teams.CreateTeam(pb.CreateTeamRequest(team=sent), metadata=signed(founder)))

        assert (Code.INVALID_ARGUMENT, {field}) == (refused.code, set(refused.fields))

    async def test_b4_keep_what_only_the_platform_decides(
        self, wire: Wire, studio: Studio, founder: Viewer, signed: Signed, database: Database
    ) -> None:
        team = await studio.team(founder)
        sent = team_pb2.Team(team_id=team.team_id, member_count=99, description="Big.")
        sent.create_time.FromSeconds(1)

        for path in ("member_count", "create_time", "version", "team_id", "founder_id"):
            request = pb.UpdateTeamRequest(team=sent, update_mask=FieldMask(paths=[path]))
            refused = await refusal(wire.teams.UpdateTeam(request, metadata=signed(founder)))
            assert (Code.INVALID_ARGUMENT, "TEAM_FIELD_UNKNOWN") == (refused.code, refused.reason)
        request = pb.UpdateTeamRequest(team=sent, update_mask=FieldMask(paths=["description"]))
        changed = (await wire.teams.UpdateTeam(request, metadata=signed(founder))).team

        assert ("Big.", 1) == (changed.description, changed.member_count)
        assert NOON == changed.create_time.ToDatetime(tzinfo=NOON.tzinfo)

    async def test_tell_of_a_conflict(self, wire: Wire, studio: Studio, founder: Viewer, signed: Signed) -> None:
        team = await studio.team(founder)
        sent = team_pb2.Team(team_id=team.team_id, description="Big.", version=7)
        request = pb.UpdateTeamRequest(team=sent, update_mask=FieldMask(paths=["description"]))

        refused = await refusal(wire.teams.UpdateTeam(request, metadata=signed(founder)))

        assert (Code.ABORTED, "TEAM_CHANGED_MEANWHILE") == (refused.code, refused.reason)


class TestPromotion:
    async def test_above_ones_weight_is_refused_by_name(self, wire: Wire, studio: Studio, founder: Viewer, signed: Signed) -> None:
        """A team weight game over the wire: a lead lifts a friend, itself, its role, and makes a role to lift by."""
        team = await studio.team(founder)
        same, high = await studio.role(founder, team, 50), await studio.role(founder, team, 60)
        lead = await studio.join(founder, team, "Yui", same)
        friend = await studio.join(founder, team, "Azusa", await studio.role(founder, team, 5))

        def change(account_id: str, role_id: str) -> Any:
            request = members_pb.ChangeMemberRoleRequest(team_id=team.team_id, account_id=account_id, role_id=role_id)
            return wire.members.ChangeMemberRole(request, metadata=signed(lead))

        raised = team_pb2.TeamRole(role_id=same.role_id, weight=999)
        mask = FieldMask(paths=["weight"])
        tries = {
            "lift a friend": (change(friend.account_id, high.role_id), "WEIGHT_TOO_LOW"),
            "level with a friend": (change(friend.account_id, same.role_id), "WEIGHT_TOO_LOW"),
            "lift itself": (change(lead.account_id, high.role_id), "OWN_ROLE"),
            "lift its role": (
                wire.roles.UpdateRole(
                    roles_pb.UpdateRoleRequest(team_id=team.team_id, role=raised, update_mask=mask), metadata=signed(lead)
                ),
                "WEIGHT_TOO_LOW",
            ),
            "make a role": (
                wire.roles.CreateRole(
                    roles_pb.CreateRoleRequest(team_id=team.team_id, role=team_pb2.TeamRole(name="Boss", weight=999)),
                    metadata=signed(lead),
                ),
                "WEIGHT_TOO_LOW",
            ),
        }
        for call, reason in tries.values():
            refused = await refusal(call)
            assert (Code.PERMISSION_DENIED, reason) == (refused.code, refused.reason)

    @pytest.mark.parametrize("weight", [0, -1, 1000, 2**31 - 1])
    async def test_to_the_founders_weight_is_no_request_at_all(
        self, wire: Wire, studio: Studio, founder: Viewer, signed: Signed, weight: int
    ) -> None:
        team = await studio.team(founder)
        request = roles_pb.CreateRoleRequest(team_id=team.team_id, role=team_pb2.TeamRole(name="Boss", weight=weight))

        refused = await refusal(wire.roles.CreateRole(request, metadata=signed(founder)))

        assert (Code.INVALID_ARGUMENT, {"role.weight"}) == (refused.code, set(refused.fields))


class TestMembers:
    async def test_say_of_themselves_what_a_mask_names(self, wire: Wire, studio: Studio, founder: Viewer, signed: Signed) -> None:
        team = await studio.team(founder)
        said = team_pb2.TeamMember(
            nickname="Mio-chan", duties=[team_pb2.TEAM_DUTY_VOICING, team_pb2.TEAM_DUTY_POSTER], vacation=True, intern=True
        )
        mask = FieldMask(paths=["nickname", "duties", "vacation"])
        facts: dict[str, Any] = {"team_id": team.team_id, "account_id": founder.account_id, "member": said}
        request = members_pb.UpdateMemberRequest(**facts, update_mask=mask)

        member = (await wire.members.UpdateMember(request, metadata=signed(founder))).member
        own = members_pb.UpdateMemberRequest(**facts, update_mask=FieldMask(paths=["intern"]))
        role = members_pb.UpdateMemberRequest(**facts, update_mask=FieldMask(paths=["role"]))

        assert (said.nickname, said.duties, True, False) == (member.nickname, member.duties, member.vacation, member.intern)
        assert "OWN_ROLE" == (await refusal(wire.members.UpdateMember(own, metadata=signed(founder)))).reason
        assert "TEAM_FIELD_UNKNOWN" == (await refusal(wire.members.UpdateMember(role, metadata=signed(founder)))).reason

    async def test_go_and_invitations_end(self, wire: Wire, studio: Studio, founder: Viewer, signed: Signed) -> None:
        team = await studio.team(founder)
        role = await studio.role(founder, team, 5)
        yui, azusa, ui, jun = [await studio.join(founder, team, name, role) for name in ("Yui", "Azusa")] + [
            await studio.person(name) for name in ("Ui", "Jun")
        ]
        mio, in_team = signed(founder), {"team_id": team.team_id}
        for person in (ui, jun):
            invite = members_pb.AddMemberRequest(**in_team, account_id=person.account_id, role_id=role.role_id)
            await wire.members.AddMember(invite, metadata=mio)

        waiting = (await wire.members.ListInvitations(members_pb.ListInvitationsRequest(**in_team), metadata=mio)).invitations
        mine = (await wire.members.ListOwnInvitations(members_pb.ListOwnInvitationsRequest(), metadata=signed(ui))).invitations
        await wire.members.LeaveTeam(members_pb.LeaveTeamRequest(**in_team), metadata=signed(yui))
        remove = members_pb.RemoveMemberRequest(**in_team, account_id=azusa.account_id)
        await wire.members.RemoveMember(remove, metadata=mio)
        await wire.members.DeclineInvitation(members_pb.DeclineInvitationRequest(**in_team), metadata=signed(ui))
        revoke = members_pb.RevokeInvitationRequest(**in_team, account_id=jun.account_id)
        await wire.members.RevokeInvitation(revoke, metadata=mio)
        leave = await refusal(wire.members.LeaveTeam(members_pb.LeaveTeamRequest(**in_team), metadata=mio))
        await wire.roles.DeleteRole(roles_pb.DeleteRoleRequest(**in_team, role_id=role.role_id), metadata=mio)
        roles = (await wire.roles.ListRoles(roles_pb.ListRolesRequest(**in_team), metadata=mio)).roles
        await wire.teams.DeleteTeam(pb.DeleteTeamRequest(**in_team), metadata=mio)

        assert {ui.account_id, jun.account_id} == {one.account_id for one in waiting}
        assert [team.team_id] == [one.team_id for one in mine]
        assert (Code.FAILED_PRECONDITION, "FOUNDER_STAYS") == (leave.code, leave.reason)
        assert ["Founder", "Member"] == [one.name for one in roles]
        assert Code.NOT_FOUND is (await refusal(wire.teams.GetTeam(pb.GetTeamRequest(**in_team)))).code


def _requests(team_id: str, account_id: str, role_id: str) -> dict[str, Message]:
    """Return a good request for each method that names a team."""
    in_team: dict[str, Any] = {"team_id": team_id}
    member, role = in_team | {"account_id": account_id}, in_team | {"role_id": role_id}
    text = FieldMask(paths=["description"])
    changed = team_pb2.Team(team_id=team_id, description="Ours now.")
    return {
        "UpdateTeam": pb.UpdateTeamRequest(team=changed, update_mask=text),
        "DeleteTeam": pb.DeleteTeamRequest(**in_team),
        "TransferTeam": pb.TransferTeamRequest(**member, role_id=role_id),
        "AddMember": members_pb.AddMemberRequest(**member, role_id=role_id),
        "ListInvitations": members_pb.ListInvitationsRequest(**in_team),
        "RevokeInvitation": members_pb.RevokeInvitationRequest(**member),
        "AcceptInvitation": members_pb.AcceptInvitationRequest(**in_team),
        "DeclineInvitation": members_pb.DeclineInvitationRequest(**in_team),
        "UpdateMember": members_pb.UpdateMemberRequest(
            **member, member=team_pb2.TeamMember(nickname="Ours"), update_mask=FieldMask(paths=["nickname"])
        ),
        "ChangeMemberRole": members_pb.ChangeMemberRoleRequest(**member, role_id=role_id),
        "RemoveMember": members_pb.RemoveMemberRequest(**member),
        "LeaveTeam": members_pb.LeaveTeamRequest(**in_team),
        "CreateRole": roles_pb.CreateRoleRequest(**in_team, role=team_pb2.TeamRole(name="Ours", weight=1)),
        "ListRoles": roles_pb.ListRolesRequest(**in_team),
        "UpdateRole": roles_pb.UpdateRoleRequest(
            **in_team, role=team_pb2.TeamRole(role_id=role_id, name="Ours"), update_mask=FieldMask(paths=["name"])
        ),
        "DeleteRole": roles_pb.DeleteRoleRequest(**role),
        "ModerateTeam": admin_pb.ModerateTeamRequest(team=changed, update_mask=text),
        "DisbandTeam": admin_pb.DisbandTeamRequest(**in_team, reason="because"),
    }


OPEN_TO_ALL = {"CreateTeam", "GetTeam", "ListTeams", "ListOwnTeams", "ListOwnInvitations", "ListMembers"}
SERVICES = (pb, members_pb, roles_pb, admin_pb)
METHODS = [method for module in SERVICES for service in module.DESCRIPTOR.services_by_name.values() for method in service.methods]


class TestAnothersTeam:
    """B2: BOLA, generated from the contract: an outsider who runs a team of their own, and a member without permissions."""

    def test_is_tried_with_every_method(self) -> None:
        assert {method.name for method in METHODS} == OPEN_TO_ALL | set(_requests("", "", ""))

    @pytest.mark.parametrize("inside", [False, True], ids=["an outsider", "a member without permissions"])
    async def test_stays_as_it_is(
        self, served: Served, studio: Studio, founder: Viewer, signed: Signed, database: Database, *, inside: bool
    ) -> None:
        team = await studio.team(founder)
        role = await studio.role(founder, team, 5)
        low = await studio.role(founder, team, 3, frozenset())
        victim = await studio.join(founder, team, "Azusa", role)
        thief = await studio.join(founder, team, "Ritsu", low) if inside else await studio.person("Ritsu")
        await studio.team(thief, "Thieves")
        before = await kept(database)
        own_right = {"ListRoles", "AcceptInvitation", "LeaveTeam"} if inside else set()

        requests = _requests(team.team_id, victim.account_id, role.role_id)
        for method in METHODS:
            if method.name in OPEN_TO_ALL | own_right:
                continue
            call: Any = served.channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
            refused = await refusal(call(requests[method.name].SerializeToString(), metadata=signed(thief)))
            assert refused.code in {Code.PERMISSION_DENIED, Code.NOT_FOUND}, method.name

        assert before == await kept(database)

    async def test_is_for_moderators(self, wire: Wire, studio: Studio, founder: Viewer, token: Token, database: Database) -> None:
        """B3: BFLA, by the permission that the policy names and a role brings."""
        team = await studio.team(founder)
        request = admin_pb.DisbandTeamRequest(team_id=team.team_id, reason="spam")

        guest = await refusal(wire.admin.DisbandTeam(request))
        user = await refusal(wire.admin.DisbandTeam(request, metadata=token(Role.USER)))
        await wire.admin.DisbandTeam(request, metadata=token(Role.MODERATOR))

        assert (Code.UNAUTHENTICATED, "CREDENTIALS_MISSING") == (guest.code, guest.reason)
        assert (Code.PERMISSION_DENIED, "PERMISSION_MISSING") == (user.code, user.reason)
        assert Code.NOT_FOUND is (await refusal(wire.teams.GetTeam(pb.GetTeamRequest(team_id=team.team_id)))).code
        async with database.reads(bare)() as connection:
            audited = await connection.fetchval("SELECT count(*) FROM platform.audit_log WHERE method LIKE '%DisbandTeam'")
        assert 3 == audited

    async def test_is_not_found_when_it_is_not_there(self, served: Served, founder: Viewer, signed: Signed) -> None:
        for name, request in _requests(*(new_id(at=NOON) for _ in range(3))).items():
            if name in {"ModerateTeam", "DisbandTeam"}:
                continue
            method = next(method for method in METHODS if method.name == name)
            call: Any = served.channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
            refused = await refusal(call(request.SerializeToString(), metadata=signed(founder)))
            assert (Code.NOT_FOUND, "TEAM_NOT_FOUND") == (refused.code, refused.reason), name
