"""Teams between messages and dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from ani.accounts.v1 import team_pb2 as pb
from domain.accounts.teams import Duty, Invitation, Member, Team, TeamFieldUnknown, TeamPermission, TeamRole
from domain.kernel import new_id

M = TypeVar("M", bound=Message)

# How each field that a caller may write is read; a mask names them by the same names.
TEAM_READERS: dict[str, Callable[[pb.Team], Any]] = {
    "name": lambda m: m.name,
    "description": lambda m: m.description,
    "website_url": lambda m: m.website_url,
    "languages": lambda m: tuple(m.languages),
}
ROLE_READERS: dict[str, Callable[[pb.TeamRole], Any]] = {
    "name": lambda m: m.name,
    "weight": lambda m: m.weight,
    "permissions": lambda m: frozenset(map(TeamPermission, m.permissions)),
}
MEMBER_READERS: dict[str, Callable[[pb.TeamMember], Any]] = {
    "nickname": lambda m: m.nickname,
    "duties": lambda m: tuple(map(Duty, m.duties)),
    "intern": lambda m: m.intern,
    "vacation": lambda m: m.vacation,
}


def changes(readers: Mapping[str, Callable[[M], Any]], message: M, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises TeamFieldUnknown."""
    for path in mask.paths:
        if path not in readers:
            raise TeamFieldUnknown(path=path, field="update_mask")
    return {path: readers[path](message) for path in mask.paths}


def team_from_pb(message: pb.Team, *, at: datetime) -> Team:
    decided = {name: read(message) for name, read in TEAM_READERS.items()}
    return Team(team_id=message.team_id or new_id(at=at), create_time=at, update_time=at, **decided)


def role_from_pb(message: pb.TeamRole, *, team_id: str, at: datetime) -> TeamRole:
    decided = {name: read(message) for name, read in ROLE_READERS.items()}
    return TeamRole(role_id=message.role_id or new_id(at=at), team_id=team_id, **decided)


def team_to_pb(team: Team) -> pb.Team:
    return pb.Team(
        team_id=team.team_id,
        name=team.name,
        description=team.description,
        website_url=team.website_url,
        languages=team.languages,
        member_count=team.member_count,
        version=team.version,
        create_time=team.create_time,  # type: ignore[arg-type]
        update_time=team.update_time,  # type: ignore[arg-type]
    )


def role_to_pb(role: TeamRole) -> pb.TeamRole:
    permissions: Any = sorted(role.permissions)
    return pb.TeamRole(role_id=role.role_id, name=role.name, weight=role.weight, permissions=permissions, founder=role.is_founder)


def member_to_pb(member: Member) -> pb.TeamMember:
    duties: Any = member.duties
    return pb.TeamMember(
        account_id=member.account_id,
        account_name=member.account_name,
        role=role_to_pb(member.role),
        nickname=member.nickname,
        duties=duties,
        intern=member.intern,
        vacation=member.vacation,
        join_time=member.join_time,  # type: ignore[arg-type]
    )


def invitation_to_pb(invitation: Invitation) -> pb.TeamInvitation:
    return pb.TeamInvitation(
        team_id=invitation.team_id,
        team_name=invitation.team_name,
        account_id=invitation.account_id,
        account_name=invitation.account_name,
        role=role_to_pb(invitation.role),
        inviter_id=invitation.inviter_id,
        create_time=invitation.create_time,  # type: ignore[arg-type]
        expire_time=invitation.expire_time,  # type: ignore[arg-type]
    )
