"""What the worker does about streams by the clock, and about what was kept of profiles that are gone."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Protocol

from domain.accounts.profiles import ProfileDeleted
from domain.kernel import Begin
from server.events.deliveries import Reaction
from server.events.scheduler import Job

log = logging.getLogger("ani.worker")

# Long after the place is free, so that no heartbeat that is under way meets a stream that is gone.
FORGOTTEN = timedelta(hours=1)


class Streams(Protocol):
    """Streams within one unit of work."""

    async def forget_streams(self, *, before: datetime) -> int: ...

    async def forget_profile(self, account_id: str, profile_id: str) -> None: ...


def reactions(begin: Begin[Streams]) -> list[Reaction]:
    async def forget(event: ProfileDeleted, _event_id: str) -> None:
        async with begin() as store:
            await store.forget_profile(event.account_id, event.profile_id)

    return [Reaction("media.forget-profile", ProfileDeleted, forget)]


def job(begin: Begin[Streams]) -> Job:
    """Return the job that forgets streams which ended without a word."""

    async def forget(tick: datetime) -> None:
        async with begin() as store:
            if count := await store.forget_streams(before=tick - FORGOTTEN):
                log.info("forgot %d streams that gave no sign", count)

    return Job("forget-streams", forget, every=timedelta(hours=1), offset=timedelta(minutes=41))
