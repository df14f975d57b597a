"""What Editing does by the clock."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Protocol

from domain.editing.model import UNDELETE_WITHIN
from domain.kernel import Begin
from server.events.scheduler import Job

log = logging.getLogger("ani.worker")

# Whoever brings something back at the last moment must not find it gone.
MARGIN = timedelta(days=1)
AT_ONCE = 1000


class Purge(Protocol):
    """Items that were deleted, within one unit of work."""

    async def purge(self, *, before: datetime, limit: int) -> dict[str, int]: ...


def purging(begin: Begin[Purge]) -> Job:
    """Return the job that purges what was deleted too long ago to be brought back."""

    async def purge(tick: datetime) -> None:
        counts = {"": AT_ONCE}
        while max(counts.values()) >= AT_ONCE:
            async with begin() as items:
                counts = await items.purge(before=tick - UNDELETE_WITHIN - MARGIN, limit=AT_ONCE)
            if told := ", ".join(f"{count} of kind {kind}" for kind, count in counts.items() if count):
                log.info("purged what was deleted over %d days ago: %s", UNDELETE_WITHIN.days, told)

    return Job("purge-deleted", purge, every=timedelta(days=1), offset=timedelta(hours=4, minutes=23))
