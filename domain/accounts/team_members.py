"""Members of teams: inviting, joining, leaving, and what is said of them; one method for each RPC."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.accounts import team_events as events
from domain.accounts.naming import name_key, tidy_name
from domain.accounts.team_ports import TeamStore, the_actor, the_member, the_role, the_team
from domain.accounts.teams import (
    DAY_SECONDS,
    INVITATION_LASTS,
    MOST_FOUNDED,
    MOST_INVITATIONS,
    MOST_INVITATIONS_OF_ONE,
    MOST_MEMBERS,
    MOST_TEAMS,
    AlreadyMember,
    FounderStays,
    Invitation,
    InvitationNotFound,
    InvitationVoid,
    InviteeNotFound,
    Member,
    NotTeamMember,
    Person,
    TeamFull,
    TeamNotFound,
    TeamPermission,
    TooManyTeams,
    demand,
    demand_above,
    demand_may_assign,
    demand_may_edit,
    demand_may_invite,
    demand_may_remove,
)
from domain.kernel import Begin, Page, PermissionDenied, Viewer
from domain.paging import PageTokenInvalid, place_token, place_values
from domain.permissions import Permission, holds


class TeamMembers:
    """The members of teams, and those who are invited."""

    def __init__(self, *, begin: Begin[TeamStore], read: Begin[TeamStore]) -> None:
        self._begin = begin
        self._read = read

    async def add_member(
        self, team_id: str, *, account_id: str = "", account_name: str = "", role_id: str, viewer: Viewer, at: datetime
    ) -> Invitation:
        """Invite an account by its id or its name; the same invitation of the same member is given back.

        Raises InviteeNotFound, AlreadyMember, TeamFull, NotTeamMember, WeightTooLow and TeamPermissionMissing.
        """
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            role = await the_role(store, team_id, role_id)
            demand_may_invite(actor, role)
            person = await _person(store, account_id, account_name)
            if await store.member(team_id, person.account_id) is not None:
                raise AlreadyMember(account=person.account_id)
            open_already = await store.invitation(team_id, person.account_id, at=at)
            if open_already is not None:
                demand_above(actor.role, open_already.role.weight)
                if (open_already.inviter_id, open_already.role) == (viewer.account_id, role):
                    return open_already
            else:
                # Teams that invite the same person at once are counted one after the other.
                await store.hold_person(person.account_id)
                await self._demand_room(store, team_id, person.account_id, at=at)
            invitation = Invitation(
                team_id=team_id,
                team_name=(await the_team(store, team_id)).name,
                account_id=person.account_id,
                account_name=person.name,
                role=role,
                inviter_id=viewer.account_id,
                create_time=at,
                expire_time=at + INVITATION_LASTS,
            )
            await store.keep_invitation(invitation)
            who = {"team_id": team_id, "account_id": person.account_id, "role_id": role_id, "inviter_id": viewer.account_id}
            await store.record(events.MemberInvited(time=at, **who))
            return invitation

    async def list_invitations(self, team_id: str, *, viewer: Viewer, at: datetime) -> list[Invitation]:
        """Return the open invitations of a team, the latest first. Raises NotTeamMember and TeamPermissionMissing."""
        async with self._read() as store:
            await _demand_inside(store, team_id, viewer, TeamPermission.INVITE)
            return await store.invitations(team_id=team_id, at=at)

    async def list_own_invitations(self, *, viewer: Viewer, at: datetime) -> list[Invitation]:
        async with self._read() as store:
            return await store.invitations(account_id=viewer.account_id, at=at)

    async def accept_invitation(self, team_id: str, *, viewer: Viewer, at: datetime) -> Member:
        """Join a team; who has joined already is given back. Raises InvitationNotFound, InvitationVoid, TeamFull, TooManyTeams."""
        async with self._begin() as store:
            team = await the_team(store, team_id)
            if (member := await store.member(team_id, viewer.account_id)) is not None:
                return member
            invitation = await store.invitation(team_id, viewer.account_id, at=at)
            person = await store.person(viewer.account_id)
            if invitation is None or person is None:
                raise InvitationNotFound(account=viewer.account_id)
            await _demand_valid(store, invitation)
            if team.member_count >= MOST_MEMBERS:
                raise TeamFull(most=MOST_MEMBERS, what="members", retry_after=DAY_SECONDS)
            await store.hold_person(viewer.account_id)
            if len(await store.memberships(viewer.account_id)) >= MOST_TEAMS:
                raise TooManyTeams(founded=MOST_FOUNDED, teams=MOST_TEAMS, retry_after=DAY_SECONDS)
            member = Member(
                team_id=team_id, account_id=person.account_id, account_name=person.name, role=invitation.role, join_time=at
            )
            await store.add_member(member)
            await store.drop_invitation(team_id, viewer.account_id)
            who = {"team_id": team_id, "account_id": viewer.account_id, "inviter_id": invitation.inviter_id}
            await store.record(events.MemberAdded(time=at, role_id=member.role.role_id, **who))
            return member

    async def decline_invitation(self, team_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Raises TeamNotFound and InvitationNotFound."""
        async with self._begin() as store:
            await the_team(store, team_id)
            await self._end_invitation(store, team_id, viewer.account_id, by=viewer.account_id, at=at)

    async def revoke_invitation(self, team_id: str, account_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Take an invitation back, one's own or one to a role below one's weight. Raises InvitationNotFound, WeightTooLow."""
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            demand(actor, TeamPermission.INVITE)
            invitation = await store.invitation(team_id, account_id, at=at)
            if invitation is not None and invitation.inviter_id != viewer.account_id:
                demand_above(actor.role, invitation.role.weight)
            await self._end_invitation(store, team_id, account_id, by=viewer.account_id, at=at)

    async def list_members(self, team_id: str, page: Page, *, viewer: Viewer) -> tuple[list[Member], str]:
        """Return members, the weightiest first; only members and staff learn whose accounts they are. Raises TeamNotFound."""
        binding = repr(("team_members", team_id))
        after = _place(page.token, binding=binding)
        async with self._read() as store:
            if await store.team(team_id) is None:
                raise TeamNotFound(team=team_id)
            inside = holds(viewer, Permission.TEAMS_MODERATE) or (
                bool(viewer.account_id) and await store.member(team_id, viewer.account_id) is not None
            )
            found = await store.members(team_id, after=after, limit=page.size + 1)
        shown = [one if inside else replace(one, account_id="") for one in found[: page.size]]
        if len(found) <= page.size:
            return shown, ""
        last = found[page.size - 1]
        return shown, place_token(last.role.weight, last.number, binding=binding)

    async def update_member(
        self, team_id: str, account_id: str, changes: dict[str, Any], *, viewer: Viewer, at: datetime
    ) -> Member:
        """Change what a team says of a member. Raises NotTeamMember, MemberNotFound, OwnRole, WeightTooLow."""
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            before = await the_member(store, team_id, account_id)
            demand_may_edit(actor, before, frozenset(changes))
            if changes.get("nickname"):
                changes = changes | {"nickname": tidy_name(changes["nickname"], field="member.nickname")}
            after = replace(before, **changes)
            if fields := tuple(name for name in changes if getattr(before, name) != getattr(after, name)):
                await store.save_member(after)
                who = {"team_id": team_id, "account_id": account_id, "by_account_id": viewer.account_id}
                await store.record(events.MemberUpdated(time=at, fields=fields, **who))
            return after

    async def change_member_role(self, team_id: str, account_id: str, role_id: str, *, viewer: Viewer, at: datetime) -> Member:
        """Give a member another role. Raises NotTeamMember, MemberNotFound, TeamRoleNotFound, OwnRole, WeightTooLow."""
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            before = await the_member(store, team_id, account_id)
            role = await the_role(store, team_id, role_id)
            demand_may_assign(actor, before, role)
            after = replace(before, role=role)
            if role.role_id != before.role.role_id:
                await store.save_member(after)
                roles = {"role_id": role_id, "former_role_id": before.role.role_id}
                who = {"team_id": team_id, "account_id": account_id, "by_account_id": viewer.account_id}
                await store.record(events.RoleChanged(time=at, **roles, **who))
            return after

    async def remove_member(self, team_id: str, account_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Raises NotTeamMember, MemberNotFound, OwnRole, WeightTooLow."""
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            demand_may_remove(actor, await the_member(store, team_id, account_id))
            await self._remove(store, team_id, account_id, by=viewer.account_id, at=at)

    async def leave_team(self, team_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Raises NotTeamMember and FounderStays."""
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            if actor.role.is_founder:
                raise FounderStays
            await self._remove(store, team_id, viewer.account_id, by=viewer.account_id, at=at)

    async def _demand_room(self, store: TeamStore, team_id: str, account_id: str, *, at: datetime) -> None:
        """Raises TeamFull, the same whether the team or the account has too many: how many others invited it is its own matter."""
        what = f"open invitations, and an account at most {MOST_INVITATIONS_OF_ONE}"
        if len(await store.invitations(team_id=team_id, at=at)) >= MOST_INVITATIONS:
            raise TeamFull(most=MOST_INVITATIONS, what=what, retry_after=DAY_SECONDS)
        if len(await store.invitations(account_id=account_id, at=at)) >= MOST_INVITATIONS_OF_ONE:
            raise TeamFull(most=MOST_INVITATIONS, what=what, retry_after=DAY_SECONDS)

    async def _end_invitation(self, store: TeamStore, team_id: str, account_id: str, *, by: str, at: datetime) -> None:
        if await store.invitation(team_id, account_id, at=at) is None:
            raise InvitationNotFound(account=account_id)
        await store.drop_invitation(team_id, account_id)
        await store.record(events.InvitationEnded(time=at, team_id=team_id, account_id=account_id, by_account_id=by))

    async def _remove(self, store: TeamStore, team_id: str, account_id: str, *, by: str, at: datetime) -> None:
        await store.remove_member(team_id, account_id)
        await store.record(events.MemberRemoved(time=at, team_id=team_id, account_id=account_id, by_account_id=by))


async def _person(store: TeamStore, account_id: str, account_name: str) -> Person:
    person = await store.person(account_id) if account_id else await store.person_called(name_key(account_name))
    if person is None:
        raise InviteeNotFound(account=account_id or account_name)
    return person


async def _demand_valid(store: TeamStore, invitation: Invitation) -> None:
    """Look at the hierarchy as it is now: roles grow, and who invited may have lost theirs. Raises InvitationVoid."""
    inviter = await store.member(invitation.team_id, invitation.inviter_id)
    if inviter is None:
        raise InvitationVoid
    try:
        demand_may_invite(inviter, invitation.role)
    except PermissionDenied as refusal:
        raise InvitationVoid from refusal


async def _demand_inside(store: TeamStore, team_id: str, viewer: Viewer, permission: TeamPermission) -> None:
    """Raises TeamNotFound, NotTeamMember and TeamPermissionMissing; nothing is locked."""
    if await store.team(team_id) is None:
        raise TeamNotFound(team=team_id)
    if (member := await store.member(team_id, viewer.account_id)) is None:
        raise NotTeamMember
    demand(member, permission)


def _place(token: str, *, binding: str) -> tuple[int, int] | None:
    """Raises PageTokenInvalid."""
    values = place_values(token, binding=binding)
    if values is None:
        return None
    if [type(value) for value in values] != [int, int] or not (0 <= values[0] < 2**15 and 0 <= values[1] < 2**63):
        raise PageTokenInvalid(field="page_token")
    return values[0], values[1]
