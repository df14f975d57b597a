"""Things for tests, valid as they are: override what matters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from domain.catalog.model import Kind, Release, Status, Title
from domain.kernel import new_id

NOON = datetime(2026, 4, 6, 12, 0, tzinfo=UTC)


def a_release(**changes: Any) -> Release:
    """Return a draft of a series with an id and an alias of its own."""
    at = changes.get("create_time", NOON)
    release_id = new_id(at=at)
    values: dict[str, Any] = {
        "release_id": release_id,
        "alias": f"release-{release_id[-12:]}",
        "titles": (Title("en", "A Release"), Title("ja", "リリース")),
        "kind": Kind.TV,
        "status": Status.ONGOING,
        "age_rating": 12,
        "create_time": at,
        "update_time": at,
    }
    return Release(**values | changes)
