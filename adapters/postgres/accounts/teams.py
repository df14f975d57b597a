"""The store of teams, and where its rows and dataclasses meet."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import text

from adapters.postgres import Connection, outbox
from adapters.postgres.statement import Statement
from domain.accounts.naming import name_key
from domain.accounts.teams import (
    FOUNDER_WEIGHT,
    Duty,
    Invitation,
    Member,
    Person,
    Team,
    TeamNameTaken,
    TeamPermission,
    TeamRole,
    TeamRoleNameTaken,
)
from domain.kernel import Event


class PostgresTeams:
    """Teams on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def person(self, account_id: str) -> Person | None:
        row = await _PERSON.fetchrow(self._connection, account_id=account_id)
        return Person(**row) if row else None

    async def person_called(self, name_key: str) -> Person | None:
        row = await _PERSON_CALLED.fetchrow(self._connection, name_key=name_key)
        return Person(**row) if row else None

    async def hold_person(self, account_id: str) -> None:
        await _HOLD_PERSON.execute(self._connection, account_id=account_id)

    async def founded_count(self, account_id: str) -> int:
        return int(await _FOUNDED.fetchval(self._connection, account_id=account_id, weight=FOUNDER_WEIGHT))

    async def team(self, team_id: str) -> Team | None:
        row = await _TEAM.fetchrow(self._connection, team_id=team_id)
        return _team(row) if row else None

    async def team_to_change(self, team_id: str) -> Team | None:
        # The lock is taken first: what is counted in the same statement may be from before the wait for it.
        await _LOCK.execute(self._connection, team_id=team_id)
        return await self.team(team_id)

    async def teams(self, *, query: str, language: str, after: tuple[str, str] | None, limit: int) -> list[Team]:
        key, team_id = after or (None, None)
        values = {"query": query, "language": language, "after_key": key, "after_id": team_id, "limit": limit}
        return [_team(row) for row in await _TEAMS.fetch(self._connection, **values)]

    async def add_team(self, team: Team) -> bool:
        return await _ADD_TEAM.fetchval(self._connection, **_team_row(team), create_time=team.create_time) is not None

    async def save_team(self, team: Team) -> None:
        try:
            await _SAVE_TEAM.execute(self._connection, **_team_row(team))
        except asyncpg.UniqueViolationError as fault:
            raise TeamNameTaken(name=team.name, field="team.name") from fault

    async def delete_team(self, team_id: str, *, at: datetime) -> None:
        await _DROP_MEMBERS.execute(self._connection, team_id=team_id)
        await _DROP_ROLES.execute(self._connection, team_id=team_id)
        await _DELETE_TEAM.execute(self._connection, team_id=team_id, at=at)

    async def member(self, team_id: str, account_id: str) -> Member | None:
        # A caller's account may have no id at all, or one that was made by hand.
        row = await _MEMBER.fetchrow(self._connection, team_id=team_id, account_id=account_id)
        return _member(row) if row else None

    async def members(self, team_id: str, *, after: tuple[int, int] | None, limit: int) -> list[Member]:
        weight, number = after or (None, None)
        rows = await _MEMBERS.fetch(self._connection, team_id=team_id, weight=weight, number=number, limit=limit)
        return [_member(row) for row in rows]

    async def memberships(self, account_id: str) -> list[tuple[Team, Member]]:
        members = [_member(row) for row in await _MEMBERSHIPS.fetch(self._connection, account_id=account_id)]
        rows = await _TEAMS_OF.fetch(self._connection, team_ids=[member.team_id for member in members])
        by_id = {member.team_id: member for member in members}
        return [(_team(row), by_id[row["team_id"]]) for row in rows]

    async def add_member(self, member: Member) -> None:
        await _ADD_MEMBER.execute(self._connection, **_member_row(member), join_time=member.join_time)

    async def save_member(self, member: Member) -> None:
        await _SAVE_MEMBER.execute(self._connection, **_member_row(member))

    async def remove_member(self, team_id: str, account_id: str) -> None:
        await _REMOVE_MEMBER.execute(self._connection, team_id=team_id, account_id=account_id)

    async def role(self, team_id: str, role_id: str) -> TeamRole | None:
        row = await _ROLE.fetchrow(self._connection, team_id=team_id, role_id=role_id)
        return _role(row, row["name"]) if row else None

    async def roles(self, team_id: str) -> list[TeamRole]:
        return [_role(row, row["name"]) for row in await _ROLES.fetch(self._connection, team_id=team_id)]

    async def add_role(self, role: TeamRole) -> bool:
        return await _ADD_ROLE.fetchval(self._connection, **_role_row(role)) is not None

    async def save_role(self, role: TeamRole) -> None:
        try:
            await _SAVE_ROLE.execute(self._connection, **_role_row(role))
        except asyncpg.UniqueViolationError as fault:
            raise TeamRoleNameTaken(name=role.name, field="role.name") from fault

    async def delete_role(self, team_id: str, role_id: str) -> bool:
        return await _DELETE_ROLE.fetchval(self._connection, team_id=team_id, role_id=role_id) is not None

    async def invitation(self, team_id: str, account_id: str, *, at: datetime) -> Invitation | None:
        row = await _INVITATION.fetchrow(self._connection, team_id=team_id, account_id=account_id, at=at)
        return _invitation(row) if row else None

    async def invitations(self, *, team_id: str = "", account_id: str = "", at: datetime) -> list[Invitation]:
        rows = await _INVITATIONS.fetch(self._connection, team_id=team_id or None, account_id=account_id or None, at=at)
        return [_invitation(row) for row in rows]

    async def keep_invitation(self, invitation: Invitation) -> None:
        facts = {name: getattr(invitation, name) for name in ("team_id", "account_id", "inviter_id", "create_time", "expire_time")}
        await _KEEP_INVITATION.execute(self._connection, **facts, role_id=invitation.role.role_id)

    async def drop_invitation(self, team_id: str, account_id: str) -> None:
        await _DROP_INVITATION.execute(self._connection, team_id=team_id, account_id=account_id)

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)


def _team(row: asyncpg.Record) -> Team:
    facts: dict[str, Any] = dict(row)
    return Team(**facts | {"languages": tuple(facts["languages"])})


def _team_row(team: Team) -> dict[str, Any]:
    names = ("team_id", "name", "description", "website_url", "version", "update_time")
    facts = {name: getattr(team, name) for name in names}
    return facts | {"name_key": name_key(team.name), "languages": list(team.languages)}


def _role(row: asyncpg.Record, name: str) -> TeamRole:
    permissions = frozenset(map(TeamPermission, row["permissions"]))
    return TeamRole(role_id=row["role_id"], team_id=row["team_id"], name=name, weight=row["weight"], permissions=permissions)


def _role_row(role: TeamRole) -> dict[str, Any]:
    facts = {name: getattr(role, name) for name in ("team_id", "role_id", "name", "weight")}
    return facts | {"name_key": name_key(role.name), "permissions": sorted(role.permissions)}


def _member(row: asyncpg.Record) -> Member:
    plain = ("team_id", "account_id", "account_name", "nickname", "intern", "vacation", "join_time", "number")
    facts = {name: row[name] for name in plain}
    return Member(**facts, role=_role(row, row["role_name"]), duties=tuple(map(Duty, row["duties"])))


def _member_row(member: Member) -> dict[str, Any]:
    facts = {name: getattr(member, name) for name in ("team_id", "account_id", "nickname", "intern", "vacation")}
    return facts | {"role_id": member.role.role_id, "duties": list(member.duties)}


def _invitation(row: asyncpg.Record) -> Invitation:
    plain = ("team_id", "team_name", "account_id", "account_name", "inviter_id", "create_time", "expire_time")
    return Invitation(**{name: row[name] for name in plain}, role=_role(row, row["role_name"]))


def _query(sql: str) -> Statement:
    for name, part in _PARTS.items():
        sql = sql.replace(f"[{name}]", part)
    return Statement(text(sql))


_PARTS = {
    "team": f"""
        teams.team_id, teams.name, teams.description, teams.website_url, teams.languages, teams.version, teams.create_time,
        teams.update_time, counted.member_count, coalesce(CAST(counted.founder_id AS text), '') AS founder_id
        FROM accounts.teams CROSS JOIN LATERAL (
            SELECT
                count(*) AS member_count,
                min(CAST(team_members.account_id AS text)) FILTER (WHERE team_roles.weight = {FOUNDER_WEIGHT}) AS founder_id
            FROM accounts.team_members JOIN accounts.team_roles USING (team_id, role_id) WHERE team_members.team_id = teams.team_id
        ) counted
    """,  # noqa: S608 - a constant
    "member": """
        team_members.team_id, team_members.account_id, accounts.name AS account_name, team_members.role_id,
        team_roles.name AS role_name, team_roles.weight, team_roles.permissions, team_members.nickname, team_members.duties,
        team_members.intern, team_members.vacation, team_members.join_time, team_members.number
        FROM accounts.team_members
        JOIN accounts.team_roles USING (team_id, role_id)
        JOIN accounts.accounts ON accounts.account_id = team_members.account_id
    """,
    "invitation": """
        SELECT
            team_invitations.team_id, teams.name AS team_name, team_invitations.account_id, accounts.name AS account_name,
            team_invitations.role_id, team_roles.name AS role_name, team_roles.weight, team_roles.permissions,
            team_invitations.inviter_id, team_invitations.create_time, team_invitations.expire_time
        FROM accounts.team_invitations
        JOIN accounts.teams ON teams.team_id = team_invitations.team_id AND teams.delete_time IS NULL
        JOIN accounts.team_roles
            ON team_roles.team_id = team_invitations.team_id AND team_roles.role_id = team_invitations.role_id
        JOIN accounts.accounts ON accounts.account_id = team_invitations.account_id
        WHERE team_invitations.expire_time > :at
    """,
    "person": "SELECT account_id, name, email_verify_time IS NOT NULL AS verified FROM accounts.accounts WHERE delete_time IS NULL",
}
_PERSON = _query("[person] AND account_id = :account_id")
_PERSON_CALLED = _query("[person] AND name_key = :name_key")
_HOLD_PERSON = _query("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:account_id AS text), 7305))")
_FOUNDED = _query(
    """
    SELECT count(*) FROM accounts.team_members JOIN accounts.team_roles USING (team_id, role_id)
    WHERE account_id = :account_id AND weight = :weight
    """
)
_LOCK = _query("SELECT team_id FROM accounts.teams WHERE team_id = :team_id FOR UPDATE")
_TEAM = _query("SELECT [team] WHERE teams.team_id = :team_id AND teams.delete_time IS NULL")
_TEAMS = _query(
    """
    SELECT [team]
    WHERE teams.delete_time IS NULL
        AND strpos(teams.name_key, CAST(:query AS text)) > 0
        AND (CAST(:language AS text) = '' OR CAST(:language AS text) = ANY (teams.languages))
        AND (
            CAST(:after_key AS text) IS NULL
            OR (teams.name_key, teams.team_id) > (CAST(:after_key AS text), CAST(:after_id AS uuid))
        )
    ORDER BY teams.name_key, teams.team_id LIMIT :limit
    """
)
_TEAMS_OF = _query("SELECT [team] WHERE teams.team_id = ANY (CAST(:team_ids AS uuid[])) ORDER BY teams.name_key")
_ADD_TEAM = _query(
    """
    INSERT INTO accounts.teams (
        team_id, name, name_key, description, website_url, languages, version, create_time, update_time
    ) VALUES (
        :team_id, :name, :name_key, :description, :website_url, :languages, :version, :create_time, :update_time
    ) ON CONFLICT DO NOTHING RETURNING team_id
    """
)
_SAVE_TEAM = _query(
    """
    UPDATE accounts.teams SET
        name = :name, name_key = :name_key, description = :description, website_url = :website_url, languages = :languages,
        version = :version, update_time = :update_time
    WHERE team_id = :team_id
    """
)
_DROP_MEMBERS = _query("DELETE FROM accounts.team_members WHERE team_id = :team_id")
_DROP_ROLES = _query("DELETE FROM accounts.team_roles WHERE team_id = :team_id")
_DELETE_TEAM = _query("UPDATE accounts.teams SET delete_time = :at, description = '', website_url = '' WHERE team_id = :team_id")
_MEMBER = _query("SELECT [member] WHERE team_members.team_id = :team_id AND team_members.account_id = :account_id")
_MEMBERS = _query(
    """
    SELECT [member]
    WHERE team_members.team_id = :team_id AND (
        CAST(:weight AS integer) IS NULL
        OR team_roles.weight < CAST(:weight AS integer)
        OR (team_roles.weight = CAST(:weight AS integer) AND team_members.number > CAST(:number AS bigint))
    )
    ORDER BY team_roles.weight DESC, team_members.number LIMIT :limit
    """
)
_MEMBERSHIPS = _query("SELECT [member] WHERE team_members.account_id = :account_id")
_ADD_MEMBER = _query(
    """
    INSERT INTO accounts.team_members (team_id, account_id, role_id, nickname, duties, intern, vacation, join_time)
    VALUES (:team_id, :account_id, :role_id, :nickname, :duties, :intern, :vacation, :join_time)
    """
)
_SAVE_MEMBER = _query(
    """
    UPDATE accounts.team_members
    SET role_id = :role_id, nickname = :nickname, duties = :duties, intern = :intern, vacation = :vacation
    WHERE team_id = :team_id AND account_id = :account_id
    """
)
_REMOVE_MEMBER = _query("DELETE FROM accounts.team_members WHERE team_id = :team_id AND account_id = :account_id")
_ROLE = _query(
    """
    SELECT role_id, team_id, name, weight, permissions FROM accounts.team_roles WHERE team_id = :team_id AND role_id = :role_id
    """
)
_ROLES = _query(
    """
    SELECT role_id, team_id, name, weight, permissions FROM accounts.team_roles
    WHERE team_id = :team_id ORDER BY weight DESC, name_key
    """
)
_ADD_ROLE = _query(
    """
    INSERT INTO accounts.team_roles (team_id, role_id, name, name_key, weight, permissions)
    VALUES (:team_id, :role_id, :name, :name_key, :weight, :permissions) ON CONFLICT DO NOTHING RETURNING role_id
    """
)
_SAVE_ROLE = _query(
    """
    UPDATE accounts.team_roles SET name = :name, name_key = :name_key, weight = :weight, permissions = :permissions
    WHERE team_id = :team_id AND role_id = :role_id
    """
)
_DELETE_ROLE = _query(
    """
    DELETE FROM accounts.team_roles WHERE team_id = :team_id AND role_id = :role_id AND NOT EXISTS (
        SELECT FROM accounts.team_members WHERE team_members.team_id = :team_id AND team_members.role_id = :role_id
    ) RETURNING role_id
    """
)
_INVITATION = _query("[invitation] AND team_invitations.team_id = :team_id AND team_invitations.account_id = :account_id")
_INVITATIONS = _query(
    """
    [invitation]
        AND (CAST(:team_id AS uuid) IS NULL OR team_invitations.team_id = CAST(:team_id AS uuid))
        AND (CAST(:account_id AS uuid) IS NULL OR team_invitations.account_id = CAST(:account_id AS uuid))
    ORDER BY team_invitations.create_time DESC, team_invitations.team_id, team_invitations.account_id LIMIT 100
    """
)
_KEEP_INVITATION = _query(
    """
    INSERT INTO accounts.team_invitations (team_id, account_id, role_id, inviter_id, create_time, expire_time)
    VALUES (:team_id, :account_id, :role_id, :inviter_id, :create_time, :expire_time)
    ON CONFLICT (team_id, account_id) DO UPDATE SET
        role_id = EXCLUDED.role_id, inviter_id = EXCLUDED.inviter_id, create_time = EXCLUDED.create_time,
        expire_time = EXCLUDED.expire_time
    """
)
_DROP_INVITATION = _query("DELETE FROM accounts.team_invitations WHERE team_id = :team_id AND account_id = :account_id")
