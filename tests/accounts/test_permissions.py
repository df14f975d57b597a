"""Roles have immutable sets of permissions, and one call tells whether a viewer holds one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from domain.kernel import Role
from domain.permissions import ROLE_PERMISSIONS, Permission, PermissionMissing, demand, holds
from tests.builders import GUEST, a_viewer


class TestRolePermissions:
    """ACC-17."""

    def test_grow_with_each_role(self) -> None:
        assert set(Role) == set(ROLE_PERMISSIONS)
        assert all(ROLE_PERMISSIONS[lower] <= ROLE_PERMISSIONS[higher] for lower, higher in pairwise(sorted(Role)))
        assert set(Permission) == ROLE_PERMISSIONS[Role.ADMIN]

    def test_cannot_be_changed(self) -> None:
        mapping: Any = ROLE_PERMISSIONS

        with pytest.raises(TypeError):
            mapping[Role.USER] = frozenset(Permission)
        with pytest.raises(AttributeError):
            mapping[Role.USER].add(Permission.REVIEWS_DECIDE)


class TestHolds:
    @pytest.mark.parametrize(("role", "held"), [(Role.USER, False), (Role.MODERATOR, True), (Role.ADMIN, True)])
    def test_knows_what_a_role_brings(self, role: Role, held: bool) -> None:
        assert held is holds(a_viewer(role=role), Permission.TEAMS_MODERATE)

    def test_knows_what_somebody_holds_besides(self) -> None:
        assert holds(a_viewer(permissions=frozenset({"probes.use"})), "probes.use")
        assert not holds(a_viewer(role=Role.ADMIN), "probes.use")
        assert not holds(GUEST, Permission.TEAMS_FOUND)


class TestDemand:
    def test_refuses_who_does_not_hold_it(self) -> None:
        with pytest.raises(PermissionMissing):
            demand(a_viewer(), Permission.REVIEWS_DECIDE)

        demand(a_viewer(role=Role.EDITOR), Permission.REVIEWS_DECIDE)
