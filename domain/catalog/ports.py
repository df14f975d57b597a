"""What Catalog needs of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from domain.catalog.filters import Filter, Value
from domain.catalog.franchises import Franchise
from domain.catalog.model import Change, Cursor, ExternalId, Genre, Provider, Release, Tag
from domain.catalog.redirects import Redirect
from domain.kernel import Event, Viewer


class Listed(NamedTuple):
    """A release, and the key by which the list it stands in is ordered."""

    release: Release
    key: str | float


class CatalogStore(Protocol):
    """The catalog within one unit of work."""

    async def release(self, key: str) -> Release | None:
        """Return the release with this id or alias, or None when there is none or it is deleted."""

    async def release_to_change(self, release_id: str) -> Release | None:
        """Return a release and keep others from changing it until the unit of work ends."""

    async def releases(self, release_ids: Sequence[str]) -> list[Release]:
        """Return those of the releases that exist, in any order."""

    async def release_by_external_id(self, provider: Provider, external_id: str) -> Release | None:
        """Return the release that has this id elsewhere."""

    async def releases_by_external_ids(self, ids: Sequence[ExternalId]) -> list[Release]:
        """Return the releases that have any of these ids elsewhere, in any order."""

    async def redirects(self, ids: Sequence[ExternalId], number: int) -> list[Redirect]:
        """Return the rules that speak of an episode of a title which goes by any of these ids elsewhere."""

    async def list_releases(
        self, wanted: Filter, viewer: Viewer, *, after: tuple[str | float, str] | None, limit: int
    ) -> list[Listed]:
        """Return what the viewer may see in the order wanted, ids deciding ties, from a place on."""

    async def filter_values(self, viewer: Viewer) -> dict[str, list[Value]]:
        """Return what lists can be narrowed to, by field, with how many releases that the viewer may see have each value."""

    async def random_release(self, viewer: Viewer) -> Release | None:
        """Return any release that the viewer may see, each as likely as another."""

    async def franchise(self, franchise_id: str) -> Franchise | None:
        """Return a franchise with the ids of its members in order."""

    async def franchises(self, *, after: tuple[str, str] | None, limit: int) -> list[Franchise]:
        """Return franchises by name, from a place on."""

    async def seconds(self, release_ids: Sequence[str]) -> int:
        """Return how long the episodes of releases are together."""

    async def tags(self) -> list[Tag]:
        """Return all tags by name, with how many published releases carry each."""

    async def add_release(self, release: Release) -> bool:
        """Keep a new release; False when its id is in use. Raises AliasTaken, GenreUnknown, TagUnknown, ExternalIdTaken."""

    async def save_release(self, release: Release) -> None:
        """Keep the new state of a release. Raises what adding one raises."""

    async def delete_release(self, release_id: str, *, at: datetime) -> None:
        """Delete a release; its id and alias stay taken."""

    async def genres(self) -> list[Genre]:
        """Return all genres by name, with how many published releases carry each."""

    async def present(self) -> Cursor:
        """Return the place in the change feed after which everything is still to come."""

    async def changes(self, after: Cursor, *, limit: int) -> list[Change]:
        """Return what changed after a place, in the feed's order, leaving out nothing that is still to be committed before it."""

    async def changes_held_back(self) -> bool:
        """Tell whether there are changes that wait for work which began before them, and will ring no more."""

    async def record(self, event: Event) -> None:
        """Record an event; it is delivered if and only if this unit of work is kept."""


class ChangeBell(Protocol):
    """Rings when the change feed may have grown."""

    def rings(self) -> int:
        """Return how often it has rung; taken before a look at the feed, so that no ring falls between look and wait."""

    async def wait(self, rings: int, *, seconds: float) -> bool:
        """Return True once it has rung more often than that, False after this many seconds."""
