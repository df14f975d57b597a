"""What happens to teams."""

from __future__ import annotations

from dataclasses import dataclass

from domain.kernel import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamCreated(Event):
    """Somebody founded a team."""

    team_id: str
    founder_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamUpdated(Event):
    """What a team says of itself was changed, by a member or by staff."""

    team_id: str
    account_id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamDeleted(Event):
    """A team is no more: its founder or staff disbanded it, or its last member's account is gone."""

    team_id: str
    # Empty when nobody decided it.
    account_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamTransferred(Event):
    """A team has another founder."""

    team_id: str
    founder_id: str
    former_founder_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberInvited(Event):
    """Somebody is wanted in a team."""

    team_id: str
    account_id: str
    role_id: str
    inviter_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationEnded(Event):
    """An invitation was declined by the one who was invited, or taken back by another."""

    team_id: str
    account_id: str
    by_account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded(Event):
    """Somebody joined a team."""

    team_id: str
    account_id: str
    role_id: str
    inviter_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberUpdated(Event):
    """What a team says of a member was changed."""

    team_id: str
    account_id: str
    by_account_id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRemoved(Event):
    """Somebody belongs to a team no more: left by themselves, or was removed."""

    team_id: str
    account_id: str
    by_account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChanged(Event):
    """A member has another role."""

    team_id: str
    account_id: str
    by_account_id: str
    role_id: str
    former_role_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleCreated(Event):
    """A team has a new role."""

    team_id: str
    role_id: str
    by_account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleUpdated(Event):
    """A role of a team was changed, for all who have it."""

    team_id: str
    role_id: str
    by_account_id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDeleted(Event):
    """A role of a team is no more."""

    team_id: str
    role_id: str
    by_account_id: str
