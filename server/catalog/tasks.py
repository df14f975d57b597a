"""What the worker does about Catalog's events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from domain.catalog.model import ReleaseCreated, ReleaseDeleted, ReleasePublished, ReleaseUpdated
from server.events.deliveries import Reaction

Changed = ReleaseCreated | ReleaseUpdated | ReleasePublished | ReleaseDeleted


def tags(event: Changed) -> tuple[str, ...]:
    """Name the cached answers that an event makes untrue; the contract gives answers their tags."""
    return f"release/{event.release_id}", "releases", "genres"


def reactions(forget: Callable[[Iterable[str]], Awaitable[None]]) -> list[Reaction]:
    """Return Catalog's reactions.

    A server that changes a release makes the caches forget it by itself; this is for the one that is killed before it can.
    """

    async def keep_caches_true(event: Changed, _event_id: str) -> None:
        await forget(tags(event))

    kinds = (ReleaseCreated, ReleaseUpdated, ReleasePublished, ReleaseDeleted)
    return [Reaction("catalog.cache", kind, keep_caches_true) for kind in kinds]
