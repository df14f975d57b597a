"""What Catalog needs of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.catalog.model import Change, Cursor, Filter, Genre, Release
from domain.kernel import Event, Viewer


class CatalogStore(Protocol):
    """The catalog within one unit of work."""

    async def release(self, key: str) -> Release | None:
        """Return the release with this id or alias, or None when there is none or it is deleted."""

    async def release_to_change(self, release_id: str) -> Release | None:
        """Return a release and keep others from changing it until the unit of work ends."""

    async def was_deleted(self, release_id: str) -> bool:
        """Tell whether a release once existed and is deleted now."""

    async def creation_digest(self, release_id: str) -> bytes | None:
        """Return the digest that a release was created with, even if it is deleted now."""

    async def releases(self, release_ids: Sequence[str]) -> list[Release]:
        """Return those of the releases that exist, in any order."""

    async def list_releases(
        self, wanted: Filter, viewer: Viewer, *, after: tuple[datetime, str] | None, limit: int
    ) -> list[Release]:
        """Return what the viewer may see, latest listing time first, ids deciding ties, from a place on."""

    async def add_release(self, release: Release) -> bool:
        """Keep a new release; False when its id is in use. Raises AliasTaken and GenreUnknown."""

    async def save_release(self, release: Release) -> None:
        """Keep the new state of a release. Raises AliasTaken and GenreUnknown."""

    async def delete_release(self, release_id: str, *, at: datetime) -> None:
        """Delete a release; its id and alias stay taken."""

    async def genres(self) -> list[Genre]:
        """Return all genres by name, with how many published releases carry each."""

    async def present(self) -> Cursor:
        """Return the place in the change feed after which everything is still to come."""

    async def changes(self, after: Cursor, *, limit: int) -> list[Change]:
        """Return what changed after a place, in the feed's order, leaving out nothing that is still to be committed before it."""

    async def record(self, event: Event) -> None:
        """Record an event; it is delivered if and only if this unit of work is kept."""


class ChangeBell(Protocol):
    """Rings when the change feed may have grown."""

    def rings(self) -> int:
        """Return how often it has rung; taken before a look at the feed, so that no ring falls between look and wait."""

    async def wait(self, rings: int, *, seconds: float) -> bool:
        """Return True once it has rung more often than that, False after this many seconds."""
