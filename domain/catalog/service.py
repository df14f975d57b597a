"""What viewers do with the catalog: one method for each RPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from domain.catalog.filters import Filter, Key, Value, comparable
from domain.catalog.franchises import Franchise, Totals
from domain.catalog.model import (
    CatalogEmpty,
    Change,
    Cursor,
    CursorInvalid,
    ExternalId,
    FranchiseNotFound,
    Genre,
    Provider,
    Release,
    ReleaseNotFound,
    Tag,
)
from domain.catalog.ports import CatalogStore, ChangeBell
from domain.catalog.redirects import MappedEpisode, chosen
from domain.catalog.seeing import demand_sight
from domain.kernel import Begin, Page, Viewer
from domain.paging import PageTokenInvalid, place_token, place_values, valid_id
from domain.visibility import Sight, sight

FEED_BATCH = 100
HEARTBEAT_SECONDS = 15.0
SOON_SECONDS = 0.2


class Catalog:
    """The catalog, for viewers."""

    def __init__(self, *, read: Begin[CatalogStore], bell: ChangeBell) -> None:
        self._read = read
        self._bell = bell

    async def get_release(self, key: str, *, viewer: Viewer) -> Release:
        """Raises ReleaseNotFound and ReleaseBlocked."""
        async with self._read() as store:
            release = await store.release(key)
        return _shown(release, key, viewer)

    async def lookup_release(self, provider: Provider, external_id: str, *, viewer: Viewer) -> Release:
        """Return the release that has this id elsewhere. Raises ReleaseNotFound and ReleaseBlocked."""
        async with self._read() as store:
            release = await store.release_by_external_id(provider, external_id)
        return _shown(release, f"{provider.name} {external_id}", viewer)

    async def map_episode(self, known_as: ExternalId, number: int, *, viewer: Viewer) -> MappedEpisode:
        """Return where an episode is found that goes by a number elsewhere. Raises ReleaseNotFound and ReleaseBlocked."""
        async with self._read() as store:
            release = await store.release_by_external_id(known_as.provider, known_as.external_id)
            # The other ids of a hidden release are not looked at: they would tell of it.
            own = release.external_ids if release and _visible(release, viewer) else ()
            redirect = chosen(await store.redirects([known_as, *own], number))
            if redirect is None:
                here = _shown(release, f"{known_as.provider.name} {known_as.external_id}", viewer)
                return MappedEpisode(here.external_ids, number, redirected=False, release=here)
            found = [one for one in await store.releases_by_external_ids(redirect.targets) if _visible(one, viewer)]
        first = next((one for target in redirect.targets for one in found if target in one.external_ids), None)
        return MappedEpisode(redirect.targets, redirect.number(number), redirected=True, release=first)

    async def get_random_release(self, *, viewer: Viewer) -> Release:
        """Return any release. Raises CatalogEmpty."""
        async with self._read() as store:
            release = await store.random_release(viewer)
        if release is None:
            raise CatalogEmpty
        return release

    async def batch_get_releases(self, release_ids: Sequence[str], *, viewer: Viewer) -> tuple[list[Release], list[str]]:
        """Return what there is in the order asked for, and the ids that gave nothing."""
        async with self._read() as store:
            found = await store.releases(release_ids)
        visible = {r.release_id: r for r in found if _visible(r, viewer)}
        return [visible[i] for i in release_ids if i in visible], [i for i in release_ids if i not in visible]

    async def list_releases(self, wanted: Filter, page: Page, *, viewer: Viewer) -> tuple[list[Release], str]:
        """Return a page and the token of the next one, empty on the last. Raises PageTokenInvalid."""
        after = _place(page.token, wanted)
        async with self._read() as store:
            found = await store.list_releases(wanted, viewer, after=after, limit=page.size + 1)
        releases = [one.release for one in found[: page.size]]
        if len(found) <= page.size:
            return releases, ""
        last = found[page.size - 1]
        return releases, place_token(last.key, last.release.release_id, binding=wanted.binding)

    async def list_filter_values(self, *, viewer: Viewer) -> dict[str, list[Value]]:
        """Return what lists can be narrowed to, by field, each with how many releases it leaves."""
        async with self._read() as store:
            return await store.filter_values(viewer)

    async def list_genres(self) -> list[Genre]:
        """Return all genres by name."""
        async with self._read() as store:
            return await store.genres()

    async def list_tags(self) -> list[Tag]:
        """Return all tags by name."""
        async with self._read() as store:
            return await store.tags()

    async def get_franchise(self, franchise_id: str, *, viewer: Viewer) -> FranchiseView:
        """Return a franchise with those of its members that the viewer may see, in order. Raises FranchiseNotFound."""
        async with self._read() as store:
            franchise = await store.franchise(franchise_id)
            if franchise is None:
                raise FranchiseNotFound(franchise=franchise_id)
            found = {release.release_id: release for release in await store.releases(franchise.release_ids)}
            members = [found[i] for i in franchise.release_ids if i in found and _visible(found[i], viewer)]
            seconds = await store.seconds([release.release_id for release in members])
        return FranchiseView(franchise, tuple(members), totals(members, seconds))

    async def list_franchises(self, page: Page) -> tuple[list[Franchise], str]:
        """Return franchises by name and the token of the next page. Raises PageTokenInvalid."""
        values = place_values(page.token, binding="franchises")
        if values and (len(values) != 2 or not comparable(Key.TITLE, values[0])):
            raise PageTokenInvalid(field="page_token")
        after = (values[0], valid_id(values[1])) if values else None
        async with self._read() as store:
            found = await store.franchises(after=after, limit=page.size + 1)
        if len(found) <= page.size:
            return found, ""
        last = found[page.size - 1]
        return found[: page.size], place_token(last.name, last.franchise_id, binding="franchises")

    async def list_changes(self, cursor: str, *, size: int, viewer: Viewer) -> tuple[list[FeedMessage], str, bool]:
        """Return what changed after a cursor, where to go on, and whether there is more by now. Raises CursorInvalid."""
        async with self._read() as store:
            place = await _begin_at(store, _parse_cursor(cursor))
            changes = await store.changes(place, limit=size)
        shown = [FeedMessage(_format_cursor(c.cursor), seen) for c in changes if (seen := _as_seen(c, viewer))]
        following = changes[-1].cursor if changes else place
        return shown, _format_cursor(following), len(changes) == size

    async def watch_releases(self, cursor: str, *, viewer: Viewer) -> AsyncGenerator[FeedMessage, None]:
        """Yield what changes, from a cursor on, and a message without a change when nothing did. Raises CursorInvalid."""
        known = _parse_cursor(cursor)
        place: Cursor | None = None
        silence = HEARTBEAT_SECONDS
        while True:
            rings = self._bell.rings()
            async with self._read() as store:
                place = place or await _begin_at(store, known)
                changes = await store.changes(place, limit=FEED_BATCH)
                held_back = len(changes) < FEED_BATCH and await store.changes_held_back()
            for change in changes:
                place = change.cursor
                if shown := _as_seen(change, viewer):
                    yield FeedMessage(_format_cursor(place), shown)
            if silence >= HEARTBEAT_SECONDS and not changes:
                yield FeedMessage(_format_cursor(place), None)
                silence = 0.0
            if len(changes) < FEED_BATCH:
                seconds = SOON_SECONDS if held_back else HEARTBEAT_SECONDS
                heard = await self._bell.wait(rings, seconds=seconds)
                silence = 0.0 if heard or changes else silence + seconds


@dataclass(frozen=True, slots=True)
class FranchiseView:
    """A franchise as a viewer sees it."""

    franchise: Franchise
    members: tuple[Release, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """A message of the change feed: a change, or the sign that all is quiet, and where to go on."""

    cursor: str
    change: Change | None


def totals(members: Sequence[Release], seconds: int) -> Totals:
    """Return what releases come to."""
    years = [release.year for release in members if release.year]
    return Totals(
        release_count=len(members),
        episode_count=sum(release.episode_count for release in members),
        duration_seconds=seconds,
        first_year=min(years, default=None),
        last_year=max(years, default=None),
    )


def _visible(release: Release, viewer: Viewer) -> bool:
    return sight(release.terms, viewer) is Sight.VISIBLE


def _shown(release: Release | None, named: str, viewer: Viewer) -> Release:
    """Return a release that the viewer may see. Raises ReleaseNotFound and ReleaseBlocked."""
    if release is None:
        raise ReleaseNotFound(release=named)
    demand_sight(release.terms, release.rights_blocks, named=named, viewer=viewer)
    return release


def _place(token: str, wanted: Filter) -> tuple[str | float, str] | None:
    """Return the place that a token names: a key of the list's order, and an id. Raises PageTokenInvalid."""
    values = place_values(token, binding=wanted.binding)
    if values is None:
        return None
    if len(values) != 2 or not comparable(wanted.order.key, values[0]):
        raise PageTokenInvalid(field="page_token")
    return values[0], valid_id(values[1])


def _as_seen(change: Change, viewer: Viewer) -> Change | None:
    """Show a change as the viewer may see it: what left the viewer's sight is gone, what never was in it is not mentioned."""
    release = change.release
    if release is not None and _visible(release, viewer):
        return change
    if not change.was_published and not viewer.sees_drafts:
        return None
    return replace(change, release=None)


async def _begin_at(store: CatalogStore, wanted: Cursor | None) -> Cursor:
    """Return the place to go on from. One that is still to come was given out by a database that is no more."""
    present = await store.present()
    if wanted is not None and wanted.transaction > present.transaction:
        raise CursorInvalid(field="cursor")
    return wanted or present


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
