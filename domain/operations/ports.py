"""What Operations needs of the outside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Protocol

from domain.kernel import Event
from domain.operations.model import Operation, Problem, Report, State

Step = Callable[[], Awaitable[Report]]


class Job(Protocol):
    """Does the operations of one kind."""

    def steps(self, operation: Operation) -> AsyncGenerator[Step, None]:
        """Yield the steps that are left after the operation's checkpoint.

        What takes time, such as reading and waiting for others, is done before a step is yielded; the step itself only writes. It
        is done in a transaction which also keeps what it reports, and done again when that transaction has to be repeated.
        """


class OperationStore(Protocol):
    """Operations within one unit of work."""

    async def add(self, operation: Operation) -> bool:
        """Keep a new operation; False when its id is in use."""

    async def operation(self, operation_id: str) -> Operation | None:
        """Return an operation."""

    async def operations(
        self,
        *,
        kind: str,
        state: State | None,
        account_id: str | None,
        viewer_id: str | None = None,
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> list[Operation]:
        """Return operations of a kind, in a state and of an account where these are named, the latest first.

        Where a viewer is named, what is others' private matter is left out.
        """

    async def problems(self, operation_id: str, *, after: int, limit: int) -> list[tuple[int, Problem]]:
        """Return the problems that follow a number, with their numbers."""

    async def take(
        self, *, runner: str, kinds: Collection[str], operation_id: str | None, stale: datetime, at: datetime
    ) -> Operation | None:
        """Give a runner the operation, or else the longest waiting one that is shared.

        It is given when it is queued, or has had no heartbeat since `stale`.
        """

    async def advance(self, operation_id: str, report: Report, *, runner: str, at: datetime) -> Operation | None:
        """Keep what a step reports; None when the runner has lost the operation."""

    async def beat(self, operation_id: str, *, runner: str, at: datetime) -> bool:
        """Keep that a runner is still at it; False when it has lost the operation."""

    async def release(self, operation_id: str, *, runner: str) -> None:
        """Put an operation back into the queue, for its runner stops."""

    async def end(self, operation_id: str, *, state: State, fault: str, runner: str, at: datetime) -> Operation | None:
        """Keep how an operation ended; None when the runner has lost it."""

    async def cancel(self, operation_id: str, *, at: datetime) -> Operation | None:
        """Cancel what is queued, and have the runner of what is running stop; None when it is over or not there."""

    async def latest_success(self, kind: str, *, about: Mapping[str, Any]) -> Operation | None:
        """Return the operation of a kind, with these among its parameters, that succeeded last."""

    async def record(self, event: Event) -> None:
        """Record an event; it is delivered if and only if this unit of work is kept."""


class Bell(Protocol):
    """Rings when an operation may have changed."""

    def rings(self) -> int:
        """Return how often it has rung; taken before a look, so that no ring falls between look and wait."""

    async def wait(self, rings: int, *, seconds: float) -> bool:
        """Return True once it has rung more often than that, False after this many seconds."""
