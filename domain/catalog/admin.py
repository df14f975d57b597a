"""What editors do with the catalog: one method for each RPC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.catalog.model import (
    Release,
    ReleaseChangedMeanwhile,
    ReleaseCreated,
    ReleaseDeleted,
    ReleaseIdReused,
    ReleaseNotFound,
    ReleasePublished,
    ReleaseUpdated,
)
from domain.catalog.ports import CatalogStore
from domain.kernel import Begin, Event


class CatalogAdmin:
    """The catalog, for editors."""

    def __init__(self, *, begin: Begin[CatalogStore]) -> None:
        self._begin = begin

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

    async def _created_before(self, store: CatalogStore, fresh: Release) -> Release:
        if await store.creation_digest(fresh.release_id) != fresh.digest:
            raise ReleaseIdReused(release_id=fresh.release_id, field="release.release_id")
        return await _present(store, fresh.release_id)


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


def _names(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
