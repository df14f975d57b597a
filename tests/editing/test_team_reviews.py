"""Reviews by members of teams: what their team is credited for, as far as it may decide, and nothing besides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest

from adapters.postgres import Database, bare
from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2, release_facts_pb2, release_pb2
from ani.editing.v1 import change_set_pb2
from ani.editing.v1 import change_set_service_pb2 as pb
from ani.editing.v1 import change_set_service_pb2_grpc as rpc
from ani.editing.v1 import review_service_pb2 as review_pb
from ani.editing.v1 import review_service_pb2_grpc as review_rpc
from domain.accounts.teams import Team, TeamPermission
from domain.catalog.episodes import EPISODE
from domain.catalog.franchises import GenreEntry
from domain.catalog.kinds import ENTRUSTED, GENRE, KINDS, RELEASE
from domain.catalog.model import Credit, Release, Title
from domain.catalog.model import Role as CreditRole
from domain.catalog.schedule import SCHEDULE_ENTRY
from domain.editing.change_sets import ChangeSets
from domain.editing.model import Action, ChangeSet, ChangeSetNotFound, ChangeSetNotReady, Edit, OwnProposal, State
from domain.editing.service import Editing
from domain.kernel import Page, Role, Viewer, new_id
from domain.permissions import PermissionMissing
from domain.visibility import Publication
from tests.accounts.teaming import Studio
from tests.builders import GUEST, NOON, a_release, a_viewer, an_editor, an_entry, an_episode
from tests.editing.conftest import AUTHOR, Look
from tests.editing.test_rpc import a_change as a_message_change
from tests.editing.test_rpc import a_message
from tests.serving import Metadata, Served, refusal

USER, EDITOR = a_viewer(), an_editor()
REVIEW = frozenset({TeamPermission.REVIEW})


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
async def reviewer(studio: Studio, founder: Viewer, team: Team) -> Viewer:
    """A member whose role permits nothing but reviews."""
    return await studio.join(founder, team, "Azusa", await studio.role(founder, team, 5, REVIEW))


@pytest.fixture
async def release(editing: Editing, team: Team) -> Release:
    """A release that the team is credited for."""
    return await kept(editing, credits=(Credit(CreditRole.VOICING, "Wind Voices", team.team_id),))


async def kept(editing: Editing, **over: Any) -> Release:
    made, _ = await editing.create(RELEASE, a_release(**over), author=AUTHOR)
    return made


def a_change(release: Release, **changes: Any) -> Edit:
    return Edit(kind="release", item_id=release.release_id, action=Action.UPDATE, changes=changes)


async def proposed(change_sets: ChangeSets, *edits: Edit, viewer: Viewer = USER, submit: bool = True) -> ChangeSet:
    """Return a change set that somebody handed in."""
    draft = ChangeSet(
        change_set_id=new_id(at=NOON), title="Words", author_id=viewer.account_id, edits=edits, create_time=NOON, update_time=NOON
    )
    made = await change_sets.create_change_set(draft, viewer=viewer)
    return await change_sets.submit_change_set(made.change_set_id, viewer=viewer, at=NOON) if submit else made


async def is_reviewable(change_sets: ChangeSets, change_set: ChangeSet, viewer: Viewer) -> bool:
    """Tell whether all ways to look at a change set and to decide about it agree that it is there for a viewer."""
    change_set_id = change_set.change_set_id
    listed, _ = await change_sets.list_change_sets(Page(), state=None, mine=False, reviewable=True, viewer=viewer)
    found = []
    for look in (
        change_sets.get_change_set(change_set_id, viewer=viewer),
        change_sets.preview_change_set(change_set_id, viewer=viewer, at=NOON),
        change_sets.take_change_set(change_set_id, viewer=viewer, at=NOON),
        change_sets.reject_change_set(change_set_id, "no", viewer=viewer, at=NOON),
    ):
        try:
            await look
            found.append(True)
        except ChangeSetNotFound:
            found.append(False)
    assert len({change_set_id in {one.change_set_id for one in listed}, *found}) == 1
    return found[0]


class TestMember:
    async def test_reviews_what_the_team_is_credited_for(
        self, change_sets: ChangeSets, release: Release, reviewer: Viewer, look: Look
    ) -> None:
        """CAT-35: a team's permission feeds the review of proposed edits."""
        change_set_id = (await proposed(change_sets, a_change(release, synopsis="Wind."))).change_set_id

        listed, _ = await change_sets.list_change_sets(Page(), state=None, mine=False, reviewable=True, viewer=reviewer)
        (outcome,) = await change_sets.preview_change_set(change_set_id, viewer=reviewer, at=NOON)
        await change_sets.take_change_set(change_set_id, viewer=reviewer, at=NOON)
        accepted, _ = await change_sets.accept_change_set(change_set_id, viewer=reviewer, at=NOON)
        again, _ = await change_sets.accept_change_set(change_set_id, viewer=reviewer, at=NOON)

        assert [change_set_id] == [one.change_set_id for one in listed]
        assert ["synopsis"] == [difference.field for difference in outcome.differences]
        assert (State.PUBLISHED, reviewer.account_id) == (accepted.state, accepted.reviewer_id)
        assert accepted == again
        assert "Wind." == (await look.present(release.release_id)).synopsis

    async def test_reviews_episodes_and_the_schedule_of_it(
        self, change_sets: ChangeSets, editing: Editing, release: Release, reviewer: Viewer
    ) -> None:
        episode, _ = await editing.create(EPISODE, an_episode(release, position=1), author=AUTHOR)
        entry, _ = await editing.create(SCHEDULE_ENTRY, an_entry(release), author=AUTHOR)
        titles = (Title("en", "The Last Gust"),)
        edits = (
            Edit(kind="episode", item_id=episode.episode_id, action=Action.UPDATE, changes={"titles": titles}),
            Edit(
                kind="schedule_entry",
                item_id=entry.schedule_entry_id,
                action=Action.UPDATE,
                changes={"planned_air_time": NOON + timedelta(hours=1)},
            ),
        )

        assert await is_reviewable(change_sets, await proposed(change_sets, *edits), reviewer)

    async def test_reviews_nothing_beyond(
        self, change_sets: ChangeSets, editing: Editing, release: Release, reviewer: Viewer, team: Team
    ) -> None:
        """B2: where it is shown, to whom, who is credited for it, its existence, and whatever is not the team's."""
        own_credit = Credit(CreditRole.TIMING, "Wind Voices", team.team_id)
        other = await kept(editing)
        episode, _ = await editing.create(EPISODE, an_episode(release, position=1), author=AUTHOR)
        await editing.create(GENRE, GenreEntry(genre_id="wind", name="Wind", create_time=NOON, update_time=NOON), author=AUTHOR)
        words = a_change(release, synopsis="Wind.")
        beyond: dict[str, tuple[Edit, ...]] = {
            "whether": (a_change(release, publication=Publication.WITHDRAWN),),
            "age": (a_change(release, synopsis="Wind.", age_rating=0),),
            "where": (a_change(release, blocked_countries=()),),
            "credits": (a_change(release, credits=(own_credit,)),),
            "deletion": (Edit(kind="release", item_id=release.release_id, action=Action.DELETE),),
            "another title": (a_change(other, synopsis="Wind."),),
            "another title too": (words, a_change(other, synopsis="Wind.")),
            "another title credited by it": (a_change(other, credits=(own_credit,)),),
            "a genre": (words, Edit(kind="genre", item_id="wind", action=Action.UPDATE, changes={"name": "Storm"})),
            "an episode's release": (
                Edit(kind="episode", item_id=episode.episode_id, action=Action.UPDATE, changes={"release_id": other.release_id}),
            ),
        }
        fresh = an_episode(release, position=2, number="2")
        beyond["a new episode"] = (
            Edit(kind="episode", item_id=fresh.episode_id, action=Action.CREATE, changes=EPISODE.decided(fresh)),
        )
        for number, (name, edits) in enumerate(beyond.items()):
            author = a_viewer(account_id=f"0191d7a0-0000-7000-8000-0000000001{number:02}")
            assert not await is_reviewable(change_sets, await proposed(change_sets, *edits, viewer=author), reviewer), name

    async def test_leaves_drafts_alone(self, change_sets: ChangeSets, release: Release, reviewer: Viewer) -> None:
        draft = await proposed(change_sets, a_change(release, synopsis="Wind."), submit=False)

        assert not await is_reviewable(change_sets, draft, reviewer)

    async def test_reviews_nothing_of_their_own(self, change_sets: ChangeSets, release: Release, reviewer: Viewer) -> None:
        own = await proposed(change_sets, a_change(release, synopsis="Wind."), viewer=reviewer)
        listed, _ = await change_sets.list_change_sets(Page(), state=None, mine=False, reviewable=True, viewer=reviewer)

        assert [] == listed
        with pytest.raises(OwnProposal):
            await change_sets.take_change_set(own.change_set_id, viewer=reviewer, at=NOON)
        with pytest.raises(OwnProposal):
            await change_sets.accept_change_set(own.change_set_id, viewer=reviewer, at=NOON)
        with pytest.raises(OwnProposal):
            await change_sets.reject_change_set(own.change_set_id, "no", viewer=reviewer, at=NOON)

    async def test_decides_no_more_once_they_may_not(
        self, change_sets: ChangeSets, release: Release, reviewer: Viewer, studio: Studio, founder: Viewer
    ) -> None:
        """V8.3.2: whoever lost the place between taking and accepting decides nothing."""
        change_set = await proposed(change_sets, a_change(release, synopsis="Wind."))
        await change_sets.take_change_set(change_set.change_set_id, viewer=reviewer, at=NOON)

        await studio.members.remove_member(release.credits[0].team_id, reviewer.account_id, viewer=founder, at=NOON)

        for decide in (change_sets.accept_change_set, change_sets.take_change_set):
            with pytest.raises(ChangeSetNotFound):
                await decide(change_set.change_set_id, viewer=reviewer, at=NOON)

    async def test_takes_nothing_from_another_reviewer(
        self, change_sets: ChangeSets, release: Release, reviewer: Viewer, founder: Viewer
    ) -> None:
        change_set = await proposed(change_sets, a_change(release, synopsis="Wind."))
        await change_sets.take_change_set(change_set.change_set_id, viewer=founder, at=NOON)

        listed, _ = await change_sets.list_change_sets(Page(), state=None, mine=False, reviewable=True, viewer=reviewer)

        assert [] == listed
        with pytest.raises(ChangeSetNotReady):
            await change_sets.take_change_set(change_set.change_set_id, viewer=reviewer, at=NOON)


class TestOutsiders:
    async def test_review_nothing(
        self, change_sets: ChangeSets, release: Release, studio: Studio, founder: Viewer, team: Team
    ) -> None:
        change_set = await proposed(change_sets, a_change(release, synopsis="Wind."))
        nobody = await studio.join(founder, team, "Ritsu", await studio.role(founder, team, 3, frozenset(TeamPermission) - REVIEW))
        other_founder = await studio.person("Ui")
        await studio.team(other_founder, "Zephyr")

        for viewer in (nobody, other_founder):
            assert not await is_reviewable(change_sets, change_set, viewer)
        unpermitted = replace(founder, role=GUEST.role)
        with pytest.raises(PermissionMissing):
            await change_sets.list_change_sets(Page(), state=None, mine=False, reviewable=True, viewer=unpermitted)
        with pytest.raises(ChangeSetNotFound):
            await change_sets.take_change_set(change_set.change_set_id, viewer=unpermitted, at=NOON)

    async def test_are_those_of_a_team_that_is_no_more(
        self, change_sets: ChangeSets, release: Release, studio: Studio, founder: Viewer, team: Team
    ) -> None:
        change_set = await proposed(change_sets, a_change(release, synopsis="Wind."))

        await studio.teams.delete_team(team.team_id, viewer=founder, at=NOON)

        assert not await is_reviewable(change_sets, change_set, founder)


class TestEditors:
    async def test_review_everything_of_others(self, change_sets: ChangeSets, release: Release) -> None:
        change_set = await proposed(change_sets, a_change(release, publication=Publication.WITHDRAWN))
        own = await proposed(change_sets, a_change(release, synopsis="Wind."), viewer=EDITOR)

        listed, _ = await change_sets.list_change_sets(Page(), state=None, mine=False, reviewable=True, viewer=EDITOR)

        assert [change_set.change_set_id] == [one.change_set_id for one in listed]
        with pytest.raises(OwnProposal):
            await change_sets.reject_change_set(own.change_set_id, "no", viewer=EDITOR, at=NOON)


class TestEntrusted:
    def test_are_fields_that_say_nothing_of_where_and_to_whom(self) -> None:
        decisive = {"publication", "age_rating", "blocked_countries", "rights_blocks", "credits", "alias", "external_ids", "kind"}

        assert ENTRUSTED <= RELEASE.writable - decisive
        for kind in KINDS:
            assert kind.entrusted <= kind.writable - {"release_id", "state"}

    @pytest.mark.parametrize("size", [1, 2, 5])
    async def test_b7_are_listed_in_pages(self, change_sets: ChangeSets, release: Release, reviewer: Viewer, size: int) -> None:
        made = [await proposed(change_sets, a_change(release, synopsis=f"Wind {number}."), submit=False) for number in range(5)]
        for number, one in enumerate(made):
            await change_sets.submit_change_set(one.change_set_id, viewer=USER, at=NOON + timedelta(minutes=number))
        seen, token = [], ""
        while True:
            found, token = await change_sets.list_change_sets(
                Page(size, token), state=None, mine=False, reviewable=True, viewer=reviewer
            )
            seen += [one.change_set_id for one in found]
            if not token:
                break

        assert [one.change_set_id for one in reversed(made)] == seen


class TestOverTheWire:
    async def test_a_member_reviews_and_the_call_is_audited(
        self, served: Served, token: Callable[..., Metadata], studio: Studio, team: Team, reviewer: Viewer
    ) -> None:
        editor, user = token(Role.EDITOR), token(Role.USER, account_id=USER.account_id)
        member = token(Role.USER, account_id=reviewer.account_id)
        credit = release_facts_pb2.Credit(role=release_facts_pb2.CREDIT_ROLE_VOICING, name="Wind Voices", team_id=team.team_id)
        sent = a_message(credits=[credit])
        made = (await served.admin.CreateRelease(admin_pb.CreateReleaseRequest(release=sent), metadata=editor)).release
        sets, review = rpc.ChangeSetServiceStub(served.channel), review_rpc.ReviewServiceStub(served.channel)
        change = release_pb2.Release(release_id=made.release_id, synopsis="Wind.")
        asked = change_set_pb2.ChangeSet(title="Words", edits=[a_message_change(change, "synopsis")])
        draft = (await sets.CreateChangeSet(pb.CreateChangeSetRequest(change_set=asked), metadata=user)).change_set
        one = {"change_set_id": draft.change_set_id}
        await sets.SubmitChangeSet(pb.SubmitChangeSetRequest(**one), metadata=user)

        refused = await refusal(review.TakeChangeSet(review_pb.TakeChangeSetRequest(**one), metadata=token(Role.USER)))
        listed = (await sets.ListChangeSets(pb.ListChangeSetsRequest(reviewable=True), metadata=member)).change_sets
        await review.TakeChangeSet(review_pb.TakeChangeSetRequest(**one), metadata=member)
        accepted = await review.AcceptChangeSet(review_pb.AcceptChangeSetRequest(**one), metadata=member)
        read = catalog_service_pb2.GetReleaseRequest(release=made.release_id)

        assert [credit] == list(made.credits)
        assert (grpc.StatusCode.NOT_FOUND, "CHANGE_SET_NOT_FOUND") == (refused.code, refused.reason)
        assert [draft.change_set_id] == [found.change_set_id for found in listed]
        assert ["release"] == [outcome.item_kind for outcome in accepted.outcomes]
        assert "Wind." == (await served.catalog.GetRelease(read)).release.synopsis
        async with studio.database.reads(bare)() as connection:
            methods = await connection.fetch("SELECT method FROM platform.audit_log WHERE account_id = $1", reviewer.account_id)
        assert {"TakeChangeSet", "AcceptChangeSet"} == {row["method"].rpartition("/")[2] for row in methods}
