"""Refusals as clients see them, and faults as they do not."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from domain import kernel
from domain.kernel import Refusal
from server.pipeline import errors
from server.pipeline.call import Call
from server.pipeline.errors import CODES, DETAILS_KEY, LONGEST_MESSAGE
from server.telemetry import REQUEST_ID
from server.telemetry.logs import JsonLines, Sink
from tests.pipeline.conftest import Eventually, Probe, Token
from tests.pipeline.wire import Wire, framed
from tests.serving import refusal, taken_apart, with_metadata

SECRET = "secret dsn postgres://u:p@h/db"
LEAKS = ("secret", "postgres:", "dsn", "Traceback", "ValueError", ".py", "line ")
UNARY = ("Read", "Shared", "Private", "Write", "WriteUntagged", "Strict", "SharedStrictly", "Brief", "SharedBriefly", "Unmetered")


class SomethingGone(kernel.NotFound):
    """Raised by these tests."""

    text = "There is no {thing}."


def one_of_each() -> dict[grpc.StatusCode, Refusal]:
    """Return a refusal of each of the nine kinds, under the code that it is to have."""
    made: dict[grpc.StatusCode, Refusal] = {}
    for kind, code in CODES.items():
        waits = issubclass(kind, (kernel.Exhausted, kernel.Unavailable))
        named: dict[str, Any] = {"text": "It is {thing}."}
        refusal_class = type(f"Some{kind.__name__}", (kind,), named)
        made[code] = refusal_class(thing="so", **({"retry_after": 2.5} if waits else {}))
    return made


class TestRefusals:
    """D4."""

    def test_are_of_nine_kinds_each_with_a_code_of_its_own(self) -> None:
        kinds = [one for one in vars(kernel).values() if isinstance(one, type) and Refusal in one.__bases__]

        assert set(kinds) == set(CODES)
        assert 9 == len(set(CODES.values()))

    @pytest.mark.parametrize("refused", one_of_each().values(), ids=lambda one: type(one).__name__)
    async def test_carry_code_reason_and_what_to_do(self, probe: Probe, refused: Refusal) -> None:
        async def refuse(request: Any, call: Call) -> Any:
            raise refused

        probe.does["Read"] = probe.does["Shared"] = refuse
        for method in ("Read", "Shared"):
            seen = await refusal(probe(method))

            assert (CODES[refused.kind], "It is so.") == (seen.code, seen.message)
            assert (errors.reason(type(refused)), "ani", {"thing": "so"}) == (
                seen.reason,
                seen.info.domain,
                dict(seen.info.metadata),
            )
            expected = {grpc.StatusCode.RESOURCE_EXHAUSTED: "3", grpc.StatusCode.UNAVAILABLE: "3", grpc.StatusCode.ABORTED: "1"}
            assert expected.get(seen.code) == seen.metadata.get("retry-after")
            assert (seen.retry_after is not None) == (seen.code in expected)
            status = status_pb2.Status.FromString(seen.metadata[DETAILS_KEY])
            assert (seen.code.value[0], seen.message) == (status.code, status.message)

    async def test_are_a_status_and_no_message(self, probe: Probe) -> None:
        """An empty answer before the status would be shown by whatever turns both into JSON."""
        async with Wire(probe.served.address) as wire:
            reply = await wire.call("/ani.probe.v1.ProbeService/ForMembers", [framed(b"")])

        assert (b"", str(grpc.StatusCode.UNAUTHENTICATED.value[0])) == (reply.body, reply.status)

    async def test_name_the_field_that_is_to_blame(self, probe: Probe) -> None:
        class NameTaken(kernel.InvalidArgument):
            text = "The name {name} is taken."

        async def refuse(request: Any, call: Call) -> Any:
            raise NameTaken(field="things[0].thing_id", name="a")

        probe.does["Read"] = refuse

        assert {"things[0].thing_id": "The name a is taken."} == (await refusal(probe("Read"))).fields

    async def test_are_short_enough_for_any_client(self, probe: Probe) -> None:
        async def refuse(request: Any, call: Call) -> Any:
            raise SomethingGone(thing="é" * 100_000)

        probe.does["Read"] = refuse
        seen = await refusal(probe("Read"))

        assert len(seen.message.encode()) <= LONGEST_MESSAGE
        assert seen.message.startswith("There is no éé")
        assert 100 < len(seen.info.metadata["thing"]) <= 128

    async def test_keep_text_from_outside_in_its_place(self, probe: Probe) -> None:
        """Neither headers nor log lines can be forged by what a refusal repeats."""
        nasty = 'a\r\ngrpc-status: 0\r\nx: "{}" %s \x1b[31m \u202e ☃'

        async def refuse(request: Any, call: Call) -> Any:
            raise SomethingGone(thing=nasty)

        probe.does["Read"] = refuse
        seen = await refusal(probe("Read"))

        assert (grpc.StatusCode.NOT_FOUND, nasty) == (seen.code, seen.info.metadata["thing"])
        assert f"There is no {nasty}." == seen.message
        assert "x" not in seen.metadata


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What the log says, as it would be written."""
    lines: list[dict[str, Any]] = []
    handler = JsonLines(Sink(), process="test", request_id=REQUEST_ID.get)
    handler.emit = lambda record: lines.append(json.loads(handler.line(record)))  # type: ignore[method-assign]
    logging.getLogger("ani.pipeline").addHandler(handler)
    yield lines
    logging.getLogger("ani.pipeline").removeHandler(handler)


class TestFaults:
    """D5."""

    @pytest.mark.parametrize("fault", [ValueError, KeyError, RuntimeError, OSError, AssertionError, MemoryError, RecursionError])
    async def test_say_nothing_but_an_id(self, probe: Probe, logged: list[dict[str, Any]], fault: type[Exception]) -> None:
        async def fail(request: Any, call: Call) -> Any:
            raise fault(SECRET)

        probe.does |= dict.fromkeys(UNARY, fail)
        for method in UNARY:
            seen = await refusal(probe(method, metadata=(("x-request-id", f"call-of-{method}"),)))

            assert (grpc.StatusCode.INTERNAL, "INTERNAL_FAULT") == (seen.code, seen.reason)
            assert {"request_id": f"call-of-{method}"} == dict(seen.info.metadata)
            shown = f"{seen.message} {seen.metadata} {seen.info}"
            assert not [leak for leak in LEAKS if leak in shown]
        assert [f"call-of-{method}" for method in UNARY] == [line["request_id"] for line in logged]
        assert all(fault.__name__ in json.dumps(line) for line in logged)
        assert not any("u:p@h" in json.dumps(line) for line in logged)

    async def test_of_streams_say_no_more(self, probe: Probe, token: Token, logged: list[dict[str, Any]]) -> None:
        async def fail(request: Any, call: Call) -> Any:
            raise ValueError(SECRET)

        async def fail_midway(request: Any, call: Call) -> AsyncIterator[Any]:
            yield probe.Response(text="first")
            raise ValueError(SECRET)

        probe.does |= {"Collect": fail, "Follow": fail_midway, "Talk": fail_midway}
        collected = await refusal(probe("Collect", iter([]), metadata=token()))
        assert not [leak for leak in LEAKS if leak in f"{collected}"]
        for call in (probe("Follow"), probe("Talk", iter([]), metadata=token())):
            messages = [await call.read(), await call.read()]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()

            assert grpc.StatusCode.INTERNAL is caught.value.code()
            assert grpc.StatusCode.INTERNAL.value[0] == messages[1].status.code
            assert not [leak for leak in LEAKS if leak in f"{messages} {taken_apart(caught.value)}"]
        assert 3 == len(logged)

    async def test_in_an_answer_that_is_none_are_faults_too(self, probe: Probe, logged: list[dict[str, Any]]) -> None:
        async def answer_nonsense(request: Any, call: Call) -> Any:
            return "no message"

        probe.does["Read"] = probe.does["Shared"] = answer_nonsense

        for method in ("Read", "Shared"):
            assert "INTERNAL_FAULT" == (await refusal(probe(method))).reason
        assert 2 == len(logged)

    async def test_of_one_load_are_told_to_all_who_wait_for_it(
        self, probe: Probe, logged: list[dict[str, Any]], eventually: Eventually
    ) -> None:
        asked = asyncio.Event()

        async def fail(request: Any, call: Call) -> Any:
            await asked.wait()
            raise ValueError(SECRET)

        probe.does["Shared"] = fail
        calls = [asyncio.ensure_future(refusal(probe("Shared"))) for _ in range(20)]
        cache: Any = probe.machinery.cache
        await eventually(lambda: [20] == [flight.waiting for flight in cache._flights.values()])
        asked.set()
        seen = await asyncio.gather(*calls)

        ids = [one.info.metadata["request_id"] for one in seen]
        assert 20 == len(set(ids))
        assert sorted(ids) == sorted(line["request_id"] for line in logged)


class TestUnknownMethod:
    async def test_is_unimplemented(self, probe: Probe) -> None:
        for path in ("/ani.probe.v1.ProbeService/Nothing", "/Nothing/Read", "/ani.catalog.v1.CatalogService/getrelease"):
            call: Any = probe.served.channel.unary_unary(path)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
            assert grpc.StatusCode.UNIMPLEMENTED is caught.value.code()


class TestRequestId:
    async def test_is_made_where_none_is_sent(self, probe: Probe) -> None:
        _, first = await with_metadata(probe("Read"))
        _, second = await with_metadata(probe("Shared"))

        ids = {first["x-request-id"], second["x-request-id"]}
        assert 2 == len(ids)
        assert ids == {call.request_id for _, _, call in probe.asked}

    async def test_is_the_callers_where_it_is_a_good_one(self, probe: Probe) -> None:
        _, metadata = await with_metadata(probe("Read", metadata=(("x-request-id", "0a1B2c3D-4e.5f_6"),)))

        assert "0a1B2c3D-4e.5f_6" == probe.asked[0][2].request_id
        assert "x-request-id" not in metadata

    @pytest.mark.parametrize(
        "bad",
        ["", "short", "a" * 65, "with spaces in it", 'quotes"and{braces}', "semi;colon;id", "newline%0a%0d", "../../etc/passwd"],
    )
    async def test_is_made_where_the_callers_is_not(self, probe: Probe, bad: str) -> None:
        _, metadata = await with_metadata(probe("Read", metadata=(("x-request-id", bad),)))

        assert bad != metadata["x-request-id"] == probe.asked[0][2].request_id

    async def test_goes_with_refusals_too(self, probe: Probe) -> None:
        made = await refusal(probe("ForMembers"))

        assert 24 == len(made.metadata["x-request-id"])
        assert error_details_pb2.ErrorInfo(reason="CREDENTIALS_MISSING", domain="ani") == made.info
