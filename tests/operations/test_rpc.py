"""What only the wire shows of OperationService."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest

from adapters.postgres import Database
from adapters.postgres.operations.store import PostgresOperations
from ani.operations.v1 import operation_pb2
from ani.operations.v1 import operation_service_pb2 as pb
from domain.kernel import Role
from domain.operations.model import Problem, Report, State
from domain.operations.service import Operations
from tests.builders import NOON
from tests.operations.conftest import OWNER, an_operation
from tests.serving import Metadata, Served, refusal

Token = Callable[..., Metadata]


@pytest.fixture
async def running(operations: Operations, database: Database) -> str:
    """An operation that has got on a little."""
    started = await operations.start(an_operation())
    async with database.begins(PostgresOperations)() as store:
        await store.take(runner="one", kinds=["count"], operation_id=started.operation_id, stale=NOON, at=NOON)
        problem = Problem(7, "Akira", "TITLE_MISSING", "It has no title.")
        report = Report(done=2, total=3, unit="numbers", counts={"added": 2}, problems=(problem,), result={"last": "2"})
        await store.advance(started.operation_id, report, runner="one", at=NOON)
    return started.operation_id


class TestGetOperation:
    async def test_shows_how_far_it_is(self, served: Served, token: Token, running: str) -> None:
        answer = await served.operations.GetOperation(pb.GetOperationRequest(operation_id=running), metadata=token(Role.EDITOR))
        shown = answer.operation
        assert shown.state == operation_pb2.OPERATION_STATE_RUNNING
        assert (shown.progress.done, shown.progress.total, shown.progress.unit) == (2, 3, "numbers")
        assert dict(shown.counts) == {"added": 2}
        assert (shown.problem_count, dict(shown.result)) == (1, {"last": "2"})

    async def test_hides_it_from_other_accounts(self, served: Served, token: Token, running: str) -> None:
        request = pb.GetOperationRequest(operation_id=running)
        assert (await refusal(served.operations.GetOperation(request, metadata=token(Role.USER)))).reason == "OPERATION_NOT_FOUND"
        assert (await served.operations.GetOperation(request, metadata=token(Role.USER, account_id=OWNER))).operation.title


class TestListOperations:
    async def test_lists_those_of_a_kind(self, served: Served, token: Token, running: str) -> None:
        editor = token(Role.EDITOR)
        answer = await served.operations.ListOperations(pb.ListOperationsRequest(kind="count"), metadata=editor)
        assert [one.operation_id for one in answer.operations] == [running]
        answer = await served.operations.ListOperations(pb.ListOperationsRequest(kind="import"), metadata=editor)
        assert not answer.operations


class TestListOperationProblems:
    async def test_names_the_rows(self, served: Served, token: Token, running: str) -> None:
        request = pb.ListOperationProblemsRequest(operation_id=running)
        answer = await served.operations.ListOperationProblems(request, metadata=token(Role.EDITOR))
        assert [(one.row, one.key, one.reason, one.text) for one in answer.problems] == [
            (7, "Akira", "TITLE_MISSING", "It has no title.")
        ]


class TestWatchOperation:
    async def test_sends_it_until_it_is_over(self, served: Served, token: Token, running: str, database: Database) -> None:
        stream = served.operations.WatchOperation(pb.WatchOperationRequest(operation_id=running), metadata=token(Role.EDITOR))
        messages = aiter(stream)
        first = await anext(messages)
        assert first.operation.state == operation_pb2.OPERATION_STATE_RUNNING
        async with database.begins(PostgresOperations)() as store:
            await store.end(running, state=State.SUCCEEDED, fault="", runner="one", at=NOON)
        async with asyncio.timeout(10):
            rest = [message.operation.state async for message in messages]
        assert rest[-1] == operation_pb2.OPERATION_STATE_SUCCEEDED


class TestCancelOperation:
    async def test_asks_it_to_stop_and_refuses_what_is_over(
        self, served: Served, token: Token, running: str, database: Database
    ) -> None:
        request, editor = pb.CancelOperationRequest(operation_id=running), token(Role.EDITOR)
        answer = await served.operations.CancelOperation(request, metadata=editor)
        assert answer.operation.HasField("cancel_time")
        async with database.begins(PostgresOperations)() as store:
            await store.end(running, state=State.SUCCEEDED, fault="", runner="one", at=NOON)
        refused = await refusal(served.operations.CancelOperation(request, metadata=editor))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "OPERATION_OVER")
