"""How an edit is made, within a unit of work: the item, its revision and what it tells are kept together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

from domain.editing.model import (
    UNDELETE_WITHIN,
    Action,
    Author,
    DeletedTooLongAgo,
    Difference,
    Edit,
    EditedSince,
    ItemChangedMeanwhile,
    ItemIdReused,
    ItemNotDeleted,
    Outcome,
    Revision,
    RevisionNotFound,
)
from domain.editing.ports import EditingStore
from domain.items import Item, Kind
from domain.kernel import Event

T = TypeVar("T", bound=Item)


async def create(store: EditingStore, kind: Kind[T], draft: T, *, author: Author) -> tuple[T, list[str]]:
    """Return the item and the effects: none when it was created before, with the same id and contents. Raises ItemIdReused."""
    at = draft.create_time
    fresh = kind.changed(draft, {}, at=at)
    item_id = kind.key(fresh)
    if not await store.add_item(kind.name, fresh):
        first = await store.revision(kind.name, item_id, 1)
        if first is None or first.action is not Action.CREATE or first.decided != kind.decided(fresh):
            raise ItemIdReused(kind=kind.name, item_id=item_id, field=f"{kind.name}.{kind.name}_id")
        return await present(store, kind, item_id), []
    if await store.revision(kind.name, item_id, 1) is not None:
        # It was deleted and purged: its history is not another one's.
        raise ItemIdReused(kind=kind.name, item_id=item_id, field=f"{kind.name}.{kind.name}_id")
    await _keep(store, kind, fresh, Action.CREATE, author=author, at=at)
    return await present(store, kind, item_id), await _tell(store, kind.events(None, fresh, at))


async def update(
    store: EditingStore, kind: Kind[T], item_id: str, changes: dict[str, Any], *, version: int, author: Author, at: datetime
) -> tuple[T, list[str], list[str]]:
    """Return the item, the fields that differ now, and the effects. Raises ItemChangedMeanwhile and the kind's refusals."""
    before = await to_change(store, kind, item_id, version)
    after = kind.changed(before, changes, at=at)
    fields = kind.differences(before, after)
    if not fields:
        return before, [], []
    after = kind.kept(after, version=before.version + 1, at=at)
    await _keep_found(store, kind, before)
    await store.save_item(kind.name, after)
    await _keep(store, kind, after, Action.UPDATE, author=author, at=at, fields=fields)
    return await present(store, kind, item_id), fields, await _tell(store, kind.events(before, after, at))


async def delete(store: EditingStore, kind: Kind[T], item_id: str, *, version: int, author: Author, at: datetime) -> list[str]:
    """Return the effects: none when it was deleted before. Raises ItemChangedMeanwhile and the kind's refusals."""
    # Locked before it is looked for: whoever deletes it meanwhile has deleted it for this one too.
    if await store.item_to_change(kind.name, item_id) is None:
        last = await store.revision(kind.name, item_id)
        if last is not None and last.action is Action.DELETE:
            return []
    before = await to_change(store, kind, item_id, version)
    await _keep_found(store, kind, before)
    await store.delete_item(kind.name, item_id, at=at)
    gone = kind.kept(before, version=before.version + 1, at=at)
    await _keep(store, kind, gone, Action.DELETE, author=author, at=at)
    return await _tell(store, kind.events(before, None, at))


async def undelete(store: EditingStore, kind: Kind[T], item_id: str, *, author: Author, at: datetime) -> tuple[T, list[str]]:
    """Return the item as it was, and the effects: none when the same author brought it back before.

    Raises ItemNotDeleted and DeletedTooLongAgo.
    """
    await store.hold(kind.name, item_id)
    last = await store.revision(kind.name, item_id)
    if last is not None and last.action is Action.UNDELETE and last.author.account_id == author.account_id:
        return await present(store, kind, item_id), []
    if last is None or last.action is not Action.DELETE:
        await to_change(store, kind, item_id, 0)
        raise ItemNotDeleted(kind=kind.name, item_id=item_id)
    if at - last.time > UNDELETE_WITHIN:
        raise DeletedTooLongAgo(kind=kind.name, item_id=item_id)
    await store.undelete_item(kind.name, item_id, at=at)
    bare = await to_change(store, kind, item_id, 0)
    # What it held in common with others may have been given away when it was deleted.
    back = kind.kept(kind.changed(bare, last.decided, at=at), version=last.version + 1, at=at)
    await store.save_item(kind.name, back)
    await _keep(store, kind, back, Action.UNDELETE, author=author, at=at)
    return await present(store, kind, item_id), await _tell(store, kind.events(back, back, at))


async def make(store: EditingStore, kind: Kind[Any], edit: Edit, *, author: Author, at: datetime) -> Outcome:
    """Make a prepared edit. Raises whatever making it directly would raise."""
    before = await store.item(kind.name, edit.item_id)
    if edit.action is Action.CREATE:
        draft = kind.of(**{f"{kind.name}_id": edit.item_id, "create_time": at, "update_time": at, **edit.changes})
        _, effects = await create(store, kind, draft, author=author)
    elif edit.action is Action.UPDATE:
        _, _, effects = await update(store, kind, edit.item_id, edit.changes, version=edit.version, author=author, at=at)
    else:
        effects = await delete(store, kind, edit.item_id, version=edit.version, author=author, at=at)
    return await _outcome(store, kind, edit.item_id, edit.action, before=before, effects=effects)


async def revert(
    store: EditingStore, kind: Kind[Any], item_id: str, *, to: int, version: int, author: Author, at: datetime
) -> Outcome:
    """Make an item what it was at a version. Raises RevisionNotFound and ItemChangedMeanwhile."""
    wanted = await store.revision(kind.name, item_id, to)
    if wanted is None:
        raise RevisionNotFound(kind=kind.name, item_id=item_id, version=to, field="to_version")
    before = await store.item(kind.name, item_id)
    _, _, effects = await update(store, kind, item_id, wanted.decided, version=version, author=author, at=at)
    return await _outcome(store, kind, item_id, Action.UPDATE, before=before, effects=effects)


async def take_back(store: EditingStore, kind: Kind[Any], item_id: str, version: int, *, author: Author, at: datetime) -> Outcome:
    """Undo the change that made a version, which must be the latest. Raises EditedSince."""
    last = await store.revision(kind.name, item_id)
    if last is None or last.version != version:
        raise EditedSince(kind=kind.name, item_id=item_id)
    before = await store.item(kind.name, item_id)
    if last.action is Action.CREATE:
        effects = await delete(store, kind, item_id, version=version, author=author, at=at)
        return await _outcome(store, kind, item_id, Action.DELETE, before=before, effects=effects)
    if last.action is Action.DELETE:
        _, effects = await undelete(store, kind, item_id, author=author, at=at)
        return await _outcome(store, kind, item_id, Action.UNDELETE, before=before, effects=effects)
    (earlier,) = await store.revisions(kind.name, item_id, below=version, limit=1)
    return await revert(store, kind, item_id, to=earlier.version, version=version, author=author, at=at)


async def present(store: EditingStore, kind: Kind[T], item_id: str) -> T:
    """Raises what the kind says of an item that is missing."""
    item = await store.item(kind.name, item_id)
    if item is None:
        raise kind.missing(**{kind.name: item_id})
    return cast(T, item)


async def to_change(store: EditingStore, kind: Kind[T], item_id: str, version: int) -> T:
    """Return an item that nobody else can change meanwhile. Raises ItemChangedMeanwhile when it has another version by now."""
    item = await store.item_to_change(kind.name, item_id)
    if item is None:
        raise kind.missing(**{kind.name: item_id})
    if version not in (0, item.version):
        raise ItemChangedMeanwhile(kind=kind.name, item_id=item_id, present=item.version, named=version)
    return cast(T, item)


def compare(kind: Kind[Any], before: dict[str, Any] | None, after: dict[str, Any] | None) -> tuple[Difference, ...]:
    """Return the fields that differ between two states; a state that is None has no values."""
    names = sorted(kind.writable)
    pairs = ((name, (before or {}).get(name), (after or {}).get(name)) for name in names)
    return tuple(Difference(name, one, other) for name, one, other in pairs if one != other)


async def _outcome(
    store: EditingStore, kind: Kind[Any], item_id: str, action: Action, *, before: Item | None, effects: Sequence[str]
) -> Outcome:
    after = await store.item(kind.name, item_id)
    last = await store.revision(kind.name, item_id)
    return Outcome(
        kind=kind.name,
        item_id=item_id,
        action=action,
        version=last.version if last else 0,
        differences=compare(kind, kind.decided(before) if before else None, kind.decided(after) if after else None),
        effects=tuple(effects),
    )


async def _keep_found(store: EditingStore, kind: Kind[T], item: T) -> None:
    """Keep how an item was that nobody has edited before, so that there is something to go back to."""
    await _keep(store, kind, item, Action.FOUND, author=Author(""), at=item.update_time)


async def _keep(
    store: EditingStore, kind: Kind[T], item: T, action: Action, *, author: Author, at: datetime, fields: Sequence[str] = ()
) -> None:
    await store.keep_revision(
        Revision(
            kind=kind.name,
            item_id=kind.key(item),
            version=item.version,
            action=action,
            fields=tuple(fields),
            author=author,
            time=at,
            decided=kind.decided(item),
        )
    )


async def _tell(store: EditingStore, events: Sequence[Event]) -> list[str]:
    for event in events:
        await store.record(event)
    return [type(event).__name__ for event in events]
