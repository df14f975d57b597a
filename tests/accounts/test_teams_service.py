"""Teams over the real store: founding, joining, the hierarchy at work, races, and what is left when somebody goes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.accounts.teams import PostgresTeams
from domain.accounts.model import AccountNotFound
from domain.accounts.naming import NameMixesScripts, NameUnreadable
from domain.accounts.teams import (
    FOUNDER_WEIGHT,
    INVITATION_LASTS,
    MOST_FOUNDED,
    AlreadyMember,
    Duty,
    EmailUnverified,
    FounderOnly,
    FounderStays,
    InvitationNotFound,
    InvitationVoid,
    InviteeNotFound,
    MemberNotFound,
    NotTeamMember,
    OwnRole,
    Team,
    TeamChangedMeanwhile,
    TeamFull,
    TeamIdReused,
    TeamNameTaken,
    TeamNotFound,
    TeamPermission,
    TeamPermissionMissing,
    TeamRole,
    TeamRoleHeld,
    TeamRoleIdReused,
    TeamRoleNameTaken,
    TeamRoleNotFound,
    TooManyTeams,
    WeightTooLow,
)
from domain.kernel import Page, Refusal, Role, Viewer, new_id
from domain.paging import PageTokenInvalid
from domain.permissions import PermissionMissing
from tests.accounts.teaming import EVERY, Studio, a_role, a_team
from tests.builders import GUEST, NOON


@pytest.fixture
def studio(database: Database) -> Studio:
    return Studio(database)


@pytest.fixture
async def founder(studio: Studio) -> Viewer:
    return await studio.person("Mio")


@pytest.fixture
async def team(studio: Studio, founder: Viewer) -> Team:
    return await studio.team(founder)


@pytest.fixture
async def lead(studio: Studio, founder: Viewer, team: Team) -> Viewer:
    """A member of weight 50 with every permission."""
    return await studio.join(founder, team, "Yui", await studio.role(founder, team, 50))


async def ordinary(studio: Studio, founder: Viewer, team: Team) -> TeamRole:
    return (await studio.roles.list_roles(team.team_id, viewer=founder))[-1]


class TestCreateTeam:
    async def test_makes_its_founder_the_first_member(self, studio: Studio, founder: Viewer, team: Team) -> None:
        members = await studio.all_members(team)
        roles = await studio.roles.list_roles(team.team_id, viewer=founder)

        assert [founder.account_id] == list(members)
        assert (FOUNDER_WEIGHT, EVERY) == (members[founder.account_id].role.weight, members[founder.account_id].role.permissions)
        assert [("Founder", FOUNDER_WEIGHT, EVERY), ("Member", 1, frozenset())] == [
            (role.name, role.weight, role.permissions) for role in roles
        ]
        assert ["TeamCreated"] == await studio.events()

    async def test_gives_back_what_was_created_before(self, studio: Studio, founder: Viewer) -> None:
        asked = a_team(description="We sing.")

        first = await studio.teams.create_team(asked, viewer=founder)
        again = await studio.teams.create_team(asked, viewer=founder)

        assert first == again
        with pytest.raises(TeamIdReused):
            await studio.teams.create_team(replace(asked, description="We shout."), viewer=founder)
        with pytest.raises(TeamIdReused):
            await studio.teams.create_team(asked, viewer=await studio.person("Ritsu"))

    async def test_takes_a_verified_address(self, studio: Studio) -> None:
        with pytest.raises(EmailUnverified):
            await studio.team(await studio.person("Nodoka", verified=False))
        with pytest.raises(AccountNotFound):
            await studio.teams.create_team(a_team(), viewer=Viewer(account_id=new_id(at=NOON), role=Role.USER))
        with pytest.raises(PermissionMissing):
            await studio.teams.create_team(a_team(), viewer=GUEST)

    @pytest.mark.parametrize("name", ["WIND VOICES", "Wind  Voices", "Wlnd Volces", "Ｗｉｎｄ Voices", "Wind Vоісеѕ"])  # noqa: RUF001
    async def test_refuses_a_name_that_looks_like_another(self, studio: Studio, team: Team, name: str) -> None:
        """B8."""
        with pytest.raises((TeamNameTaken, NameMixesScripts)):
            await studio.team(await studio.person("Azusa"), name)

    async def test_refuses_a_name_that_nobody_can_read(self, studio: Studio, founder: Viewer) -> None:
        with pytest.raises(NameUnreadable):
            await studio.team(founder, "\u202eevil")

    async def test_founds_no_more_than_one_may_also_at_once(self, studio: Studio, founder: Viewer) -> None:
        """V2.3.4: limited quantities are counted under a lock."""
        made = await asyncio.gather(
            *(studio.team(founder, f"Team {number}") for number in range(2, 2 + 2 * MOST_FOUNDED)), return_exceptions=True
        )

        assert MOST_FOUNDED == sum(isinstance(one, Team) for one in made)
        assert all(isinstance(one, (Team, TooManyTeams)) for one in made)


class TestListTeams:
    async def test_finds_by_what_a_name_looks_like_in_the_order_of_names(self, studio: Studio, founder: Viewer) -> None:
        for name in ("Zephyr Dub", "Ani Wind", "Сильный Ветер", "Wind Voices"):
            await studio.team(founder, name)

        async def names(query: str) -> list[str]:
            return [team.name for team in (await studio.teams.list_teams(Page(), query=query, language=""))[0]]

        assert ["Ani Wind", "Wind Voices"] == await names("WIND")
        assert ["Сильный Ветер"] == await names("ветер")
        assert ["Ani Wind", "Wind Voices", "Zephyr Dub", "Сильный Ветер"] == sorted(await names(""))
        assert [] == await names("%")

    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    async def test_b7_walks_all_pages_while_teams_come_and_go(self, studio: Studio, founder: Viewer, size: int) -> None:
        teams = [await studio.team(founder, f"Team {letter}") for letter in "acegk"]
        seen, token = [], ""
        while True:
            found, token = await studio.teams.list_teams(Page(size, token), query="", language="")
            seen += [team.team_id for team in found]
            if not token:
                break
            if len(seen) == 2 and size < 3:
                await studio.teams.delete_team(teams[0].team_id, viewer=founder, at=NOON)
                await studio.team(founder, "Team b")

        assert [team.team_id for team in teams] == seen
        with pytest.raises(PageTokenInvalid):
            token = (await studio.teams.list_teams(Page(1), query="", language=""))[1]
            await studio.teams.list_teams(Page(1, token), query="other", language="")

    async def test_knows_languages(self, studio: Studio, founder: Viewer, team: Team) -> None:
        await studio.teams.update_team(team.team_id, {"languages": ("ru", "en")}, version=0, viewer=founder, at=NOON)

        assert [team.team_id] == [t.team_id for t in (await studio.teams.list_teams(Page(), query="", language="ru"))[0]]
        assert [] == (await studio.teams.list_teams(Page(), query="", language="ja"))[0]


class TestUpdateTeam:
    async def test_needs_the_permission_and_the_present_version(self, studio: Studio, founder: Viewer, team: Team) -> None:
        member = await studio.join(founder, team, "Azusa", await ordinary(studio, founder, team))
        changes: dict[str, Any] = {"description": "We sing."}

        changed = await studio.teams.update_team(team.team_id, changes, version=1, viewer=founder, at=NOON)

        assert ("We sing.", 2) == (changed.description, changed.version)
        with pytest.raises(TeamChangedMeanwhile):
            await studio.teams.update_team(team.team_id, {"description": ""}, version=1, viewer=founder, at=NOON)
        with pytest.raises(TeamPermissionMissing):
            await studio.teams.update_team(team.team_id, changes, version=0, viewer=member, at=NOON)
        with pytest.raises(NotTeamMember):
            await studio.teams.update_team(team.team_id, changes, version=0, viewer=await studio.person("Ui"), at=NOON)

    async def test_refuses_the_name_of_another(self, studio: Studio, founder: Viewer, team: Team) -> None:
        other = await studio.team(founder, "Zephyr")

        with pytest.raises(TeamNameTaken):
            await studio.teams.update_team(other.team_id, {"name": "wind voices"}, version=0, viewer=founder, at=NOON)

        same = await studio.teams.update_team(team.team_id, {"name": "WIND Voices"}, version=0, viewer=founder, at=NOON)
        assert "WIND Voices" == same.name


class TestDeleteTeam:
    async def test_is_for_the_founder_and_leaves_the_name_taken(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        with pytest.raises(FounderOnly):
            await studio.teams.delete_team(team.team_id, viewer=lead, at=NOON)

        await studio.teams.delete_team(team.team_id, viewer=founder, at=NOON)

        with pytest.raises(TeamNotFound):
            await studio.teams.get_team(team.team_id)
        assert [] == await studio.teams.list_own_teams(viewer=lead)
        with pytest.raises(TeamNameTaken):
            await studio.team(lead, "Wind Voices")


class TestTransferTeam:
    async def test_makes_another_member_the_founder(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        role = await ordinary(studio, founder, team)

        await studio.teams.transfer_team(team.team_id, lead.account_id, role_id=role.role_id, viewer=founder, at=NOON)

        members = await studio.all_members(team)
        assert [FOUNDER_WEIGHT, 1] == [members[one.account_id].role.weight for one in (lead, founder)]
        assert "TeamTransferred" in await studio.events()
        await studio.members.leave_team(team.team_id, viewer=founder, at=NOON)
        with pytest.raises(FounderStays):
            await studio.members.leave_team(team.team_id, viewer=lead, at=NOON)

    async def test_is_for_the_founder_and_to_a_member(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        role_id = (await ordinary(studio, founder, team)).role_id
        founders = (await studio.all_members(team))[founder.account_id].role
        outsider = await studio.person("Ui")

        for viewer, to, role, refusal in (
            (lead, founder, role_id, FounderOnly),
            (lead, lead, role_id, FounderOnly),
            (outsider, outsider, role_id, NotTeamMember),
            (founder, outsider, role_id, MemberNotFound),
            (founder, founder, role_id, OwnRole),
            (founder, lead, founders.role_id, OwnRole),
            (founder, lead, new_id(at=NOON), TeamRoleNotFound),
        ):
            with pytest.raises(refusal):
                await studio.teams.transfer_team(team.team_id, to.account_id, role_id=role, viewer=viewer, at=NOON)
        assert founders == (await studio.all_members(team))[founder.account_id].role


class TestAddMember:
    async def test_invites_by_id_or_name_and_adds_nobody_by_itself(self, studio: Studio, founder: Viewer, team: Team) -> None:
        role = await ordinary(studio, founder, team)
        azusa = await studio.person("Azusa")

        asked: dict[str, Any] = {"role_id": role.role_id, "viewer": founder, "at": NOON}
        by_name = await studio.members.add_member(team.team_id, account_name="АZUSA".replace("А", "a"), **asked)  # noqa: RUF001
        by_id = await studio.members.add_member(team.team_id, account_id=azusa.account_id, **asked)

        assert by_name == by_id
        assert [founder.account_id] == list(await studio.all_members(team))
        assert [by_id] == await studio.members.list_own_invitations(viewer=azusa, at=NOON)
        assert [by_id] == await studio.members.list_invitations(team.team_id, viewer=founder, at=NOON)
        assert 1 == (await studio.events()).count("MemberInvited")
        with pytest.raises(InviteeNotFound):
            await studio.members.add_member(team.team_id, account_name="nobody", **asked)

    async def test_tells_nobody_how_often_others_invited_an_account(
        self, studio: Studio, founder: Viewer, team: Team, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = await studio.person("Azusa")
        other = await studio.team(await studio.person("Ritsu"), "Rain Voices")
        leader = next(iter((await studio.all_members(other)).values()))
        elsewhere = await ordinary(studio, Viewer(account_id=leader.account_id, role=Role.USER), other)
        who: dict[str, Any] = {"role_id": elsewhere.role_id, "viewer": Viewer(account_id=leader.account_id, role=Role.USER)}
        await studio.members.add_member(other.team_id, account_id=wanted.account_id, at=NOON, **who)
        role = await ordinary(studio, founder, team)
        asked: dict[str, Any] = {"account_id": wanted.account_id, "role_id": role.role_id, "viewer": founder, "at": NOON}

        monkeypatch.setattr("domain.accounts.team_members.MOST_INVITATIONS_OF_ONE", 1)
        with pytest.raises(TeamFull) as of_the_account:
            await studio.members.add_member(team.team_id, **asked)
        monkeypatch.setattr("domain.accounts.team_members.MOST_INVITATIONS", 0)
        with pytest.raises(TeamFull) as of_the_team:
            await studio.members.add_member(team.team_id, **asked)

        told = [str(refused.value).replace("100", "0") for refused in (of_the_account, of_the_team)]
        assert told[0] == told[1]

    async def test_refuses_who_belongs_to_it(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        asked: dict[str, Any] = {"role_id": (await ordinary(studio, founder, team)).role_id, "viewer": founder, "at": NOON}

        with pytest.raises(AlreadyMember):
            await studio.members.add_member(team.team_id, account_id=lead.account_id, **asked)

    async def test_stays_below_ones_own_weight(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        ui = await studio.person("Ui")
        high, same = await studio.role(founder, team, 60), await studio.role(founder, team, 50)

        for role in (high, same):
            with pytest.raises(WeightTooLow):
                await studio.members.add_member(team.team_id, account_id=ui.account_id, role_id=role.role_id, viewer=lead, at=NOON)

    async def test_replaces_no_invitation_into_a_role_that_is_not_below(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        ui, high, low = await studio.person("Ui"), await studio.role(founder, team, 60), await studio.role(founder, team, 5)
        invite: dict[str, Any] = {"account_id": ui.account_id, "at": NOON}
        await studio.members.add_member(team.team_id, role_id=high.role_id, viewer=founder, **invite)

        with pytest.raises(WeightTooLow):
            await studio.members.add_member(team.team_id, role_id=low.role_id, viewer=lead, **invite)
        with pytest.raises(WeightTooLow):
            await studio.members.revoke_invitation(team.team_id, ui.account_id, viewer=lead, at=NOON)

    async def test_finds_no_role_of_another_team(self, studio: Studio, founder: Viewer, team: Team) -> None:
        """B2."""
        other = await studio.team(founder, "Zephyr")
        ui, foreign = await studio.person("Ui"), await studio.role(founder, other, 5)

        with pytest.raises(TeamRoleNotFound):
            await studio.members.add_member(
                team.team_id, account_id=ui.account_id, role_id=foreign.role_id, viewer=founder, at=NOON
            )


class TestAcceptInvitation:
    async def test_is_for_the_invited_alone_and_once(self, studio: Studio, founder: Viewer, team: Team) -> None:
        azusa, thief = await studio.person("Azusa"), await studio.person("Ritsu")
        role = await ordinary(studio, founder, team)
        invite: dict[str, Any] = {"account_id": azusa.account_id, "role_id": role.role_id}
        await studio.members.add_member(team.team_id, **invite, viewer=founder, at=NOON)

        with pytest.raises(InvitationNotFound):
            await studio.members.accept_invitation(team.team_id, viewer=thief, at=NOON)
        joined = await asyncio.gather(*(studio.members.accept_invitation(team.team_id, viewer=azusa, at=NOON) for _ in range(4)))

        assert {(azusa.account_id, 1)} == {(member.account_id, member.role.weight) for member in joined}
        assert 1 == (await studio.events()).count("MemberAdded")
        assert [] == await studio.members.list_own_invitations(viewer=azusa, at=NOON)

    async def test_comes_too_late_after_two_weeks(self, studio: Studio, founder: Viewer, team: Team) -> None:
        azusa, role = await studio.person("Azusa"), await ordinary(studio, founder, team)
        invite: dict[str, Any] = {"account_id": azusa.account_id, "role_id": role.role_id}
        await studio.members.add_member(team.team_id, **invite, viewer=founder, at=NOON)

        with pytest.raises(InvitationNotFound):
            await studio.members.accept_invitation(team.team_id, viewer=azusa, at=NOON + INVITATION_LASTS)
        later = NOON + INVITATION_LASTS - timedelta(seconds=1)
        joined = await studio.members.accept_invitation(team.team_id, viewer=azusa, at=later)
        assert azusa.account_id == joined.account_id

    async def test_gives_no_more_than_whoever_invited_could_give_now(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        """A role that grew above its inviter, and an inviter who left or lost their place: the invitation is void."""
        ui, role = await studio.person("Ui"), await studio.role(founder, team, 10)
        asked: dict[str, Any] = {"account_id": ui.account_id, "role_id": role.role_id, "viewer": lead, "at": NOON}
        await studio.members.add_member(team.team_id, **asked)
        await studio.roles.update_role(team.team_id, role.role_id, {"weight": 90}, viewer=founder, at=NOON)

        with pytest.raises(InvitationVoid):
            await studio.members.accept_invitation(team.team_id, viewer=ui, at=NOON)

        await studio.roles.update_role(team.team_id, role.role_id, {"weight": 10}, viewer=founder, at=NOON)
        await studio.members.remove_member(team.team_id, lead.account_id, viewer=founder, at=NOON)
        with pytest.raises(InvitationVoid):
            await studio.members.accept_invitation(team.team_id, viewer=ui, at=NOON)
        assert ui.account_id not in await studio.all_members(team)

    async def test_can_be_declined_or_taken_back(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        role = await ordinary(studio, founder, team)
        people = [await studio.person(name) for name in ("Ui", "Jun")]
        for person in people:
            await studio.members.add_member(
                team.team_id, account_id=person.account_id, role_id=role.role_id, viewer=founder, at=NOON
            )

        await studio.members.decline_invitation(team.team_id, viewer=people[0], at=NOON)
        await studio.members.revoke_invitation(team.team_id, people[1].account_id, viewer=lead, at=NOON)

        for person in people:
            with pytest.raises(InvitationNotFound):
                await studio.members.accept_invitation(team.team_id, viewer=person, at=NOON)
        assert 2 == (await studio.events()).count("InvitationEnded")


class TestChangeMemberRole:
    async def test_gives_a_role_below_ones_own(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        azusa = await studio.join(founder, team, "Azusa", await ordinary(studio, founder, team))
        timer = await studio.role(founder, team, 10, frozenset())

        changed = await studio.members.change_member_role(team.team_id, azusa.account_id, timer.role_id, viewer=lead, at=NOON)

        assert timer == changed.role == (await studio.all_members(team))[azusa.account_id].role
        assert "RoleChanged" == (await studio.events())[-1]

    async def test_gives_no_role_to_oneself(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        for viewer in (lead, founder):
            for role in await studio.roles.list_roles(team.team_id, viewer=founder):
                with pytest.raises(OwnRole):
                    await studio.members.change_member_role(team.team_id, viewer.account_id, role.role_id, viewer=viewer, at=NOON)

    async def test_lifts_nobody_by_two_steps_through_two_people(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        """A puts B high, B puts A higher: neither step is below the one who takes it."""
        vice = await studio.role(founder, team, 49)
        helper = await studio.join(lead, team, "Ui", vice)
        lead_role = (await studio.all_members(team))[lead.account_id].role

        for viewer, member, role in ((lead, helper, lead_role), (helper, lead, vice), (helper, helper, lead_role)):
            with pytest.raises((WeightTooLow, OwnRole)):
                await studio.members.change_member_role(team.team_id, member.account_id, role.role_id, viewer=viewer, at=NOON)

    async def test_takes_the_founders_role_from_nobody_and_gives_it_to_nobody(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        founders, low = (await studio.all_members(team))[founder.account_id].role, await ordinary(studio, founder, team)

        with pytest.raises(WeightTooLow):
            await studio.members.change_member_role(team.team_id, founder.account_id, low.role_id, viewer=lead, at=NOON)
        with pytest.raises(WeightTooLow):
            await studio.members.change_member_role(team.team_id, lead.account_id, founders.role_id, viewer=founder, at=NOON)
        with pytest.raises(WeightTooLow):
            await studio.members.remove_member(team.team_id, founder.account_id, viewer=lead, at=NOON)

    async def test_b2_reaches_no_member_and_no_role_of_another_team(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        thief = await studio.person("Ritsu")
        own = await studio.team(thief, "Thieves")
        own_role = await studio.role(thief, own, 5)
        low = await ordinary(studio, founder, team)

        for team_id, role_id, refusal in (
            (team.team_id, low.role_id, NotTeamMember),
            (own.team_id, own_role.role_id, MemberNotFound),
            (own.team_id, low.role_id, Refusal),
        ):
            with pytest.raises(refusal):
                await studio.members.change_member_role(team_id, lead.account_id, role_id, viewer=thief, at=NOON)
        assert 50 == (await studio.all_members(team))[lead.account_id].role.weight

    async def test_is_decided_by_who_comes_first_when_two_decide_at_once(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        """The founder puts the lead down while the lead promotes somebody: nobody ends above what a lead in that order may give."""
        azusa = await studio.join(founder, team, "Azusa", await ordinary(studio, founder, team))
        low, high = await studio.role(founder, team, 5), await studio.role(founder, team, 40)
        change = studio.members.change_member_role

        for _ in range(8):
            done = await asyncio.gather(
                change(team.team_id, lead.account_id, low.role_id, viewer=founder, at=NOON),
                change(team.team_id, azusa.account_id, high.role_id, viewer=lead, at=NOON),
                return_exceptions=True,
            )
            events = [name for name in await studio.events() if name == "RoleChanged"]
            promoted = (await studio.all_members(team))[azusa.account_id].role.weight == 40

            assert promoted is not isinstance(done[1], (WeightTooLow, TeamPermissionMissing))
            assert 5 == (await studio.all_members(team))[lead.account_id].role.weight
            assert events
            await change(team.team_id, lead.account_id, (await studio.role(founder, team, 50)).role_id, viewer=founder, at=NOON)
            await change(team.team_id, azusa.account_id, low.role_id, viewer=founder, at=NOON)


class TestRemoveMember:
    async def test_leaves_those_who_are_not_below(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        peer = await studio.join(founder, team, "Ui", (await studio.all_members(team))[lead.account_id].role)
        azusa = await studio.join(founder, team, "Azusa", await ordinary(studio, founder, team))

        with pytest.raises(WeightTooLow):
            await studio.members.remove_member(team.team_id, peer.account_id, viewer=lead, at=NOON)
        with pytest.raises(OwnRole):
            await studio.members.remove_member(team.team_id, lead.account_id, viewer=lead, at=NOON)
        await studio.members.remove_member(team.team_id, azusa.account_id, viewer=lead, at=NOON)

        assert azusa.account_id not in await studio.all_members(team)
        assert "MemberRemoved" == (await studio.events())[-1]
        with pytest.raises(NotTeamMember):
            await studio.roles.list_roles(team.team_id, viewer=azusa)


class TestUpdateMember:
    async def test_lets_everyone_say_what_they_do(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        azusa = await studio.join(founder, team, "Azusa", await ordinary(studio, founder, team))
        own: dict[str, Any] = {"nickname": "  Azu  nyan ", "duties": (Duty.POSTER, Duty.TIMING), "vacation": True}
        update = studio.members.update_member

        await update(team.team_id, azusa.account_id, own, viewer=azusa, at=NOON)
        await update(team.team_id, azusa.account_id, {"intern": True}, viewer=lead, at=NOON)

        kept = (await studio.all_members(team))[azusa.account_id]
        assert ("Azu nyan", (Duty.POSTER, Duty.TIMING), True, True) == (kept.nickname, kept.duties, kept.vacation, kept.intern)
        with pytest.raises(OwnRole):
            await update(team.team_id, azusa.account_id, {"intern": False}, viewer=azusa, at=NOON)
        with pytest.raises(TeamPermissionMissing):
            await update(team.team_id, lead.account_id, {"nickname": "Silly"}, viewer=azusa, at=NOON)
        with pytest.raises(WeightTooLow):
            await update(team.team_id, founder.account_id, {"nickname": "Silly"}, viewer=lead, at=NOON)
        with pytest.raises(NameMixesScripts):
            await update(team.team_id, azusa.account_id, {"nickname": "Мio"}, viewer=azusa, at=NOON)  # noqa: RUF001


class TestListMembers:
    async def test_shows_accounts_to_members_and_moderators_alone(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        """B4."""
        moderator = Viewer(account_id=new_id(at=NOON), role=Role.MODERATOR)

        async def seen(viewer: Viewer) -> list[tuple[str, str]]:
            found, _ = await studio.members.list_members(team.team_id, Page(), viewer=viewer)
            return [(member.account_name, member.account_id) for member in found]

        inside = [("Mio", founder.account_id), ("Yui", lead.account_id)]
        assert inside == await seen(lead) == await seen(moderator)
        assert [("Mio", ""), ("Yui", "")] == await seen(GUEST) == await seen(await studio.person("Ui"))

    @pytest.mark.parametrize("size", [1, 2, 3, 53])
    async def test_b7_walks_all_pages(self, studio: Studio, founder: Viewer, team: Team, size: int) -> None:
        role = await ordinary(studio, founder, team)
        people = [await studio.join(founder, team, f"Person {letter}", role) for letter in "abcd"]
        seen, token = [], ""
        while True:
            found, token = await studio.members.list_members(team.team_id, Page(size, token), viewer=founder)
            seen += [member.account_id for member in found]
            if not token:
                break

        assert [founder.account_id, *(person.account_id for person in people)] == seen


class TestCreateRole:
    async def test_takes_a_name_once_and_repeats(self, studio: Studio, founder: Viewer, team: Team) -> None:
        role = a_role(10, frozenset({TeamPermission.REVIEW}), team_id=team.team_id, name="Reviewer")

        first = await studio.roles.create_role(role, viewer=founder, at=NOON)
        again = await studio.roles.create_role(role, viewer=founder, at=NOON)

        assert role == first == again
        assert 1 == (await studio.events()).count("RoleCreated")
        with pytest.raises(TeamRoleIdReused):
            await studio.roles.create_role(replace(role, weight=11), viewer=founder, at=NOON)
        with pytest.raises(TeamRoleNameTaken):
            await studio.roles.create_role(replace(role, role_id=new_id(at=NOON), name="REVIEWER"), viewer=founder, at=NOON)

    async def test_makes_nothing_that_is_not_below(self, studio: Studio, founder: Viewer, team: Team, lead: Viewer) -> None:
        for weight in (50, 51, FOUNDER_WEIGHT):
            with pytest.raises(WeightTooLow):
                await studio.roles.create_role(a_role(weight, team_id=team.team_id), viewer=lead, at=NOON)
        with pytest.raises(WeightTooLow):
            await studio.roles.create_role(a_role(FOUNDER_WEIGHT, team_id=team.team_id), viewer=founder, at=NOON)


class TestUpdateRole:
    async def test_raises_no_role_to_ones_own_weight_nor_ones_own(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        own, low = (await studio.all_members(team))[lead.account_id].role, await studio.role(founder, team, 5)
        update = studio.roles.update_role

        for role, weight in ((own, 60), (own, 51), (own, 10), (low, 50), (low, 99)):
            with pytest.raises(WeightTooLow):
                await update(team.team_id, role.role_id, {"weight": weight}, viewer=lead, at=NOON)
        changed = await update(team.team_id, low.role_id, {"weight": 49, "name": "Vice"}, viewer=lead, at=NOON)

        assert (49, "Vice") == (changed.weight, changed.name)

    async def test_gives_no_permission_that_one_lacks(self, studio: Studio, founder: Viewer, team: Team) -> None:
        lead = await studio.join(founder, team, "Yui", await studio.role(founder, team, 50, EVERY - {TeamPermission.REVIEW}))
        low = await studio.role(founder, team, 5, frozenset())

        with pytest.raises(TeamPermissionMissing):
            await studio.roles.update_role(
                team.team_id, low.role_id, {"permissions": frozenset({TeamPermission.REVIEW})}, viewer=lead, at=NOON
            )

    async def test_b2_reaches_no_role_of_another_team(self, studio: Studio, founder: Viewer, team: Team) -> None:
        thief = await studio.person("Ritsu")
        own, low = await studio.team(thief, "Thieves"), await studio.role(founder, team, 5)

        for team_id, refusal in ((own.team_id, TeamRoleNotFound), (team.team_id, NotTeamMember)):
            with pytest.raises(refusal):
                await studio.roles.update_role(team_id, low.role_id, {"weight": 1}, viewer=thief, at=NOON)
            with pytest.raises(refusal):
                await studio.roles.delete_role(team_id, low.role_id, viewer=thief, at=NOON)


class TestDeleteRole:
    async def test_leaves_a_role_that_members_have(self, studio: Studio, founder: Viewer, team: Team) -> None:
        role = await studio.role(founder, team, 5)
        azusa, ui = await studio.join(founder, team, "Azusa", role), await studio.person("Ui")
        await studio.members.add_member(team.team_id, account_id=ui.account_id, role_id=role.role_id, viewer=founder, at=NOON)

        with pytest.raises(TeamRoleHeld):
            await studio.roles.delete_role(team.team_id, role.role_id, viewer=founder, at=NOON)
        await studio.members.remove_member(team.team_id, azusa.account_id, viewer=founder, at=NOON)
        await studio.roles.delete_role(team.team_id, role.role_id, viewer=founder, at=NOON)

        with pytest.raises(InvitationNotFound):
            await studio.members.accept_invitation(team.team_id, viewer=ui, at=NOON)

    async def test_and_giving_it_at_once_end_in_one_of_both(self, studio: Studio, founder: Viewer, team: Team) -> None:
        azusa = await studio.join(founder, team, "Azusa", await ordinary(studio, founder, team))
        for weight in range(2, 10):
            role = await studio.role(founder, team, weight)
            done = await asyncio.gather(
                studio.roles.delete_role(team.team_id, role.role_id, viewer=founder, at=NOON),
                studio.members.change_member_role(team.team_id, azusa.account_id, role.role_id, viewer=founder, at=NOON),
                return_exceptions=True,
            )

            assert [TeamRoleHeld, TeamRoleNotFound] != [type(one) for one in done]
            assert 1 == sum(isinstance(one, (TeamRoleHeld, TeamRoleNotFound)) for one in done)

    async def test_leaves_the_founders(self, studio: Studio, founder: Viewer, team: Team) -> None:
        role = (await studio.all_members(team))[founder.account_id].role

        with pytest.raises(WeightTooLow):
            await studio.roles.delete_role(team.team_id, role.role_id, viewer=founder, at=NOON)


class TestModeration:
    async def test_is_for_staff_alone(self, studio: Studio, founder: Viewer, team: Team) -> None:
        """B3."""
        moderator = replace(await studio.person("Sawako"), role=Role.MODERATOR)

        for viewer in (founder, GUEST):
            with pytest.raises(PermissionMissing):
                await studio.teams.change_any_team(team.team_id, {"name": "Nice Team"}, viewer=viewer, at=NOON)
            with pytest.raises(PermissionMissing):
                await studio.teams.disband_team(team.team_id, "why not", viewer=viewer, at=NOON)
        asked: dict[str, Any] = {"viewer": moderator, "at": NOON}
        await studio.teams.change_any_team(team.team_id, {"name": "Nice Team"}, **asked, validate_only=True)
        assert "Wind Voices" == (await studio.teams.get_team(team.team_id)).name
        await studio.teams.change_any_team(team.team_id, {"name": "Nice Team"}, **asked)
        assert "Nice Team" == (await studio.teams.get_team(team.team_id)).name
        await studio.teams.disband_team(team.team_id, "an insult", **asked)
        with pytest.raises(TeamNotFound):
            await studio.teams.get_team(team.team_id)


class TestForgetAccount:
    async def test_hands_a_team_to_the_weightiest_who_is_left(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer, database: Database
    ) -> None:
        alone = await studio.team(founder, "Zephyr")

        await studio.teams.forget_account(founder.account_id, at=NOON)

        assert {lead.account_id: FOUNDER_WEIGHT} == {one: m.role.weight for one, m in (await studio.all_members(team)).items()}
        with pytest.raises(TeamNotFound):
            await studio.teams.get_team(alone.team_id)
        async with database.begins(bare)() as connection:
            await connection.execute("DELETE FROM accounts.accounts WHERE account_id = $1", founder.account_id)
        assert 1 == (await studio.teams.get_team(team.team_id)).member_count


class TestWeights:
    async def test_stay_what_they_were_whatever_many_try_at_once(
        self, studio: Studio, founder: Viewer, team: Team, lead: Viewer
    ) -> None:
        """Everybody below the lead tries to put everybody else higher at once: nobody gets where the lead is."""
        vice = await studio.role(founder, team, 40)
        helpers = [await studio.join(founder, team, f"Helper {letter}", vice) for letter in "abc"]
        roles = [await studio.role(founder, team, weight) for weight in (39, 41, 50)]
        tries = [
            studio.members.change_member_role(team.team_id, other.account_id, role.role_id, viewer=helper, at=NOON)
            for helper in helpers
            for other in (*helpers, lead)
            for role in roles
        ]
        raises = [
            studio.roles.update_role(team.team_id, role.role_id, {"weight": 60}, viewer=helper, at=NOON)
            for helper in helpers
            for role in (vice, *roles)
        ]

        done = await asyncio.gather(*tries, *raises, return_exceptions=True)

        assert all(isinstance(one, Refusal) for one in done)
        weights = {one: member.role.weight for one, member in (await studio.all_members(team)).items()}
        assert weights == {founder.account_id: 1000, lead.account_id: 50, **{one.account_id: 40 for one in helpers}}


class TestStore:
    async def test_drops_what_belonged_to_an_account(self, studio: Studio, founder: Viewer, team: Team, database: Database) -> None:
        """A18: rows of an account go with it."""
        role = await ordinary(studio, founder, team)
        azusa, ui = await studio.join(founder, team, "Azusa", role), await studio.person("Ui")
        await studio.members.add_member(team.team_id, account_id=ui.account_id, role_id=role.role_id, viewer=founder, at=NOON)

        async with database.begins(bare)() as connection:
            for viewer in (azusa, ui):
                await connection.execute("DELETE FROM accounts.accounts WHERE account_id = $1", viewer.account_id)

        async with database.reads(PostgresTeams)() as store:
            assert [] == await store.invitations(team_id=team.team_id, at=NOON)
        assert [founder.account_id] == list(await studio.all_members(team))
