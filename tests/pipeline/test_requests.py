"""Requests of every kind: read as the contract says, refused by name where they break it, and never a fault."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import episode_admin_service_pb2 as episode_admin_pb
from ani.catalog.v1 import episode_pb2, release_list_pb2, schedule_pb2
from ani.catalog.v1 import schedule_admin_service_pb2 as schedule_admin_pb
from ani.catalog.v1 import schedule_service_pb2 as schedule_pb
from ani.editing.v1 import change_set_pb2, change_set_service_pb2, editing_service_pb2
from domain.kernel import Role, new_id
from server.wiring.application import SERVICES
from tests.builders import NOON
from tests.pipeline.conftest import Probe, Token
from tests.pipeline.messages import Messages
from tests.pipeline.test_viewers import IDS, RELEASES, a_release
from tests.serving import Refused, Served, refusal

METHODS = [method for service in SERVICES for method in service.methods]
KNOWN = [*IDS, "release-0", "release-1", "drama", "en", "Asia/Tokyo", "synopsis", "titles", "weekly_slot", "release_id", "version"]
DOCUMENTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
}
# What an address or a token allows is not asked of the caller's role.
SIGNED = {
    "GetManifest": {grpc.StatusCode.PERMISSION_DENIED},
    "GetExportFile": {grpc.StatusCode.PERMISSION_DENIED},
    "RefreshTokens": {grpc.StatusCode.UNAUTHENTICATED},
}
# Guesses are counted against the place that they come from.
DOORS = {"AccountsService", "SessionService", "DeviceLoginService", "GuestPassService"}
messages = Messages(KNOWN)
NEW = a_release(5, {"synopsis": "Words."})
OLD = a_release(0, {"synopsis": "Other words."})
EDIT = change_set_pb2.Edit(
    update_release=admin_pb.UpdateReleaseRequest(release=OLD, update_mask=FieldMask(paths=["synopsis", "genres"]))
)
GOOD: dict[str, list[Message]] = {
    "CreateRelease": [admin_pb.CreateReleaseRequest(release=NEW, validate_only=only) for only in (False, True)],
    "UpdateRelease": [
        admin_pb.UpdateReleaseRequest(release=OLD, update_mask=FieldMask(paths=paths))
        for paths in (["synopsis"], ["titles", "genres", "alias"], ["weekly_slot", "year", "blocked_countries"])
    ],
    "DeleteRelease": [admin_pb.DeleteReleaseRequest(release_id=IDS[2])],
    "GetRelease": [pb.GetReleaseRequest(release=IDS[0])],
    "BatchGetReleases": [pb.BatchGetReleasesRequest(release_ids=IDS)],
    "ListReleases": [release_list_pb2.ListReleasesRequest(page_size=2)],
    "CreateEpisode": [episode_admin_pb.CreateEpisodeRequest(episode=episode_pb2.Episode(release_id=IDS[0], number="1"))],
    "CreateScheduleEntry": [
        schedule_admin_pb.CreateScheduleEntryRequest(
            schedule_entry=schedule_pb2.ScheduleEntry(release_id=IDS[0], planned_air_time=Timestamp(seconds=1_775_000_000))
        )
    ],
    "GetSchedule": [schedule_pb.GetScheduleRequest(view="week", time_zone="Asia/Tokyo", release=IDS[0])],
    "CreateChangeSet": [
        change_set_service_pb2.CreateChangeSetRequest(change_set=change_set_pb2.ChangeSet(title="Spring", edits=[EDIT]))
    ],
    "ListRevisions": [editing_service_pb2.ListRevisionsRequest(item_kind="release", item_id=IDS[0])],
    "RevertItem": [editing_service_pb2.RevertItemRequest(item_kind="release", item_id=IDS[0], to_version=1)],
}


async def invalid(probe: Probe, request: Any) -> Refused:
    refused = await refusal(probe("Read", request))
    assert grpc.StatusCode.INVALID_ARGUMENT is refused.code
    return refused


class TestValidation:
    """C1."""

    async def test_names_each_field_that_is_wrong_with_its_path(self, probe: Probe) -> None:
        things = [probe.Thing(thing_id="fine"), probe.Thing(thing_id="NOT FINE")]

        refused = await invalid(
            probe, probe.Request(id="x" * 65, amount=-1, things=things, by_name={"k": probe.Thing(thing_id="É")})
        )

        assert "REQUEST_INVALID" == refused.reason
        assert {"id", "amount", "things[1].thing_id", "by_name[k].thing_id"} == set(refused.fields)
        assert all(refused.fields.values())
        assert "and 1 more" in refused.message

    @pytest.mark.parametrize("amount", [float("nan"), float("inf"), float("-inf")])
    async def test_takes_finite_numbers_alone(self, probe: Probe, amount: float) -> None:
        """C2."""
        assert {"amount"} == set((await invalid(probe, probe.Request(amount=amount))).fields)

    async def test_keeps_whole_numbers_whole(self, probe: Probe) -> None:
        """C2: beyond what JSON numbers can hold."""
        for number in (2**53 + 1, -(2**63), 2**63 - 1):
            await probe("Read", number=number)
            assert number == probe.asked[-1][1].number

    @pytest.mark.parametrize(
        "data",
        [
            b"\xff",
            b"\x0a\x05ab",
            b"\x0a\x02\xff\xfe",
            b"\x2a\x03\x0a\x01\x80",
            b"\x08",
            b"\x0b",
            b"\x00",
            b"\xfa" * 50,
            b"\x0a" * 9999,
        ],
        ids=["tag", "length", "UTF-8", "inner UTF-8", "varint", "group", "zero", "tags", "lengths"],
    )
    async def test_refuses_what_is_no_such_message(self, probe: Probe, data: bytes) -> None:
        """C6."""
        refused = await invalid(probe, data)

        assert "REQUEST_MALFORMED" == refused.reason
        assert "The request is not a valid ProbeRequest message." == refused.message

    async def test_passes_over_fields_that_it_does_not_know(self, probe: Probe) -> None:
        """G6: a client may be newer than the server."""
        answer = await probe("Read", probe.Request(id="a").SerializeToString() + b"\xa2\x06\x03new")

        assert "a" == answer.text

    async def test_tells_of_a_thousand_faults_in_what_a_client_can_take(self, probe: Probe) -> None:
        """More than eight kilobytes of metadata a client may refuse, and then shows a fault of its own making."""
        bad = [probe.Thing(thing_id=f"É{number}") for number in range(1000)]

        for _ in range(20):
            refused = await invalid(probe, probe.Request(things=bad))

            assert 20 < len(refused.fields) < 100
            assert "and 997 more" in refused.message
            assert sum(len(name) + len(value) for name, value in refused.metadata.items()) < 5000

    async def test_comes_before_the_servicer_for_streams_too(self, probe: Probe, token: Token) -> None:
        wrong = probe.Request(amount=-1)

        async def collect(requests: AsyncIterator[Any], call: Any) -> Any:
            return probe.Response(text=str(len([request async for request in requests])))

        probe.does["Collect"] = collect
        follow = await refusal(probe("Follow", wrong).read())
        collected = await refusal(probe("Collect", iter([probe.Request(), wrong]), metadata=token()))

        assert {"amount"} == set(follow.fields) == set(collected.fields)
        assert ["Collect"] == [name for name, _, _ in probe.asked]


@pytest.fixture
async def rows(served: Served, token: Token, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to look at the catalog, in which there are releases."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO catalog.genres (genre_id, name) VALUES ('drama', 'Drama')")
    for number, facts in enumerate(RELEASES):
        request = admin_pb.CreateReleaseRequest(release=a_release(number, facts))
        await served.admin.CreateRelease(request, metadata=token(Role.EDITOR))
    yield connection
    await connection.close()


CONTENTS = "SELECT (SELECT string_agg(r::text, ',') FROM catalog.releases r) || (SELECT count(*) FROM platform.events)"


class TestEveryMethod:
    """C3: whatever is asked of a method by whom everything is allowed, its answer is one that the contract knows."""

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    @pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.name}")
    async def test_answers_or_refuses(
        self, served: Served, token: Token, rows: asyncpg.Connection, method: MethodDescriptor, data: st.DataObject
    ) -> None:
        request = data.draw(st.one_of(messages.of(method.input_type), *map(messages.beside, GOOD.get(method.name, []))))
        before = await rows.fetchval(CONTENTS)

        code = await _asked(served, method, request, token)

        guessed = {grpc.StatusCode.RESOURCE_EXHAUSTED} if method.containing_service.name in DOORS else set()
        assert code in DOCUMENTED | SIGNED.get(method.name, set()) | guessed
        if code is not grpc.StatusCode.OK or getattr(request, "validate_only", False):
            assert before == await rows.fetchval(CONTENTS)


async def _asked(served: Served, method: MethodDescriptor, request: Message, token: Token) -> grpc.StatusCode:
    name = f"/{method.containing_service.full_name}/{method.name}"
    # Each time somebody else: the strict allowances are not what this is about.
    metadata = token(Role.ADMIN, account_id=new_id(at=NOON))
    if not method.server_streaming:
        unary: Any = served.channel.unary_unary(name)
        code: grpc.StatusCode = await unary(request.SerializeToString(), metadata=metadata).code()
        return code
    stream: Any = served.channel.unary_stream(name)
    call = stream(request.SerializeToString(), metadata=metadata)
    try:
        await call.read()
    except grpc.aio.AioRpcError as fault:
        return fault.code()
    call.cancel()
    return grpc.StatusCode.OK
