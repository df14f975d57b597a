"""What can be done with the catalog: one method for each RPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from domain.catalog.model import (
    Change,
    Cursor,
    CursorInvalid,
    Filter,
    Genre,
    Release,
    ReleaseChangedMeanwhile,
    ReleaseCreated,
    ReleaseDeleted,
    ReleaseIdReused,
    ReleaseNotFound,
    ReleasePublished,
    ReleaseUpdated,
)
from domain.catalog.ports import CatalogStore, ChangeBell
from domain.kernel import Begin, Event, Page, Viewer
from domain.paging import page_place, page_token
from domain.visibility import Sight, sight

FEED_BATCH = 100
HEARTBEAT_SECONDS = 15.0


class Catalog:
    """The catalog, for viewers and for editors."""

    def __init__(self, *, begin: Begin[CatalogStore], read: Begin[CatalogStore], bell: ChangeBell) -> None:
        self._begin = begin
        self._read = read
        self._bell = bell

    async def get_release(self, key: str, *, viewer: Viewer) -> Release:
        """Raises ReleaseNotFound."""
        async with self._read() as store:
            release = await store.release(key)
        if release is None or sight(release.terms, viewer) is not Sight.VISIBLE:
            raise ReleaseNotFound(release=key)
        return release

    async def batch_get_releases(self, release_ids: Sequence[str], *, viewer: Viewer) -> tuple[list[Release], list[str]]:
        """Return what there is in the order asked for, and the ids that gave nothing."""
        async with self._read() as store:
            found = await store.releases(release_ids)
        visible = {r.release_id: r for r in found if sight(r.terms, viewer) is Sight.VISIBLE}
        return [visible[i] for i in release_ids if i in visible], [i for i in release_ids if i not in visible]

    async def list_releases(self, wanted: Filter, page: Page, *, viewer: Viewer) -> tuple[list[Release], str]:
        """Return a page and the token of the next one, empty on the last. Raises PageTokenInvalid."""
        after = page_place(page.token, binding=wanted.binding)
        async with self._read() as store:
            releases = await store.list_releases(wanted, viewer, after=after, limit=page.size + 1)
        if len(releases) <= page.size:
            return releases, ""
        last = releases[page.size - 1]
        return releases[: page.size], page_token(last.list_time, last.release_id, binding=wanted.binding)

    async def create_release(self, draft: Release, *, validate_only: bool = False) -> tuple[Release, list[str]]:
        """Return the release and the side effects; one created before with the same id and contents is given back.

        Raises AliasTaken, GenreUnknown, ReleaseIdReused and the refusals of a release's own rules.
        """
        at = draft.create_time
        fresh = draft.changed({}, at=at)
        async with self._begin(rehearse=validate_only) as store:
            if not await store.add_release(fresh):
                return await self._created_before(store, fresh), []
            events: list[Event] = [ReleaseCreated(time=at, release_id=fresh.release_id)]
            if fresh.publish_time:
                events.append(ReleasePublished(time=at, release_id=fresh.release_id))
            await _record(store, events)
            return await _present(store, fresh.release_id), _names(events)

    async def update_release(
        self, release_id: str, changes: dict[str, Any], *, version: int, at: datetime, validate_only: bool = False
    ) -> tuple[Release, list[str], list[str]]:
        """Return the release, the fields that differ now, and the side effects.

        Raises ReleaseNotFound, ReleaseChangedMeanwhile, AliasTaken, GenreUnknown and the refusals of a release's own rules.
        """
        async with self._begin(rehearse=validate_only) as store:
            before = await _to_change(store, release_id, version)
            after = before.changed(changes, at=at)
            fields = before.differences(after)
            if not fields:
                return before, [], []
            await store.save_release(replace(after, version=before.version + 1, update_time=at))
            events: list[Event] = [ReleaseUpdated(time=at, release_id=release_id, fields=tuple(fields))]
            if before.publish_time is None and after.publish_time is not None:
                events.append(ReleasePublished(time=at, release_id=release_id))
            await _record(store, events)
            return await _present(store, release_id), fields, _names(events)

    async def delete_release(self, release_id: str, *, version: int, at: datetime, validate_only: bool = False) -> list[str]:
        """Return the side effects: none when it was deleted before. Raises ReleaseNotFound and ReleaseChangedMeanwhile."""
        async with self._begin(rehearse=validate_only) as store:
            if await store.was_deleted(release_id):
                return []
            await _to_change(store, release_id, version)
            await store.delete_release(release_id, at=at)
            events: list[Event] = [ReleaseDeleted(time=at, release_id=release_id)]
            await _record(store, events)
            return _names(events)

    async def list_genres(self) -> list[Genre]:
        """Return all genres by name."""
        async with self._read() as store:
            return await store.genres()

    async def watch_releases(self, cursor: str, *, viewer: Viewer) -> AsyncGenerator[FeedMessage, None]:
        """Yield what changes, from a cursor on, and a message without a change when nothing did. Raises CursorInvalid."""
        place = _parse_cursor(cursor)
        quiet = True
        while True:
            rings = self._bell.rings()
            async with self._read() as store:
                place = place or await store.present()
                changes = await store.changes(place, limit=FEED_BATCH)
            for change in changes:
                place = change.cursor
                if shown := _as_seen(change, viewer):
                    yield FeedMessage(_format_cursor(place), shown)
            if quiet and not changes:
                yield FeedMessage(_format_cursor(place), None)
            if len(changes) < FEED_BATCH:
                quiet = not await self._bell.wait(rings, seconds=HEARTBEAT_SECONDS)

    async def _created_before(self, store: CatalogStore, fresh: Release) -> Release:
        if await store.creation_digest(fresh.release_id) != fresh.digest:
            raise ReleaseIdReused(release_id=fresh.release_id, field="release.release_id")
        return await _present(store, fresh.release_id)


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """A message of the change feed: a change, or the sign that all is quiet, and where to go on."""

    cursor: str
    change: Change | None


async def _record(store: CatalogStore, events: Sequence[Event]) -> None:
    for event in events:
        await store.record(event)


async def _present(store: CatalogStore, release_id: str) -> Release:
    release = await store.release(release_id)
    if release is None:
        raise ReleaseNotFound(release=release_id)
    return release


async def _to_change(store: CatalogStore, release_id: str, version: int) -> Release:
    release = await store.release_to_change(release_id)
    if release is None:
        raise ReleaseNotFound(release=release_id)
    if version not in (0, release.version):
        raise ReleaseChangedMeanwhile(release_id=release_id, present=release.version, named=version)
    return release


def _as_seen(change: Change, viewer: Viewer) -> Change | None:
    """Show a change as the viewer may see it: what left the viewer's sight is gone, what never was in it is not mentioned."""
    release = change.release
    if release is None or sight(release.terms, viewer) is Sight.VISIBLE:
        return change
    if release.publish_time is None:
        return None
    return replace(change, release=None)


def _names(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def _format_cursor(cursor: Cursor) -> str:
    return f"{cursor.transaction:x}-{cursor.number:x}"


def _parse_cursor(text: str) -> Cursor | None:
    if not text:
        return None
    try:
        transaction, number = (int(part, 16) for part in text.split("-"))
    except ValueError as fault:
        raise CursorInvalid(field="cursor") from fault
    if not (0 <= transaction < 2**63 and 0 <= number < 2**63):
        raise CursorInvalid(field="cursor")
    return Cursor(transaction, number)
