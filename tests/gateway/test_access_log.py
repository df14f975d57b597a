"""What is written down of requests, and what never is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest

from gateway.contract import GEN, methods
from gateway.paths import secret_addresses
from tests.gateway.running import Running, raw, until

SECRET = "1.Zm9yIG5vYm9keXMgZXllcw=="
SECRET_ADDRESSES = dict(secret_addresses(methods((GEN / "descriptor.binpb").read_bytes())))


@pytest.fixture
def lines(running: Running) -> Callable[[str], list[dict[str, Any]]]:
    """Return the lines of the request with an id, once there are any."""

    def found(request_id: str) -> list[dict[str, Any]]:
        written: list[str] = until(lambda: [line for line in running.log.read_text().splitlines() if request_id in line])
        return [json.loads(line) for line in written]

    return found


class TestAccessLog:
    def test_is_kept_from_what_the_contract_names(self) -> None:
        assert {
            "/v1/admin/accounts",
            "/v1/device-logins/{user_code}",
            "/v1/export-files/{grant}",
            "/v1/playlists/{grant}",
        } == SECRET_ADDRESSES.keys()  # fmt: skip

    @pytest.mark.parametrize(
        ("verb", "path", "shown"),
        [
            ("GET", f"/v1/export-files/{SECRET}", "/v1/export-files/{grant}"),
            ("HEAD", f"/v1/export-files/{SECRET}", "/v1/export-files/{grant}"),
            ("POST", f"/v1/export-files/{SECRET}", "/v1/export-files/{grant}"),
            ("GET", f"/v1//export-files/{SECRET}/?x=1", "/v1/export-files/{grant}"),
            ("GET", f"/v1/%65xport-files/{SECRET}", "/v1/export-files/{grant}"),
            ("GET", f"/v1/./x/../export-files/{SECRET}#part", "/v1/export-files/{grant}"),
            ("GET", f"/v1/export-files%2F{SECRET}", "/v1/export-files/{grant}"),
            ("GET", f"/V1/Export-Files/{SECRET}", "/v1/export-files/{grant}"),
            ("GET", f"/v1/export-files/{SECRET}/..", "/v1/export-files/{grant}"),
            ("GET", f"/v1/playlists/{SECRET}?device_id=device-0001", "/v1/playlists/{grant}"),
            ("GET", f"/v1/device-logins/{SECRET}", "/v1/device-logins/{user_code}"),
            ("POST", f"/v1/device-logins/{SECRET}:approve", "/v1/device-logins/{user_code}"),
            ("GET", f"/v1/admin/accounts?query={SECRET}", "/v1/admin/accounts"),
            ("GET", f"/v1/admin/accounts/?query={SECRET}", "/v1/admin/accounts"),
            ("GET", f"/V1//Admin/accounts;x?query={SECRET}", "/v1/admin/accounts"),
            ("GET", f"/v1/%65xport-files%2F{SECRET}#x", "/v1/export-files/{grant}"),
            ("GET", f"/v1/export-files?grant={SECRET}", "/v1/export-files/{grant}"),
            ("GET", f"/v1/device-logins/playlists/{SECRET}", "/v1/device-logins/{user_code}"),
        ],
    )
    async def test_shows_what_an_address_looks_like_instead_of_its_secret(
        self, running: Running, lines: Callable[[str], list[dict[str, Any]]], verb: str, path: str, shown: str
    ) -> None:
        request_id = f"secret-{abs(hash((verb, path)))}"
        async with httpx.AsyncClient() as http:
            # Sent as it stands here: the client would tidy it up.
            await http.request(verb, running.url, headers={"x-request-id": request_id}, extensions={"target": path.encode()})

        (line,) = lines(request_id)

        assert (verb, shown) == (line["verb"], line["path"])
        assert SECRET not in running.log.read_text()

    @pytest.mark.parametrize(
        "path",
        [
            "/v1/genres?x=1",
            "/v1/admin/accounts",
            "/v1/admin/accounts/some-id?x=1",
            "/v1/device-logins:poll",
            "/v1/search?query=/playlists/1",
            "/nothing",
            "/v1/export-filesystem",
        ],
    )
    async def test_shows_other_addresses_once_as_they_came(
        self, http: httpx.AsyncClient, lines: Callable[[str], list[dict[str, Any]]], path: str
    ) -> None:
        request_id = f"plain-{abs(hash(path))}"
        await http.get(path, headers={"x-request-id": request_id})

        assert [path] == [line["path"] for line in lines(request_id)]

    async def test_shows_calls_by_grpc_once(self, channel: grpc.aio.Channel, lines: Callable[[str], list[dict[str, Any]]]) -> None:
        call = raw(channel, "/ani.catalog.v1.CatalogService/ListGenres")
        await call(b"", metadata=(("x-request-id", "grpc-of-genres"),))

        assert ["/ani.catalog.v1.CatalogService/ListGenres"] == [line["path"] for line in lines("grpc-of-genres")]
