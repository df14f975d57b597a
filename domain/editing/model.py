"""Revisions and change sets, and the rules they keep by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from domain.kernel import Conflict, Event, Exhausted, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Role, Viewer
from domain.permissions import Permission, holds

UNDELETE_WITHIN = timedelta(days=30)
MOST_OPEN_SETS = 20
BUSY_RETRY_SECONDS = 3600.0


class Action(IntEnum):
    """What was done to an item."""

    CREATE = 1
    UPDATE = 2
    DELETE = 3
    UNDELETE = 4
    # Not an edit: how an item was that came by an import, before its first edit.
    FOUND = 5


@dataclass(frozen=True, slots=True)
class Author:
    """Who edits, why, and as part of what."""

    account_id: str
    note: str = ""
    change_set_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """An item's state after a change: what editors decided about it, by field."""

    kind: str
    item_id: str
    version: int
    action: Action
    fields: tuple[str, ...]
    author: Author
    time: datetime
    decided: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs, with both values."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A creation, change or deletion that is prepared: the fields it decides, and the version it was prepared on, if any."""

    kind: str
    item_id: str
    action: Action
    changes: dict[str, Any] = field(default_factory=dict)
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an edit did, or would do."""

    kind: str
    item_id: str
    action: Action
    version: int
    differences: tuple[Difference, ...]
    effects: tuple[str, ...]


class State(IntEnum):
    """How far a change set has come."""

    DRAFT = 1
    SUBMITTED = 2
    TAKEN = 3
    SCHEDULED = 4
    PUBLISHED = 5
    ROLLED_BACK = 6
    REJECTED = 7
    DISCARDED = 8


OPEN = frozenset({State.DRAFT, State.SUBMITTED, State.TAKEN, State.SCHEDULED})
# From which states each step may be taken.
STEPS: dict[State, frozenset[State]] = {
    State.SUBMITTED: frozenset({State.DRAFT}),
    State.TAKEN: frozenset({State.SUBMITTED}),
    State.SCHEDULED: frozenset({State.DRAFT, State.TAKEN, State.SCHEDULED}),
    State.PUBLISHED: frozenset({State.DRAFT, State.TAKEN, State.SCHEDULED}),
    State.ROLLED_BACK: frozenset({State.PUBLISHED}),
    State.REJECTED: frozenset({State.SUBMITTED, State.TAKEN}),
    State.DISCARDED: OPEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """Edits that belong together."""

    change_set_id: str
    title: str
    note: str = ""
    state: State = State.DRAFT
    author_id: str
    reviewer_id: str = ""
    reason: str = ""
    edits: tuple[Edit, ...] = ()
    # What was done when it was published, in order, to be taken back by.
    done: tuple[tuple[str, str, int], ...] = ()
    publish_time: datetime | None = None
    version: int = 1
    create_time: datetime
    update_time: datetime

    def check(self) -> None:
        """Raises EditRepeated."""
        seen = set()
        for place, edit in enumerate(self.edits):
            if (edit.kind, edit.item_id) in seen:
                raise EditRepeated(kind=edit.kind, item_id=edit.item_id, field=f"change_set.edits[{place}]")
            seen.add((edit.kind, edit.item_id))

    def stepped(self, state: State, *, at: datetime, **changes: Any) -> ChangeSet:
        """Return it one step on. Raises ChangeSetNotReady."""
        if self.state not in STEPS[state]:
            raise ChangeSetNotReady(change_set_id=self.change_set_id, present=self.state.name, wanted=state.name)
        return replace(self, state=state, version=self.version + 1, update_time=at, **changes)

    def readable_by(self, viewer: Viewer) -> bool:
        return (
            viewer.role >= Role.EDITOR
            or holds(viewer, Permission.REVIEWS_DECIDE)
            or (bool(viewer.account_id) and viewer.account_id == self.author_id)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSetSubmitted(Event):
    """A change set was handed in for review."""

    change_set_id: str
    author_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSetPublished(Event):
    """A change set's edits were made."""

    change_set_id: str
    author_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSetRejected(Event):
    """A change set was turned down by its reviewer."""

    change_set_id: str
    author_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSetRolledBack(Event):
    """A change set's edits were taken back."""

    change_set_id: str
    author_id: str


class ItemKindUnknown(InvalidArgument):
    """Raised when a request names a kind of item that editors do not keep."""

    text = "There is no kind of item called {kind}."


class ItemIdReused(InvalidArgument):
    """Raised when a creation repeats an id with other contents."""

    text = "The {kind} {item_id} was created with other contents: choose another id, or update it."


class ItemChangedMeanwhile(Conflict):
    """Raised when a write names a version that is no longer the present one."""

    text = "The {kind} {item_id} has version {present} by now, not {named}: read it again and repeat the change."


class ItemNotDeleted(FailedPrecondition):
    """Raised when something is to be undeleted that is not deleted."""

    text = "The {kind} {item_id} is not deleted."


class DeletedTooLongAgo(FailedPrecondition):
    """Raised when something is to be undeleted after the time for it is over."""

    text = "The {kind} {item_id} was deleted more than 30 days ago."


class RevisionNotFound(NotFound):
    """Raised when an item has no revision with this version."""

    text = "The {kind} {item_id} has no revision {version}."


class ChangeSetNotFound(NotFound):
    """Raised when no change set that the caller may see has this id."""

    text = "There is no change set {change_set_id}."


class ChangeSetNotReady(FailedPrecondition):
    """Raised when a change set is not in a state from which the step can be taken."""

    text = "The change set {change_set_id} is {present}, from where it cannot become {wanted}."


class ChangeSetEmpty(FailedPrecondition):
    """Raised when a change set without edits is to be submitted or published."""

    text = "The change set {change_set_id} has no edits."


class ChangeSetIdReused(InvalidArgument):
    """Raised when a creation repeats a change set's id with other contents."""

    text = "The change set {change_set_id} was created with other contents: choose another id, or update it."


class ChangeSetChangedMeanwhile(Conflict):
    """Raised when a write names a version of a change set that is no longer the present one."""

    text = "The change set {change_set_id} has version {present} by now, not {named}: read it again."


class EditRepeated(InvalidArgument):
    """Raised when a change set edits one item twice."""

    text = "The {kind} {item_id} is edited twice: a change set holds one edit of each item."


class EditedSince(Conflict):
    """Raised when a change set cannot be rolled back, since somebody changed one of its items after it."""

    text = "The {kind} {item_id} was changed after the change set was published: revert it by itself, or undo that change first."


class PublishTimePast(InvalidArgument):
    """Raised when a change set is to be published at a time that is over."""

    text = "The time {publish_time} is over."


class OwnProposal(PermissionDenied):
    """Raised when a reviewer takes or accepts a proposal of his own."""

    text = "Nobody reviews a proposal of his own: publish the change set instead, or leave it to another editor."


class ForeignDraft(PermissionDenied):
    """Raised when a draft is to be changed, submitted or published by somebody else than its author."""

    text = "The change set {change_set_id} is a draft of somebody else."


class TakenByAnother(FailedPrecondition):
    """Raised when a proposal is decided by somebody else than the editor who took it."""

    text = "The change set {change_set_id} was taken by another editor."


class TooManyOpenSets(Exhausted):
    """Raised when an author without a staff role has as many open change sets as one may have."""

    text = "You have {count} open change sets: wait for their review, or discard one."
