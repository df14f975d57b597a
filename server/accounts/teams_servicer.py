"""TeamsService, TeamMembersService, TeamRolesService and TeamsAdminService: read the request, ask the domain, render the answer."""

from __future__ import annotations

from ani.accounts.v1 import team_members_service_pb2 as members_pb
from ani.accounts.v1 import team_roles_service_pb2 as roles_pb
from ani.accounts.v1 import teams_admin_service_pb2 as admin_pb
from ani.accounts.v1 import teams_service_pb2 as pb
from domain.accounts.team_members import TeamMembers
from domain.accounts.team_roles import TeamRoles
from domain.accounts.team_service import Teams
from domain.kernel import Page
from server.accounts.team_mapping import (
    MEMBER_READERS,
    ROLE_READERS,
    TEAM_READERS,
    changes,
    invitation_to_pb,
    member_to_pb,
    role_from_pb,
    role_to_pb,
    team_from_pb,
    team_to_pb,
)
from server.pipeline.call import Call


class TeamsServicer:
    """Serves those who look for teams, and those who run them."""

    def __init__(self, teams: Teams) -> None:
        self._teams = teams

    async def CreateTeam(self, request: pb.CreateTeamRequest, call: Call) -> pb.CreateTeamResponse:
        team = await self._teams.create_team(team_from_pb(request.team, at=call.now), viewer=call.viewer)
        return pb.CreateTeamResponse(team=team_to_pb(team))

    async def GetTeam(self, request: pb.GetTeamRequest, call: Call) -> pb.GetTeamResponse:
        return pb.GetTeamResponse(team=team_to_pb(await self._teams.get_team(request.team_id)))

    async def ListTeams(self, request: pb.ListTeamsRequest, call: Call) -> pb.ListTeamsResponse:
        page = Page(request.page_size, request.page_token)
        found, following = await self._teams.list_teams(page, query=request.query, language=request.language)
        return pb.ListTeamsResponse(teams=map(team_to_pb, found), next_page_token=following)

    async def ListOwnTeams(self, request: pb.ListOwnTeamsRequest, call: Call) -> pb.ListOwnTeamsResponse:
        found = await self._teams.list_own_teams(viewer=call.viewer)
        return pb.ListOwnTeamsResponse(
            teams=[pb.OwnTeam(team=team_to_pb(team), member=member_to_pb(member)) for team, member in found]
        )

    async def UpdateTeam(self, request: pb.UpdateTeamRequest, call: Call) -> pb.UpdateTeamResponse:
        team = await self._teams.update_team(
            request.team.team_id,
            changes(TEAM_READERS, request.team, request.update_mask),
            version=request.team.version,
            viewer=call.viewer,
            at=call.now,
        )
        return pb.UpdateTeamResponse(team=team_to_pb(team))

    async def DeleteTeam(self, request: pb.DeleteTeamRequest, call: Call) -> pb.DeleteTeamResponse:
        await self._teams.delete_team(request.team_id, viewer=call.viewer, at=call.now)
        return pb.DeleteTeamResponse()

    async def TransferTeam(self, request: pb.TransferTeamRequest, call: Call) -> pb.TransferTeamResponse:
        team = await self._teams.transfer_team(
            request.team_id, request.account_id, role_id=request.role_id, viewer=call.viewer, at=call.now
        )
        return pb.TransferTeamResponse(team=team_to_pb(team))


class TeamsAdminServicer:
    """Serves moderators of teams."""

    def __init__(self, teams: Teams) -> None:
        self._teams = teams

    async def ModerateTeam(self, request: admin_pb.ModerateTeamRequest, call: Call) -> admin_pb.ModerateTeamResponse:
        team = await self._teams.change_any_team(
            request.team.team_id,
            changes(TEAM_READERS, request.team, request.update_mask),
            viewer=call.viewer,
            at=call.now,
            validate_only=request.validate_only,
        )
        return admin_pb.ModerateTeamResponse(team=team_to_pb(team))

    async def DisbandTeam(self, request: admin_pb.DisbandTeamRequest, call: Call) -> admin_pb.DisbandTeamResponse:
        await self._teams.disband_team(
            request.team_id, request.reason, viewer=call.viewer, at=call.now, validate_only=request.validate_only
        )
        return admin_pb.DisbandTeamResponse()


class TeamMembersServicer:
    """Serves those who belong to teams, or are about to."""

    def __init__(self, members: TeamMembers) -> None:
        self._members = members

    async def AddMember(self, request: members_pb.AddMemberRequest, call: Call) -> members_pb.AddMemberResponse:
        invitation = await self._members.add_member(
            request.team_id,
            account_id=request.account_id,
            account_name=request.account_name,
            role_id=request.role_id,
            viewer=call.viewer,
            at=call.now,
        )
        return members_pb.AddMemberResponse(invitation=invitation_to_pb(invitation))

    async def ListInvitations(self, request: members_pb.ListInvitationsRequest, call: Call) -> members_pb.ListInvitationsResponse:
        found = await self._members.list_invitations(request.team_id, viewer=call.viewer, at=call.now)
        return members_pb.ListInvitationsResponse(invitations=map(invitation_to_pb, found))

    async def RevokeInvitation(
        self, request: members_pb.RevokeInvitationRequest, call: Call
    ) -> members_pb.RevokeInvitationResponse:
        await self._members.revoke_invitation(request.team_id, request.account_id, viewer=call.viewer, at=call.now)
        return members_pb.RevokeInvitationResponse()

    async def ListOwnInvitations(
        self, request: members_pb.ListOwnInvitationsRequest, call: Call
    ) -> members_pb.ListOwnInvitationsResponse:
        found = await self._members.list_own_invitations(viewer=call.viewer, at=call.now)
        return members_pb.ListOwnInvitationsResponse(invitations=map(invitation_to_pb, found))

    async def AcceptInvitation(
        self, request: members_pb.AcceptInvitationRequest, call: Call
    ) -> members_pb.AcceptInvitationResponse:
        member = await self._members.accept_invitation(request.team_id, viewer=call.viewer, at=call.now)
        return members_pb.AcceptInvitationResponse(member=member_to_pb(member))

    async def DeclineInvitation(
        self, request: members_pb.DeclineInvitationRequest, call: Call
    ) -> members_pb.DeclineInvitationResponse:
        await self._members.decline_invitation(request.team_id, viewer=call.viewer, at=call.now)
        return members_pb.DeclineInvitationResponse()

    async def ListMembers(self, request: members_pb.ListMembersRequest, call: Call) -> members_pb.ListMembersResponse:
        page = Page(request.page_size, request.page_token)
        found, following = await self._members.list_members(request.team_id, page, viewer=call.viewer)
        return members_pb.ListMembersResponse(members=map(member_to_pb, found), next_page_token=following)

    async def UpdateMember(self, request: members_pb.UpdateMemberRequest, call: Call) -> members_pb.UpdateMemberResponse:
        member = await self._members.update_member(
            request.team_id,
            request.account_id,
            changes(MEMBER_READERS, request.member, request.update_mask),
            viewer=call.viewer,
            at=call.now,
        )
        return members_pb.UpdateMemberResponse(member=member_to_pb(member))

    async def ChangeMemberRole(
        self, request: members_pb.ChangeMemberRoleRequest, call: Call
    ) -> members_pb.ChangeMemberRoleResponse:
        member = await self._members.change_member_role(
            request.team_id, request.account_id, request.role_id, viewer=call.viewer, at=call.now
        )
        return members_pb.ChangeMemberRoleResponse(member=member_to_pb(member))

    async def RemoveMember(self, request: members_pb.RemoveMemberRequest, call: Call) -> members_pb.RemoveMemberResponse:
        await self._members.remove_member(request.team_id, request.account_id, viewer=call.viewer, at=call.now)
        return members_pb.RemoveMemberResponse()

    async def LeaveTeam(self, request: members_pb.LeaveTeamRequest, call: Call) -> members_pb.LeaveTeamResponse:
        await self._members.leave_team(request.team_id, viewer=call.viewer, at=call.now)
        return members_pb.LeaveTeamResponse()


class TeamRolesServicer:
    """Serves those who decide on a team's hierarchy."""

    def __init__(self, roles: TeamRoles) -> None:
        self._roles = roles

    async def CreateRole(self, request: roles_pb.CreateRoleRequest, call: Call) -> roles_pb.CreateRoleResponse:
        role = role_from_pb(request.role, team_id=request.team_id, at=call.now)
        return roles_pb.CreateRoleResponse(role=role_to_pb(await self._roles.create_role(role, viewer=call.viewer, at=call.now)))

    async def ListRoles(self, request: roles_pb.ListRolesRequest, call: Call) -> roles_pb.ListRolesResponse:
        found = await self._roles.list_roles(request.team_id, viewer=call.viewer)
        return roles_pb.ListRolesResponse(roles=map(role_to_pb, found))

    async def UpdateRole(self, request: roles_pb.UpdateRoleRequest, call: Call) -> roles_pb.UpdateRoleResponse:
        role = await self._roles.update_role(
            request.team_id,
            request.role.role_id,
            changes(ROLE_READERS, request.role, request.update_mask),
            viewer=call.viewer,
            at=call.now,
        )
        return roles_pb.UpdateRoleResponse(role=role_to_pb(role))

    async def DeleteRole(self, request: roles_pb.DeleteRoleRequest, call: Call) -> roles_pb.DeleteRoleResponse:
        await self._roles.delete_role(request.team_id, request.role_id, viewer=call.viewer, at=call.now)
        return roles_pb.DeleteRoleResponse()
