"""AccountsAdminService over a real server: who may do what to whom, at once and for all to see."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from adapters.postgres import Database, bare
from ani.accounts.v1 import accounts_admin_service_pb2 as pb
from ani.accounts.v1 import own_account_service_pb2 as own_pb
from ani.accounts.v1 import session_service_pb2 as session_pb
from ani.options.v1 import policy_pb2
from domain.kernel import Role
from tests.accounts.people import PASSWORD, People, bearer
from tests.accounts.staff import Office, Person, moment
from tests.serving import Metadata, Refused, Served, refusal
from tests.waiting import until

STAFF = (Role.MODERATOR, Role.EDITOR, Role.ADMIN)
SERVICE = "/ani.accounts.v1.AccountsAdminService/"


async def change_role(served: Served, by: Person, whom: Person, role: Role) -> Any:
    request = pb.ChangeAccountRoleRequest(account_id=whom.account_id, role=role.value)  # type: ignore[arg-type]
    return await served.accounts_admin.ChangeAccountRole(request, metadata=by.metadata)


async def ban(served: Served, by: Metadata, account_id: str, reason: str = "spam in comments", **over: Any) -> Any:
    return await served.accounts_admin.BanAccount(pb.BanAccountRequest(account_id=account_id, reason=reason, **over), metadata=by)


async def events(database: Database) -> list[str]:
    async with database.reads(bare)() as connection:
        rows = await connection.fetch("SELECT name FROM platform.events ORDER BY number")
    return [row["name"] for row in rows]


async def void(served: Served, metadata: Metadata) -> bool:
    """Tell whether a token is refused by now."""
    try:
        await served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=metadata)
    except grpc.aio.AioRpcError as fault:
        return "SESSION_REVOKED" in str(fault.trailing_metadata())
    return False


class TestChangeAccountRole:
    async def test_gives_a_role_and_makes_old_tokens_void(self, served: Served, office: Office, database: Database) -> None:
        admin, user = await office.hire(Role.ADMIN), await office.hire()
        before = user.metadata

        answer = await change_role(served, admin, user, Role.EDITOR)

        assert policy_pb2.ROLE_EDITOR == answer.account.account.role
        assert Role.EDITOR is (await user.account()).role
        assert await until(lambda: void(served, before), seconds=2)
        assert "AccountRoleChanged" in await events(database)

    @pytest.mark.parametrize("acting", STAFF)
    async def test_reaches_only_below_ones_own_role(self, served: Served, office: Office, acting: Role) -> None:
        """B3: a table of everyone against everyone; an administrator may do it all."""
        person = await office.hire(acting)
        await office.hire(Role.ADMIN)
        done: set[tuple[Role, Role]] = set()
        for present in (Role.USER, *STAFF):
            for wanted in (Role.USER, *STAFF):
                whom = await office.hire(present)
                request = pb.ChangeAccountRoleRequest(account_id=whom.account_id, role=wanted.value)  # type: ignore[arg-type]
                code = await served.accounts_admin.ChangeAccountRole(request, metadata=person.metadata).code()
                done |= {(present, wanted)} if code is grpc.StatusCode.OK else set()
                assert code in {grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED}
                assert (await whom.account()).role is (wanted if code is grpc.StatusCode.OK else present)

        roles = [Role.USER, *STAFF]
        below = [role for role in roles if role < acting or acting is Role.ADMIN] if acting > Role.MODERATOR else []
        assert done == {(present, wanted) for present in below for wanted in below}

    async def test_of_ones_own_is_refused(self, served: Served, office: Office) -> None:
        """A role given to oneself, up or down."""
        admin, editor = await office.hire(Role.ADMIN), await office.hire(Role.EDITOR)

        for person, role in ((admin, Role.USER), (editor, Role.ADMIN), (editor, Role.EDITOR)):
            refused = await refusal(change_role(served, person, person, role))
            assert (grpc.StatusCode.PERMISSION_DENIED, "OWN_ACCOUNT_REFUSED") == (refused.code, refused.reason)

    async def test_goes_by_the_role_that_is_kept_rather_than_the_tokens(self, served: Served, office: Office) -> None:
        """A token from a moment ago, from before the role was taken."""
        editor, user = await office.hire(Role.EDITOR), await office.hire()
        stale = Person(office, editor.account_id, Role.ADMIN, editor.session_id)

        refused = await refusal(change_role(served, stale, user, Role.EDITOR))

        assert "RANK_TOO_LOW" == refused.reason

    async def test_never_loses_the_last_administrator(self, served: Served, office: Office, token: Any) -> None:
        only = await office.hire(Role.ADMIN)
        by_hand = token(Role.ADMIN, account_id="0191d7a0-0000-7000-8000-0000000000bb")
        request = pb.ChangeAccountRoleRequest(account_id=only.account_id, role=policy_pb2.ROLE_USER)

        role = await refusal(served.accounts_admin.ChangeAccountRole(request, metadata=by_hand))
        banned = await refusal(ban(served, by_hand, only.account_id))

        assert [(grpc.StatusCode.FAILED_PRECONDITION, "LAST_ADMINISTRATOR")] * 2 == [(r.code, r.reason) for r in (role, banned)]

    async def test_by_two_administrators_at_once_of_each_other_leaves_one(self, served: Served, office: Office) -> None:
        for _ in range(5):
            one, other = await office.hire(Role.ADMIN), await office.hire(Role.ADMIN)

            await asyncio.gather(
                change_role(served, one, other, Role.USER),
                change_role(served, other, one, Role.USER),
                return_exceptions=True,
            )

            left = [person for person in (one, other) if (await person.account()).role is Role.ADMIN]
            assert 1 == len(left)
            await change_role(served, left[0], one if left[0] is other else other, Role.ADMIN)
            async with office.database.begins(bare)() as connection:
                await connection.execute("DELETE FROM accounts.accounts")


class TestBanAccount:
    async def test_ends_everything_at_once_and_says_why(self, served: Served, office: Office, people: People) -> None:
        """A14."""
        moderator, tokens = await office.hire(Role.MODERATOR), await people.register("Mio")
        until_then = datetime.now(UTC) + timedelta(days=3)

        answer = await ban(served, moderator.metadata, tokens.account_id, expire_time=moment(until_then))

        assert "spam in comments" == answer.account.ban.reason
        assert await until(lambda: void(served, bearer(tokens)), seconds=2)
        refresh = session_pb.RefreshTokensRequest(refresh_token=tokens.refresh_token)
        refused = await refusal(served.sessions.RefreshTokens(refresh))
        assert "ACCOUNT_BANNED" == refused.reason
        again = await refusal(people.sign_in("mio@example.org", PASSWORD))
        assert "ACCOUNT_BANNED" == again.reason
        letter = await people.post.last("mio@example.org")
        assert ("ban", "spam in comments") == (letter.kind, letter.facts["reason"])

    async def test_can_be_lifted(self, served: Served, office: Office, people: People, database: Database) -> None:
        moderator, tokens = await office.hire(Role.MODERATOR), await people.register("Mio")
        await ban(served, moderator.metadata, tokens.account_id)

        request = pb.UnbanAccountRequest(account_id=tokens.account_id)
        answers = [await served.accounts_admin.UnbanAccount(request, metadata=moderator.metadata) for _ in range(2)]

        assert [False, False] == [answer.account.HasField("ban") for answer in answers]
        assert (await people.sign_in("mio@example.org")).tokens.access_token
        assert {"AccountBanned", "AccountUnbanned", "SessionRevoked"} <= set(await events(database))

    async def test_is_refused_above_ones_rank_for_oneself_and_for_the_past(self, served: Served, office: Office) -> None:
        moderator, other = await office.hire(Role.MODERATOR), await office.hire(Role.MODERATOR)
        user, past = await office.hire(), moment(datetime.now(UTC) - timedelta(minutes=1))
        asked: list[tuple[str, Any]] = [
            ("RANK_TOO_LOW", ban(served, moderator.metadata, other.account_id)),
            ("OWN_ACCOUNT_REFUSED", ban(served, moderator.metadata, moderator.account_id)),
            ("BAN_OVER", ban(served, moderator.metadata, user.account_id, expire_time=past)),
            ("ACCOUNT_NOT_FOUND", ban(served, moderator.metadata, "0191d7a0-0000-7000-8000-00000000ffff")),
            ("REQUEST_INVALID", ban(served, moderator.metadata, user.account_id, reason="")),
        ]

        for reason, call in asked:
            assert reason == (await refusal(call)).reason


class TestEndAccountSessions:
    async def test_ends_them_all_and_leaves_the_account(self, served: Served, office: Office, people: People) -> None:
        moderator, tokens = await office.hire(Role.MODERATOR), await people.register("Mio")
        await people.sign_in("mio@example.org")

        request = pb.EndAccountSessionsRequest(account_id=tokens.account_id)
        answer = await served.accounts_admin.EndAccountSessions(request, metadata=moderator.metadata)

        assert 2 == answer.ended_count
        assert await until(lambda: void(served, bearer(tokens)), seconds=2)
        assert (await people.sign_in("mio@example.org")).tokens.access_token


class TestListAccounts:
    async def listed(self, served: Served, by: Person, **asked: Any) -> list[str]:
        names, token = list[str](), ""
        while True:
            request = pb.ListAccountsRequest(page_token=token, **asked)
            answer = await served.accounts_admin.ListAccounts(request, metadata=by.metadata)
            names += [found.account.name for found in answer.accounts]
            token = answer.next_page_token
            if not token:
                return names

    async def test_walks_all_whatever_the_size_of_a_page(self, served: Served, office: Office) -> None:
        """B7."""
        moderator = await office.hire(Role.MODERATOR, "Ritsu")
        for number in range(6):
            await office.hire(name=f"User{number}")

        whole = await self.listed(served, moderator)

        assert ["User5", "User4", "User3", "User2", "User1", "User0", "Ritsu"] == whole
        for size in (1, 2, 3, 7, 100):
            assert whole == await self.listed(served, moderator, page_size=size)

    async def test_narrows_by_text_role_and_ban(self, served: Served, office: Office) -> None:
        moderator = await office.hire(Role.MODERATOR, "Ritsu")
        mio, _ = await office.hire(name="Mio"), await office.hire(Role.EDITOR, "Ui_100%")
        await ban(served, moderator.metadata, mio.account_id)

        assert ["Mio"] == await self.listed(served, moderator, query="MIO@EXAMPLE")
        assert ["Ui_100%"] == await self.listed(served, moderator, query="i_1")
        assert [] == await self.listed(served, moderator, query="i_2")
        assert ["Ui_100%"] == await self.listed(served, moderator, query="0%")
        assert ["Ui_100%"] == await self.listed(served, moderator, role=policy_pb2.ROLE_EDITOR)
        assert ["Mio"] == await self.listed(served, moderator, only_banned=True)

    async def test_refuses_a_token_of_another_list(self, served: Served, office: Office) -> None:
        """B7."""
        moderator = await office.hire(Role.MODERATOR)
        await office.hire()
        first = await served.accounts_admin.ListAccounts(pb.ListAccountsRequest(page_size=1), metadata=moderator.metadata)

        request = pb.ListAccountsRequest(page_size=1, query="x", page_token=first.next_page_token)
        refused = await refusal(served.accounts_admin.ListAccounts(request, metadata=moderator.metadata))

        assert "PAGE_TOKEN_INVALID" == refused.reason


class TestListAuditEntries:
    async def entries(self, served: Served, by: Person, **asked: Any) -> list[Any]:
        found, token = list[Any](), ""
        while True:
            request = pb.ListAuditEntriesRequest(page_token=token, **asked)
            answer = await served.accounts_admin.ListAuditEntries(request, metadata=by.metadata)
            found += answer.entries
            token = answer.next_page_token
            if not token:
                return found

    async def test_says_who_did_what_to_whom_with_before_and_after(self, served: Served, office: Office) -> None:
        admin, user = await office.hire(Role.ADMIN), await office.hire()
        request = pb.ChangeAccountRoleRequest(account_id=user.account_id, role=policy_pb2.ROLE_EDITOR)
        metadata = (*admin.metadata, ("x-request-id", "promotion-0001"), ("x-forwarded-for", "192.0.2.7"))
        await served.accounts_admin.ChangeAccountRole(request, metadata=metadata)

        (entry,) = await self.entries(served, admin, request_id="promotion-0001")

        assert f"{SERVICE}ChangeAccountRole" == entry.method
        assert (admin.account_id, "ADMIN", user.account_id) == (entry.account_id, entry.role, entry.subject_account_id)
        assert ("192.0.2.7", "OK") == (entry.address, entry.code)
        assert {"before.role": "USER", "after.role": "EDITOR"} == {fact.path: fact.value for fact in entry.changes}
        assert ("role", "ROLE_EDITOR") in {(fact.path, fact.value) for fact in entry.request}

    async def test_narrows_by_everything_that_is_asked_for(self, served: Served, office: Office) -> None:
        admin, moderator, user = await office.hire(Role.ADMIN), await office.hire(Role.MODERATOR), await office.hire()
        began = datetime.now(UTC)
        await ban(served, moderator.metadata, user.account_id)
        await refusal(ban(served, moderator.metadata, admin.account_id))
        ended = datetime.now(UTC)

        async def codes(**asked: Any) -> list[str]:
            return [entry.code for entry in await self.entries(served, admin, method=f"{SERVICE}BanAccount", **asked)]

        both = ["PERMISSION_DENIED", "OK"]
        assert both == await codes()
        assert both == await codes(account_id=moderator.account_id, start_time=moment(began), end_time=moment(ended))
        assert ["OK"] == await codes(subject_account_id=user.account_id)
        assert ["PERMISSION_DENIED"] == await codes(code="PERMISSION_DENIED")
        assert [] == await codes(account_id=admin.account_id)
        assert [] == await codes(start_time=moment(ended))
        assert [] == await codes(end_time=moment(began))
        assert both == await codes(page_size=1)

    async def test_is_for_administrators(self, served: Served, office: Office) -> None:
        """B3."""
        refused: list[Refused] = []
        for role in (Role.USER, Role.MODERATOR, Role.EDITOR):
            person = await office.hire(role)
            request = pb.ListAuditEntriesRequest()
            refused.append(await refusal(served.accounts_admin.ListAuditEntries(request, metadata=person.metadata)))

        assert ["PERMISSION_MISSING"] * 3 == [one.reason for one in refused]
