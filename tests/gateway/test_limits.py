"""What the gateway lets no caller do: send too much, take too long, ask for nothing over and over (F7, F8, F9)."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from h2.settings import SettingCodes

from ani.catalog.v1 import catalog_service_pb2 as pb
from tests.gateway.running import Open, Running, raw, until


def preface(connection: h2.connection.H2Connection, wire: socket.socket) -> None:
    connection.initiate_connection()
    wire.sendall(connection.data_to_send())


def request(connection: h2.connection.H2Connection, stream: int, *, path: str = "/v1/releases/slow-1", end: bool = True) -> None:
    headers = [(":method", "GET"), (":scheme", "http"), (":authority", "ani"), (":path", path), ("authorization", "x")]
    connection.send_headers(stream, headers, end_stream=end)


def ended(wire: socket.socket, seconds: float = 10) -> bool:
    """Tell whether the other side closes, whatever it says before."""
    wire.settimeout(seconds)
    try:
        while wire.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True


@pytest.fixture
def wire(running: Running) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", running.gateway.port), timeout=10)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


class TestSize:
    async def test_of_a_body_is_bounded(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/v1/releases", content=b'{"synopsis": "' + b"x" * 1_200_000 + b'"}')

        assert answer.status_code == 413
        assert answer.json()["details"][0]["reason"] == "REQUEST_TOO_LARGE"

    async def test_of_a_body_within_bounds_is_no_matter(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/v1/releases", content=b'{"alias": "a", "synopsis": "' + b"x" * 900_000 + b'"}')

        assert answer.status_code == 200

    async def test_of_a_body_is_not_hidden_by_sending_it_in_parts(self, http: httpx.AsyncClient) -> None:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b" " * 100_000

        answer = await http.post("/v1/releases", content=parts())

        assert answer.status_code == 413

    @pytest.mark.parametrize(
        "body", ["[" * 100_000, '{"titles":[' * 5_000, '{"alias":"' + "\\u0000" * 100_000], ids=["[", "{", "0"]
    )
    async def test_of_a_body_counts_its_depth(self, http: httpx.AsyncClient, body: str) -> None:
        answer = await http.post("/v1/releases", content=body)

        assert answer.status_code == 400
        assert answer.json()["code"] == 3

    async def test_of_headers_is_bounded(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/genres", headers={"x-large": "x" * 15_000})

        assert answer.status_code == 431
        assert answer.json()["details"][0]["reason"] == "HEADERS_TOO_LARGE"

    async def test_of_headers_within_bounds_is_no_matter(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases/bebop", headers={"authorization": "Bearer " + "x" * 12_000})

        assert answer.status_code == 200

    async def test_of_headers_counts_their_number(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/genres", headers={f"x-{number}": "1" for number in range(80)})

        assert answer.status_code == 431

    async def test_of_native_messages_is_bounded_by_the_server(self, channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw(channel, "/ani.catalog.v1.CatalogService/GetRelease")(b"x" * 5_000_000)

        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    async def test_of_answers_may_be_large(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases/big-one", headers={"authorization": "x"})

        assert len(answer.json()["release"]["synopsis"]) == 100_000


class TestTime:
    def test_for_headers_runs_out(self, running: Running) -> None:
        wires = [socket.create_connection(("127.0.0.1", running.gateway.port)) for _ in range(50)]
        for one in wires:
            one.sendall(b"GET /v1/genres HTTP/1.1\r\nhost: ani\r\nx-slow: ")
        began = time.monotonic()
        answers = []
        for one in wires:
            one.settimeout(10)
            answers.append(one.recv(4096))
            one.close()

        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
        assert b'"REQUEST_TOO_SLOW"' in answers[0]
        assert 4 < time.monotonic() - began < 8

    def test_for_a_body_runs_out(self, open_gateway: Open, changed_contract: Callable[..., Path]) -> None:
        running = open_gateway(servers=1, contract=changed_contract("CreateRelease", seconds=-1))
        with socket.create_connection(("127.0.0.1", running.gateway.port), timeout=10) as one:
            one.sendall(b'POST /v1/releases HTTP/1.1\r\nhost: ani\r\ncontent-length: 500\r\n\r\n{"alias": ')
            answer = one.recv(4096)

        assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 504"))
        assert "cluster.servers.upstream_rq_total: 0" in running.admin("/stats?filter=cluster.servers.upstream_rq_total")

    async def test_for_a_hung_server_runs_out(self, open_gateway: Open, changed_contract: Callable[..., Path]) -> None:
        running = open_gateway(servers=1, contract=changed_contract("GetRelease", seconds=-1))
        async with httpx.AsyncClient(base_url=running.url) as client:
            answer = await client.get("/v1/releases/slow-9")
        async with grpc.aio.insecure_channel(running.target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                message = pb.GetReleaseRequest(release="slow-9").SerializeToString()
                await raw(channel, "/ani.catalog.v1.CatalogService/GetRelease")(message)

        assert answer.status_code == 504
        assert answer.json()["details"][0]["reason"] == "SERVER_TOO_SLOW"
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    async def test_of_a_stream_is_not_bounded_by_that_of_calls(
        self, open_gateway: Open, changed_contract: Callable[..., Path]
    ) -> None:
        running = open_gateway(servers=1, contract=changed_contract("GetRelease", seconds=-1))
        async with (
            httpx.AsyncClient(base_url=running.url, timeout=5) as client,
            client.stream("GET", "/v1/releases:watch?cursor=stay") as answer,
        ):
            lines = answer.aiter_lines()
            await anext(lines)
            slow = await client.get("/v1/releases/slow-9")
            still = json.loads((await anext(line async for line in lines if line)).removeprefix("data: "))

        assert slow.status_code == 504
        assert still["cursor"] == "stay1"


class TestConnection:
    def test_may_have_a_hundred_streams_at_once(self, wire: socket.socket) -> None:
        connection = h2.connection.H2Connection()
        preface(connection, wire)
        told = None
        while told is None:
            for event in connection.receive_data(wire.recv(65536)):
                if isinstance(event, h2.events.RemoteSettingsChanged):
                    told = event.changed_settings[SettingCodes.MAX_CONCURRENT_STREAMS].new_value
        wire.close()

        assert told == 100

    def test_ends_when_it_resets_what_it_asks_for(self, running: Running, wire: socket.socket) -> None:
        connection = h2.connection.H2Connection()
        preface(connection, wire)
        asked = 0
        began = time.monotonic()
        try:
            for stream in range(1, 40_001, 2):
                request(connection, stream)
                connection.reset_stream(stream)
                wire.sendall(connection.data_to_send())
                asked += 1
        except (BrokenPipeError, ConnectionResetError):
            pass
        seconds = time.monotonic() - began
        wire.close()

        assert asked < 5_000
        assert seconds < 5
        assert httpx.get(f"{running.url}/v1/genres").status_code == 200

    @pytest.mark.parametrize(
        "frame",
        [b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"p" * 8, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"],
        ids=["ping", "settings"],
    )
    def test_ends_when_it_floods(self, running: Running, wire: socket.socket, frame: bytes) -> None:
        preface(h2.connection.H2Connection(), wire)
        closed = False
        try:
            # Nothing is read: the answers pile up at the gateway, up to its bound.
            for _ in range(2_000):
                wire.sendall(frame * 100)
        except (BrokenPipeError, ConnectionResetError):
            closed = True
        closed = closed or ended(wire)
        wire.close()

        assert closed
        assert httpx.get(f"{running.url}/v1/genres").status_code == 200

    def test_ends_when_it_sends_empty_frames(self, running: Running, wire: socket.socket) -> None:
        connection = h2.connection.H2Connection()
        preface(connection, wire)
        request(connection, 1, end=False)
        wire.sendall(connection.data_to_send())
        wire.sendall(b"\x00\x00\x00\x00\x00\x00\x00\x00\x01" * 50)
        closed = ended(wire)
        wire.close()

        assert closed

    def test_survives_garbage(self, running: Running) -> None:
        for garbage in (
            b"\x00" * 500,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
            b"GET / HTTP/9.9\r\n\r\n",
            b"\r\n" * 100,
        ):
            with socket.create_connection(("127.0.0.1", running.gateway.port), timeout=10) as one:
                one.sendall(garbage)
                one.shutdown(socket.SHUT_WR)
                assert ended(one)

        assert httpx.get(f"{running.url}/v1/genres").status_code == 200

    def test_number_is_bounded(self, open_gateway: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.envoy.CONNECTIONS", 10)
        running = open_gateway(servers=1)
        wires = [socket.create_connection(("127.0.0.1", running.gateway.port), timeout=10) for _ in range(20)]

        refused = [one for one in wires[10:] if ended(one, 2)]
        wires[0].sendall(b"GET /v1/genres HTTP/1.1\r\nhost: ani\r\n\r\n")
        answer = wires[0].recv(4096)
        for one in wires:
            one.close()

        assert len(refused) == 10
        assert answer.startswith(b"HTTP/1.1 200")


class TestServers:
    async def test_are_not_reached_by_what_is_refused_at_the_door(self, open_gateway: Open) -> None:
        running = open_gateway(servers=1)

        def calls() -> int:
            return int(running.admin("/stats?filter=cluster.servers.upstream_rq_total").rpartition(": ")[2])

        before = calls()
        async with httpx.AsyncClient(base_url=running.url) as client:
            await asyncio.gather(
                client.get("/nothing"),
                client.post("/v1/filters"),
                client.get("/v1/genres?bogus=1"),
                client.get("/v1/genres", headers={"x_bad": "1"}),
            )

        until(lambda: calls() >= before)
        assert calls() == before

    async def test_keep_their_places_for_requests_that_are_whole(self, open_gateway: Open) -> None:
        """Half a request costs its sender nothing: neither half a frame, nor headers whose body never comes."""
        running = open_gateway(servers=1)
        half = b"POST /ani.catalog.v1.CatalogService/GetRelease HTTP/1.1\r\nhost: ani\r\ncontent-type: application/grpc-web\r\n"
        half += b"te: trailers\r\ncontent-length: 100\r\n\r\n\x00\x00"
        wires = [socket.create_connection(("127.0.0.1", running.gateway.port), timeout=10) for _ in range(200)]

        for one in wires:
            one.sendall(half)
        async with httpx.AsyncClient(base_url=running.url) as client:
            answers = [await client.get("/v1/genres", headers={"authorization": "Bearer x"}) for _ in range(5)]
        active = int(running.admin("/stats?filter=cluster.servers.upstream_rq_active").rpartition(": ")[2])
        for one in wires:
            one.close()

        assert {200} == {answer.status_code for answer in answers}
        assert active == 0

    async def test_are_not_watched_from_outside(self, open_gateway: Open) -> None:
        running = open_gateway(servers=1)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.gateway.port}") as channel:
            watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
            check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")

            assert await watch(b"").code() is grpc.StatusCode.UNIMPLEMENTED
            assert await check(b"")
