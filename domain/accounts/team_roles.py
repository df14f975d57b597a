"""Roles of teams: one method for each RPC."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.accounts import team_events as events
from domain.accounts.naming import tidy_name
from domain.accounts.team_ports import TeamStore, the_actor, the_role
from domain.accounts.teams import (
    DAY_SECONDS,
    MOST_ROLES,
    NotTeamMember,
    TeamFull,
    TeamNotFound,
    TeamRole,
    TeamRoleHeld,
    TeamRoleIdReused,
    TeamRoleNameTaken,
    demand_may_create,
    demand_may_delete,
    demand_may_update,
)
from domain.kernel import Begin, Viewer


class TeamRoles:
    """The hierarchies of teams."""

    def __init__(self, *, begin: Begin[TeamStore], read: Begin[TeamStore]) -> None:
        self._begin = begin
        self._read = read

    async def create_role(self, role: TeamRole, *, viewer: Viewer, at: datetime) -> TeamRole:
        """Return the role; one created before with the same id and contents is given back.

        Raises NotTeamMember, WeightTooLow, TeamPermissionMissing, TeamRoleNameTaken, TeamRoleIdReused and TeamFull.
        """
        role = replace(role, name=tidy_name(role.name, field="role.name"))
        async with self._begin() as store:
            actor = await the_actor(store, role.team_id, viewer.account_id)
            demand_may_create(actor, role)
            known = await store.roles(role.team_id)
            if (same := next((one for one in known if one.role_id == role.role_id), None)) is not None:
                if same != role:
                    raise TeamRoleIdReused(role=role.role_id, field="role.role_id")
                return same
            if len(known) >= MOST_ROLES:
                raise TeamFull(most=MOST_ROLES, what="roles", retry_after=DAY_SECONDS)
            if not await store.add_role(role):
                raise TeamRoleNameTaken(name=role.name, field="role.name")
            who = {"team_id": role.team_id, "role_id": role.role_id, "by_account_id": viewer.account_id}
            await store.record(events.RoleCreated(time=at, **who))
            return role

    async def list_roles(self, team_id: str, *, viewer: Viewer) -> list[TeamRole]:
        """Return a team's roles, the weightiest first. Raises TeamNotFound and NotTeamMember."""
        async with self._read() as store:
            if await store.team(team_id) is None:
                raise TeamNotFound(team=team_id)
            if await store.member(team_id, viewer.account_id) is None:
                raise NotTeamMember
            return await store.roles(team_id)

    async def update_role(self, team_id: str, role_id: str, changes: dict[str, Any], *, viewer: Viewer, at: datetime) -> TeamRole:
        """Change a role, for all who have it. Raises NotTeamMember, TeamRoleNotFound, WeightTooLow, TeamPermissionMissing."""
        if "name" in changes:
            changes = changes | {"name": tidy_name(changes["name"], field="role.name")}
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            before = await the_role(store, team_id, role_id)
            after = replace(before, **changes)
            demand_may_update(actor, before, after)
            if fields := tuple(name for name in changes if getattr(before, name) != getattr(after, name)):
                await store.save_role(after)
                who = {"team_id": team_id, "role_id": role_id, "by_account_id": viewer.account_id}
                await store.record(events.RoleUpdated(time=at, fields=fields, **who))
            return after

    async def delete_role(self, team_id: str, role_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Raises NotTeamMember, TeamRoleNotFound, TeamRoleHeld, WeightTooLow, TeamPermissionMissing."""
        async with self._begin() as store:
            actor = await the_actor(store, team_id, viewer.account_id)
            role = await the_role(store, team_id, role_id)
            demand_may_delete(actor, role)
            if not await store.delete_role(team_id, role_id):
                raise TeamRoleHeld(role=role.name)
            who = {"team_id": team_id, "role_id": role_id, "by_account_id": viewer.account_id}
            await store.record(events.RoleDeleted(time=at, **who))
