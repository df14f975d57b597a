"""What native gRPC and gRPC-Web callers see, on the same port as everybody else."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import catalog_service_pb2_grpc as pb_grpc
from tests.gateway.running import Open, raw

CATALOG = "/ani.catalog.v1.CatalogService"
Frames = list[tuple[int, bytes]]


@pytest.fixture
def catalog(channel: grpc.aio.Channel) -> pb_grpc.CatalogServiceAsyncStub:
    return pb_grpc.CatalogServiceStub(channel)


def framed(message: bytes) -> bytes:
    return b"\x00" + len(message).to_bytes(4, "big") + message


def frames(data: bytes) -> Frames:
    found: Frames = []
    while data:
        end = 5 + int.from_bytes(data[1:5], "big")
        found.append((data[0], data[5:end]))
        data = data[end:]
    return found


class TestNative:
    async def test_passes_messages_and_metadata_through(self, catalog: pb_grpc.CatalogServiceAsyncStub) -> None:
        call = catalog.GetRelease(pb.GetReleaseRequest(release="bebop"), metadata=(("x-request-id", "my-own-id-1"),))
        response = await call
        trailing = {key: value for key, value in await call.trailing_metadata()}  # noqa: C416 - not a mapping for dict()

        assert response.release.alias == "bebop"
        assert trailing["x-ratelimit-limit"] == "60"
        assert trailing["x-request-id"] == "my-own-id-1"

    async def test_passes_refusals_through_with_their_details(self, catalog: pb_grpc.CatalogServiceAsyncStub) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await catalog.GetRelease(pb.GetReleaseRequest(release="missing"))

        trailing = {key: value for key, value in caught.value.trailing_metadata()}  # noqa: C416 - not a mapping for dict()
        status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "There is no release 'missing'."
        assert info.reason == "MISSING"

    async def test_passes_streams_through(self, catalog: pb_grpc.CatalogServiceAsyncStub) -> None:
        cursors = [message.cursor async for message in catalog.WatchReleases(pb.WatchReleasesRequest(cursor="c"))]

        assert cursors == ["c0", "c1", "c2"]

    async def test_is_told_of_unknown_methods(self, channel: grpc.aio.Channel) -> None:
        for path in (f"{CATALOG}/Nothing", "/ani.nothing.v1.NothingService/Get", f"{CATALOG}/GetRelease/more"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw(channel, path)(b"")

            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async def test_keeps_its_own_deadline(self, catalog: pb_grpc.CatalogServiceAsyncStub) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await catalog.GetRelease(pb.GetReleaseRequest(release="slow-5"), timeout=0.3)

        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    async def test_may_ask_the_health_service(self, channel: grpc.aio.Channel) -> None:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        response = await stub.Check(health_pb2.HealthCheckRequest())

        assert response.status == health_pb2.HealthCheckResponse.SERVING

    async def test_may_ask_for_the_contract(self, channel: grpc.aio.Channel) -> None:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]

        names = [service.name for service in answers[0].list_services_response.service]
        assert "ani.catalog.v1.CatalogService" in names

    async def test_may_not_ask_for_the_contract_where_that_is_off(self, open_gateway: Open) -> None:
        running = open_gateway(servers=1, reflection=False)
        async with grpc.aio.insecure_channel(running.target) as channel:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
            # Nothing is sent: the refusal may come before a first message could go out.
            code = await stub.ServerReflectionInfo().code()

        assert code is grpc.StatusCode.UNIMPLEMENTED


class TestWeb:
    async def call(
        self, http: httpx.AsyncClient, method: str, message: bytes, *, text: bool = False
    ) -> tuple[Frames, httpx.Headers]:
        kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
        body = framed(message)
        answer = await http.post(
            f"{CATALOG}/{method}",
            content=base64.b64encode(body) if text else body,
            headers={"content-type": kind, "accept": kind, "x-grpc-web": "1", "origin": "https://app.example"},
        )
        assert answer.status_code == 200
        # Each part is encoded by itself, so that there is padding in between.
        parts = [answer.content[start : start + 4] for start in range(0, len(answer.content), 4)]
        return frames(b"".join(map(base64.b64decode, parts)) if text else answer.content), answer.headers

    @pytest.mark.parametrize("text", [False, True])
    async def test_gets_messages_and_trailers_in_the_body(self, http: httpx.AsyncClient, text: bool) -> None:
        found, headers = await self.call(http, "GetRelease", pb.GetReleaseRequest(release="bebop").SerializeToString(), text=text)

        assert headers["content-type"].startswith("application/grpc-web")
        assert headers["access-control-allow-origin"] == "https://app.example"
        assert pb.GetReleaseResponse.FromString(found[0][1]).release.alias == "bebop"
        assert found[-1][0] == 0x80
        assert b"grpc-status:0" in found[-1][1]

    async def test_gets_streams(self, http: httpx.AsyncClient) -> None:
        found, _ = await self.call(http, "WatchReleases", pb.WatchReleasesRequest(cursor="c").SerializeToString())

        assert [pb.WatchReleasesResponse.FromString(data).cursor for kind, data in found if kind == 0] == ["c0", "c1", "c2"]

    async def test_gets_refusals_with_details(self, http: httpx.AsyncClient) -> None:
        found, headers = await self.call(http, "GetRelease", pb.GetReleaseRequest(release="missing").SerializeToString())

        told = dict(line.split(":", 1) for line in found[-1][1].decode().strip().split("\r\n")) if found else dict(headers)
        assert told["grpc-status"] == "5"
        assert "grpc-status-details-bin" in told

    async def test_is_told_of_unknown_methods(self, http: httpx.AsyncClient) -> None:
        answer = await http.post(f"{CATALOG}/Nothing", content=framed(b""), headers={"content-type": "application/grpc-web"})

        # Clients read it as UNIMPLEMENTED.
        assert answer.status_code == 404
