"""What teams need of the database."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from domain.accounts.teams import (
    Invitation,
    Member,
    MemberNotFound,
    NotTeamMember,
    Person,
    Team,
    TeamNotFound,
    TeamRole,
    TeamRoleNotFound,
)
from domain.kernel import Event


class TeamStore(Protocol):
    """Teams, their roles and members within one unit of work."""

    async def person(self, account_id: str) -> Person | None:
        """Return an account that is in use."""

    async def person_called(self, name_key: str) -> Person | None: ...

    async def hold_person(self, account_id: str) -> None:
        """Keep others from putting the same account into teams until the unit of work ends."""

    async def founded_count(self, account_id: str) -> int: ...

    async def team(self, team_id: str) -> Team | None: ...

    async def team_to_change(self, team_id: str) -> Team | None:
        """Return a team and let nobody else change it, its roles or its members until the unit of work ends."""

    async def teams(self, *, query: str, language: str, after: tuple[str, str] | None, limit: int) -> list[Team]:
        """Return teams whose key holds the query, in the order of their keys and ids, from a place on."""

    async def add_team(self, team: Team) -> bool:
        """Keep a new team; False when its id or its name is in use, also by one that is no more."""

    async def save_team(self, team: Team) -> None:
        """Raises TeamNameTaken."""

    async def delete_team(self, team_id: str, *, at: datetime) -> None:
        """Dissolve a team with its members, roles and invitations; its id and name stay taken."""

    async def member(self, team_id: str, account_id: str) -> Member | None: ...

    async def members(self, team_id: str, *, after: tuple[int, int] | None, limit: int) -> list[Member]:
        """Return a team's members, the weightiest first and among those who joined first, from a place on."""

    async def memberships(self, account_id: str) -> list[tuple[Team, Member]]:
        """Return the teams that an account belongs to, in the order of their names."""

    async def add_member(self, member: Member) -> None: ...

    async def save_member(self, member: Member) -> None: ...

    async def remove_member(self, team_id: str, account_id: str) -> None: ...

    async def role(self, team_id: str, role_id: str) -> TeamRole | None: ...

    async def roles(self, team_id: str) -> list[TeamRole]:
        """Return a team's roles, the weightiest first."""

    async def add_role(self, role: TeamRole) -> bool:
        """Keep a new role; False when its id is in use, or its name in the team."""

    async def save_role(self, role: TeamRole) -> None:
        """Raises TeamRoleNameTaken."""

    async def delete_role(self, team_id: str, role_id: str) -> bool:
        """Delete a role and the invitations to it; False when members have it."""

    async def invitation(self, team_id: str, account_id: str, *, at: datetime) -> Invitation | None: ...

    async def invitations(self, *, team_id: str = "", account_id: str = "", at: datetime) -> list[Invitation]:
        """Return what is open of a team or of an account, the latest first."""

    async def keep_invitation(self, invitation: Invitation) -> None:
        """Keep an invitation in the place of an earlier one."""

    async def drop_invitation(self, team_id: str, account_id: str) -> None: ...

    async def record(self, event: Event) -> None: ...


async def the_team(store: TeamStore, team_id: str) -> Team:
    """Raises TeamNotFound."""
    if (team := await store.team_to_change(team_id)) is None:
        raise TeamNotFound(team=team_id)
    return team


async def the_actor(store: TeamStore, team_id: str, account_id: str) -> Member:
    """Lock a team, and return the member of it who acts. Raises TeamNotFound, NotTeamMember."""
    await the_team(store, team_id)
    if (actor := await store.member(team_id, account_id)) is None:
        raise NotTeamMember
    return actor


async def the_member(store: TeamStore, team_id: str, account_id: str) -> Member:
    """Raises MemberNotFound."""
    if (member := await store.member(team_id, account_id)) is None:
        raise MemberNotFound(account=account_id)
    return member


async def the_role(store: TeamStore, team_id: str, role_id: str) -> TeamRole:
    """Raises TeamRoleNotFound."""
    if (role := await store.role(team_id, role_id)) is None:
        raise TeamRoleNotFound(role=role_id)
    return role
