"""Operations: who starts, sees, watches and cancels them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from adapters.postgres import Database
from adapters.postgres.operations.store import PostgresOperations
from domain.accounts.export import KIND
from domain.kernel import Page, Role, Viewer
from domain.operations.model import OperationIdReused, OperationNotFound, OperationOver, Problem, Report, State
from domain.operations.service import Operations
from domain.paging import PageTokenInvalid
from tests.builders import GUEST, NOON, a_viewer, an_editor
from tests.operations.conftest import OWNER, an_operation

STALE = NOON - timedelta(seconds=15)


async def taken(database: Database, operation_id: str | None = None) -> object:
    async with database.begins(PostgresOperations)() as store:
        return await store.take(runner="one", kinds=["count"], operation_id=operation_id, stale=STALE, at=NOON)


class TestStart:
    async def test_keeps_the_operation_and_tells_of_it(self, operations: Operations, database: Database) -> None:
        started = await operations.start(an_operation())
        assert await operations.get_operation(started.operation_id, viewer=an_editor()) == started
        async with database.reads(lambda connection: connection)() as connection:
            events = await connection.fetch("SELECT name, payload FROM platform.events")
        assert [(event["name"], event["payload"]["operation_id"]) for event in events] == [
            ("OperationStarted", started.operation_id)
        ]

    async def test_gives_the_first_one_back_when_it_is_repeated(self, operations: Operations) -> None:
        first = await operations.start(an_operation())
        again = await operations.start(an_operation(create_time=NOON + timedelta(minutes=1)))
        assert again == first

    @pytest.mark.parametrize("over", [{"parameters": {"to": 4}}, {"kind": "other"}, {"account_id": ""}])
    async def test_refuses_an_id_that_stands_for_other_work(self, operations: Operations, over: dict[str, Any]) -> None:
        await operations.start(an_operation())
        with pytest.raises(OperationIdReused):
            await operations.start(an_operation(**over))


class TestGetOperation:
    @pytest.mark.parametrize("viewer", [GUEST, a_viewer(account_id="0191d7a0-0000-7000-8000-0000000000bb"), Viewer(role=Role.USER)])
    async def test_hides_it_from_others(self, operations: Operations, viewer: Viewer) -> None:
        started = await operations.start(an_operation())
        with pytest.raises(OperationNotFound):
            await operations.get_operation(started.operation_id, viewer=viewer)

    async def test_shows_it_to_its_owner(self, operations: Operations) -> None:
        started = await operations.start(an_operation())
        assert await operations.get_operation(started.operation_id, viewer=a_viewer(account_id=OWNER)) == started

    async def test_hides_what_is_private_from_editors_too(self, operations: Operations) -> None:
        started = await operations.start(an_operation(kind=KIND))
        with pytest.raises(OperationNotFound):
            await operations.get_operation(started.operation_id, viewer=an_editor())
        assert await operations.get_operation(started.operation_id, viewer=a_viewer(account_id=OWNER)) == started
        assert await operations.get_operation(started.operation_id, viewer=an_editor(account_id=OWNER)) == started

    async def test_hides_an_operation_of_nobody_from_those_who_are_nobody(self, operations: Operations) -> None:
        started = await operations.start(an_operation(account_id=""))
        with pytest.raises(OperationNotFound):
            await operations.get_operation(started.operation_id, viewer=GUEST)


class TestListOperations:
    async def test_pages_through_all_the_latest_first(self, operations: Operations) -> None:
        for number in range(1, 6):
            await operations.start(an_operation(number, create_time=NOON + timedelta(seconds=number)))
        seen, token = [], ""
        while True:
            page, token = await operations.list_operations(Page(2, token), kind="", state=None, viewer=an_editor())
            seen += [one.operation_id[-1] for one in page]
            if not token:
                break
        assert seen == ["5", "4", "3", "2", "1"]

    async def test_narrows_by_kind_state_and_owner(self, operations: Operations) -> None:
        await operations.start(an_operation(1))
        await operations.start(an_operation(2, kind="other"))
        await operations.start(an_operation(3, account_id="0191d7a0-0000-7000-8000-0000000000cc"))

        async def listed(kind: str = "", state: State | None = None, viewer: Viewer | None = None) -> set[str]:
            page, _ = await operations.list_operations(Page(), kind=kind, state=state, viewer=viewer or an_editor())
            return {one.operation_id[-1] for one in page}

        assert await listed() == {"1", "2", "3"}
        assert await listed(kind="other") == {"2"}
        assert await listed(state=State.RUNNING) == set()
        assert await listed(viewer=a_viewer(account_id=OWNER)) == {"1", "2"}

    async def test_leaves_out_what_is_private_to_others(self, operations: Operations) -> None:
        await operations.start(an_operation(1))
        await operations.start(an_operation(2, kind=KIND))

        async def listed(viewer: Viewer, kind: str = "") -> set[str]:
            page, _ = await operations.list_operations(Page(), kind=kind, state=None, viewer=viewer)
            return {one.operation_id[-1] for one in page}

        assert await listed(an_editor()) == {"1"}
        assert await listed(an_editor(), KIND) == set()
        assert await listed(an_editor(account_id=OWNER)) == {"1", "2"}
        assert await listed(a_viewer(account_id=OWNER)) == {"1", "2"}

    async def test_refuses_the_token_of_another_list(self, operations: Operations) -> None:
        for number in (1, 2):
            await operations.start(an_operation(number))
        _, token = await operations.list_operations(Page(1), kind="", state=None, viewer=an_editor())
        with pytest.raises(PageTokenInvalid):
            await operations.list_operations(Page(1, token), kind="count", state=None, viewer=an_editor())


class TestListProblems:
    async def test_pages_through_them_in_their_order(self, operations: Operations, database: Database) -> None:
        started = await operations.start(an_operation())
        await taken(database)
        problems = tuple(Problem(row, f"key {row}", "TITLE_MISSING", "It has no title.") for row in range(1, 8))
        for part in (problems[:3], problems[3:]):
            async with database.begins(PostgresOperations)() as store:
                assert await store.advance(started.operation_id, Report(done=1, problems=part), runner="one", at=NOON)
        seen, token = [], ""
        while True:
            page, token = await operations.list_problems(started.operation_id, Page(3, token), viewer=an_editor())
            seen += page
            if not token:
                break
        assert tuple(seen) == problems


class TestCancelOperation:
    async def test_is_cancelled_for_all_who_ask_at_once(self, operations: Operations) -> None:
        for number in range(10):
            started = await operations.start(an_operation(operation_id=f"0191d7a0-0000-7000-8000-{number:012d}"))

            cancelled = await asyncio.gather(
                *(operations.cancel_operation(started.operation_id, viewer=an_editor(), at=NOON) for _ in range(4))
            )

            assert {State.CANCELLED} == {one.state for one in cancelled}

    async def test_cancels_what_is_queued_at_once(self, operations: Operations) -> None:
        started = await operations.start(an_operation())
        cancelled = await operations.cancel_operation(started.operation_id, viewer=an_editor(), at=NOON)
        assert (cancelled.state, cancelled.end_time) == (State.CANCELLED, NOON)
        assert await operations.cancel_operation(started.operation_id, viewer=an_editor(), at=NOON) == cancelled

    async def test_leaves_what_is_private_to_its_owner(self, operations: Operations) -> None:
        started = await operations.start(an_operation(kind=KIND))
        with pytest.raises(OperationNotFound):
            await operations.cancel_operation(started.operation_id, viewer=an_editor(), at=NOON)
        cancelled = await operations.cancel_operation(started.operation_id, viewer=a_viewer(account_id=OWNER), at=NOON)
        assert cancelled.state is State.CANCELLED

    async def test_asks_what_runs_to_stop(self, operations: Operations, database: Database) -> None:
        started = await operations.start(an_operation())
        await taken(database)
        asked = await operations.cancel_operation(started.operation_id, viewer=an_editor(), at=NOON)
        assert (asked.state, asked.cancel_time, asked.end_time) == (State.RUNNING, NOON, None)

    async def test_refuses_what_is_over(self, operations: Operations, database: Database) -> None:
        started = await operations.start(an_operation())
        await taken(database)
        async with database.begins(PostgresOperations)() as store:
            await store.end(started.operation_id, state=State.SUCCEEDED, fault="", runner="one", at=NOON)
        with pytest.raises(OperationOver):
            await operations.cancel_operation(started.operation_id, viewer=an_editor(), at=NOON)


class TestWatchOperation:
    async def test_shows_it_until_it_is_over(self, operations: Operations) -> None:
        started = await operations.start(an_operation())
        watching = operations.watch_operation(started.operation_id, viewer=an_editor())
        states = [(await anext(watching)).state]
        await operations.cancel_operation(started.operation_id, viewer=an_editor(), at=NOON)
        operations._bell.ring()  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            states += [one.state async for one in watching]
        assert states == [State.QUEUED, State.CANCELLED]
