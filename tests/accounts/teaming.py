"""Teams for tests: accounts that are simply there, and a team with roles of several weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.postgres import Database, bare
from adapters.postgres.accounts.teams import PostgresTeams
from domain.accounts.naming import name_key
from domain.accounts.team_members import TeamMembers
from domain.accounts.team_roles import TeamRoles
from domain.accounts.team_service import Teams
from domain.accounts.teams import Member, Team, TeamPermission, TeamRole
from domain.kernel import Viewer, new_id
from tests.builders import NOON, a_viewer

EVERY = frozenset(TeamPermission)


def a_team(**over: Any) -> Team:
    facts: dict[str, Any] = {"team_id": new_id(at=NOON), "name": "Wind Voices", "create_time": NOON, "update_time": NOON}
    return Team(**facts | over)


def a_role(weight: int, permissions: frozenset[TeamPermission] = EVERY, **over: Any) -> TeamRole:
    facts: dict[str, Any] = {"role_id": new_id(at=NOON), "team_id": new_id(at=NOON), "name": f"Role {weight}"}
    return TeamRole(**facts | {"weight": weight, "permissions": permissions} | over)


def a_member(role: TeamRole, **over: Any) -> Member:
    account_id = new_id(at=NOON)
    facts: dict[str, Any] = {"team_id": role.team_id, "account_id": account_id, "account_name": account_id, "join_time": NOON}
    return Member(**facts | {"role": role} | over)


@dataclass
class Studio:
    """A database with people and teams, and the services over it."""

    database: Database
    teams: Teams = field(init=False)
    members: TeamMembers = field(init=False)
    roles: TeamRoles = field(init=False)

    def __post_init__(self) -> None:
        begin, read = self.database.begins(PostgresTeams), self.database.reads(PostgresTeams)
        self.teams = Teams(begin=begin, read=read)
        self.members = TeamMembers(begin=begin, read=read)
        self.roles = TeamRoles(begin=begin, read=read)

    async def person(self, name: str, *, verified: bool = True, account_id: str = "", **over: Any) -> Viewer:
        """Open an account, and return who it is."""
        account_id = account_id or new_id(at=NOON)
        async with self.database.begins(bare)() as connection:
            await connection.execute(
                """
                INSERT INTO accounts.accounts (
                    account_id, email, email_key, email_verify_time, name, name_key, role, language, version, create_time,
                    update_time
                ) VALUES ($1, $2, $2, $3, $4, $5, 1, 'en', 1, $6, $6)
                """,
                account_id,
                f"{account_id}@example.org",
                NOON if verified else None,
                name,
                name_key(name),
                NOON,
            )
        return a_viewer(account_id=account_id, **over)

    async def team(self, founder: Viewer, name: str = "Wind Voices") -> Team:
        return await self.teams.create_team(a_team(name=name), viewer=founder)

    async def role(self, founder: Viewer, team: Team, weight: int, permissions: frozenset[TeamPermission] = EVERY) -> TeamRole:
        role = a_role(weight, permissions, team_id=team.team_id, name=f"Role {weight} {new_id(at=NOON)[-6:]}")
        return await self.roles.create_role(role, viewer=founder, at=NOON)

    async def join(self, inviter: Viewer, team: Team, name: str, role: TeamRole, *, at: datetime = NOON) -> Viewer:
        """Let somebody new be invited and accept."""
        viewer = await self.person(name)
        who = {"account_id": viewer.account_id, "role_id": role.role_id}
        await self.members.add_member(team.team_id, **who, viewer=inviter, at=at)
        await self.members.accept_invitation(team.team_id, viewer=viewer, at=at)
        return viewer

    async def all_members(self, team: Team) -> dict[str, Member]:
        async with self.database.reads(PostgresTeams)() as store:
            return {member.account_id: member for member in await store.members(team.team_id, after=None, limit=1000)}

    async def events(self) -> list[str]:
        async with self.database.reads(bare)() as connection:
            return [row["name"] for row in await connection.fetch("SELECT name FROM platform.events ORDER BY number")]
