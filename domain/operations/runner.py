"""Doing operations: step by step, so that a killed one goes on after its last step and a cancelled one stops between two."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

from domain.kernel import Begin, Conflict, Refusal, Unavailable
from domain.operations.model import LeaseLost, Operation, OperationEnded, State
from domain.operations.ports import Bell, Job, OperationStore, Step

log = logging.getLogger("ani.operations")

BEAT_SECONDS = 3.0
# Without a heartbeat for this long, an operation is taken over.
STALE = timedelta(seconds=15)
LOOK_SECONDS = 5.0
# So many beginnings in a row without getting on are enough: its own step may be what kills the runner.
MOST_ATTEMPTS = 5
# A step that others keep getting in the way of is repeated so often.
MOST_CONFLICTS = 20
PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0


class Runner:
    """Does one operation at a time."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        *,
        begin: Begin[OperationStore],
        together: Callable[[], AbstractAsyncContextManager[object]],
        bell: Bell,
        clock: Callable[[], datetime],
        name: str,
    ) -> None:
        """Take jobs by kind; `together` opens a transaction that everything begun inside joins."""
        self._jobs = dict(jobs)
        self._begin = begin
        self._together = together
        self._bell = bell
        self._clock = clock
        self._name = name

    async def run_forever(self) -> None:
        """Do what is queued until cancelled, through outages of the database."""
        while True:
            rings = self._bell.rings()
            try:
                taken = await self.take()
                if taken:
                    await self.run(taken)
            except Refusal as fault:
                taken = None
                log.warning("operations wait: %s", fault)
            if taken is None:
                await self._bell.wait(rings, seconds=LOOK_SECONDS)

    async def take(self, operation_id: str | None = None) -> Operation | None:
        """Take over the operation, or else whichever waits longest, unless another runner is at it."""
        at = self._clock()
        async with self._begin() as store:
            return await store.take(runner=self._name, kinds=tuple(self._jobs), operation_id=operation_id, stale=at - STALE, at=at)

    async def run(self, operation: Operation, *, observe: Callable[[Operation], None] = lambda _: None) -> Operation:
        """Do an operation that was taken; return how it ended, or as it was last seen when another runner took it over."""
        beating = asyncio.create_task(self._beat(operation.operation_id))
        try:
            return await self._to_its_end(operation, observe)
        except LeaseLost:
            log.warning("the operation %s was taken over by another runner", operation.operation_id)
            return operation
        except asyncio.CancelledError:
            with contextlib.suppress(Refusal):
                await asyncio.shield(self._release(operation.operation_id))
            raise
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _to_its_end(self, operation: Operation, observe: Callable[[Operation], None]) -> Operation:
        state, fault = State.SUCCEEDED, ""
        if operation.attempts > MOST_ATTEMPTS:
            state, fault = State.FAILED, f"it was begun {operation.attempts - 1} times without getting on"
        elif operation.cancel_time is None:
            try:
                operation = await self._do(operation, observe)
            except LeaseLost:
                raise
            except Refusal as refusal:
                state, fault = State.FAILED, str(refusal)
            except Exception as unforeseen:
                log.exception("the operation %s failed", operation.operation_id)
                state, fault = State.FAILED, f"an unforeseen fault: {type(unforeseen).__name__}"
        if operation.cancel_time is not None:
            state = State.CANCELLED
        return await self._end(operation, state, fault)

    async def _do(self, operation: Operation, observe: Callable[[Operation], None]) -> Operation:
        steps = self._jobs[operation.kind].steps(operation)
        async with contextlib.aclosing(steps):
            async for step in steps:
                operation = await self._repeated(operation.operation_id, step)
                observe(operation)
                if operation.cancel_time is not None:
                    break
        return operation

    async def _repeated(self, operation_id: str, step: Step) -> Operation:
        """Do a step, again while the database is away, and as often as is sensible when others get in its way."""
        conflicts, pause = 0, PAUSE_SECONDS
        while True:
            try:
                return await self._once(operation_id, step)
            except Unavailable as fault:
                log.warning("the operation %s waits: %s", operation_id, fault)
            except Conflict:
                conflicts += 1
                if conflicts > MOST_CONFLICTS:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _once(self, operation_id: str, step: Step) -> Operation:
        async with self._together():
            report = await step()
            async with self._begin() as store:
                advanced = await store.advance(operation_id, report, runner=self._name, at=self._clock())
            if advanced is None:
                raise LeaseLost
        return advanced

    async def _end(self, operation: Operation, state: State, fault: str) -> Operation:
        at = self._clock()
        async with self._begin() as store:
            ended = await store.end(operation.operation_id, state=state, fault=fault, runner=self._name, at=at)
            if ended is None:
                raise LeaseLost
            await store.record(OperationEnded(time=at, operation_id=ended.operation_id, kind=ended.kind, state=ended.state))
        log.info("the operation %s ended: %s %s", ended.operation_id, ended.state.name.lower(), fault)
        return ended

    async def _beat(self, operation_id: str) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            with contextlib.suppress(Refusal):
                async with self._begin() as store:
                    await store.beat(operation_id, runner=self._name, at=self._clock())

    async def _release(self, operation_id: str) -> None:
        async with self._begin() as store:
            await store.release(operation_id, runner=self._name)
