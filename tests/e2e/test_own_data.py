"""Own data through the gateway, in JSON: taken away as a ZIP archive, and an account that is to go and stays after all."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial

import httpx
import pytest

from tests.e2e.conftest import Body, detail
from tests.e2e.test_accounts import letters, posted, registered
from tests.stack import Stack
from tests.waiting import until


async def _logged(stack: Stack, text: str) -> bool:
    """Tell whether a text stands in what any part of the stack has written down."""
    return any(text in log.read_text() for log in (stack.data / "logs").iterdir())


class TestOwnData:
    @pytest.mark.timeout(240)
    async def test_is_taken_away(self, stack: Stack, http: httpx.AsyncClient) -> None:
        tokens = await registered(stack, http, "Haru")
        here = {"authorization": f"Bearer {tokens['accessToken']}"}
        operation = (await posted(http, "/v1/account/exports", {}, tokens["accessToken"]))["operation"]
        path = f"/v1/account/exports/{operation['operationId']}"

        async def ready() -> Body:
            export: Body = (await http.get(path, headers=here)).json()["export"]
            return export if export["state"] == "EXPORT_STATE_READY" else {}

        async def told() -> bool:
            return any("/account/export" in str(letter) for letter in letters(stack, "haru@example.org"))

        export = await until(ready, seconds=30)
        part = await http.get(f"{path}/parts/1", headers=here)
        others = await http.get(f"{path}/parts/1", headers=stack.credentials("editor"))
        (link,) = (await http.get(f"{path}/links", headers=here)).json()["urls"]
        saved = await http.get(link)
        changed = await http.get(f"{link[:-5]}{'A' if link[-5] != 'A' else 'B'}{link[-4:]}")
        revoked = await http.delete(f"/v1/sessions/{tokens['sessionId']}", headers=here)
        void = await http.get(link)

        assert await until(told, seconds=20)
        assert (1, str(len(part.content))) == (export["partCount"], export["size"])
        assert "application/zip" == part.headers["content-type"]
        (account,) = json.loads(zipfile.ZipFile(io.BytesIO(part.content)).read("accounts/accounts.json"))
        assert "haru@example.org" == account["email"]
        assert not others.is_success
        assert (200, part.content, "application/zip") == (saved.status_code, saved.content, saved.headers["content-type"])
        assert 'attachment; filename="export-1-of-1.zip"' == saved.headers["content-disposition"]
        assert ["no-store"] * 3 == [one.headers["cache-control"] for one in (saved, changed, void)]
        assert [403, 200, 403] == [one.status_code for one in (changed, revoked, void)]
        assert ["EXPORT_LINK_INVALID", "EXPORT_LINK_VOID"] == [detail(one, "ErrorInfo")["reason"] for one in (changed, void)]
        assert await until(partial(_logged, stack, "/v1/export-files/{grant}"), seconds=10)
        assert not await _logged(stack, link)

    @pytest.mark.timeout(240)
    async def test_stays_when_its_owner_thinks_better_of_it(self, stack: Stack, http: httpx.AsyncClient) -> None:
        tokens = await registered(stack, http, "Natsu")
        here = {"authorization": f"Bearer {tokens['accessToken']}"}

        answer = await posted(http, "/v1/account:requestDeletion", {}, tokens["accessToken"])
        pending = (await http.get("/v1/account", headers=here)).json()["account"]
        await posted(http, "/v1/account:cancelDeletion", {}, tokens["accessToken"])
        kept = (await http.get("/v1/account", headers=here)).json()["account"]

        assert pending["deleteTime"] < answer["eraseTime"]
        assert "deleteTime" not in kept
