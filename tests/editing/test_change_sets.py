"""Change sets over the real store: prepared, previewed, reviewed, published, taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.catalog.kinds import RELEASE
from domain.catalog.model import AliasTaken, Release, ReleaseNotFound
from domain.editing.change_sets import ChangeSets
from domain.editing.model import (
    MOST_OPEN_SETS,
    Action,
    ChangeSet,
    ChangeSetChangedMeanwhile,
    ChangeSetEmpty,
    ChangeSetIdReused,
    ChangeSetNotFound,
    ChangeSetNotReady,
    Edit,
    EditedSince,
    EditRepeated,
    ForeignDraft,
    ItemKindUnknown,
    OwnProposal,
    PublishTimePast,
    State,
    TakenByAnother,
    TooManyOpenSets,
)
from domain.editing.service import Editing
from domain.kernel import Page, Viewer, new_id
from domain.visibility import Publication
from tests.builders import NOON, a_draft, a_release, a_viewer, an_editor
from tests.editing.conftest import AUTHOR, Look

LATER = NOON + timedelta(hours=1)
USER, EDITOR = a_viewer(), an_editor()
OTHER = an_editor(account_id="0191d7a0-0000-7000-8000-000000000003")


def a_set(*edits: Edit, viewer: Viewer = EDITOR, **over: Any) -> ChangeSet:
    facts: dict[str, Any] = {
        "change_set_id": new_id(at=NOON),
        "title": "Spring titles",
        "author_id": viewer.account_id,
        "edits": edits,
        "create_time": NOON,
        "update_time": NOON,
    }
    return ChangeSet(**facts | over)


def a_change(release: Release, **changes: Any) -> Edit:
    return Edit(kind="release", item_id=release.release_id, action=Action.UPDATE, changes=changes, version=release.version)


def a_creation(**over: Any) -> Edit:
    draft = a_release(**over)
    return Edit(kind="release", item_id=draft.release_id, action=Action.CREATE, changes=RELEASE.decided(draft))


def a_deletion(release: Release) -> Edit:
    return Edit(kind="release", item_id=release.release_id, action=Action.DELETE)


@pytest.fixture
async def release(editing: Editing) -> Release:
    made, _ = await editing.create(RELEASE, a_release(), author=AUTHOR)
    return made


class TestCreateChangeSet:
    async def test_gives_the_first_result_back_when_repeated(self, change_sets: ChangeSets, release: Release) -> None:
        draft = a_set(a_change(release, synopsis="Wind."))

        first = await change_sets.create_change_set(draft, viewer=EDITOR)
        again = await change_sets.create_change_set(replace(draft, create_time=LATER), viewer=EDITOR)

        assert first == again == await change_sets.get_change_set(draft.change_set_id, viewer=EDITOR)
        with pytest.raises(ChangeSetIdReused):
            await change_sets.create_change_set(replace(draft, title="Another"), viewer=EDITOR)

    async def test_refuses_two_edits_of_one_item_and_unknown_kinds(self, change_sets: ChangeSets, release: Release) -> None:
        with pytest.raises(EditRepeated):
            await change_sets.create_change_set(a_set(a_change(release, year=2001), a_deletion(release)), viewer=EDITOR)
        with pytest.raises(ItemKindUnknown):
            await change_sets.create_change_set(a_set(Edit(kind="nothing", item_id="x", action=Action.DELETE)), viewer=EDITOR)

    async def test_allows_users_some_open_ones_and_staff_any_number(self, change_sets: ChangeSets) -> None:
        for _ in range(MOST_OPEN_SETS):
            await change_sets.create_change_set(a_set(viewer=USER), viewer=USER)
            await change_sets.create_change_set(a_set(), viewer=EDITOR)

        with pytest.raises(TooManyOpenSets):
            await change_sets.create_change_set(a_set(viewer=USER), viewer=USER)
        await change_sets.create_change_set(a_set(), viewer=EDITOR)


class TestGetChangeSet:
    async def test_shows_editors_all_and_others_their_own(self, change_sets: ChangeSets) -> None:
        own = await change_sets.create_change_set(a_set(viewer=USER), viewer=USER)
        foreign = await change_sets.create_change_set(a_set(), viewer=EDITOR)

        assert own == await change_sets.get_change_set(own.change_set_id, viewer=USER)
        assert own == await change_sets.get_change_set(own.change_set_id, viewer=OTHER)
        with pytest.raises(ChangeSetNotFound):
            await change_sets.get_change_set(foreign.change_set_id, viewer=USER)


class TestListChangeSets:
    async def test_pages_through_what_one_may_see(self, change_sets: ChangeSets) -> None:
        made = [
            await change_sets.create_change_set(a_set(update_time=NOON + timedelta(minutes=n)), viewer=EDITOR) for n in range(5)
        ]
        own = await change_sets.create_change_set(a_set(viewer=USER), viewer=USER)

        first, token = await change_sets.list_change_sets(Page(4), state=State.DRAFT, mine=False, viewer=OTHER)
        rest, end = await change_sets.list_change_sets(Page(4, token), state=State.DRAFT, mine=False, viewer=OTHER)

        assert {one.change_set_id for one in [*made, own]} == {one.change_set_id for one in first + rest}
        assert "" == end
        assert ([own], "") == await change_sets.list_change_sets(Page(), state=None, mine=False, viewer=USER)
        assert ([], "") == await change_sets.list_change_sets(Page(), state=State.PUBLISHED, mine=True, viewer=EDITOR)


class TestUpdateChangeSet:
    async def test_replaces_the_edits_of_a_draft(self, change_sets: ChangeSets, release: Release) -> None:
        draft = await change_sets.create_change_set(a_set(), viewer=EDITOR)
        edits = (a_change(release, year=2001),)

        changed = await change_sets.update_change_set(draft.change_set_id, {"edits": edits}, version=1, viewer=EDITOR, at=LATER)

        assert (edits, 2) == (changed.edits, changed.version)
        with pytest.raises(ChangeSetChangedMeanwhile):
            await change_sets.update_change_set(draft.change_set_id, {"title": "Late"}, version=1, viewer=EDITOR, at=LATER)

    async def test_refuses_what_is_no_draft_any_more(self, change_sets: ChangeSets) -> None:
        draft = await change_sets.create_change_set(a_set(), viewer=EDITOR)
        await change_sets.discard_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

        with pytest.raises(ChangeSetNotReady):
            await change_sets.update_change_set(draft.change_set_id, {"title": "Late"}, version=0, viewer=EDITOR, at=LATER)


class TestPreviewChangeSet:
    async def test_shows_all_and_keeps_nothing(self, change_sets: ChangeSets, release: Release, look: Look) -> None:
        edits = (a_change(release, synopsis="Wind."), a_creation(alias="brand-new"))
        draft = await change_sets.create_change_set(a_set(*edits), viewer=EDITOR)

        changed, created = await change_sets.preview_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

        assert [("synopsis", "", "Wind.")] == [(d.field, d.before, d.after) for d in changed.differences]
        assert ("ReleaseCreated", "ReleasePublished") == created.effects
        assert release == await look.release(release.release_id)
        assert await look.release("brand-new") is None

    async def test_refuses_what_publishing_would_refuse(self, change_sets: ChangeSets, release: Release) -> None:
        draft = await change_sets.create_change_set(a_set(a_creation(alias=release.alias)), viewer=EDITOR)

        with pytest.raises(AliasTaken):
            await change_sets.preview_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

    async def test_shows_nothing_of_what_its_author_may_not_see(
        self, change_sets: ChangeSets, editing: Editing, release: Release
    ) -> None:
        secret, _ = await editing.create(RELEASE, a_draft(synopsis="SECRET"), author=AUTHOR)
        for edit in (a_deletion(secret), a_change(secret, synopsis="What was it?")):
            with pytest.raises(ReleaseNotFound):
                await change_sets.create_change_set(a_set(edit, viewer=USER), viewer=USER)
        draft = await change_sets.create_change_set(a_set(a_change(release, synopsis="Wind."), viewer=USER), viewer=USER)
        changes = {"publication": Publication.WITHDRAWN}
        await editing.update(RELEASE, release.release_id, changes, version=0, author=AUTHOR, at=LATER)

        with pytest.raises(ReleaseNotFound):
            await change_sets.preview_change_set(draft.change_set_id, viewer=USER, at=LATER)
        with pytest.raises(ReleaseNotFound):
            edits = (a_deletion(secret),)
            await change_sets.update_change_set(draft.change_set_id, {"edits": edits}, version=0, viewer=USER, at=LATER)


class TestPublishChangeSet:
    async def test_makes_all_edits_together(self, change_sets: ChangeSets, release: Release, look: Look) -> None:
        creation = a_creation(alias="brand-new")
        draft = await change_sets.create_change_set(a_set(a_change(release, synopsis="Wind."), creation), viewer=EDITOR)

        published, outcomes = await change_sets.publish_change_set(draft.change_set_id, publish_time=None, viewer=EDITOR, at=LATER)

        assert (State.PUBLISHED, LATER) == (published.state, published.publish_time)
        assert [(release.release_id, 2), (creation.item_id, 1)] == [(outcome.item_id, outcome.version) for outcome in outcomes]
        assert "Wind." == (await look.present(release.release_id)).synopsis
        assert "brand-new" == (await look.present(creation.item_id)).alias
        assert "ChangeSetPublished" in await look.events()

    async def test_makes_none_where_one_is_refused(self, change_sets: ChangeSets, release: Release, look: Look) -> None:
        edits = (a_change(release, synopsis="Wind."), a_creation(alias=release.alias))
        draft = await change_sets.create_change_set(a_set(*edits), viewer=EDITOR)

        with pytest.raises(AliasTaken):
            await change_sets.publish_change_set(draft.change_set_id, publish_time=None, viewer=EDITOR, at=LATER)

        assert release == await look.release(release.release_id)
        assert State.DRAFT is (await change_sets.get_change_set(draft.change_set_id, viewer=EDITOR)).state

    async def test_refuses_empty_ones_and_times_that_are_over(self, change_sets: ChangeSets, release: Release) -> None:
        empty = await change_sets.create_change_set(a_set(), viewer=EDITOR)
        full = await change_sets.create_change_set(a_set(a_deletion(release)), viewer=EDITOR)

        with pytest.raises(ChangeSetEmpty):
            await change_sets.publish_change_set(empty.change_set_id, publish_time=None, viewer=EDITOR, at=LATER)
        with pytest.raises(PublishTimePast):
            await change_sets.publish_change_set(full.change_set_id, publish_time=NOON, viewer=EDITOR, at=LATER)

    async def test_is_for_the_author_of_a_draft(self, change_sets: ChangeSets, release: Release) -> None:
        """Whoever could change or publish a draft of another would speak in that one's name."""
        draft = await change_sets.create_change_set(a_set(a_deletion(release), viewer=USER), viewer=USER)

        for attempt in (
            change_sets.publish_change_set(draft.change_set_id, publish_time=None, viewer=EDITOR, at=LATER),
            change_sets.update_change_set(draft.change_set_id, {"title": "Mine"}, version=0, viewer=EDITOR, at=LATER),
            change_sets.submit_change_set(draft.change_set_id, viewer=EDITOR, at=LATER),
        ):
            with pytest.raises(ForeignDraft):
                await attempt

    async def test_may_be_asked_for_again(self, change_sets: ChangeSets, release: Release) -> None:
        draft = await change_sets.create_change_set(a_set(a_change(release, synopsis="Wind.")), viewer=EDITOR)

        first, _ = await change_sets.publish_change_set(draft.change_set_id, publish_time=None, viewer=EDITOR, at=LATER)

        assert (first, []) == await change_sets.publish_change_set(
            draft.change_set_id, publish_time=None, viewer=EDITOR, at=LATER + timedelta(hours=1)
        )


class TestPublishDue:
    async def test_publishes_at_the_time_and_not_before(self, change_sets: ChangeSets, release: Release, look: Look) -> None:
        draft = await change_sets.create_change_set(a_set(a_change(release, synopsis="Wind.")), viewer=EDITOR)
        scheduled, _ = await change_sets.publish_change_set(draft.change_set_id, publish_time=LATER, viewer=EDITOR, at=NOON)

        early = await change_sets.publish_due(at=LATER - timedelta(seconds=1))
        then = await change_sets.publish_due(at=LATER)
        again = await change_sets.publish_due(at=LATER)

        assert State.SCHEDULED is scheduled.state
        assert ([], [(draft.change_set_id, None)], []) == (early, then, again)
        assert "Wind." == (await look.present(release.release_id)).synopsis

    async def test_turns_a_set_whose_edits_are_refused_into_a_draft_that_says_why(
        self, change_sets: ChangeSets, editing: Editing, release: Release
    ) -> None:
        draft = await change_sets.create_change_set(a_set(a_change(release, synopsis="Wind.")), viewer=EDITOR)
        await change_sets.publish_change_set(draft.change_set_id, publish_time=LATER, viewer=EDITOR, at=NOON)
        await editing.update(RELEASE, release.release_id, {"year": 2001}, version=0, author=AUTHOR, at=NOON)

        ((_, refusal),) = await change_sets.publish_due(at=LATER)

        found = await change_sets.get_change_set(draft.change_set_id, viewer=EDITOR)
        assert (State.DRAFT, str(refusal)) == (found.state, found.reason)


class TestReview:
    async def test_publishes_a_proposal_in_the_name_of_its_author(
        self, change_sets: ChangeSets, editing: Editing, release: Release
    ) -> None:
        draft = await change_sets.create_change_set(a_set(a_change(release, synopsis="Wind."), viewer=USER), viewer=USER)
        await change_sets.submit_change_set(draft.change_set_id, viewer=USER, at=LATER)
        taken = await change_sets.take_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

        accepted, _ = await change_sets.accept_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

        (last, *_), _ = await editing.list_revisions("release", release.release_id, Page())
        assert (State.TAKEN, EDITOR.account_id) == (taken.state, taken.reviewer_id)
        assert State.PUBLISHED is accepted.state
        assert (USER.account_id, draft.change_set_id) == (last.author.account_id, last.author.change_set_id)

    async def test_rejects_with_a_reason(self, change_sets: ChangeSets, release: Release, look: Look) -> None:
        draft = await change_sets.create_change_set(a_set(a_deletion(release), viewer=USER), viewer=USER)
        await change_sets.submit_change_set(draft.change_set_id, viewer=USER, at=LATER)

        await change_sets.reject_change_set(draft.change_set_id, "It is a fine title.", viewer=EDITOR, at=LATER)

        found = await change_sets.get_change_set(draft.change_set_id, viewer=USER)
        assert (State.REJECTED, "It is a fine title.") == (found.state, found.reason)
        assert "ChangeSetRejected" in await look.events()

    async def test_is_nobodys_of_his_own(self, change_sets: ChangeSets, release: Release) -> None:
        draft = await change_sets.create_change_set(a_set(a_deletion(release)), viewer=EDITOR)
        await change_sets.submit_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

        with pytest.raises(OwnProposal):
            await change_sets.take_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

    async def test_is_for_the_editor_who_took_it(self, change_sets: ChangeSets, release: Release) -> None:
        draft = await change_sets.create_change_set(a_set(a_deletion(release), viewer=USER), viewer=USER)
        await change_sets.submit_change_set(draft.change_set_id, viewer=USER, at=LATER)
        await change_sets.take_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

        with pytest.raises(TakenByAnother):
            await change_sets.accept_change_set(draft.change_set_id, viewer=OTHER, at=LATER)
        with pytest.raises(TakenByAnother):
            await change_sets.publish_change_set(draft.change_set_id, publish_time=None, viewer=OTHER, at=LATER)
        with pytest.raises(ChangeSetNotReady):
            await change_sets.take_change_set(draft.change_set_id, viewer=OTHER, at=LATER)


class TestRollBackChangeSet:
    async def test_takes_everything_back(self, change_sets: ChangeSets, editing: Editing, release: Release, look: Look) -> None:
        doomed, _ = await editing.create(RELEASE, a_release(), author=AUTHOR)
        creation = a_creation(alias="brand-new")
        draft = await change_sets.create_change_set(
            a_set(a_change(release, synopsis="Wind.", year=2001), creation, a_deletion(doomed)), viewer=EDITOR
        )
        await change_sets.publish_change_set(draft.change_set_id, publish_time=None, viewer=EDITOR, at=LATER)

        back, outcomes = await change_sets.roll_back_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

        assert State.ROLLED_BACK is back.state
        assert [Action.UNDELETE, Action.DELETE, Action.UPDATE] == [outcome.action for outcome in outcomes]
        assert RELEASE.decided(release) == RELEASE.decided(await look.present(release.release_id))
        assert RELEASE.decided(doomed) == RELEASE.decided(await look.present(doomed.release_id))
        assert await look.release(creation.item_id) is None

    async def test_refuses_once_an_item_was_changed(self, change_sets: ChangeSets, editing: Editing, release: Release) -> None:
        draft = await change_sets.create_change_set(a_set(a_change(release, synopsis="Wind.")), viewer=EDITOR)
        await change_sets.publish_change_set(draft.change_set_id, publish_time=None, viewer=EDITOR, at=LATER)
        await editing.update(RELEASE, release.release_id, {"year": 2001}, version=0, author=AUTHOR, at=LATER)

        with pytest.raises(EditedSince):
            await change_sets.roll_back_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

    async def test_happens_once_and_may_be_asked_for_again(self, change_sets: ChangeSets, release: Release, look: Look) -> None:
        draft = await change_sets.create_change_set(a_set(a_change(release, synopsis="Wind.")), viewer=EDITOR)
        await change_sets.publish_change_set(draft.change_set_id, publish_time=None, viewer=EDITOR, at=LATER)
        first, _ = await change_sets.roll_back_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)
        again, outcomes = await change_sets.roll_back_change_set(draft.change_set_id, viewer=EDITOR, at=LATER)

        assert (first, []) == (again, outcomes)
        assert 3 == (await look.present(release.release_id)).version

    async def test_leaves_alone_what_the_set_did_not_do(
        self, change_sets: ChangeSets, editing: Editing, release: Release, look: Look
    ) -> None:
        """It had been deleted, and created, by somebody else before."""
        creation = a_creation(alias="brand-new")
        twins = [
            await change_sets.create_change_set(a_set(creation, a_deletion(release), viewer=one), viewer=one)
            for one in (EDITOR, OTHER)
        ]
        await change_sets.publish_change_set(twins[0].change_set_id, publish_time=None, viewer=EDITOR, at=LATER)
        await change_sets.publish_change_set(twins[1].change_set_id, publish_time=None, viewer=OTHER, at=LATER)

        await change_sets.roll_back_change_set(twins[1].change_set_id, viewer=OTHER, at=LATER)

        assert await look.release(release.release_id) is None
        assert await look.release("brand-new") is not None
