"""What the roles of accounts may do besides reading: one immutable set for each, and one call to ask."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from domain.kernel import PermissionDenied, Role, Viewer


class Permission(StrEnum):
    """What the contract's policies and the rules of contexts ask for by name."""

    # To be the founder of teams.
    TEAMS_FOUND = "teams.found"
    # To review the proposed edits of others: those that one is entrusted with, for instance by a team.
    REVIEWS_JOIN = "reviews.join"
    # To look at long work that one has begun, and to cancel it.
    OPERATIONS_FOLLOW = "operations.follow"
    # To rename or disband whatever team.
    TEAMS_MODERATE = "teams.moderate"
    # To review all proposed edits.
    REVIEWS_DECIDE = "reviews.decide"
    # To fill the catalog from elsewhere.
    CATALOG_IMPORT = "catalog.import"
    # To look at others' accounts; to ban them and end their sessions; to give them another role.
    ACCOUNTS_READ = "accounts.read"
    ACCOUNTS_MODERATE = "accounts.moderate"
    ACCOUNTS_PROMOTE = "accounts.promote"
    # To read what staff did.
    AUDIT_READ = "audit.read"


class PermissionMissing(PermissionDenied):
    """Raised when the caller does not hold the permission that is asked for."""

    text = "This call needs the permission {permission}."


_OVER_ONES_OWN = frozenset({Permission.TEAMS_FOUND, Permission.OPERATIONS_FOLLOW})
_GUEST: frozenset[str] = frozenset()
_USER = _GUEST | {Permission.TEAMS_FOUND, Permission.REVIEWS_JOIN, Permission.OPERATIONS_FOLLOW}
_MODERATOR = _USER | {Permission.TEAMS_MODERATE, Permission.ACCOUNTS_READ, Permission.ACCOUNTS_MODERATE}
_EDITOR = _MODERATOR | {Permission.REVIEWS_DECIDE, Permission.CATALOG_IMPORT, Permission.ACCOUNTS_PROMOTE}
_ADMIN = _EDITOR | {Permission.AUDIT_READ}
# Each role has those of the ones before it.
ROLE_PERMISSIONS: Mapping[Role, frozenset[str]] = MappingProxyType(
    {Role.GUEST: _GUEST, Role.USER: _USER, Role.MODERATOR: _MODERATOR, Role.EDITOR: _EDITOR, Role.ADMIN: _ADMIN}
)


def is_over_others(permission: str) -> bool:
    """Tell whether a permission is one over what is others': the audit log keeps what is done by it."""
    return permission not in _OVER_ONES_OWN


def holds(viewer: Viewer, permission: str) -> bool:
    """Tell whether a viewer holds a permission, by their role or by themselves."""
    return permission in viewer.permissions or permission in ROLE_PERMISSIONS[viewer.role]


def demand(viewer: Viewer, permission: str) -> None:
    """Raises PermissionMissing."""
    if not holds(viewer, permission):
        raise PermissionMissing(permission=permission)
