"""What the worker does about streams by the clock."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Protocol

from domain.kernel import Begin
from server.events.scheduler import Job

log = logging.getLogger("ani.worker")

# Long after the place is free, so that no heartbeat that is under way meets a stream that is gone.
FORGOTTEN = timedelta(hours=1)


class Streams(Protocol):
    """Streams within one unit of work."""

    async def forget_streams(self, *, before: datetime) -> int: ...


def job(begin: Begin[Streams]) -> Job:
    """Return the job that forgets streams which ended without a word."""

    async def forget(tick: datetime) -> None:
        async with begin() as store:
            if count := await store.forget_streams(before=tick - FORGOTTEN):
                log.info("forgot %d streams that gave no sign", count)

    return Job("forget-streams", forget, every=timedelta(hours=1), offset=timedelta(minutes=41))
