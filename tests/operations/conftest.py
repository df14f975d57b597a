"""What tests of operations share."""

from __future__ import annotations

import pytest

from adapters.postgres import Database
from adapters.postgres.listen import Bell
from adapters.postgres.operations.store import PostgresOperations
from domain.operations.model import Operation
from domain.operations.service import Operations
from tests.builders import NOON

OWNER = "0191d7a0-0000-7000-8000-000000000001"


@pytest.fixture
def operations(database: Database) -> Operations:
    return Operations(begin=database.begins(PostgresOperations), read=database.reads(PostgresOperations), bell=Bell())


def an_operation(number: int = 1, **over: object) -> Operation:
    facts: dict[str, object] = {
        "operation_id": f"0191d7a0-0000-7000-8000-{number:012d}",
        "kind": "count",
        "title": "counting",
        "parameters": {"to": 3},
        "account_id": OWNER,
        "create_time": NOON,
    }
    return Operation(**facts | over)  # type: ignore[arg-type]
