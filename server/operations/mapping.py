"""Where the messages of operations and their dataclasses meet."""

from __future__ import annotations

from ani.operations.v1 import operation_pb2
from domain.operations.model import Operation, Problem


def operation_to_pb(operation: Operation) -> operation_pb2.Operation:
    return operation_pb2.Operation(
        operation_id=operation.operation_id,
        kind=operation.kind,
        title=operation.title,
        state=operation.state,  # type: ignore[arg-type]
        progress=operation_pb2.OperationProgress(done=operation.done, total=operation.total, unit=operation.unit),
        counts=operation.counts,
        result=operation.result,
        fault=operation.fault,
        account_id=operation.account_id,
        problem_count=operation.problem_count,
        create_time=operation.create_time,  # type: ignore[arg-type]
        start_time=operation.start_time,  # type: ignore[arg-type]
        heartbeat_time=operation.heartbeat_time,  # type: ignore[arg-type]
        cancel_time=operation.cancel_time,  # type: ignore[arg-type]
        end_time=operation.end_time,  # type: ignore[arg-type]
    )


def problem_to_pb(problem: Problem) -> operation_pb2.OperationProblem:
    return operation_pb2.OperationProblem(row=problem.row, key=problem.key, reason=problem.reason, text=problem.text)
