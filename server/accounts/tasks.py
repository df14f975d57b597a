"""What Accounts does by the clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from domain.accounts.throttle import FORGOTTEN
from domain.kernel import Begin
from server.events.scheduler import Job


class Leftovers(Protocol):
    """What is over and still kept, within one unit of work."""

    async def prune(self, *, at: datetime, forgotten: timedelta) -> None: ...


def pruning(begin: Begin[Leftovers]) -> Job:
    """Return the job that deletes what is over: sessions, sign-ins, tries, and what was revoked long ago."""

    async def prune(tick: datetime) -> None:
        async with begin() as store:
            await store.prune(at=tick, forgotten=FORGOTTEN)

    return Job("prune-accounts", prune, every=timedelta(hours=1), offset=timedelta(minutes=37))
