"""The hierarchy of teams, as rules alone: nobody gives, takes or changes more than their own weight."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.accounts import teams as rules
from domain.accounts.teams import (
    FOUNDER_WEIGHT,
    FounderOnly,
    Member,
    OwnRole,
    TeamPermission,
    TeamPermissionMissing,
    TeamRole,
    WeightTooLow,
)
from domain.kernel import PermissionDenied, new_id
from tests.accounts.teaming import EVERY, a_member, a_role
from tests.builders import NOON

LEAD = a_member(a_role(50))


class TestGiving:
    @pytest.mark.parametrize(("weight", "refused"), [(1, False), (49, False), (50, True), (51, True), (FOUNDER_WEIGHT, True)])
    def test_stays_strictly_below_ones_own_weight(self, weight: int, refused: bool) -> None:
        given_roles: list[Callable[[TeamRole], None]] = [
            lambda role: rules.demand_may_invite(LEAD, role),
            lambda role: rules.demand_may_create(LEAD, role),
            lambda role: rules.demand_may_assign(LEAD, a_member(a_role(1)), role),
            lambda role: rules.demand_may_update(LEAD, a_role(1), role),
        ]
        for give in given_roles:
            assert refused is _refuses(WeightTooLow, partial(give, a_role(weight)))

    def test_takes_no_permission_that_one_does_not_hold(self) -> None:
        lead = a_member(a_role(50, EVERY - {TeamPermission.REVIEW}))
        role = a_role(10, frozenset({TeamPermission.REVIEW}))

        for give in (rules.demand_may_invite, rules.demand_may_create):
            assert _refuses(TeamPermissionMissing, partial(give, lead, role))
        assert _refuses(TeamPermissionMissing, lambda: rules.demand_may_assign(lead, a_member(a_role(5, frozenset())), role))
        assert _refuses(TeamPermissionMissing, lambda: rules.demand_may_update(lead, replace(role, permissions=frozenset()), role))

    def test_lets_stay_what_was_there(self) -> None:
        lead = a_member(a_role(50, EVERY - {TeamPermission.REVIEW}))
        role = a_role(10, frozenset({TeamPermission.REVIEW}))

        rules.demand_may_update(lead, role, replace(role, weight=20))
        rules.demand_may_assign(lead, a_member(role), replace(role, role_id=new_id(at=NOON)))

        assert _refuses(WeightTooLow, lambda: rules.demand_may_update(lead, role, replace(role, weight=50)))


class TestTaking:
    @pytest.mark.parametrize(("weight", "refused"), [(49, False), (50, True), (51, True)])
    def test_stays_strictly_below_ones_own_weight(self, weight: int, refused: bool) -> None:
        other, low = a_member(a_role(weight)), a_role(1)

        assert refused is _refuses(WeightTooLow, lambda: rules.demand_may_remove(LEAD, other))
        assert refused is _refuses(WeightTooLow, lambda: rules.demand_may_assign(LEAD, other, low))
        assert refused is _refuses(WeightTooLow, lambda: rules.demand_may_update(LEAD, other.role, low))
        assert refused is _refuses(WeightTooLow, lambda: rules.demand_may_delete(LEAD, other.role))
        assert refused is _refuses(WeightTooLow, lambda: rules.demand_may_edit(LEAD, other, frozenset({"nickname"})))


class TestOnesOwnPlace:
    def test_is_decided_by_others(self) -> None:
        for act in (
            lambda: rules.demand_may_assign(LEAD, LEAD, a_role(1)),
            lambda: rules.demand_may_remove(LEAD, LEAD),
            lambda: rules.demand_may_edit(LEAD, LEAD, frozenset({"intern"})),
        ):
            assert _refuses(OwnRole, act)

    def test_is_not_raised_by_raising_the_role(self) -> None:
        assert _refuses(WeightTooLow, lambda: rules.demand_may_update(LEAD, LEAD.role, replace(LEAD.role, weight=60)))
        assert _refuses(WeightTooLow, lambda: rules.demand_may_update(LEAD, LEAD.role, replace(LEAD.role, weight=10)))

    def test_says_of_itself_what_it_does(self) -> None:
        nobody = a_member(a_role(1, frozenset()))

        rules.demand_may_edit(nobody, nobody, frozenset({"nickname", "duties", "vacation"}))

        assert _refuses(TeamPermissionMissing, lambda: rules.demand_may_edit(nobody, LEAD, frozenset({"nickname"})))


class TestEveryAct:
    def test_needs_its_permission(self) -> None:
        other, role = a_member(a_role(1)), a_role(2, frozenset())
        acts: dict[TeamPermission, Callable[[Member], None]] = {
            TeamPermission.INVITE: lambda actor: rules.demand_may_invite(actor, role),
            TeamPermission.REMOVE: lambda actor: rules.demand_may_remove(actor, other),
            TeamPermission.EDIT_MEMBERS: lambda actor: rules.demand_may_edit(actor, other, frozenset({"intern"})),
            TeamPermission.ASSIGN_ROLES: lambda actor: rules.demand_may_assign(actor, other, role),
            TeamPermission.EDIT_ROLES: lambda actor: rules.demand_may_create(actor, role),
        }
        for permission, act in acts.items():
            act(a_member(a_role(999, frozenset({permission}))))
            assert _refuses(TeamPermissionMissing, partial(act, a_member(a_role(999, EVERY - {permission}))))


class TestHandingOver:
    def test_is_for_the_founder_alone(self) -> None:
        founder, other = a_member(a_role(FOUNDER_WEIGHT)), a_member(a_role(1))

        rules.demand_may_hand_over(founder, other, a_role(1))

        assert _refuses(FounderOnly, lambda: rules.demand_may_hand_over(a_member(a_role(999)), other, a_role(1)))
        assert _refuses(OwnRole, lambda: rules.demand_may_hand_over(founder, founder, a_role(1)))
        assert _refuses(OwnRole, lambda: rules.demand_may_hand_over(founder, other, founder.role))


def _refuses(refusal: type[PermissionDenied], act: Callable[[], Any]) -> bool:
    try:
        act()
    except refusal:
        return True
    return False


permissions = st.frozensets(st.sampled_from(TeamPermission))
weights = st.integers(1, 12)


@st.composite
def a_hierarchy(draw: st.DrawFn) -> tuple[list[TeamRole], list[Member]]:
    """Roles of any weights and permissions, with the founder's, and members who have them."""
    drawn = [*draw(st.lists(st.tuples(weights, permissions), min_size=2, max_size=6)), (FOUNDER_WEIGHT, EVERY)]
    roles = [a_role(weight, held, role_id=f"first {number}") for number, (weight, held) in enumerate(drawn)]
    places = draw(st.lists(st.integers(0, len(roles) - 1), min_size=2, max_size=6))
    return roles, [a_member(roles[place], account_id=f"first {number}") for number, place in enumerate(places)]


class Teamwork:
    """A team whose members try everything: what the rules let through is done as the services do it."""

    def __init__(self, roles: list[TeamRole], members: list[Member]) -> None:
        self.roles = {role.role_id: role for role in roles}
        self.places = {member.account_id: member.role.role_id for member in members}
        self.numbers = count()
        # Invited by whom into which role.
        self.invited: dict[str, tuple[str, str]] = {}

    def member(self, account_id: str) -> Member:
        return a_member(self.roles[self.places[account_id]], account_id=account_id)

    def attempt(self, draw: Callable[..., Any], below: int) -> None:
        """Let somebody below a weight do anything at all."""
        actors = [one for one in self.places if self.member(one).role.weight < below]
        if not actors:
            return
        actor = self.member(draw(st.sampled_from(sorted(actors))))
        role = self.roles[draw(st.sampled_from(sorted(self.roles)))]
        other = self.member(draw(st.sampled_from(sorted(self.places))))
        act = draw(st.sampled_from(["invite", "accept", "assign", "remove", "create", "update", "delete"]))
        with suppress(PermissionDenied):
            getattr(self, act)(draw, actor, other, role)

    def invite(self, draw: Callable[..., Any], actor: Member, other: Member, role: TeamRole) -> None:
        rules.demand_may_invite(actor, role)
        self.invited[f"invited {next(self.numbers)}"] = (actor.account_id, role.role_id)

    def accept(self, draw: Callable[..., Any], actor: Member, other: Member, role: TeamRole) -> None:
        for account_id, (inviter_id, role_id) in list(self.invited.items()):
            if inviter_id in self.places and role_id in self.roles:
                rules.demand_may_invite(self.member(inviter_id), self.roles[role_id])
                self.places[account_id] = role_id
            del self.invited[account_id]

    def assign(self, draw: Callable[..., Any], actor: Member, other: Member, role: TeamRole) -> None:
        rules.demand_may_assign(actor, other, role)
        self.places[other.account_id] = role.role_id

    def remove(self, draw: Callable[..., Any], actor: Member, other: Member, role: TeamRole) -> None:
        rules.demand_may_remove(actor, other)
        del self.places[other.account_id]

    def create(self, draw: Callable[..., Any], actor: Member, other: Member, role: TeamRole) -> None:
        fresh = a_role(draw(weights), draw(permissions), role_id=f"created {next(self.numbers)}")
        rules.demand_may_create(actor, fresh)
        self.roles[fresh.role_id] = fresh

    def update(self, draw: Callable[..., Any], actor: Member, other: Member, role: TeamRole) -> None:
        after = replace(role, weight=draw(weights), permissions=draw(permissions))
        rules.demand_may_update(actor, role, after)
        self.roles[role.role_id] = after

    def delete(self, draw: Callable[..., Any], actor: Member, other: Member, role: TeamRole) -> None:
        rules.demand_may_delete(actor, role)
        if role.role_id not in self.places.values():
            del self.roles[role.role_id]

    def state(self, below: int) -> tuple[dict[str, TeamRole], frozenset[TeamPermission]]:
        """Return who stands at a weight or above, and what those below it hold together."""
        everyone = {account_id: self.roles[role_id] for account_id, role_id in self.places.items()}
        above = {account_id: role for account_id, role in everyone.items() if role.weight >= below}
        held: frozenset[TeamPermission] = frozenset().union(
            *(role.permissions for role in everyone.values() if role.weight < below)
        )
        return above, held


class TestWeightGames:
    @settings(max_examples=400, deadline=None)
    @given(hierarchy=a_hierarchy(), below=st.integers(2, 13), data=st.data())
    def test_lift_nobody_whatever_those_below_a_weight_do(
        self, hierarchy: tuple[list[TeamRole], list[Member]], below: int, data: st.DataObject
    ) -> None:
        """B3: no sequence of allowed acts of members below a weight gives anyone that weight, or a permission none of them held."""
        team = Teamwork(*hierarchy)
        above, held = team.state(below)

        for _ in range(data.draw(st.integers(1, 25))):
            team.attempt(data.draw, below)

            now_above, now_held = team.state(below)
            assert now_above == above
            assert now_held <= held
