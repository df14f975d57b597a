"""An internal tool's life through the gateway: from the first administrator to a key that is good nowhere any more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import pytest

from ani.accounts.v1 import accounts_admin_service_pb2 as admin_pb
from ani.accounts.v1 import api_keys_service_pb2 as keys_pb
from tests.e2e.conftest import Body, detail
from tests.e2e.test_accounts import posted, registered
from tests.pipeline.test_signing import signed
from tests.serving import taken_apart
from tests.stack import Stack
from tests.waiting import until

ACCOUNTS = "/v1/admin/accounts?pageSize=1"
PATH = "/ani.accounts.v1.AccountsAdminService/ListAccounts"


async def created(http: httpx.AsyncClient, token: str, *, sign: bool = False) -> Body:
    expires = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    key = {"name": "importer", "scopes": ["accounts.read"], "expireTime": expires, "signed": sign}
    answer: Body = await posted(http, "/v1/account/apiKeys", key, token)
    return answer


async def answered(stack: Stack, metadata: tuple[tuple[str, str], ...], message: bytes) -> str:
    """Return the reason why a call is refused, or nothing."""
    async with stack.channel() as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PATH)
        try:
            await call(message, metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as fault:
            return taken_apart(fault).reason
    return ""


class TestTool:
    @pytest.mark.timeout(240)
    async def test_calls_with_a_key_and_signs_until_it_is_revoked(self, stack: Stack, http: httpx.AsyncClient) -> None:
        first = await registered(stack, http, "Boss")
        assert 0 == (await asyncio.to_thread(stack.command, "accounts", "create-admin", "boss@example.org")).returncode
        refreshed = await posted(http, "/v1/sessions:refresh", {"refreshToken": first["refreshToken"]})
        boss = refreshed["tokens"]["accessToken"]
        plain, strict = await created(http, boss), await created(http, boss, sign=True)

        # With a plain key: JSON, by either header, on whichever server.
        for headers in ({"x-api-key": plain["key"]}, {"authorization": f"Bearer {plain['key']}"}):
            for _ in range(4):
                answer = await http.get(ACCOUNTS, headers=headers)
                assert answer.status_code == 200, answer.text
        people_only = await http.get("/v1/account", headers={"x-api-key": plain["key"]})
        assert (403, "API_KEY_INSUFFICIENT") == (people_only.status_code, detail(people_only, "ErrorInfo")["reason"])

        # With one that signs: not in JSON, and each call once, whichever server it comes to.
        in_json = await http.get(ACCOUNTS, headers={"x-api-key": strict["key"]})
        assert (403, "SIGNING_IMPOSSIBLE") == (in_json.status_code, detail(in_json, "ErrorInfo")["reason"])
        key = keys_pb.CreateApiKeyResponse(key=strict["key"], signing_secret=strict["signingSecret"])
        message = admin_pb.ListAccountsRequest(page_size=1).SerializeToString()
        metadata = signed(key, PATH, message)
        once = await asyncio.gather(*(answered(stack, metadata, message) for _ in range(8)))
        assert ["", *["SIGNATURE_REPLAYED"] * 7] == sorted(once)
        unsigned = (("authorization", f"Bearer {strict['key']}"),)
        assert "SIGNATURE_MISSING" == await answered(stack, unsigned, message)

        # Revoked, it is good nowhere.
        path = f"/v1/account/apiKeys/{plain['apiKey']['keyId']}"
        assert (await http.delete(path, headers={"authorization": f"Bearer {boss}"})).status_code == 200

        async def gone() -> bool:
            tries = [await http.get(ACCOUNTS, headers={"x-api-key": plain["key"]}) for _ in range(6)]
            return {401} == {one.status_code for one in tries}

        assert await until(gone, seconds=2)

        # And all of that is in a log that nobody can rewrite.
        shown = await asyncio.to_thread(stack.command, "audit", "verify")
        assert 0 == shown.returncode, shown.stdout + shown.stderr
        log = (
            await http.get("/v1/admin/auditEntries?method=AdministratorMade", headers={"authorization": f"Bearer {boss}"})
        ).json()
        assert first["accountId"] in {entry["subjectAccountId"] for entry in log["entries"]}
