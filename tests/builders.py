"""What tests are about: valid by default, override what matters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from domain.catalog.episodes import Episode
from domain.catalog.model import Kind, Release, Status, Title
from domain.catalog.schedule import ScheduleEntry
from domain.kernel import Role, Viewer, new_id
from domain.visibility import Publication

NOON = datetime(2026, 4, 6, 12, 0, tzinfo=UTC)


def a_release(**over: Any) -> Release:
    at = over.pop("at", NOON)
    release_id = over.pop("release_id", None) or new_id(at=at)
    facts: dict[str, Any] = {
        "release_id": release_id,
        "alias": f"release-{release_id[-12:]}",
        "titles": (Title("ja-Latn", "Kaze no Uta"), Title("en", "Song of the Wind")),
        "kind": Kind.TV,
        "status": Status.ONGOING,
        "year": 2026,
        "age_rating": 12,
        "publication": Publication.PUBLISHED,
        "create_time": at,
        "update_time": at,
    }
    return Release(**facts | over)


def a_draft(**over: Any) -> Release:
    return a_release(publication=Publication.DRAFT, **over)


def an_episode(release: Release, **over: Any) -> Episode:
    facts: dict[str, Any] = {
        "episode_id": new_id(at=NOON),
        "release_id": release.release_id,
        "number": "1",
        "titles": (Title("en", "The First Gust"),),
        "duration_seconds": 1440,
        "create_time": NOON,
        "update_time": NOON,
    }
    return Episode(**facts | over)


def an_entry(release: Release, **over: Any) -> ScheduleEntry:
    facts: dict[str, Any] = {
        "schedule_entry_id": new_id(at=NOON),
        "release_id": release.release_id,
        "number": "1",
        "planned_air_time": NOON,
        "create_time": NOON,
        "update_time": NOON,
    }
    return ScheduleEntry(**facts | over)


def a_viewer(**over: Any) -> Viewer:
    facts: dict[str, Any] = {"account_id": "0191d7a0-0000-7000-8000-000000000001", "role": Role.USER, "country": "JP"}
    return Viewer(**facts | over)


def an_editor(**over: Any) -> Viewer:
    facts: dict[str, Any] = {"account_id": "0191d7a0-0000-7000-8000-000000000002", "role": Role.EDITOR}
    return a_viewer(**facts | over)


GUEST = Viewer()
