"""What the audit log says of what happens to accounts: who, what, before and after, from where, in which call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any

import asyncpg
import grpc
import pytest

from ani.accounts.v1 import accounts_admin_service_pb2 as admin_pb
from ani.accounts.v1 import accounts_service_pb2 as pb
from ani.accounts.v1 import api_keys_service_pb2 as keys_pb
from ani.accounts.v1 import own_account_service_pb2 as own_pb
from ani.accounts.v1 import second_factors_service_pb2 as factors_pb
from ani.accounts.v1 import session_service_pb2 as session_pb
from ani.accounts.v1 import sign_in_pb2
from domain.accounts.naming import masked
from domain.accounts.signing_in import TOLD_AT
from domain.kernel import Role
from server.settings import Settings
from tests.accounts.people import PASSWORD, Kind, People, bearer
from tests.accounts.staff import Office
from tests.accounts.test_create_admin import create_admin
from tests.accounts.test_second_factors_rpc import Desk, desk  # noqa: F401 - a fixture
from tests.serving import Metadata, Served, refusal

Entries = Callable[..., Coroutine[Any, Any, list[dict[str, Any]]]]
CALL: Metadata = (("x-forwarded-for", "192.0.2.7"), ("x-request-id", "call-one-two"))
NEW = "eight herons in the reeds"


@pytest.fixture
async def entries(settings: Settings) -> AsyncIterator[Entries]:
    """Read what the log says under a name, or of a call."""
    connection = await asyncpg.connect(settings.database_url)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads, format="text")

    async def read(method: str) -> list[dict[str, Any]]:
        rows = await connection.fetch("SELECT * FROM platform.audit_log WHERE method LIKE $1 ORDER BY entry_id", f"%{method}")
        return [dict(row) for row in rows]

    yield read
    await connection.close()


async def answer(served: Served, step: sign_in_pb2.SignInStep, kind: Any, text: str) -> sign_in_pb2.SignInStep:
    """Answer a challenge by the call that is looked for afterwards."""
    request = pb.ContinueSignInRequest(sign_in=step.sign_in, kind=kind, answer=text)
    return (await served.accounts.ContinueSignIn(request, metadata=CALL)).step


class TestPassword:
    async def test_changed_by_its_owner(self, served: Served, people: People, entries: Entries) -> None:
        tokens = await people.register("Mio")
        request = own_pb.ChangePasswordRequest(current_password=PASSWORD, new_password=NEW)

        await served.own_account.ChangePassword(request, metadata=(*bearer(tokens), *CALL))

        (entry,) = await entries("PasswordChanged")
        assert {
            "account_id": tokens.account_id,
            "role": "USER",
            "subject": tokens.account_id,
            "address": "192.0.2.7",
            "request_id": "call-one-two",
            "code": "OK",
        }.items() <= entry.items()
        assert entry["changes"]["before"]["password_time"] < entry["changes"]["after"]["password_time"]
        assert NEW not in str(entry)

    async def test_reset_by_whoever_reads_the_letters(self, served: Served, people: People, entries: Entries) -> None:
        """Nobody is signed in: the entry says from where, and to whose account."""
        tokens = await people.register("Mio")
        begun = await served.accounts.BeginPasswordReset(pb.BeginPasswordResetRequest(email="mio@example.org"))
        step = await answer(served, begun.step, Kind.CHALLENGE_KIND_EMAIL_CODE, await people.post.code("mio@example.org"))

        await answer(served, step, Kind.CHALLENGE_KIND_NEW_PASSWORD, NEW)

        (entry,) = await entries("PasswordChanged")
        assert ("", "", tokens.account_id) == (entry["account_id"], entry["role"], entry["subject"])
        assert ("192.0.2.7", "call-one-two") == (entry["address"], entry["request_id"])

    async def test_that_was_refused_leaves_nothing(self, served: Served, people: People, entries: Entries) -> None:
        tokens = await people.register("Mio")
        request = own_pb.ChangePasswordRequest(current_password="another one that is wrong", new_password=NEW)

        await refusal(served.own_account.ChangePassword(request, metadata=(*bearer(tokens), *CALL)))

        assert [] == await entries("PasswordChanged")


class TestEmail:
    async def test_changed_is_told_without_naming_anybody(self, served: Served, people: People, entries: Entries) -> None:
        tokens = await people.register("Mio")
        begun = await served.own_account.BeginEmailChange(
            own_pb.BeginEmailChangeRequest(email="azusa@example.com"), metadata=bearer(tokens)
        )

        await answer(served, begun.step, Kind.CHALLENGE_KIND_EMAIL_CODE, await people.post.code("azusa@example.com"))

        (entry,) = await entries("EmailChanged")
        assert (tokens.account_id, "192.0.2.7") == (entry["subject"], entry["address"])
        assert {"before": {"email": "m…@e….org"}, "after": {"email": "a…@e….com"}} == entry["changes"]
        assert "azusa" not in str(entry)

    @pytest.mark.parametrize(
        ("email", "shown"), [("mio@example.org", "m…@e….org"), ("猫@例え.テスト", "猫…@例….テスト"), ("a@b@c.de", "a…@c….de")]
    )
    def test_is_masked(self, email: str, shown: str) -> None:
        assert shown == masked(email)


class TestSecondFactor:
    async def test_set_up_and_taken_away(self, desk: Desk, entries: Entries) -> None:  # noqa: F811 - the fixture
        await desk.set_up()

        await desk.service.DeleteTotp(factors_pb.DeleteTotpRequest(), metadata=(*desk.metadata, *CALL))

        added, removed = await entries("SecondFactorChanged")
        assert ["totp_added", "totp_removed"] == [entry["changes"]["after"]["what"] for entry in (added, removed)]
        assert (desk.account_id, "192.0.2.7", "call-one-two") == (
            removed["account_id"],
            removed["address"],
            removed["request_id"],
        )


class TestSignIns:
    async def test_that_fail_often_are_told_once(
        self, served: Served, people: People, entries: Entries, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of known and unknown addresses alike."""
        monkeypatch.setattr("domain.accounts.throttle.FREE_USUALLY", 1000)
        tokens = await people.register("Mio")

        for email in ("mio@example.org", "nobody@example.org"):
            for _ in range(TOLD_AT + 3):
                step = await people.begin(email)
                await served.accounts.ContinueSignIn(
                    pb.ContinueSignInRequest(sign_in=step.sign_in, kind=Kind.CHALLENGE_KIND_PASSWORD, answer="wrong"), metadata=CALL
                ).code()

        known, unknown = await entries("SignInsFailed")
        assert [tokens.account_id, ""] == [known["subject"], unknown["subject"]]
        assert {"tries": TOLD_AT, "held_against": "account"} == known["changes"]["after"]
        assert ("192.0.2.7", "call-one-two") == (known["address"], known["request_id"])
        assert "nobody@" not in str(unknown)

    async def test_that_fail_often_from_one_address_are_told_too(self, served: Served, people: People, entries: Entries) -> None:
        """One password at many doors."""
        for number in range(32):
            step = await people.begin(f"somebody{number}@example.org")
            request = pb.ContinueSignInRequest(sign_in=step.sign_in, kind=Kind.CHALLENGE_KIND_PASSWORD, answer="wrong")
            await served.accounts.ContinueSignIn(request, metadata=CALL).code()

        (entry,) = await entries("SignInsFailed")
        assert {"tries": 30, "held_against": "address"} == entry["changes"]["after"]

    async def test_continued_with_a_stolen_refresh_token(
        self, served: Served, people: People, entries: Entries, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("domain.accounts.sessions.GRACE", timedelta(0))
        tokens = await people.register("Mio")
        request = session_pb.RefreshTokensRequest(refresh_token=tokens.refresh_token)
        await served.sessions.RefreshTokens(request)

        refused = await refusal(served.sessions.RefreshTokens(request, metadata=CALL))

        (entry,) = await entries("RefreshTokenReused")
        assert "REFRESH_TOKEN_REUSED" == refused.reason
        assert (tokens.account_id, "192.0.2.7") == (entry["subject"], entry["address"])
        assert {"ended_session": tokens.session_id} == entry["changes"]["after"]


class TestStaff:
    async def test_change_roles_ban_and_end_sessions(self, served: Served, office: Office, entries: Entries) -> None:
        admin, user = await office.hire(Role.ADMIN), await office.hire()
        by: Metadata = (*admin.metadata, *CALL)
        change = admin_pb.ChangeAccountRoleRequest(account_id=user.account_id, role=Role.EDITOR.value)  # type: ignore[arg-type]

        await served.accounts_admin.ChangeAccountRole(change, metadata=by)
        await served.accounts_admin.EndAccountSessions(
            admin_pb.EndAccountSessionsRequest(account_id=user.account_id, revoke_api_keys=True), metadata=by
        )
        await served.accounts_admin.BanAccount(admin_pb.BanAccountRequest(account_id=user.account_id, reason="spam"), metadata=by)
        await served.accounts_admin.UnbanAccount(admin_pb.UnbanAccountRequest(account_id=user.account_id), metadata=by)

        found = await entries("")
        assert [
            ("ChangeAccountRole", {"before": {"role": "USER"}, "after": {"role": "EDITOR"}}),
            ("EndAccountSessions", {"before": {}, "after": {"ended_sessions": 1, "revoked_keys": 0}}),
        ] == [(entry["method"].rpartition("/")[2], without_versions(entry["changes"])) for entry in found[:2]]
        assert ["BanAccount", "UnbanAccount"] == [entry["method"].rpartition("/")[2] for entry in found[2:]]
        assert "spam" == found[2]["changes"]["after"]["ban"]["reason"] == found[3]["changes"]["before"]["ban"]["reason"]
        for entry in found:
            assert (admin.account_id, user.account_id) == (entry["account_id"], entry["subject"])
            assert ("ADMIN", "192.0.2.7", "call-one-two") == (entry["role"], entry["address"], entry["request_id"])

    async def test_create_and_revoke_api_keys(self, served: Served, office: Office, entries: Entries) -> None:
        moderator = await office.hire(Role.MODERATOR)

        key = (await moderator.create_key("accounts.read", signed=True)).api_key
        await served.api_keys.RevokeApiKey(keys_pb.RevokeApiKeyRequest(key_id=key.key_id), metadata=(*moderator.metadata, *CALL))

        (created,), (revoked,) = await entries("/CreateApiKey"), await entries("/RevokeApiKey")
        assert {"key_id": key.key_id, "hint": key.hint} == created["changes"]["after"]
        assert ["accounts.read"] == created["request"]["api_key"]["scopes"]
        assert {"key_id": key.key_id} == revoked["request"]
        assert ("MODERATOR", "192.0.2.7") == (revoked["role"], revoked["address"])


class TestAdministrator:
    async def test_made_by_command(self, settings: Settings, people: People, served: Served, entries: Entries) -> None:
        tokens = await people.register("Mio")

        done = [create_admin(settings, email) for email in ("boss@example.org", "mio@example.org")]

        fresh, lifted = await entries("AdministratorMade")
        assert [0, 0] == [one.returncode for one in done]
        assert {"before": {}, "after": {"role": "ADMIN"}} == fresh["changes"]
        assert {"before": {"role": "USER"}, "after": {"role": "ADMIN"}} == lifted["changes"]
        assert tokens.account_id == lifted["subject"]
        assert lifted["address"].endswith(", by ani accounts create-admin")


class TestReading:
    async def test_finds_what_happened_by_its_name(self, served: Served, office: Office, people: People) -> None:
        admin, tokens = await office.hire(Role.ADMIN), await people.register("Mio")
        request = own_pb.ChangePasswordRequest(current_password=PASSWORD, new_password=NEW)
        assert grpc.StatusCode.OK is await served.own_account.ChangePassword(request, metadata=bearer(tokens)).code()

        wanted = admin_pb.ListAuditEntriesRequest(method="PasswordChanged", subject_account_id=tokens.account_id)
        (entry,) = (await served.accounts_admin.ListAuditEntries(wanted, metadata=admin.metadata)).entries

        assert "after.password_time" in {fact.path for fact in entry.changes}


def without_versions(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: changes[name] for name in ("before", "after")}
