"""What the worker does about guests and devices that wait, by the clock."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from domain.accounts.guest_passes import Departures
from domain.kernel import Begin
from server.events.scheduler import Job

log = logging.getLogger("ani.worker")


class Waiting(Protocol):
    """Devices that wait, within one unit of work."""

    async def prune_device_logins(self, *, at: datetime) -> None: ...


def jobs(departures: Departures, begin: Begin[Waiting], clock: Callable[[], datetime]) -> list[Job]:
    async def look_after(_tick: datetime) -> None:
        if gone := await departures.look_after(at=clock()):
            log.info("%d guest passes are over", len(gone))

    async def prune(_tick: datetime) -> None:
        async with begin() as store:
            await store.prune_device_logins(at=clock())

    return [
        Job("guest-passes", look_after, every=timedelta(seconds=30)),
        Job("device-logins", prune, every=timedelta(hours=1), offset=timedelta(minutes=23)),
    ]
