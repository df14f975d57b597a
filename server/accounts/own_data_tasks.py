"""What the worker does about exports, and about accounts that go."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from domain.accounts.export import ExportMaking, Packed
from domain.accounts.own_data import AccountDeleted, Erasure
from domain.operations.model import Operation, Report
from domain.operations.ports import Step
from server.events.deliveries import Reaction
from server.events.scheduler import Job

log = logging.getLogger("ani.worker")

# All of them in one transaction; the rest come with the next tick.
ERASED_AT_ONCE = 20
# A scan of all events that are kept is among what a reaction does.
SECONDS = 120.0

Forget = Callable[[str, str], Awaitable[None]]


class ExportJob:
    """Does operations that make exports: gathers and stores everything, and hands it out in one step."""

    def __init__(self, making: ExportMaking, clock: Callable[[], datetime]) -> None:
        self._making = making
        self._clock = clock

    async def steps(self, operation: Operation) -> AsyncGenerator[Step, None]:
        if operation.checkpoint:
            return
        packed = await self._making.prepare(operation.account_id, at=self._clock())
        yield self._handed_out(operation.operation_id, packed)

    def _handed_out(self, export_id: str, packed: Packed) -> Step:
        async def step() -> Report:
            await self._making.finish(export_id, packed, at=self._clock())
            count = packed.record_count
            return Report(done=count, total=count, unit="records", counts={"records": count}, checkpoint={"ready": True})

        return step


def reactions(forgets: Mapping[str, Forget]) -> list[Reaction]:
    """Return one reaction for each context, of what forgets an account in it by the context's name."""

    def reaction(context: str, forget: Forget) -> Reaction:
        async def act(event: AccountDeleted, _event_id: str) -> None:
            await forget(event.account_id, event.stand_in_id)

        return Reaction(f"{context}.forget-account", AccountDeleted, act, seconds=SECONDS)

    return [reaction(context, forget) for context, forget in forgets.items()]


def jobs(erasure: Erasure, making: ExportMaking, clock: Callable[[], datetime]) -> list[Job]:
    async def erase(_tick: datetime) -> None:
        erased = 0
        for account_id in await erasure.due(limit=ERASED_AT_ONCE, at=clock()):
            erased += await erasure.erase(account_id, at=clock())
        if erased:
            log.info("erased %d accounts whose owners had them deleted", erased)

    async def sweep(_tick: datetime) -> None:
        expired, left_over = await making.sweep(at=clock())
        if expired or left_over:
            log.info("deleted %d exports, and %d parts that were left over", expired, left_over)

    return [
        Job("erase-accounts", erase, every=timedelta(minutes=5), offset=timedelta(minutes=2)),
        Job("sweep-exports", sweep, every=timedelta(hours=1), offset=timedelta(minutes=53)),
    ]
