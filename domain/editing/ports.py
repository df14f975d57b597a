"""What Editing needs of the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from domain.editing.model import ChangeSet, Revision, State
from domain.items import Item
from domain.kernel import Event


class EditingStore(Protocol):
    """The items of every kind, their history, and the change sets, within one unit of work."""

    async def item(self, kind: str, item_id: str) -> Item | None:
        """Return an item, or None when there is none or it is deleted."""

    async def item_to_change(self, kind: str, item_id: str) -> Item | None:
        """Return an item and keep others from changing it until the unit of work ends."""

    async def add_item(self, kind: str, item: Item) -> bool:
        """Keep a new item; False when its id is in use, be it of a deleted one. Raises the refusals of its kind."""

    async def save_item(self, kind: str, item: Item) -> None:
        """Keep the new state of an item. Raises the refusals of its kind."""

    async def delete_item(self, kind: str, item_id: str, *, at: datetime) -> None:
        """Hide an item; its id stays taken. Raises the refusals of its kind."""

    async def hold(self, kind: str, item_id: str) -> None:
        """Keep others from bringing back the same item until the unit of work ends; there is no row to lock that they would see."""

    async def undelete_item(self, kind: str, item_id: str, *, at: datetime) -> None:
        """Show a deleted item again."""

    async def keep_revision(self, revision: Revision) -> None:
        """Keep a revision, unless there is one of that version."""

    async def revision(self, kind: str, item_id: str, version: int | None = None) -> Revision | None:
        """Return a revision of an item, the latest one if none is named."""

    async def revisions(self, kind: str, item_id: str, *, below: int | None, limit: int) -> list[Revision]:
        """Return an item's revisions, the latest first, from below a version on."""

    async def add_change_set(self, change_set: ChangeSet) -> bool:
        """Keep a new change set; False when its id is in use."""

    async def change_set(self, change_set_id: str) -> ChangeSet | None:
        """Return a change set."""

    async def change_set_to_change(self, change_set_id: str) -> ChangeSet | None:
        """Return a change set and keep others from changing it until the unit of work ends."""

    async def save_change_set(self, change_set: ChangeSet) -> None:
        """Keep the new state of a change set."""

    async def change_sets(
        self, *, state: State | None, author_id: str | None, after: tuple[datetime, str] | None, limit: int
    ) -> list[ChangeSet]:
        """Return change sets, those changed last first, from a place on."""

    async def is_entrusted(self, change_set_id: str, account_id: str, fields: Mapping[str, Sequence[str]]) -> bool:
        """Tell whether all edits of a change set change such fields alone, by kind, of items that the account is entrusted with.

        It is by a team that is credited for the item, or for what that is a part of, and in which its role lets it review.
        """

    async def reviewable_change_sets(
        self, account_id: str, *, fields: Mapping[str, Sequence[str]] | None, after: tuple[datetime, str] | None, limit: int
    ) -> list[ChangeSet]:
        """Return change sets of others that wait for this account's review, those changed last first, from a place on.

        All of them without fields, else those that the account is entrusted with.
        """

    async def open_change_sets(self, author_id: str) -> int:
        """Return how many open change sets an author has, and keep them from becoming more until the unit of work ends."""

    async def due_change_sets(self, now: datetime) -> Sequence[str]:
        """Return the ids of the change sets whose time to be published has come."""

    async def record(self, event: Event) -> None:
        """Record an event; it is delivered if and only if this unit of work is kept."""
