"""An account's life through the gateway, in JSON: from a letter with a code to a television that is signed out again."""

from __future__ import annotations

import email
import json
import re
from email.message import EmailMessage
from email.policy import default
from typing import Any

import httpx
import pyotp
import pytest

from tests.e2e.conftest import Body, detail
from tests.stack import Stack
from tests.waiting import until

CODE = re.compile(r"^\s*(\d{6})\s*$", re.MULTILINE)
PASSWORD = "seven geese over the lake"


def letters(stack: Stack, address: str) -> list[EmailMessage]:
    """Return the letters to an address as its owner finds them, the oldest first."""
    files = sorted((stack.data / "mail").glob("*.eml"))
    found = [email.message_from_bytes(path.read_bytes(), policy=default) for path in files]
    return [letter for letter in found if address in str(letter["to"])]


async def code(stack: Stack, address: str, *, after: int = 0) -> str:
    """Wait for a letter with a code, and read it."""

    async def found() -> str:
        bodies = [letter.get_body(("plain",)) for letter in letters(stack, address)[after:]]
        codes = [CODE.search(body.get_content()) for body in bodies if body]
        return next((code.group(1) for code in reversed(codes) if code), "")

    return await until(found, seconds=20)


async def posted(http: httpx.AsyncClient, path: str, body: Body, token: str = "") -> Any:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = await http.post(path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def registered(stack: Stack, http: httpx.AsyncClient, name: str) -> Body:
    """Open an account, and return the tokens that sign in to it."""
    address = f"{name.lower()}@example.org"
    step = (await posted(http, "/v1/account:register", {"email": address, "password": PASSWORD, "name": name}))["step"]
    answer = {"signIn": step["signIn"], "kind": "CHALLENGE_KIND_EMAIL_CODE", "answer": await code(stack, address)}
    tokens: Body = (await posted(http, "/v1/sign-ins:continue", answer))["step"]["tokens"]
    return tokens


class Events:
    """The messages of a stream, as server-sent events."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self) -> Body:
        async for line in self._lines:
            if line.startswith("data:"):
                event: Body = json.loads(line.removeprefix("data:"))
                return event
        raise AssertionError("the stream has ended")


def other(number: str) -> str:
    return f"{(int(number) + 1) % 100:02}"


async def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    reason: str = detail(answer, "ErrorInfo")["reason"]
    return reason


class TestAccount:
    @pytest.mark.timeout(240)
    async def test_is_opened_signed_in_to_with_two_factors_and_kept(self, stack: Stack, http: httpx.AsyncClient) -> None:
        tokens = await registered(stack, http, "Mio")
        here = {"authorization": f"Bearer {tokens['accessToken']}"}
        account = (await http.get("/v1/account", headers=here)).json()["account"]
        setup = await posted(http, "/v1/account/totp:begin", {}, tokens["accessToken"])
        totp = pyotp.TOTP(setup["secret"])
        confirmed = await posted(
            http, "/v1/account/totp:confirm", {"setup": setup["setup"], "code": totp.now()}, tokens["accessToken"]
        )

        step = (await posted(http, "/v1/sign-ins", {"email": "mio@example.org"}))["step"]
        answer = {"signIn": step["signIn"], "kind": "CHALLENGE_KIND_PASSWORD", "answer": PASSWORD}
        step = (await posted(http, "/v1/sign-ins:continue", answer))["step"]
        kinds = step["challenge"]["kind"], step["challenge"]["alternatives"]
        answer = {"signIn": step["signIn"], "kind": "CHALLENGE_KIND_RECOVERY_CODE", "answer": confirmed["recoveryCodes"][0]}
        again = (await posted(http, "/v1/sign-ins:continue", answer))["step"]["tokens"]

        assert ("Mio", "mio@example.org") == (account["name"], account["email"])
        assert ("CHALLENGE_KIND_TOTP", ["CHALLENGE_KIND_RECOVERY_CODE"]) == kinds
        assert again["sessionId"] != tokens["sessionId"]

    async def test_of_which_a_refresh_token_is_used_twice_is_signed_out(self, stack: Stack, http: httpx.AsyncClient) -> None:
        first = await registered(stack, http, "Rin")
        tokens = [first]
        for _ in range(2):
            refreshed = await posted(http, "/v1/sessions:refresh", {"refreshToken": tokens[-1]["refreshToken"]})
            tokens.append(refreshed["tokens"])

        stolen = await http.post("/v1/sessions:refresh", json={"refreshToken": first["refreshToken"]})
        family = await http.post("/v1/sessions:refresh", json={"refreshToken": tokens[-1]["refreshToken"]})

        async def out() -> bool:
            headers = {"authorization": f"Bearer {tokens[-1]['accessToken']}"}
            return (await http.get("/v1/account", headers=headers)).status_code == 401

        assert "REFRESH_TOKEN_REUSED" == await refused(stolen, 401)
        assert "SESSION_ENDED" == await refused(family, 401)
        assert await until(out, seconds=2)

    async def test_founds_a_team_in_which_nobody_rises_above_who_lifts_them(self, stack: Stack, http: httpx.AsyncClient) -> None:
        founder, member = await registered(stack, http, "Ayu"), await registered(stack, http, "Nao")
        team = (await posted(http, "/v1/teams", {"name": "Voices of Ayu"}, founder["accessToken"]))["team"]
        roles = f"/v1/teams/{team['teamId']}/roles"
        there = {"authorization": f"Bearer {founder['accessToken']}"}
        listed = (await http.get(roles, headers=there)).json()["roles"]

        above = await http.post(
            roles, json={"name": "Above all", "weight": max(role["weight"] for role in listed) + 1}, headers=there
        )
        foreign = await http.post(
            roles, json={"name": "Mine", "weight": 1}, headers={"authorization": f"Bearer {member['accessToken']}"}
        )

        assert above.status_code in {400, 403}
        assert foreign.status_code in {403, 404}


class TestTelevision:
    @pytest.mark.timeout(240)
    async def test_is_let_in_from_a_phone_listed_and_signed_out_alone(self, stack: Stack, http: httpx.AsyncClient) -> None:
        phone = await registered(stack, http, "Sora")
        here = {"authorization": f"Bearer {phone['accessToken']}"}
        shown = await posted(http, "/v1/device-logins", {"device": {"name": "Living room", "client": "Ani for TV 1.0"}})
        async with http.stream("POST", "/v1/device-logins:watch", json={"deviceCode": shown["deviceCode"]}, timeout=30) as waiting:
            events = Events(waiting)
            first = await events.next()
            seen = (await http.get(f"/v1/device-logins/{shown['userCode']}", headers=here)).json()["deviceLogin"]
            wrong = await http.post(
                f"/v1/device-logins/{shown['userCode']}:approve", json={"number": other(shown["number"])}, headers=here
            )
            await posted(http, f"/v1/device-logins/{shown['userCode']}:approve", {"number": shown["number"]}, phone["accessToken"])
            television = (await events.next())["tokens"]

        there = {"authorization": f"Bearer {television['accessToken']}"}
        listed = (await http.get("/v1/sessions", headers=here)).json()["sessions"]
        on_television = await http.get("/v1/account", headers=there)
        await http.delete(f"/v1/sessions/{television['sessionId']}", headers=here)

        async def out() -> bool:
            return (await http.get("/v1/account", headers=there)).status_code == 401

        assert "heartbeat" in first
        assert ("Living room", "DEVICE_LOGIN_STATE_PENDING", True) == (seen["deviceName"], seen["state"], seen["sameNetwork"])
        assert "DEVICE_LOGIN_MISMATCH" == await refused(wrong, 404)
        assert {"SESSION_KIND_USER", "SESSION_KIND_DEVICE"} == {session["kind"] for session in listed}
        assert on_television.status_code == 200
        assert await until(out, seconds=2)
        assert (await http.get("/v1/account", headers=here)).status_code == 200

    async def test_that_cannot_keep_a_stream_asks_again_and_again(self, stack: Stack, http: httpx.AsyncClient) -> None:
        phone = await registered(stack, http, "Umi")
        shown = await posted(http, "/v1/device-logins", {"device": {"name": "Bedroom"}})
        code = {"deviceCode": shown["deviceCode"]}

        pending = await http.post("/v1/device-logins:poll", json=code)
        early = await http.post("/v1/device-logins:poll", json=code)
        await posted(http, f"/v1/device-logins/{shown['userCode']}:approve", {"number": shown["number"]}, phone["accessToken"])
        tokens = (await posted(http, "/v1/device-logins:poll", code))["tokens"]
        again = await http.post("/v1/device-logins:poll", json=code)

        assert "AUTHORIZATION_PENDING" == await refused(pending, 400)
        assert "SLOW_DOWN" == await refused(early, 429)
        assert tokens["sessionId"] != phone["sessionId"]
        assert "EXPIRED_TOKEN" == await refused(again, 400)


class TestAuditLog:
    async def test_is_proven_unbroken_by_a_command(self, stack: Stack, http: httpx.AsyncClient, editor: httpx.AsyncClient) -> None:
        await registered(stack, http, "Yui")
        await editor.post("/v1/admin/genres", json={"genre": {"genreId": "audited", "name": "Audited"}})

        async def sealed() -> bool:
            return not await stack.ask("SELECT 1 FROM platform.audit_log WHERE chain_number IS NULL LIMIT 1")

        await until(sealed, seconds=20)
        verified = stack.command("audit", "verify")

        assert 0 == verified.returncode, verified.stderr
        assert "the audit log is unbroken" in verified.stdout
