"""Edits that are prepared, previewed, reviewed and published together: one method for each RPC."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.editing import making
from domain.editing.model import (
    BUSY_RETRY_SECONDS,
    MOST_OPEN_SETS,
    Action,
    Author,
    ChangeSet,
    ChangeSetChangedMeanwhile,
    ChangeSetEmpty,
    ChangeSetIdReused,
    ChangeSetNotFound,
    ChangeSetNotReady,
    ChangeSetPublished,
    ChangeSetRejected,
    ChangeSetRolledBack,
    ChangeSetSubmitted,
    ForeignDraft,
    Outcome,
    OwnProposal,
    PublishTimePast,
    State,
    TakenByAnother,
    TooManyOpenSets,
)
from domain.editing.ports import EditingStore
from domain.editing.service import Editing
from domain.items import Kind
from domain.kernel import Begin, Collision, Page, Refusal, Role, Unavailable, Viewer
from domain.paging import page_place, page_token
from domain.permissions import Permission, demand, holds


class ChangeSets:
    """Change sets: drafts of editors, and proposals of everyone else."""

    def __init__(self, editing: Editing, *, begin: Begin[EditingStore], read: Begin[EditingStore]) -> None:
        self._editing = editing
        self._begin = begin
        self._read = read

    async def create_change_set(self, draft: ChangeSet, *, viewer: Viewer) -> ChangeSet:
        """Return the change set; one created before with the same id and contents is given back.

        Raises ChangeSetIdReused, EditRepeated, TooManyOpenSets and ItemKindUnknown.
        """
        self._check(draft)
        async with self._begin() as store:
            if not await store.add_change_set(draft):
                return await self._created_before(store, draft)
            await self._check_seen(store, draft, viewer)
            if not viewer.role.is_staff and (count := await store.open_change_sets(viewer.account_id)) > MOST_OPEN_SETS:
                raise TooManyOpenSets(count=count - 1, retry_after=BUSY_RETRY_SECONDS)
            return draft

    async def get_change_set(self, change_set_id: str, *, viewer: Viewer) -> ChangeSet:
        """Raises ChangeSetNotFound."""
        async with self._read() as store:
            return await self._shown(store, await store.change_set(change_set_id), change_set_id, viewer)

    async def list_change_sets(
        self, page: Page, *, state: State | None, mine: bool, reviewable: bool = False, viewer: Viewer
    ) -> tuple[list[ChangeSet], str]:
        """Return change sets, those changed last first: an editor's own or all, anyone else's own. Raises PageTokenInvalid.

        Those that are reviewable are of others, and wait for the viewer's decision.
        """
        author = viewer.account_id if mine or viewer.role < Role.EDITOR else None
        binding = repr(("reviewable", viewer.account_id) if reviewable else ("change_sets", state, author))
        after = page_place(page.token, binding=binding)
        async with self._read() as store:
            if reviewable:
                demand(viewer, Permission.REVIEWS_JOIN)
                fields = None if holds(viewer, Permission.REVIEWS_DECIDE) else self._editing.entrusted
                found = await store.reviewable_change_sets(viewer.account_id, fields=fields, after=after, limit=page.size + 1)
            else:
                found = await store.change_sets(state=state, author_id=author, after=after, limit=page.size + 1)
        if len(found) <= page.size:
            return found, ""
        last = found[page.size - 1]
        return found[: page.size], page_token(last.update_time, last.change_set_id, binding=binding)

    async def update_change_set(
        self, change_set_id: str, changes: dict[str, Any], *, version: int, viewer: Viewer, at: datetime
    ) -> ChangeSet:
        """Change a draft. Raises ChangeSetNotFound, ChangeSetNotReady, ChangeSetChangedMeanwhile, EditRepeated."""
        async with self._begin() as store:
            before = _own(await self._to_change(store, change_set_id, viewer), viewer)
            if before.state is not State.DRAFT:
                raise ChangeSetNotReady(change_set_id=change_set_id, present=before.state.name, wanted="another one")
            if version not in (0, before.version):
                raise ChangeSetChangedMeanwhile(change_set_id=change_set_id, present=before.version, named=version)
            after = replace(before, **changes, version=before.version + 1, update_time=at)
            self._check(after)
            await self._check_seen(store, after, viewer)
            await store.save_change_set(after)
            return after

    async def preview_change_set(self, change_set_id: str, *, viewer: Viewer, at: datetime) -> list[Outcome]:
        """Make all edits, look at what they do, and keep nothing. Raises whatever publishing would raise."""
        async with self._begin(rehearse=True) as store:
            change_set = await self._shown(store, await store.change_set_to_change(change_set_id), change_set_id, viewer)
            # What could be seen when it was written down may be hidden by now.
            await self._check_seen(store, change_set, viewer)
            return await self._make_all(store, change_set, at=at)

    async def submit_change_set(self, change_set_id: str, *, viewer: Viewer, at: datetime) -> ChangeSet:
        """Hand a draft in for review. Raises ChangeSetNotReady and ChangeSetEmpty."""
        async with self._begin() as store:
            before = _own(await self._to_change(store, change_set_id, viewer), viewer)
            if before.state is State.SUBMITTED:
                return before
            after = before.stepped(State.SUBMITTED, at=at)
            if not after.edits:
                raise ChangeSetEmpty(change_set_id=change_set_id)
            await store.save_change_set(after)
            await store.record(ChangeSetSubmitted(time=at, change_set_id=change_set_id, author_id=after.author_id))
            return after

    async def take_change_set(self, change_set_id: str, *, viewer: Viewer, at: datetime) -> ChangeSet:
        """Begin the review of a proposal, so that no other editor does. Raises ChangeSetNotReady and OwnProposal."""
        async with self._begin() as store:
            before = await self._to_review(store, change_set_id, viewer)
            if before.state is State.TAKEN and before.reviewer_id == viewer.account_id:
                return before
            after = before.stepped(State.TAKEN, at=at, reviewer_id=viewer.account_id)
            await store.save_change_set(after)
            return after

    async def accept_change_set(self, change_set_id: str, *, viewer: Viewer, at: datetime) -> tuple[ChangeSet, list[Outcome]]:
        """Publish a proposal that the viewer has taken. Raises ChangeSetNotReady, TakenByAnother and what its edits raise."""
        async with self._begin() as store:
            before = await self._to_review(store, change_set_id, viewer)
            if before.state is State.PUBLISHED and before.reviewer_id == viewer.account_id:
                return before, []
            if before.state is not State.TAKEN:
                raise ChangeSetNotReady(change_set_id=change_set_id, present=before.state.name, wanted="accepted")
            _decided_by(before, viewer)
            return await self._publish(store, before, at=at)

    async def reject_change_set(self, change_set_id: str, reason: str, *, viewer: Viewer, at: datetime) -> ChangeSet:
        """Turn a proposal down. Raises ChangeSetNotReady and TakenByAnother."""
        async with self._begin() as store:
            before = await self._to_review(store, change_set_id, viewer)
            if (before.state, before.reviewer_id, before.reason) == (State.REJECTED, viewer.account_id, reason):
                return before
            after = before.stepped(State.REJECTED, at=at, reviewer_id=viewer.account_id, reason=reason)
            if before.state is State.TAKEN:
                _decided_by(before, viewer)
            await store.save_change_set(after)
            await store.record(ChangeSetRejected(time=at, change_set_id=change_set_id, author_id=after.author_id, reason=reason))
            return after

    async def publish_change_set(
        self, change_set_id: str, *, publish_time: datetime | None, viewer: Viewer, at: datetime
    ) -> tuple[ChangeSet, list[Outcome]]:
        """Make all edits or none, now or at a time. Raises ChangeSetNotReady, ChangeSetEmpty, PublishTimePast, what edits raise."""
        async with self._begin() as store:
            before = await self._to_change(store, change_set_id, viewer)
            if before.state is State.PUBLISHED and publish_time is None:
                return before, []
            if not before.edits:
                raise ChangeSetEmpty(change_set_id=change_set_id)
            if before.state is State.TAKEN:
                _decided_by(before, viewer)
            elif before.state is State.DRAFT:
                _own(before, viewer)
            if before.state is State.SCHEDULED and before.publish_time == publish_time:
                return before, []
            if publish_time is None:
                return await self._publish(store, before, at=at)
            if publish_time <= at:
                raise PublishTimePast(publish_time=publish_time.isoformat(), field="publish_time")
            after = before.stepped(State.SCHEDULED, at=at, publish_time=publish_time)
            await store.save_change_set(after)
            return after, []

    async def publish_due(self, *, at: datetime) -> list[tuple[str, Refusal | None]]:
        """Publish what is scheduled for now or earlier; a set whose edits are refused becomes a draft that says why.

        One whose items somebody holds is left for the next time, and is none of those that are returned.
        """
        async with self._read() as store:
            due = await store.due_change_sets(at)
        settled: list[tuple[str, Refusal | None]] = []
        for change_set_id in due:
            with suppress(Collision):
                settled.append((change_set_id, await self._publish_scheduled(change_set_id, at=at)))
        return settled

    async def roll_back_change_set(self, change_set_id: str, *, viewer: Viewer, at: datetime) -> tuple[ChangeSet, list[Outcome]]:
        """Take all edits back or none. Raises ChangeSetNotReady and EditedSince."""
        async with self._begin() as store:
            before = await self._to_change(store, change_set_id, viewer)
            if before.state is State.ROLLED_BACK:
                return before, []
            after = before.stepped(State.ROLLED_BACK, at=at)
            author = Author(viewer.account_id, f"takes back: {before.title}", change_set_id)
            outcomes = []
            for name, item_id, version in reversed(before.done):
                outcomes.append(await making.take_back(store, self._editing.kind(name), item_id, version, author=author, at=at))
            await store.save_change_set(after)
            await store.record(ChangeSetRolledBack(time=at, change_set_id=change_set_id, author_id=after.author_id))
            return after, outcomes

    async def discard_change_set(self, change_set_id: str, *, viewer: Viewer, at: datetime) -> ChangeSet:
        """Give a change set up that is not published. Raises ChangeSetNotReady."""
        async with self._begin() as store:
            before = await self._to_change(store, change_set_id, viewer)
            if before.state is State.DISCARDED:
                return before
            after = before.stepped(State.DISCARDED, at=at)
            await store.save_change_set(after)
            return after

    def _check(self, change_set: ChangeSet) -> None:
        change_set.check()
        for edit in change_set.edits:
            self._editing.kind(edit.kind)

    async def _to_change(self, store: EditingStore, change_set_id: str, viewer: Viewer) -> ChangeSet:
        return _readable(await store.change_set_to_change(change_set_id), change_set_id, viewer)

    async def _to_review(self, store: EditingStore, change_set_id: str, viewer: Viewer) -> ChangeSet:
        """Return a change set of another to decide on. Raises ChangeSetNotFound and OwnProposal."""
        found = await self._shown(store, await store.change_set_to_change(change_set_id), change_set_id, viewer)
        if found.author_id == viewer.account_id:
            raise OwnProposal
        return found

    async def _shown(self, store: EditingStore, found: ChangeSet | None, change_set_id: str, viewer: Viewer) -> ChangeSet:
        """Raises ChangeSetNotFound unless it is the viewer's to read, or to decide on."""
        if found is None or found.readable_by(viewer):
            return _readable(found, change_set_id, viewer)
        in_review = found.state in {State.SUBMITTED, State.TAKEN} or found.reviewer_id == viewer.account_id
        if not in_review or not holds(viewer, Permission.REVIEWS_JOIN):
            raise ChangeSetNotFound(change_set_id=change_set_id)
        if not await store.is_entrusted(change_set_id, viewer.account_id, self._editing.entrusted):
            raise ChangeSetNotFound(change_set_id=change_set_id)
        return found

    async def _created_before(self, store: EditingStore, draft: ChangeSet) -> ChangeSet:
        found = await store.change_set(draft.change_set_id)
        decided = (draft.title, draft.note, draft.edits)
        # One that was changed since no longer tells what it was created with; its author alone can have sent this before.
        same = found is not None and (found.version > 1 or (found.title, found.note, found.edits) == decided)
        if found is None or found.author_id != draft.author_id or not same:
            raise ChangeSetIdReused(change_set_id=draft.change_set_id, field="change_set.change_set_id")
        return found

    async def _check_seen(self, store: EditingStore, change_set: ChangeSet, viewer: Viewer) -> None:
        """Refuse edits of what the viewer may not see as if it did not exist: a preview would show it."""
        if viewer.role >= Role.EDITOR:
            return
        for edit in change_set.edits:
            kind = self._editing.kind(edit.kind)
            if edit.action is not Action.CREATE and not await self._seen(store, kind, edit.item_id, viewer):
                raise kind.missing(**{kind.name: edit.item_id})

    async def _seen(self, store: EditingStore, kind: Kind[Any], item_id: str, viewer: Viewer) -> bool:
        """Tell whether a viewer may see an item, which belongs to another one where its kind says so."""
        item = await store.item(kind.name, item_id)
        if item is None or not kind.shown(item, viewer):
            return False
        if (whole := kind.part_of(item)) is None:
            return True
        return await self._seen(store, self._editing.kind(whole[0]), whole[1], viewer)

    async def _make_all(self, store: EditingStore, change_set: ChangeSet, *, at: datetime) -> list[Outcome]:
        author = Author(change_set.author_id, change_set.title, change_set.change_set_id)
        return [await making.make(store, self._editing.kind(edit.kind), edit, author=author, at=at) for edit in change_set.edits]

    async def _publish(self, store: EditingStore, before: ChangeSet, *, at: datetime) -> tuple[ChangeSet, list[Outcome]]:
        stepped = before.stepped(State.PUBLISHED, at=at, publish_time=at)
        outcomes = await self._make_all(store, before, at=at)
        changed = [outcome for outcome in outcomes if outcome.differences or outcome.effects]
        after = replace(stepped, done=tuple((outcome.kind, outcome.item_id, outcome.version) for outcome in changed))
        await store.save_change_set(after)
        await store.record(ChangeSetPublished(time=at, change_set_id=after.change_set_id, author_id=after.author_id))
        return after, outcomes

    async def _publish_scheduled(self, change_set_id: str, *, at: datetime) -> Refusal | None:
        try:
            async with self._begin() as store:
                before = await store.change_set_to_change(change_set_id)
                # Another scheduler may have been here, or its editor may have thought better of it.
                if before is not None and before.state is State.SCHEDULED and before.publish_time and before.publish_time <= at:
                    await self._publish(store, before, at=at)
        except (Unavailable, Collision):
            raise  # it is still due, and its time will come
        except Refusal as refusal:
            return await self._back_to_draft(change_set_id, refusal, at=at)
        return None

    async def _back_to_draft(self, change_set_id: str, refusal: Refusal, *, at: datetime) -> Refusal:
        async with self._begin() as store:
            before = await store.change_set_to_change(change_set_id)
            if before is not None and before.state is State.SCHEDULED and before.publish_time and before.publish_time <= at:
                await store.save_change_set(
                    replace(before, state=State.DRAFT, reason=str(refusal), version=before.version + 1, update_time=at)
                )
        return refusal


def _readable(found: ChangeSet | None, change_set_id: str, viewer: Viewer) -> ChangeSet:
    if found is None or not found.readable_by(viewer):
        raise ChangeSetNotFound(change_set_id=change_set_id)
    return found


def _own(change_set: ChangeSet, viewer: Viewer) -> ChangeSet:
    """Raises ForeignDraft: whoever could change or publish a draft of another would speak in that one's name."""
    if change_set.author_id != viewer.account_id:
        raise ForeignDraft(change_set_id=change_set.change_set_id)
    return change_set


def _decided_by(change_set: ChangeSet, viewer: Viewer) -> None:
    if change_set.author_id == viewer.account_id:
        raise OwnProposal
    if change_set.reviewer_id != viewer.account_id:
        raise TakenByAnother(change_set_id=change_set.change_set_id)
