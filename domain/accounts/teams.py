"""Teams: people who translate or voice together, and what their roles let them do to each other.

The one rule is the hierarchy: whoever acts stands strictly above the weight of whatever they give, take or change, and gives no
permission that they do not hold. Nobody's own role is below their own weight, so nobody changes, leaves or lifts it by
themselves; the founder's role is above all others and leaves its holder only when the team is handed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from domain.kernel import AlreadyExists, Conflict, Exhausted, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied

FOUNDER_WEIGHT = 1000
MOST_FOUNDED = 5
MOST_TEAMS = 50
MOST_MEMBERS = 500
MOST_ROLES = 50
MOST_INVITATIONS = 100
MOST_INVITATIONS_OF_ONE = 50
INVITATION_LASTS = timedelta(days=14)
DAY_SECONDS = 86_400.0


class TeamPermission(IntEnum):
    """What a role in a team lets its holders do."""

    EDIT_TEAM = 1
    INVITE = 2
    REMOVE = 3
    EDIT_MEMBERS = 4
    ASSIGN_ROLES = 5
    EDIT_ROLES = 6
    # To decide on proposed edits of what the team is credited for.
    REVIEW = 7


class Duty(IntEnum):
    """What somebody does in a team; the same numbers as those of a release's credits."""

    VOICING = 1
    TRANSLATING = 2
    TIMING = 3
    EDITING = 4
    POSTER = 5
    DECORATING = 6


@dataclass(frozen=True, slots=True)
class Person:
    """An account as far as teams care."""

    account_id: str
    name: str
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """People who work together under a name."""

    team_id: str
    name: str
    description: str = ""
    website_url: str = ""
    # Those it translates or voices into.
    languages: tuple[str, ...] = ()
    founder_id: str = ""
    member_count: int = 1
    version: int = 1
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamRole:
    """A place in a team's hierarchy, and what it permits: the set is replaced whole or not at all."""

    role_id: str
    team_id: str
    name: str
    weight: int
    permissions: frozenset[TeamPermission] = frozenset()

    @property
    def is_founder(self) -> bool:
        return self.weight == FOUNDER_WEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An account in a team."""

    team_id: str
    # Empty for those who do not belong to the team themselves.
    account_id: str
    account_name: str
    role: TeamRole
    nickname: str = ""
    duties: tuple[Duty, ...] = ()
    intern: bool = False
    vacation: bool = False
    join_time: datetime
    # Grows with each who joins, whatever the team.
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An account that a member wants in the team, in a role; it lasts for some days."""

    team_id: str
    team_name: str
    account_id: str
    account_name: str
    role: TeamRole
    inviter_id: str
    create_time: datetime
    expire_time: datetime


class TeamNotFound(NotFound):
    """Raised when there is no such team, or no more."""

    text = "There is no team {team}."


class MemberNotFound(NotFound):
    """Raised when a team has no such member."""

    text = "The team has no member {account}."


class TeamRoleNotFound(NotFound):
    """Raised when a team has no such role."""

    text = "The team has no role {role}."


class InvitationNotFound(NotFound):
    """Raised when nobody invited the account to the team, or too long ago."""

    text = "There is no invitation of {account} to this team."


class InviteeNotFound(NotFound):
    """Raised when the account that is to be invited is not there."""

    text = "There is no account {account} to be invited."


class TeamNameTaken(AlreadyExists):
    """Raised when a team has this name, or had it, or one that looks like it."""

    text = "There is a team whose name is {name}, or looks like it."


class TeamRoleNameTaken(AlreadyExists):
    """Raised when another role of the team has this name, or one that looks like it."""

    text = "The team has a role whose name is {name}, or looks like it."


class AlreadyMember(AlreadyExists):
    """Raised when somebody is invited who belongs to the team."""

    text = "The account {account} belongs to the team already."


class TeamIdReused(InvalidArgument):
    """Raised when a creation repeats a team's id with other contents."""

    text = "The team {team} was created with other contents: choose another id, or update it."


class TeamRoleIdReused(InvalidArgument):
    """Raised when a creation repeats a role's id with other contents."""

    text = "The role {role} was created with other contents: choose another id, or update it."


class TeamFieldUnknown(InvalidArgument):
    """Raised when an update mask names what cannot be changed."""

    text = "There is no field {path} that could be changed."


class TeamChangedMeanwhile(Conflict):
    """Raised when a write names a version of a team that is no longer the present one."""

    text = "The team {team} has version {present} by now, not {named}: read it again and repeat the change."


class EmailUnverified(FailedPrecondition):
    """Raised when somebody founds a team whose address is not known to be theirs."""

    text = "Verify your e-mail address first."


class FounderStays(FailedPrecondition):
    """Raised when a founder is to leave: the team is handed over first, or deleted."""

    text = "The founder cannot leave: hand the team over first, or delete it."


class TeamRoleHeld(FailedPrecondition):
    """Raised when a role is to be deleted that members have."""

    text = "The role {role} has members: give them another one first."


class InvitationVoid(FailedPrecondition):
    """Raised when whoever invited somebody could not give the role any more."""

    text = "Whoever invited you may not give this role any more: ask for another invitation."


class NotTeamMember(PermissionDenied):
    """Raised when somebody does in a team what only members may."""

    text = "Only members of the team may do this."


class TeamPermissionMissing(PermissionDenied):
    """Raised when a member's role lacks the permission that something needs, or that it would give away."""

    text = "Your role in the team lacks the permission {permission}."


class WeightTooLow(PermissionDenied):
    """Raised when a member gives, takes or changes what is not below their own weight."""

    text = "Your role has the weight {weight}: you may only give, take and change what is below it."


class OwnRole(PermissionDenied):
    """Raised when somebody decides on their own place in a team."""

    text = "Nobody decides on their own place in a team."


class FounderOnly(PermissionDenied):
    """Raised when a member does what is left to the founder."""

    text = "Only the founder of the team may do this."


class TooManyTeams(Exhausted):
    """Raised when an account founded as many teams, or belongs to as many, as one may."""

    text = "An account founds at most {founded} teams and belongs to at most {teams}."


class TeamFull(Exhausted):
    """Raised when a team has as many members, roles or open invitations as it may."""

    text = "A team has at most {most} {what}."


def demand(actor: Member, permission: TeamPermission) -> None:
    """Raises TeamPermissionMissing."""
    if permission not in actor.role.permissions:
        raise TeamPermissionMissing(permission=permission.name)


def demand_above(actor: TeamRole, weight: int) -> None:
    """Raises WeightTooLow."""
    if weight >= actor.weight:
        raise WeightTooLow(weight=actor.weight)


def demand_may_give(actor: TeamRole, role: TeamRole, *, besides: frozenset[TeamPermission] = frozenset()) -> None:
    """Refuse to give a role, where some of its permissions may be there already. Raises WeightTooLow, TeamPermissionMissing."""
    demand_above(actor, role.weight)
    if beyond := role.permissions - besides - actor.permissions:
        raise TeamPermissionMissing(permission=min(beyond).name)


def demand_may_invite(actor: Member, role: TeamRole) -> None:
    """Raises WeightTooLow, TeamPermissionMissing."""
    demand(actor, TeamPermission.INVITE)
    demand_may_give(actor.role, role)


def demand_may_assign(actor: Member, member: Member, role: TeamRole) -> None:
    """Raises OwnRole, WeightTooLow, TeamPermissionMissing."""
    _demand_other(actor, member)
    demand(actor, TeamPermission.ASSIGN_ROLES)
    demand_above(actor.role, member.role.weight)
    demand_may_give(actor.role, role, besides=member.role.permissions)


def demand_may_remove(actor: Member, member: Member) -> None:
    """Raises OwnRole, WeightTooLow, TeamPermissionMissing."""
    _demand_other(actor, member)
    demand(actor, TeamPermission.REMOVE)
    demand_above(actor.role, member.role.weight)


def demand_may_edit(actor: Member, member: Member, fields: frozenset[str]) -> None:
    """Let everyone say how they are called and what they do, and others say it only for those below them.

    Raises OwnRole, WeightTooLow, TeamPermissionMissing.
    """
    if actor.account_id == member.account_id:
        if "intern" in fields:
            raise OwnRole
        return
    demand(actor, TeamPermission.EDIT_MEMBERS)
    demand_above(actor.role, member.role.weight)


def demand_may_create(actor: Member, role: TeamRole) -> None:
    """Raises WeightTooLow, TeamPermissionMissing."""
    demand(actor, TeamPermission.EDIT_ROLES)
    demand_may_give(actor.role, role)


def demand_may_update(actor: Member, before: TeamRole, after: TeamRole) -> None:
    """Raises WeightTooLow, TeamPermissionMissing."""
    demand(actor, TeamPermission.EDIT_ROLES)
    demand_above(actor.role, before.weight)
    demand_may_give(actor.role, after, besides=before.permissions)


def demand_may_delete(actor: Member, role: TeamRole) -> None:
    """Raises WeightTooLow, TeamPermissionMissing."""
    demand(actor, TeamPermission.EDIT_ROLES)
    demand_above(actor.role, role.weight)


def demand_may_hand_over(actor: Member, member: Member, role: TeamRole) -> None:
    """Raises FounderOnly, OwnRole."""
    if not actor.role.is_founder:
        raise FounderOnly
    if actor.account_id == member.account_id or role.is_founder:
        raise OwnRole


def _demand_other(actor: Member, member: Member) -> None:
    if actor.account_id == member.account_id:
        raise OwnRole
