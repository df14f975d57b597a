"""What editors do with items of every kind: one method for each verb."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

from domain.editing import making
from domain.editing.model import Author, Difference, Edit, ItemKindUnknown, Outcome, Revision, RevisionNotFound
from domain.editing.ports import EditingStore
from domain.items import Item, Kind
from domain.kernel import Begin, Page
from domain.paging import PageTokenInvalid, place_token, place_values

T = TypeVar("T", bound=Item)


class Editing:
    """Items, and their history."""

    def __init__(self, kinds: Iterable[Kind[Any]], *, begin: Begin[EditingStore], read: Begin[EditingStore]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._begin = begin
        self._read = read

    @property
    def entrusted(self) -> dict[str, list[str]]:
        """The fields of each kind that those may decide who are entrusted with an item."""
        return {kind.name: sorted(kind.entrusted) for kind in self._kinds.values() if kind.entrusted}

    def kind(self, name: str) -> Kind[Any]:
        """Raises ItemKindUnknown."""
        if name not in self._kinds:
            raise ItemKindUnknown(kind=name, field="item_kind")
        return self._kinds[name]

    async def create(self, kind: Kind[T], draft: T, *, author: Author, validate_only: bool = False) -> tuple[T, list[str]]:
        """Return the item and the side effects; one created before with the same id and contents is given back."""
        async with self._begin(rehearse=validate_only) as store:
            return await making.create(store, kind, draft, author=author)

    async def update(
        self,
        kind: Kind[T],
        item_id: str,
        changes: dict[str, Any],
        *,
        version: int,
        author: Author,
        at: datetime,
        validate_only: bool = False,
    ) -> tuple[T, list[str], list[str]]:
        """Return the item, the fields that differ now, and the side effects."""
        async with self._begin(rehearse=validate_only) as store:
            return await making.update(store, kind, item_id, changes, version=version, author=author, at=at)

    async def delete(
        self, kind: Kind[T], item_id: str, *, version: int, author: Author, at: datetime, validate_only: bool = False
    ) -> list[str]:
        """Return the side effects: none when it was deleted before."""
        async with self._begin(rehearse=validate_only) as store:
            return await making.delete(store, kind, item_id, version=version, author=author, at=at)

    async def undelete_item(
        self, kind: str, item_id: str, *, author: Author, at: datetime, validate_only: bool = False
    ) -> tuple[int, list[str]]:
        """Return the version that the item has now, and the side effects. Raises ItemNotDeleted and DeletedTooLongAgo."""
        async with self._begin(rehearse=validate_only) as store:
            item, effects = await making.undelete(store, self.kind(kind), item_id, author=author, at=at)
            return item.version, effects

    async def revert_item(
        self, kind: str, item_id: str, *, to: int, version: int, author: Author, at: datetime, validate_only: bool = False
    ) -> Outcome:
        """Make an item what it was at a version. Raises RevisionNotFound and ItemChangedMeanwhile."""
        async with self._begin(rehearse=validate_only) as store:
            return await making.revert(store, self.kind(kind), item_id, to=to, version=version, author=author, at=at)

    async def make(self, edit: Edit, *, author: Author, at: datetime) -> Outcome:
        """Make one prepared edit."""
        async with self._begin() as store:
            return await making.make(store, self.kind(edit.kind), edit, author=author, at=at)

    async def list_revisions(self, kind: str, item_id: str, page: Page) -> tuple[list[Revision], str]:
        """Return an item's revisions, the latest first, and the token of the next page. Raises PageTokenInvalid."""
        name = self.kind(kind).name
        binding = f"revisions/{name}/{item_id}"
        place = place_values(page.token, binding=binding)
        if place is not None and (len(place) != 1 or type(place[0]) is not int or not 0 < place[0] < 2**63):
            raise PageTokenInvalid(field="page_token")
        below = place[0] if place else None
        async with self._read() as store:
            found = await store.revisions(name, item_id, below=below, limit=page.size + 1)
        if len(found) <= page.size:
            return found, ""
        return found[: page.size], place_token(found[page.size - 1].version, binding=binding)

    async def diff_revisions(self, kind: str, item_id: str, *, before: int, after: int) -> tuple[Difference, ...]:
        """Return what differs between two versions of an item. Raises RevisionNotFound."""
        known = self.kind(kind)
        async with self._read() as store:
            states = {version: await store.revision(known.name, item_id, version) for version in {before, after} - {0}}
        for version, state in states.items():
            if state is None:
                raise RevisionNotFound(kind=kind, item_id=item_id, version=version)
        decided = {version: state.decided for version, state in states.items() if state}
        return making.compare(known, decided.get(before), decided.get(after))
