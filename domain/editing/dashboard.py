"""What editors see first: what there is, what waits, and what happened last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from domain.editing.model import Revision
from domain.kernel import Begin

LATEST = 20
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers by name, all of one moment."""

    content: Mapping[str, int]
    queue: Mapping[str, int]
    last_day: Mapping[str, int]


class DashboardStore(Protocol):
    """What can be counted over all contexts."""

    async def counts(self, *, since: datetime) -> Counts:
        """Count what there is and what waits, and what was done since a time."""

    async def latest_revisions(self, limit: int) -> list[Revision]:
        """Return the latest edits of any item, the last one first."""


class Dashboard:
    """The dashboard of editors."""

    def __init__(self, *, read: Begin[DashboardStore]) -> None:
        self._read = read

    async def get_dashboard(self, *, at: datetime) -> tuple[Counts, list[Revision]]:
        """Return the numbers, and the latest edits."""
        async with self._read() as store:
            return await store.counts(since=at - DAY), await store.latest_revisions(LATEST)
