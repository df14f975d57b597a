"""The audit log: every call of a staff method, whatever came of it, without its secrets, kept even without a database."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import asyncpg
import pytest

from domain.catalog.model import ReleaseNotFound
from domain.kernel import Role, Unavailable
from server.pipeline.call import Call
from tests.pipeline.conftest import Probe, Token
from tests.serving import refusal

Entries = Callable[[], Coroutine[Any, Any, list[asyncpg.Record]]]
SERVICE = "/ani.probe.v1.ProbeService/"


@pytest.fixture
async def entries(database_url: str) -> AsyncIterator[Entries]:
    """Read the log."""
    connection = await asyncpg.connect(database_url)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads, format="text")

    async def read() -> list[asyncpg.Record]:
        return list(await connection.fetch("SELECT * FROM platform.audit_log ORDER BY entry_id"))

    yield read
    await connection.close()


class TestEntry:
    async def test_says_who_did_what_from_where_and_what_came_of_it(self, probe: Probe, token: Token, entries: Entries) -> None:
        metadata = (*token(Role.ADMIN), ("x-forwarded-for", "198.51.100.1, 192.0.2.7"), ("x-request-id", "call-one-two"))

        await probe("ForModerators", id="a", metadata=metadata)

        (entry,) = await entries()
        assert {
            "request_id": "call-one-two",
            "method": f"{SERVICE}ForModerators",
            "account_id": "0191d7a0-0000-7000-8000-0000000000aa",
            "role": "ADMIN",
            "address": "192.0.2.7",
            "request": {"id": "a"},
            "code": "OK",
            "reason": "",
        }.items() <= dict(entry).items()
        assert 0 < entry["duration_seconds"] < 60
        assert entry["time"].tzinfo

    async def test_holds_nothing_that_strangers_send(self, probe: Probe, entries: Entries) -> None:
        await refusal(probe("ForModerators", id="x" * 60))

        (entry,) = await entries()
        assert {"unread_bytes": 62} == entry["request"]

    async def test_is_made_of_refused_calls_too(self, probe: Probe, token: Token, entries: Entries) -> None:
        async def refuse(request: Any, call: Call) -> Any:
            raise ReleaseNotFound(release="a")

        async def fail(request: Any, call: Call) -> Any:
            raise ValueError("secret")

        await refusal(probe("ForModerators", id="guest"))
        await refusal(probe("ForModerators", id="user", metadata=token()))
        await refusal(probe("ForModerators", id="forged", metadata=(("authorization", "Bearer x"),)))
        await refusal(probe("ForModerators", amount=-1, metadata=token(Role.MODERATOR)))
        await refusal(probe("ForModerators", b"\xff", metadata=token(Role.MODERATOR)))
        for doing in (refuse, fail):
            probe.does["ForModerators"] = doing
            await refusal(probe("ForModerators", metadata=token(Role.MODERATOR)))

        assert [
            ("GUEST", "UNAUTHENTICATED", "CREDENTIALS_MISSING", {"unread_bytes": 7}),
            ("USER", "PERMISSION_DENIED", "ROLE_TOO_LOW", {"id": "user"}),
            ("GUEST", "UNAUTHENTICATED", "TOKEN_INVALID", {"unread_bytes": 8}),
            ("MODERATOR", "INVALID_ARGUMENT", "REQUEST_INVALID", {"amount": -1.0}),
            ("MODERATOR", "INVALID_ARGUMENT", "REQUEST_MALFORMED", {"unreadable_bytes": 1}),
            ("MODERATOR", "NOT_FOUND", "RELEASE_NOT_FOUND", {}),
            ("MODERATOR", "INTERNAL", "INTERNAL_FAULT", {}),
        ] == [(entry["role"], entry["code"], entry["reason"], entry["request"]) for entry in await entries()]

    async def test_is_made_before_the_caller_has_the_answer(self, probe: Probe, token: Token, entries: Entries) -> None:
        for _ in range(20):
            before = len(await entries())
            await refusal(probe("ForModerators"))
            await probe("ForModerators", metadata=token(Role.MODERATOR))
            assert before + 2 == len(await entries())

    async def test_is_made_of_a_call_whose_caller_left(self, probe: Probe, token: Token, entries: Entries) -> None:
        reached = asyncio.Event()

        async def linger(request: Any, call: Call) -> Any:
            reached.set()
            await asyncio.Event().wait()

        probe.does["ForModerators"] = linger
        call = probe("ForModerators", id="left", metadata=token(Role.MODERATOR))
        await reached.wait()
        call.cancel()
        async with asyncio.timeout(20):
            while not (found := await entries()):
                pass

        assert [("CANCELLED", {"id": "left"})] == [(entry["code"], entry["request"]) for entry in found]

    async def test_is_made_whether_or_not_the_answer_came_from_a_cache(self, probe: Probe, token: Token, entries: Entries) -> None:
        for _ in range(2):
            await probe("SharedByStaff", id="a", metadata=token(Role.MODERATOR))
        await refusal(probe("SharedByStaff", id="a", metadata=token()))

        assert ["OK", "OK", "PERMISSION_DENIED"] == [entry["code"] for entry in await entries()]
        assert 1 == probe.count("SharedByStaff")

    async def test_is_made_of_permissions_and_streams_and_of_nothing_else(
        self, probe: Probe, token: Token, entries: Entries
    ) -> None:
        moderator = token(Role.MODERATOR, permissions=["probes.use"])

        async def follow(request: Any, call: Call) -> AsyncIterator[Any]:
            yield probe.Response()

        probe.does["FollowAsStaff"] = follow
        await probe("ForHolders", metadata=moderator)
        assert 1 == len([message async for message in probe("FollowAsStaff", id="s", metadata=moderator)])
        for method in ("Read", "Write", "ForMembers", "Shared"):
            await probe(method, metadata=moderator)

        assert [f"{SERVICE}ForHolders", f"{SERVICE}FollowAsStaff"] == [entry["method"] for entry in await entries()]


class TestSecrets:
    async def test_are_kept_out_at_any_depth(self, probe: Probe, token: Token, entries: Entries) -> None:
        request = probe.Request(
            id="a",
            secret="hidden",
            things=[probe.Thing(thing_id="t", note="hidden")],
            by_name={"k": probe.Thing(thing_id="t", note="hidden")},
        )

        await probe("ForModerators", request, metadata=token(Role.MODERATOR))
        await refusal(probe("ForModerators", request, metadata=token()))

        for entry in await entries():
            assert "hidden" not in str(entry)
            assert {"id": "a", "secret": "[redacted]"}.items() <= entry["request"].items()
            assert [{"thing_id": "t", "note": "[redacted]"}] == entry["request"]["things"]

    async def test_and_oddities_of_all_kinds_can_be_stored(self, probe: Probe, token: Token, entries: Entries) -> None:
        """What PostgreSQL cannot keep, or JSON cannot say, is kept in another form; the caller never learns of it."""
        odd = [
            probe.Request(id="a\0b"),
            probe.Request(amount=float("nan")),
            probe.Request(amount=float("-inf")),
            probe.Request(id="\u202e\ufeff\U0001f600"),
            probe.Request(number=-(2**63)),
            probe.Request(by_name={"\0": probe.Thing()}),
        ]
        for request in odd:
            refused = await refusal(probe("ForAdmins", request, metadata=token()))
            assert "ROLE_TOO_LOW" == refused.reason

        assert len(odd) == len(await entries())


class TestStoreAway:
    async def test_leaves_the_entry_in_the_process_log(
        self, probe: Probe, token: Token, entries: Entries, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store: Any = probe.machinery.audit

        class Away:
            """Stands for a database that is away, or worse."""

            def __init__(self, fault: BaseException) -> None:
                self.fault = fault

            async def record(self, entry: Any) -> None:
                raise self.fault

        for fault in (Unavailable(), OSError("secret of the store"), ValueError("no such column")):
            monkeypatch.setattr(store, "_store", Away(fault))
            caplog.clear()
            with caplog.at_level(logging.ERROR, "ani.audit"):
                await probe("ForModerators", id="lost", secret="hidden", metadata=token(Role.MODERATOR))
                refused = await refusal(probe("ForModerators", id="refused"))

            told: list[Any] = [record.__dict__["entry"] for record in caplog.records if record.name == "ani.audit"]
            assert ["OK", "UNAUTHENTICATED"] == [entry["code"] for entry in told]
            assert "lost" in told[0]["request"]
            assert "hidden" not in str(told)
            assert "CREDENTIALS_MISSING" == refused.reason
        assert [] == await entries()
