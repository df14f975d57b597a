"""Teams: founding, finding, changing, handing over and dissolving them, one method for each RPC."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.accounts import team_events as events
from domain.accounts.model import AccountNotFound
from domain.accounts.naming import name_key, tidy_name
from domain.accounts.team_ports import TeamStore, the_actor, the_member, the_role, the_team
from domain.accounts.teams import (
    DAY_SECONDS,
    FOUNDER_WEIGHT,
    MOST_FOUNDED,
    MOST_TEAMS,
    EmailUnverified,
    FounderOnly,
    Member,
    Team,
    TeamChangedMeanwhile,
    TeamIdReused,
    TeamNameTaken,
    TeamNotFound,
    TeamPermission,
    TeamRole,
    TooManyTeams,
    demand,
    demand_may_hand_over,
)
from domain.kernel import Begin, Page, Viewer, new_id
from domain.paging import PageTokenInvalid, place_token, place_values, valid_id
from domain.permissions import Permission
from domain.permissions import demand as demand_of_all


class Teams:
    """Teams as a whole."""

    def __init__(self, *, begin: Begin[TeamStore], read: Begin[TeamStore]) -> None:
        self._begin = begin
        self._read = read

    async def create_team(self, team: Team, *, viewer: Viewer) -> Team:
        """Return the team, founded by the viewer; one created before with the same id and contents is given back.

        Raises AccountNotFound, EmailUnverified, TooManyTeams, TeamNameTaken, TeamIdReused, NameUnreadable and NameMixesScripts.
        """
        demand_of_all(viewer, Permission.TEAMS_FOUND)
        team = replace(team, name=tidy_name(team.name, field="team.name"), founder_id=viewer.account_id)
        at = team.create_time
        async with self._begin() as store:
            await store.hold_person(viewer.account_id)
            person = await store.person(viewer.account_id)
            if person is None:
                raise AccountNotFound
            if not person.verified:
                raise EmailUnverified
            if (known := await store.team(team.team_id)) is not None:
                return _same(known, team)
            await self._demand_room(store, viewer.account_id)
            if not await store.add_team(team):
                raise TeamNameTaken(name=team.name, field="team.name")
            founder, ordinary = _first_roles(team.team_id, at=at)
            for role in (founder, ordinary):
                await store.add_role(role)
            await store.add_member(
                Member(team_id=team.team_id, account_id=viewer.account_id, account_name=person.name, role=founder, join_time=at)
            )
            await store.record(events.TeamCreated(time=at, team_id=team.team_id, founder_id=viewer.account_id))
            return team

    async def get_team(self, team_id: str) -> Team:
        """Raises TeamNotFound."""
        async with self._read() as store:
            if (team := await store.team(team_id)) is None:
                raise TeamNotFound(team=team_id)
            return team

    async def list_teams(self, page: Page, *, query: str, language: str) -> tuple[list[Team], str]:
        """Return teams in the order of their names, and the token of the next page. Raises PageTokenInvalid."""
        wanted = name_key(query)
        binding = repr(("teams", wanted, language))
        after = _place(page.token, binding=binding)
        async with self._read() as store:
            found = await store.teams(query=wanted, language=language, after=after, limit=page.size + 1)
        if len(found) <= page.size:
            return found, ""
        last = found[page.size - 1]
        return found[: page.size], place_token(name_key(last.name), last.team_id, binding=binding)

    async def list_own_teams(self, *, viewer: Viewer) -> list[tuple[Team, Member]]:
        async with self._read() as store:
            return await store.memberships(viewer.account_id)

    async def update_team(self, team_id: str, changes: dict[str, Any], *, version: int, viewer: Viewer, at: datetime) -> Team:
        """Raises NotTeamMember, TeamPermissionMissing, TeamChangedMeanwhile and TeamNameTaken."""
        async with self._begin() as store:
            demand(await the_actor(store, team_id, viewer.account_id), TeamPermission.EDIT_TEAM)
            return await _change(store, team_id, changes, version=version, viewer=viewer, at=at)

    async def delete_team(self, team_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Dissolve a team. Raises TeamNotFound, NotTeamMember and FounderOnly."""
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            if not actor.role.is_founder:
                raise FounderOnly
            await _dissolve(store, team_id, by=viewer.account_id, at=at)

    async def transfer_team(self, team_id: str, account_id: str, *, role_id: str, viewer: Viewer, at: datetime) -> Team:
        """Make another member the founder, and give the former one a role. Raises FounderOnly, MemberNotFound, OwnRole."""
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            if not actor.role.is_founder:
                raise FounderOnly
            await store.hold_person(account_id)
            member = await the_member(store, team_id, account_id)
            role = await the_role(store, team_id, role_id)
            demand_may_hand_over(actor, member, role)
            if await store.founded_count(account_id) >= MOST_FOUNDED:
                raise TooManyTeams(founded=MOST_FOUNDED, teams=MOST_TEAMS, retry_after=DAY_SECONDS)
            await _crown(store, member, actor.role, at=at, former_id=viewer.account_id)
            await store.save_member(replace(actor, role=role))
            return await the_team(store, team_id)

    async def change_any_team(
        self, team_id: str, changes: dict[str, Any], *, viewer: Viewer, at: datetime, validate_only: bool = False
    ) -> Team:
        """Change what a team says of itself, for staff. Raises PermissionMissing, TeamNotFound, TeamNameTaken."""
        demand_of_all(viewer, Permission.TEAMS_MODERATE)
        async with self._begin(rehearse=validate_only) as store:
            return await _change(store, team_id, changes, version=0, viewer=viewer, at=at)

    async def disband_team(self, team_id: str, reason: str, *, viewer: Viewer, at: datetime, validate_only: bool = False) -> None:
        """Dissolve any team, for staff. Raises PermissionMissing, TeamNotFound."""
        demand_of_all(viewer, Permission.TEAMS_MODERATE)
        async with self._begin(rehearse=validate_only) as store:
            await the_team(store, team_id)
            await _dissolve(store, team_id, by=viewer.account_id, reason=reason, at=at)

    async def forget_account(self, account_id: str, *, at: datetime) -> None:
        """Take an account out of all teams; one it founded goes to the weightiest who is left, or is dissolved."""
        async with self._begin() as store:
            for team, _ in sorted(await store.memberships(account_id), key=lambda one: one[0].team_id):
                await the_team(store, team.team_id)
                member = await store.member(team.team_id, account_id)
                if member is None:
                    continue
                heir = await _heir(store, member) if member.role.is_founder else None
                await store.remove_member(team.team_id, account_id)
                await store.record(
                    events.MemberRemoved(time=at, team_id=team.team_id, account_id=account_id, by_account_id=account_id)
                )
                if heir is not None:
                    await _crown(store, heir, member.role, at=at, former_id=account_id)
                elif member.role.is_founder:
                    await _dissolve(store, team.team_id, by="", at=at)

    async def _demand_room(self, store: TeamStore, account_id: str) -> None:
        joined = len(await store.memberships(account_id))
        if await store.founded_count(account_id) >= MOST_FOUNDED or joined >= MOST_TEAMS:
            raise TooManyTeams(founded=MOST_FOUNDED, teams=MOST_TEAMS, retry_after=DAY_SECONDS)


def _first_roles(team_id: str, *, at: datetime) -> tuple[TeamRole, TeamRole]:
    every = frozenset(TeamPermission)
    founder = TeamRole(role_id=new_id(at=at), team_id=team_id, name="Founder", weight=FOUNDER_WEIGHT, permissions=every)
    return founder, TeamRole(role_id=new_id(at=at), team_id=team_id, name="Member", weight=1)


def _same(known: Team, asked: Team) -> Team:
    """Raises TeamIdReused; one that was changed since no longer tells what it was created with."""
    same = (known.name, known.description, known.website_url, known.languages) == (
        asked.name,
        asked.description,
        asked.website_url,
        asked.languages,
    )
    if known.founder_id != asked.founder_id or not (same or known.version > 1):
        raise TeamIdReused(team=asked.team_id, field="team.team_id")
    return known


def _place(token: str, *, binding: str) -> tuple[str, str] | None:
    values = place_values(token, binding=binding)
    if values is None:
        return None
    if len(values) != 2 or type(values[0]) is not str or "\0" in values[0]:
        raise PageTokenInvalid(field="page_token")
    return values[0], valid_id(values[1])


async def _change(store: TeamStore, team_id: str, changes: dict[str, Any], *, version: int, viewer: Viewer, at: datetime) -> Team:
    before = await the_team(store, team_id)
    if version not in (0, before.version):
        raise TeamChangedMeanwhile(team=team_id, present=before.version, named=version)
    if "name" in changes:
        changes = changes | {"name": tidy_name(changes["name"], field="team.name")}
    fields = tuple(name for name, value in changes.items() if getattr(before, name) != value)
    if not fields:
        return before
    after = replace(before, **changes, version=before.version + 1, update_time=at)
    await store.save_team(after)
    await store.record(events.TeamUpdated(time=at, team_id=team_id, account_id=viewer.account_id, fields=fields))
    return after


async def _crown(store: TeamStore, member: Member, role: TeamRole, *, at: datetime, former_id: str) -> None:
    """Make a member the founder."""
    await store.save_member(replace(member, role=role))
    told = {"founder_id": member.account_id, "former_founder_id": former_id}
    await store.record(events.TeamTransferred(time=at, team_id=member.team_id, **told))


async def _heir(store: TeamStore, founder: Member) -> Member | None:
    weightiest = await store.members(founder.team_id, after=None, limit=2)
    return next((one for one in weightiest if one.account_id != founder.account_id), None)


async def _dissolve(store: TeamStore, team_id: str, *, by: str, at: datetime, reason: str = "") -> None:
    await store.delete_team(team_id, at=at)
    await store.record(events.TeamDeleted(time=at, team_id=team_id, account_id=by, reason=reason))
