"""Starting, watching and cancelling operations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Any

from domain.kernel import Begin, Page, Viewer
from domain.operations.model import Operation, OperationIdReused, OperationNotFound, OperationOver, OperationStarted, Problem, State
from domain.operations.ports import Bell, OperationStore
from domain.paging import PageTokenInvalid, page_place, page_token, place_token, place_values

# An operation that does not move is shown again this often, so that a stream that is cut is noticed.
HEARTBEAT_SECONDS = 15.0


class Operations:
    """Whoever has long work to be done asks here; a runner does it."""

    def __init__(self, *, begin: Begin[OperationStore], read: Begin[OperationStore], bell: Bell) -> None:
        self._begin = begin
        self._read = read
        self._bell = bell

    async def start(self, operation: Operation) -> Operation:
        """Have an operation done; the same one asked for again is returned as it is by now. Raises OperationIdReused."""
        async with self._begin() as store:
            if await store.add(operation):
                await store.record(
                    OperationStarted(time=operation.create_time, operation_id=operation.operation_id, kind=operation.kind)
                )
                return operation
            there = await store.operation(operation.operation_id)
        if there is None or not _same(there, operation):
            raise OperationIdReused(operation_id=operation.operation_id, field="operation_id")
        return there

    async def get_operation(self, operation_id: str, *, viewer: Viewer) -> Operation:
        """Raises OperationNotFound."""
        async with self._read() as store:
            found = await store.operation(operation_id)
        if found is None or not found.is_seen_by(viewer):
            raise OperationNotFound(operation_id=operation_id)
        return found

    async def list_operations(self, page: Page, *, kind: str, state: State | None, viewer: Viewer) -> tuple[list[Operation], str]:
        """Return a page of what the viewer may know of, the latest first. Raises PageTokenInvalid."""
        owner = None if viewer.sees_drafts else viewer.account_id
        binding = f"operations/{kind}/{state}/{owner}"
        after = page_place(page.token, binding=binding)
        async with self._read() as store:
            found = await store.operations(
                kind=kind, state=state, account_id=owner, viewer_id=viewer.account_id, after=after, limit=page.size + 1
            )
        shown = found[: page.size]
        more = len(found) > page.size
        return shown, page_token(shown[-1].create_time, shown[-1].operation_id, binding=binding) if more else ""

    async def list_problems(self, operation_id: str, page: Page, *, viewer: Viewer) -> tuple[list[Problem], str]:
        """Return a page of the rows that could not be used, in their order. Raises OperationNotFound, PageTokenInvalid."""
        await self.get_operation(operation_id, viewer=viewer)
        binding = f"problems/{operation_id}"
        after = _number(place_values(page.token, binding=binding))
        async with self._read() as store:
            found = await store.problems(operation_id, after=after, limit=page.size + 1)
        shown = found[: page.size]
        return [problem for _, problem in shown], place_token(shown[-1][0], binding=binding) if len(found) > page.size else ""

    async def watch_operation(self, operation_id: str, *, viewer: Viewer) -> AsyncGenerator[Operation, None]:
        """Yield an operation as it is, whenever it has changed, until it is over. Raises OperationNotFound."""
        shown: Operation | None = None
        while True:
            rings = self._bell.rings()
            found = await self.get_operation(operation_id, viewer=viewer)
            if found != shown:
                shown = found
                yield found
            if found.state.is_over:
                return
            if not await self._bell.wait(rings, seconds=HEARTBEAT_SECONDS):
                shown = None

    async def cancel_operation(self, operation_id: str, *, viewer: Viewer, at: datetime) -> Operation:
        """Have an operation stop after its present step; what it did stays. Raises OperationNotFound, OperationOver."""
        found = await self.get_operation(operation_id, viewer=viewer)
        if found.state is State.CANCELLED:
            return found
        async with self._begin() as store:
            cancelled = await store.cancel(operation_id, at=at)
        if cancelled is None:
            # Another cancelled it meanwhile, or the same call that was sent twice.
            found = await self.get_operation(operation_id, viewer=viewer)
            if found.state is State.CANCELLED:
                return found
            raise OperationOver(operation_id=operation_id)
        return cancelled

    async def latest_success(self, kind: str, *, about: Mapping[str, Any]) -> Operation | None:
        """Return the operation of a kind, with these among its parameters, that succeeded last."""
        async with self._read() as store:
            return await store.latest_success(kind, about=about)


def _same(there: Operation, asked: Operation) -> bool:
    return _work(there) == _work(asked)


def _work(operation: Operation) -> tuple[str, Mapping[str, Any], str]:
    return operation.kind, dict(operation.parameters), operation.account_id


def _number(values: list[Any] | None) -> int:
    if values is None:
        return 0
    if len(values) != 1 or type(values[0]) is not int or not 0 <= values[0] < 2**63:
        raise PageTokenInvalid(field="page_token")
    return int(values[0])
