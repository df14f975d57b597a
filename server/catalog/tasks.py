"""What the worker does about Catalog's events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import get_args

from domain.catalog.episodes import EpisodeAdded, EpisodeReleased, EpisodeRemoved, EpisodeUpdated
from domain.catalog.franchises import FranchiseChanged, GenreChanged, TagChanged
from domain.catalog.importing import CatalogImported, EpisodesImported
from domain.catalog.model import ReleaseCreated, ReleaseDeleted, ReleasePublished, ReleaseUpdated
from domain.catalog.redirects import EpisodeRulesReplaced
from domain.catalog.schedule import ScheduleChanged, ScheduleEntryAdded, ScheduleEntryRemoved
from server.events.deliveries import Reaction

EpisodeChanged = EpisodeAdded | EpisodeUpdated | EpisodeReleased | EpisodeRemoved
AiringChanged = ScheduleEntryAdded | ScheduleChanged | ScheduleEntryRemoved
ReleaseChanged = ReleaseCreated | ReleaseUpdated | ReleasePublished | ReleaseDeleted
Imported = CatalogImported | EpisodesImported
GroupChanged = GenreChanged | TagChanged | FranchiseChanged
Changed = ReleaseChanged | GroupChanged | EpisodeChanged | AiringChanged | Imported | EpisodeRulesReplaced


def tags(event: Changed) -> tuple[str, ...]:  # noqa: PLR0911 - one for each kind of event
    """Name the cached answers that an event makes untrue; the contract gives answers their tags."""
    match event:
        case GenreChanged():
            return f"genre/{event.genre_id}", "genres", "releases"
        case TagChanged():
            return f"tag/{event.tag_id}", "tags", "releases"
        case FranchiseChanged():
            members = (f"release/{release_id}" for release_id in event.release_ids)
            return f"franchise/{event.franchise_id}", "franchises", "releases", *members
        case EpisodeAdded() | EpisodeUpdated() | EpisodeReleased() | EpisodeRemoved():
            return f"release/{event.release_id}", "releases", "schedule"
        case ScheduleEntryAdded() | ScheduleChanged() | ScheduleEntryRemoved():
            return ("schedule",)
        case CatalogImported():
            touched = (f"release/{release_id}" for release_id in (*event.added, *event.changed))
            return "releases", "genres", "tags", "franchises", "schedule", *touched
        case EpisodesImported():
            return "releases", "schedule", *(f"release/{release_id}" for release_id in event.release_ids)
        case EpisodeRulesReplaced():
            return ("episode-rules",)
        case _:
            return f"release/{event.release_id}", "releases", "genres", "tags"


def reactions(forget: Callable[[Iterable[str]], Awaitable[None]]) -> list[Reaction]:
    """Return Catalog's reactions.

    A server that changes a release makes the caches forget it by itself; this is for the one that is killed before it can.
    """

    async def keep_caches_true(event: Changed, _event_id: str) -> None:
        await forget(tags(event))

    return [Reaction("catalog.cache", kind, keep_caches_true) for kind in get_args(Changed)]
