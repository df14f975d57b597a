"""Streams of all kinds: let in like any call, bounded in number and memory, ended in words, and resumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from domain.kernel import Role
from server.pipeline.call import Call
from server.pipeline.places import STREAMS_OF_ONE_CALLER
from tests.pipeline.conftest import Eventually, Probe, Token
from tests.pipeline.test_viewers import IDS, a_release
from tests.serving import refusal, with_metadata

ACCOUNT = "0191d7a0-0000-7000-8000-0000000000aa"


def counting(probe: Probe, upto: int) -> Any:
    """Return a method that counts, from the number in its request on."""

    async def count(request: Any, call: Call) -> AsyncIterator[Any]:
        for number in range(request.number, upto):
            yield probe.Response(text=str(number), cursor=str(number + 1))

    return count


async def _requests(probe: Probe, *texts: str) -> AsyncIterator[Any]:
    for text in texts:
        yield probe.Request(id=text)


class TestSignIn:
    async def test_ends_with_the_token(self, probe: Probe, token: Token) -> None:
        async def wait(request: Any, call: Call) -> AsyncIterator[Any]:
            yield probe.Response(text="begun")
            await asyncio.Event().wait()

        probe.does["Follow"] = wait
        stream = probe("Follow", metadata=token(lifetime=timedelta(seconds=2)))
        told = [await stream.read(), await stream.read()]

        assert "begun" == told[0].text
        assert code_pb2.UNAUTHENTICATED == told[1].status.code
        assert grpc.StatusCode.UNAUTHENTICATED is await stream.code()


class TestKinds:
    async def test_of_the_server_sends_messages_in_order(self, probe: Probe) -> None:
        probe.does["Follow"] = counting(probe, 100)

        assert [str(number) for number in range(100)] == [message.text async for message in probe("Follow")]

    async def test_of_the_client_is_read_to_its_end(self, probe: Probe, token: Token) -> None:
        async def collect(requests: AsyncIterator[Any], call: Call) -> Any:
            return probe.Response(text=" ".join([request.id async for request in requests]))

        probe.does["Collect"] = collect
        answer, metadata = await with_metadata(probe("Collect", _requests(probe, "a", "b", "c"), metadata=token()))

        assert "a b c" == answer.text  # type: ignore[attr-defined]
        assert metadata["x-request-id"] == probe.asked[0][2].request_id

    async def test_of_both_answer_while_they_listen(self, probe: Probe, token: Token) -> None:
        async def talk(requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
            async for request in requests:
                yield probe.Response(text=request.id.upper())

        probe.does["Talk"] = talk
        heard = asyncio.Queue[str]()

        async def ask() -> AsyncIterator[Any]:
            yield probe.Request(id="a")
            yield probe.Request(id=await heard.get() + "b")

        answers = []
        async for message in probe("Talk", ask(), metadata=token()):
            answers.append(message.text)
            await heard.put("b")

        assert ["A", "BB"] == answers

    async def test_ask_who_calls(self, probe: Probe) -> None:
        collected = await refusal(probe("Collect", _requests(probe)))
        talked = probe("Talk", _requests(probe))

        assert grpc.StatusCode.UNAUTHENTICATED is collected.code is await talked.code()
        assert [] == probe.asked

    async def test_carry_the_headers_of_any_call(self, probe: Probe) -> None:
        """Before the first message, or with the status where there is none."""
        probe.does["Follow"] = counting(probe, 1)
        call = probe("Follow")
        first = dict(list(await call.initial_metadata()))
        probe.does["Follow"] = counting(probe, 0)
        empty = probe("Follow")
        messages = [message async for message in empty]

        assert probe.asked[0][2].request_id == first["x-request-id"]
        assert [] == messages
        assert probe.asked[1][2].request_id == dict(list(await empty.trailing_metadata()))["x-request-id"]

    async def test_see_the_whole_viewer(self, probe: Probe, token: Token) -> None:
        probe.does["Follow"] = counting(probe, 1)
        async for _ in probe("Follow", metadata=token(Role.MODERATOR)):
            assert Role.MODERATOR is probe.asked[0][2].viewer.role


class TestEnd:
    async def test_is_told_in_the_stream_when_the_server_stops(self, probe: Probe) -> None:
        async def wait(request: Any, call: Call) -> AsyncIterator[Any]:
            yield probe.Response(text="first", cursor="1")
            await asyncio.Event().wait()

        probe.does["Follow"] = wait
        calls = [probe("Follow") for _ in range(5)]
        for call in calls:
            assert "first" == (await call.read()).text

        probe.served.application.draining.set()

        for call in calls:
            last = await call.read()
            assert grpc.StatusCode.UNAVAILABLE.value[0] == last.status.code
            assert "SERVER_STOPPING" == (await refusal(call.read())).reason

    async def test_is_told_by_the_status_alone_where_the_contract_has_no_place_for_it(self, probe: Probe) -> None:
        async def fail(request: Any, call: Call) -> AsyncIterator[Any]:
            yield type(probe)  # no message at all

        probe.does["FollowWordless"] = fail

        refused = await refusal(probe("FollowWordless").read())

        assert "INTERNAL_FAULT" == refused.reason

    async def test_closes_what_the_servicer_has_open(self, probe: Probe, eventually: Eventually) -> None:
        closed: list[str] = []

        async def hold(request: Any, call: Call) -> AsyncIterator[Any]:
            try:
                yield probe.Response()
                await asyncio.Event().wait()
            finally:
                closed.append(request.id)

        probe.does["Follow"] = probe.does["FollowBriefly"] = hold
        leaving = probe("Follow", id="left")
        await leaving.read()
        leaving.cancel()
        await eventually(lambda: closed == ["left"])
        overdue = probe("FollowBriefly", id="overdue")
        await overdue.read()
        await overdue.read()

        await eventually(lambda: closed == ["left", "overdue"])
        await eventually(lambda: not probe.machinery.streams._by_caller)


class TestBounds:
    async def test_hold_for_each_caller(self, probe: Probe, token: Token, eventually: Eventually) -> None:
        calls = [probe("Follow", metadata=token()) for _ in range(STREAMS_OF_ONE_CALLER)]
        for call in calls:
            await call.read()

        refused = await refusal(probe("Follow", metadata=token()).read())
        collected = await refusal(probe("Collect", _requests(probe), metadata=token()))
        guest = await probe("Follow").read()
        calls[0].cancel()
        await eventually(lambda: probe.machinery.streams._by_caller[ACCOUNT] == STREAMS_OF_ONE_CALLER - 1)
        again = await probe("Follow", metadata=token()).read()

        assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS") == (refused.code, refused.reason)
        assert 5 == refused.retry_after
        assert "TOO_MANY_STREAMS" == collected.reason
        assert ("0", "0") == (guest.cursor, again.cursor)

    async def test_hold_for_all_together(self, probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("server.pipeline.places.STREAMS", 3)
        calls = [probe("Follow", metadata=(("x-forwarded-for", f"192.0.2.{number}"),)) for number in range(3)]
        for call in calls:
            await call.read()

        assert "TOO_MANY_STREAMS" == (await refusal(probe("Follow").read())).reason

    async def test_of_memory_make_the_servicer_wait_for_the_reader(self, probe: Probe, eventually: Eventually) -> None:
        """D6: what nobody reads is not made."""
        made = 0

        async def flood(request: Any, call: Call) -> AsyncIterator[Any]:
            nonlocal made
            while True:
                made += 1
                yield probe.Response(payload=bytes(60_000))

        probe.does["Follow"] = flood
        call = probe("Follow")
        await call.read()
        seen = 0
        while seen != made:
            seen = made
            for _ in range(50):
                await asyncio.sleep(0.001)

        assert made < 1000
        call.cancel()
        await eventually(lambda: not probe.machinery.streams._by_caller)

    async def test_of_patience_end_a_stream_that_is_not_read(
        self, probe: Probe, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
    ) -> None:
        """D6: whoever reads on learns why."""
        monkeypatch.setattr("server.pipeline.streams.WRITE_SECONDS", 0.1)
        ended = asyncio.Event()

        async def flood(request: Any, call: Call) -> AsyncIterator[Any]:
            try:
                while True:
                    yield probe.Response(payload=bytes(60_000))
            finally:
                ended.set()

        probe.does["Follow"] = flood
        call = probe("Follow")
        await call.read()
        await ended.wait()
        assert 1 == probe.machinery.streams._by_caller.total()
        messages = 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await call.read():
                messages += 1

        assert messages > 0
        assert grpc.StatusCode.RESOURCE_EXHAUSTED is caught.value.code()
        assert "was not read for 0.1 seconds" in str(caught.value.details())
        await eventually(lambda: not probe.machinery.streams._by_caller)

    async def test_of_patience_forget_a_reader_who_goes(
        self, probe: Probe, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
    ) -> None:
        monkeypatch.setattr("server.pipeline.streams.WRITE_SECONDS", 0.1)
        ended = asyncio.Event()

        async def flood(request: Any, call: Call) -> AsyncIterator[Any]:
            try:
                while True:
                    yield probe.Response(payload=bytes(60_000))
            finally:
                ended.set()

        probe.does["Follow"] = flood
        tasks = len(asyncio.all_tasks())
        call = probe("Follow")
        await call.read()
        await ended.wait()
        call.cancel()

        await eventually(lambda: not probe.machinery.streams._by_caller and len(asyncio.all_tasks()) <= tasks)
        assert "x" == (await probe("Read", id="x")).text


class TestResume:
    async def test_goes_on_after_the_last_message_received(self, probe: Probe) -> None:
        """D6: broken off anywhere, however often, nothing is left out and nothing comes twice."""
        probe.does["Follow"] = counting(probe, 50)
        seen: list[str] = []
        cursor = 0
        for length in (1, 7, 0, 13, 5):
            call = probe("Follow", number=cursor)
            for _ in range(length):
                message = await call.read()
                seen.append(message.text)
                cursor = int(message.cursor)
            call.cancel()
        seen += [message.text async for message in probe("Follow", number=cursor)]

        assert [str(number) for number in range(50)] == seen

    async def test_of_the_catalogs_changes_goes_on_with_each_new_stream(self, probe: Probe, token: Token) -> None:
        """D6."""
        catalog = probe.served.catalog
        watch: Any = catalog.WatchReleases(pb.WatchReleasesRequest(), metadata=token(Role.EDITOR))
        cursor = (await watch.read()).cursor
        watch.cancel()
        for number in range(3):
            request = admin_pb.CreateReleaseRequest(release=a_release(number, {}))
            await probe.served.admin.CreateRelease(request, metadata=token(Role.EDITOR))

        seen = []
        for _ in range(3):
            change = await _next_change(probe, cursor, token)
            seen.append(change.change.release_id)
            cursor = change.cursor

        assert IDS[:3] == seen


async def _next_change(probe: Probe, cursor: str, token: Token) -> Any:
    watch: Any = probe.served.catalog.WatchReleases(pb.WatchReleasesRequest(cursor=cursor), metadata=token(Role.EDITOR))
    async for message in watch:
        if message.HasField("change"):
            watch.cancel()
            return message
    raise AssertionError("the stream ended")
