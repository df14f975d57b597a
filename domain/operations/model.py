"""Operations, and the rules they keep by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from domain.kernel import Event, FailedPrecondition, InvalidArgument, NotFound, Viewer

# Kept with an operation; the counts tell of all.
MOST_PROBLEMS = 2_000
# Kinds of work that are their owners' alone: nobody else, editors included, may know of it.
PRIVATE_KINDS = frozenset({"export-own-data"})


class State(IntEnum):
    """How far an operation has come."""

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def is_over(self) -> bool:
        return self >= State.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that could not be used, or not wholly."""

    row: int
    key: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Long work, and what is known of it."""

    operation_id: str
    kind: str
    title: str
    state: State = State.QUEUED
    # What is to be done, as its job understands it. Never a secret.
    parameters: Mapping[str, Any]
    # Where its job goes on.
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    done: int = 0
    # Unset while it is unknown.
    total: int | None = None
    unit: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    problem_count: int = 0
    result: Mapping[str, str] = field(default_factory=dict)
    # Why it failed.
    fault: str = ""
    account_id: str = ""
    # Whether any worker may do it; otherwise only the command that started it, which alone has its file.
    shared: bool = True
    # How often it was begun since it last got on.
    attempts: int = 0
    runner: str = ""
    create_time: datetime
    start_time: datetime | None = None
    heartbeat_time: datetime | None = None
    cancel_time: datetime | None = None
    end_time: datetime | None = None

    def is_seen_by(self, viewer: Viewer) -> bool:
        """Tell whether a viewer may know of it: anyone of their own, editors of all that is not others' private matter."""
        if viewer.account_id and viewer.account_id == self.account_id:
            return True
        return viewer.sees_drafts and self.kind not in PRIVATE_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a step has come to: how far everything is, and what this step adds to counts and problems."""

    done: int
    total: int | None = None
    unit: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationStarted(Event):
    """An operation was asked for."""

    operation_id: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationEnded(Event):
    """An operation came to its end, in the state that it tells of."""

    operation_id: str
    kind: str
    state: State


class OperationNotFound(NotFound):
    """Raised when there is no such operation, or none that the viewer may know of."""

    text = "There is no operation {operation_id}."


class OperationOver(FailedPrecondition):
    """Raised when an operation is to be cancelled that has come to its end."""

    text = "The operation {operation_id} is over."


class OperationIdReused(InvalidArgument):
    """Raised when the id of an operation is sent again for other work."""

    text = "The id {operation_id} belongs to another operation."


class LeaseLost(Exception):
    """Raised in a runner whose operation somebody else has taken over, since its heartbeat had stopped."""
