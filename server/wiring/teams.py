"""Composition of teams: their servicers over their store."""

from __future__ import annotations

from adapters.postgres import Database
from adapters.postgres.accounts.teams import PostgresTeams
from ani.accounts.v1 import team_members_service_pb2, team_roles_service_pb2, teams_admin_service_pb2, teams_service_pb2
from domain.accounts.team_members import TeamMembers
from domain.accounts.team_roles import TeamRoles
from domain.accounts.team_service import Teams
from server.accounts.teams_servicer import TeamMembersServicer, TeamRolesServicer, TeamsAdminServicer, TeamsServicer

# One service stands in each of these files.
CONTRACTS = (teams_service_pb2, team_members_service_pb2, team_roles_service_pb2, teams_admin_service_pb2)


def servicers(database: Database) -> dict[str, object]:
    """Return the servicers of teams by the names of their services."""
    begin, read = database.begins(PostgresTeams), database.reads(PostgresTeams)
    teams = Teams(begin=begin, read=read)
    return {
        "TeamsService": TeamsServicer(teams),
        "TeamsAdminService": TeamsAdminServicer(teams),
        "TeamMembersService": TeamMembersServicer(TeamMembers(begin=begin, read=read)),
        "TeamRolesService": TeamRolesServicer(TeamRoles(begin=begin, read=read)),
    }
