"""What viewers do with the catalog: one method for each RPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from domain.catalog.model import (
    Change,
    Cursor,
    CursorInvalid,
    Filter,
    Genre,
    Release,
    ReleaseNotFound,
)
from domain.catalog.ports import CatalogStore, ChangeBell
from domain.kernel import Begin, Page, Viewer
from domain.paging import page_place, page_token
from domain.visibility import Sight, sight

FEED_BATCH = 100
HEARTBEAT_SECONDS = 15.0


class Catalog:
    """The catalog, for viewers."""

    def __init__(self, *, read: Begin[CatalogStore], bell: ChangeBell) -> None:
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


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """A message of the change feed: a change, or the sign that all is quiet, and where to go on."""

    cursor: str
    change: Change | None


def _as_seen(change: Change, viewer: Viewer) -> Change | None:
    """Show a change as the viewer may see it: what left the viewer's sight is gone, what never was in it is not mentioned."""
    release = change.release
    if release is None or sight(release.terms, viewer) is Sight.VISIBLE:
        return change
    if release.publish_time is None:
        return None
    return replace(change, release=None)


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
