"""API keys over a real server: what they open, for how long, and that nothing is left of them once they are revoked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from adapters.postgres import Database, bare
from ani.accounts.v1 import accounts_admin_service_pb2 as admin_pb
from ani.accounts.v1 import accounts_service_pb2 as accounts_pb
from ani.accounts.v1 import api_keys_service_pb2 as pb
from ani.accounts.v1 import own_account_service_pb2 as own_pb
from ani.catalog.v1 import catalog_service_pb2 as catalog_pb
from ani.system.v1 import system_service_pb2 as system_pb
from domain.accounts.api_keys import CHECK_DIGITS, fresh_key
from domain.kernel import Role
from server.pipeline.keys import KNOWN_SECONDS
from tests.accounts.people import PASSWORD, Kind, People
from tests.accounts.staff import Office, Person
from tests.serving import Metadata, Served, refusal
from tests.waiting import until

READ = "accounts.read"


def bearer(key: str) -> Metadata:
    return (("authorization", f"Bearer {key}"),)


async def ask(served: Served, metadata: Metadata) -> Any:
    """Do what needs the permission accounts.read."""
    return await served.accounts_admin.ListAccounts(admin_pb.ListAccountsRequest(), metadata=metadata)


async def ask_log(served: Served, metadata: Metadata) -> Any:
    """Do what needs the permission audit.read."""
    return await served.accounts_admin.ListAuditEntries(admin_pb.ListAuditEntriesRequest(), metadata=metadata)


async def refused(served: Served, metadata: Metadata) -> str:
    """Return why a key is refused by now, or nothing."""
    try:
        await ask(served, metadata)
    except grpc.aio.AioRpcError:
        return (await refusal(ask(served, metadata))).reason
    return ""


async def keys_of(served: Served, person: Person) -> list[Any]:
    return list((await served.api_keys.ListApiKeys(pb.ListApiKeysRequest(), metadata=person.metadata)).api_keys)


async def revoke(served: Served, person: Person, key_id: str) -> Any:
    return await served.api_keys.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=key_id), metadata=person.metadata)


async def change(database: Database, sql: str, *values: Any) -> None:
    async with database.begins(bare)() as connection:
        await connection.execute(sql, *values)


@contextmanager
def later(served: Served, seconds: float) -> Iterator[None]:
    """Let the server's memory of keys think that this much time has passed."""
    known = served.application.pipeline._machinery.identification
    before = known._clock, known._keys._clock  # type: ignore[union-attr]
    known._clock = known._keys._clock = lambda: time.time() + seconds  # type: ignore[union-attr]
    try:
        yield
    finally:
        known._clock, known._keys._clock = before  # type: ignore[union-attr]


class TestCreateApiKey:
    async def test_shows_the_key_once_and_keeps_only_a_hash(self, served: Served, office: Office, database: Database) -> None:
        admin = await office.hire(Role.ADMIN)

        created = await admin.create_key(READ, signed=True)

        (listed,) = await keys_of(served, admin)
        assert created.key.startswith("ani_key_")
        assert created.signing_secret.startswith("ani_sign_")
        assert created.key.startswith(listed.hint)
        assert listed.signed
        async with database.reads(bare)() as connection:
            kept = str([dict(row) for row in await connection.fetch("SELECT * FROM accounts.api_keys")])
            kept += str([dict(row) for row in await connection.fetch("SELECT * FROM platform.audit_log")])
        assert created.key not in kept
        assert created.signing_secret not in kept

    async def test_gives_no_scope_that_its_creator_does_not_hold(self, office: Office) -> None:
        moderator = await office.hire(Role.MODERATOR)

        answer = await refusal(moderator.create_key(READ, "audit.read"))

        assert (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING") == (answer.code, answer.reason)

    async def test_needs_a_fresh_proof(self, office: Office) -> None:
        """A15."""
        moderator = await office.hire(Role.MODERATOR, proven=timedelta(minutes=11))

        assert "PROOF_TOO_OLD" == (await refusal(moderator.create_key(READ))).reason

    @pytest.mark.parametrize("days", [-1, 400])
    async def test_refuses_a_life_that_is_over_or_too_long(self, office: Office, days: int) -> None:
        moderator = await office.hire(Role.MODERATOR)

        answer = await refusal(moderator.create_key(READ, expires=datetime.now(UTC) + timedelta(days=days)))

        assert "API_KEY_LIFE_WRONG" == answer.reason

    async def test_creates_20_at_most_even_at_once(self, served: Served, office: Office) -> None:
        moderator = await office.hire(Role.MODERATOR)

        done = await asyncio.gather(*(moderator.create_key(READ) for _ in range(25)), return_exceptions=True)

        assert 20 == sum(isinstance(one, pb.CreateApiKeyResponse) for one in done)
        assert 20 == len(await keys_of(served, moderator))

    async def test_is_not_for_tools(self, served: Served, office: Office) -> None:
        """A key creates no key: who has stolen one does not get another."""
        admin = await office.hire(Role.ADMIN)
        created = await admin.create_key(READ)

        answer = await refusal(served.api_keys.ListApiKeys(pb.ListApiKeysRequest(), metadata=bearer(created.key)))

        assert (grpc.StatusCode.PERMISSION_DENIED, "API_KEY_INSUFFICIENT") == (answer.code, answer.reason)


class TestCalling:
    @pytest.mark.parametrize("header", ["authorization", "x-api-key"])
    async def test_opens_what_is_among_the_scopes_and_nothing_else(self, served: Served, office: Office, header: str) -> None:
        """B3: its creator may do much more."""
        admin = await office.hire(Role.ADMIN)
        key = (await admin.create_key(READ)).key
        metadata = ((header, f"Bearer {key}" if header == "authorization" else key),)

        answer = await ask(served, metadata)
        missing = await refusal(ask_log(served, metadata))

        assert admin.account_id in {account.account.account_id for account in answer.accounts}
        assert (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING") == (missing.code, missing.reason)

    async def test_opens_what_is_open_to_all(self, served: Served, office: Office) -> None:
        admin = await office.hire(Role.ADMIN)
        key = (await admin.create_key(READ)).key

        caller = await served.system.GetCaller(system_pb.GetCallerRequest(), metadata=bearer(key))

        assert (admin.account_id, 0) == (caller.account_id, caller.role)

    async def test_never_does_more_than_its_creator_may_by_now(self, served: Served, office: Office) -> None:
        """Within a second of a change of role."""
        boss, editor = await office.hire(Role.ADMIN), await office.hire(Role.EDITOR)
        metadata = bearer((await editor.create_key(READ, "catalog.import")).key)
        await ask(served, metadata)

        request = admin_pb.ChangeAccountRoleRequest(account_id=editor.account_id, role=Role.USER.value)  # type: ignore[arg-type]
        await served.accounts_admin.ChangeAccountRole(request, metadata=boss.metadata)

        assert "PERMISSION_MISSING" == await until(lambda: refused(served, metadata), seconds=2)

    async def test_by_what_is_no_key_is_refused(self, served: Served) -> None:
        key = fresh_key()
        wrong = {
            key: "API_KEY_UNKNOWN",
            key[:-1]: "API_KEY_MALFORMED",
            key + "0": "API_KEY_MALFORMED",
            key[:-CHECK_DIGITS] + "0" * CHECK_DIGITS: "API_KEY_MALFORMED",
            key.swapcase(): "TOKEN_INVALID",
            "ani_key_": "API_KEY_MALFORMED",
            "ani_key_" + "x" * 7000: "API_KEY_MALFORMED",
        }

        answers = {shown: await refusal(ask(served, bearer(shown))) for shown in wrong}
        alone = await refusal(ask(served, (("x-api-key", "Bearer " + key),)))

        assert wrong == {shown: answer.reason for shown, answer in answers.items()}
        assert {grpc.StatusCode.UNAUTHENTICATED} == {answer.code for answer in answers.values()}
        assert "API_KEY_MALFORMED" == alone.reason

    async def test_ends_when_the_key_expires(self, served: Served, office: Office) -> None:
        """A13, also of a key that was just used."""
        moderator = await office.hire(Role.MODERATOR)
        created = await moderator.create_key(READ, expires=datetime.now(UTC) + timedelta(seconds=1.5))
        await ask(served, bearer(created.key))

        assert "API_KEY_EXPIRED" == await until(lambda: refused(served, bearer(created.key)), seconds=4)

    async def test_asks_the_database_once_a_minute(self, served: Served, office: Office, database: Database) -> None:
        moderator = await office.hire(Role.MODERATOR)
        metadata = bearer((await moderator.create_key(READ)).key)
        await asyncio.gather(*(ask(served, metadata) for _ in range(10)))

        # Behind the server's back, so that it cannot know.
        await change(database, "UPDATE accounts.api_keys SET revoke_time = now()")
        await ask(served, metadata)

        with later(served, KNOWN_SECONDS + 1):
            assert "API_KEY_REVOKED" == await refused(served, metadata)

    async def test_says_when_it_was_last_used(self, served: Served, office: Office, database: Database) -> None:
        moderator = await office.hire(Role.MODERATOR)
        created = await moderator.create_key(READ)
        (unused,) = await keys_of(served, moderator)
        await ask(served, bearer(created.key))
        (used,) = await keys_of(served, moderator)

        await change(database, "UPDATE accounts.api_keys SET use_time = now() - interval '2 minutes'")
        with later(served, KNOWN_SECONDS + 1):
            await ask(served, bearer(created.key))
        (again,) = await keys_of(served, moderator)

        assert not unused.HasField("use_time")
        assert abs(used.use_time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(seconds=30)
        assert abs(again.use_time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(seconds=30)

    async def test_is_told_of_in_the_audit_log_with_the_key(self, served: Served, office: Office) -> None:
        admin = await office.hire(Role.ADMIN)
        created = await admin.create_key(READ)
        await ask(served, (*bearer(created.key), ("x-forwarded-for", "192.0.2.7")))

        answer = await served.accounts_admin.ListAuditEntries(
            admin_pb.ListAuditEntriesRequest(method="/ani.accounts.v1.AccountsAdminService/ListAccounts"), metadata=admin.metadata
        )

        (entry,) = answer.entries
        assert (admin.account_id, created.api_key.key_id, "192.0.2.7") == (entry.account_id, entry.key_id, entry.address)
        assert "ADMIN" == entry.role

    @pytest.mark.settings(quota_per_minute=5)
    async def test_by_guessing_is_bounded(self, served: Served) -> None:
        reasons = [(await refusal(ask(served, bearer(fresh_key())))).reason for _ in range(7)]

        assert ["API_KEY_UNKNOWN"] * 5 + ["QUOTA_USED_UP"] * 2 == reasons

    @pytest.mark.settings(quota_per_minute=5)
    async def test_counts_against_its_creators_allowance(self, served: Served, office: Office) -> None:
        one, other = await office.hire(Role.ADMIN), await office.hire(Role.ADMIN)
        keys = [(await one.create_key(READ)).key, (await one.create_key(READ)).key]

        for number in range(3):
            await ask(served, bearer(keys[number % 2]))

        assert "QUOTA_USED_UP" == (await refusal(ask(served, bearer(keys[0])))).reason
        assert await ask(served, other.metadata)


class TestAnotherPassword:
    """A14: whoever had the old one may have made keys with it."""

    NEW = "eight swans on the pond"

    async def a_moderator(self, people: People, office: Office, database: Database) -> Person:
        tokens = await people.register("Mio")
        await change(database, "UPDATE accounts.accounts SET role = $1", Role.MODERATOR.value)
        return Person(office, tokens.account_id, Role.MODERATOR, tokens.session_id)

    async def test_revokes_the_keys_of_its_account_alone(
        self, served: Served, people: People, office: Office, database: Database
    ) -> None:
        moderator, other = await self.a_moderator(people, office, database), await office.hire(Role.MODERATOR)
        gone, stays = (await moderator.create_key(READ)).key, (await other.create_key(READ)).key
        await ask(served, bearer(gone))

        request = own_pb.ChangePasswordRequest(current_password=PASSWORD, new_password=self.NEW)
        await served.own_account.ChangePassword(request, metadata=moderator.metadata)

        assert "API_KEY_REVOKED" == await until(lambda: refused(served, bearer(gone)), seconds=1)
        assert await ask(served, bearer(stays))
        assert await keys_of(served, moderator)

    async def test_revokes_them_when_the_old_one_is_forgotten(
        self, served: Served, people: People, office: Office, database: Database
    ) -> None:
        key = (await (await self.a_moderator(people, office, database)).create_key(READ)).key
        await ask(served, bearer(key))

        request = accounts_pb.BeginPasswordResetRequest(email="mio@example.org")
        step = (await served.accounts.BeginPasswordReset(request)).step
        step = await people.answer(step, Kind.CHALLENGE_KIND_EMAIL_CODE, await people.post.code("mio@example.org"))
        await people.answer(step, Kind.CHALLENGE_KIND_NEW_PASSWORD, self.NEW)

        assert "API_KEY_REVOKED" == await until(lambda: refused(served, bearer(key)), seconds=1)


class TestRevokeApiKey:
    async def test_ends_it_within_a_second(self, served: Served, office: Office) -> None:
        """A14, also of a key that was just used; the others of its creator stay."""
        moderator = await office.hire(Role.MODERATOR)
        gone, stays = await moderator.create_key(READ), await moderator.create_key(READ)
        await ask(served, bearer(gone.key))

        for _ in range(2):
            await revoke(served, moderator, gone.api_key.key_id)

        assert "API_KEY_REVOKED" == await until(lambda: refused(served, bearer(gone.key)), seconds=1)
        assert await ask(served, bearer(stays.key))

    async def test_ends_what_it_opened(self, served: Served, office: Office) -> None:
        moderator = await office.hire(Role.MODERATOR)
        created = await moderator.create_key(READ)
        stream = served.catalog.WatchReleases(catalog_pb.WatchReleasesRequest(), metadata=bearer(created.key))
        reading = asyncio.ensure_future(_drained(stream))
        await until(lambda: _open_streams(served))

        await revoke(served, moderator, created.api_key.key_id)

        async with asyncio.timeout(3):
            assert grpc.StatusCode.UNAUTHENTICATED is await reading

    async def test_holds_for_what_was_being_asked_meanwhile(self, served: Served, office: Office) -> None:
        """However the two meet, the key is good nowhere a second later."""
        moderator = await office.hire(Role.MODERATOR)
        for _ in range(15):
            created = await moderator.create_key(READ)
            await asyncio.gather(
                *(ask(served, (*bearer(created.key), ("x-forwarded-for", f"192.0.2.{number}"))) for number in range(5)),
                revoke(served, moderator, created.api_key.key_id),
                return_exceptions=True,
            )

            assert await until(lambda key=created.key: refused(served, bearer(key)), seconds=1)  # type: ignore[misc]

    async def test_of_anothers_key_finds_none(self, served: Served, office: Office) -> None:
        """B2."""
        one, other = await office.hire(Role.ADMIN), await office.hire(Role.ADMIN)
        created = await one.create_key(READ)

        answer = await refusal(revoke(served, other, created.api_key.key_id))

        assert (grpc.StatusCode.NOT_FOUND, "API_KEY_NOT_FOUND") == (answer.code, answer.reason)
        assert await ask(served, bearer(created.key))

    async def test_comes_with_a_ban(self, served: Served, office: Office) -> None:
        boss, moderator = await office.hire(Role.ADMIN), await office.hire(Role.MODERATOR)
        created = await moderator.create_key(READ)
        await ask(served, bearer(created.key))

        request = admin_pb.BanAccountRequest(account_id=moderator.account_id, reason="left the team")
        await served.accounts_admin.BanAccount(request, metadata=boss.metadata)

        assert "API_KEY_REVOKED" == await until(lambda: refused(served, bearer(created.key)), seconds=1)


async def _drained(stream: Any) -> grpc.StatusCode:
    try:
        async for _ in stream:
            pass
    except grpc.aio.AioRpcError as fault:
        return fault.code()
    return grpc.StatusCode.OK


async def _open_streams(served: Served) -> int:
    return served.application.pipeline._machinery.streams._by_caller.total()
