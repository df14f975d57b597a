"""OperationService: read the request, ask the domain, render the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ani.operations.v1 import operation_service_pb2 as pb
from domain.kernel import Page
from domain.operations.model import State
from domain.operations.service import Operations
from server.operations.mapping import operation_to_pb, problem_to_pb
from server.pipeline.call import Call


class OperationServicer:
    """Serves those who wait for long work."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def GetOperation(self, request: pb.GetOperationRequest, call: Call) -> pb.GetOperationResponse:
        found = await self._operations.get_operation(request.operation_id, viewer=call.viewer)
        return pb.GetOperationResponse(operation=operation_to_pb(found))

    async def ListOperations(self, request: pb.ListOperationsRequest, call: Call) -> pb.ListOperationsResponse:
        page, state = Page(request.page_size, request.page_token), State(request.state) if request.state else None
        found, following = await self._operations.list_operations(page, kind=request.kind, state=state, viewer=call.viewer)
        return pb.ListOperationsResponse(operations=map(operation_to_pb, found), next_page_token=following)

    async def ListOperationProblems(self, request: pb.ListOperationProblemsRequest, call: Call) -> pb.ListOperationProblemsResponse:
        page = Page(request.page_size, request.page_token)
        found, following = await self._operations.list_problems(request.operation_id, page, viewer=call.viewer)
        return pb.ListOperationProblemsResponse(problems=map(problem_to_pb, found), next_page_token=following)

    async def WatchOperation(
        self, request: pb.WatchOperationRequest, call: Call
    ) -> AsyncGenerator[pb.WatchOperationResponse, None]:
        async with aclosing(self._operations.watch_operation(request.operation_id, viewer=call.viewer)) as seen:
            async for operation in seen:
                yield pb.WatchOperationResponse(operation=operation_to_pb(operation), time=call.clock())  # type: ignore[arg-type]

    async def CancelOperation(self, request: pb.CancelOperationRequest, call: Call) -> pb.CancelOperationResponse:
        cancelled = await self._operations.cancel_operation(request.operation_id, viewer=call.viewer, at=call.now)
        return pb.CancelOperationResponse(operation=operation_to_pb(cancelled))
