"""What the worker does about promos: caches that go with them, and ids of events that cannot come again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

from domain.media.promos import PromoCreated, PromoDeleted, PromoUpdated
from domain.media.promotion import Promos
from server.events.deliveries import Reaction
from server.events.scheduler import Job

log = logging.getLogger("ani.media")


def reactions(forget: Callable[[Iterable[str]], Awaitable[None]]) -> list[Reaction]:
    """Return the reactions to edits: a server forgets by itself, unless it is killed before it can or a change set is published."""

    async def keep_caches_true(_event: PromoCreated | PromoUpdated | PromoDeleted, _event_id: str) -> None:
        await forget(["promos"])

    return [Reaction("media.promo-cache", kind, keep_caches_true) for kind in (PromoCreated, PromoUpdated, PromoDeleted)]


def jobs(promos: Promos, clock: Callable[[], datetime]) -> list[Job]:
    async def forget(_tick: datetime) -> None:
        if count := await promos.forget_occurrences(at=clock()):
            log.info("forgot the ids of %d events of promos", count)

    return [Job("promo-events", forget, every=timedelta(hours=1), offset=timedelta(minutes=43))]
