"""One's own account over a real server: its name, its password, its address, and proving who one is once more."""

from __future__ import annotations

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from ani.accounts.v1 import account_pb2, session_service_pb2, sign_in_pb2
from ani.accounts.v1 import own_account_service_pb2 as pb
from ani.options.v1 import policy_pb2
from server.settings import Settings
from tests.accounts.people import PASSWORD, Kind, People, bearer, signed_out
from tests.serving import Served, refusal

ADDRESS, OTHER = "mio@example.org", "mio@example.net"
NEW = "eight swans on the pond"


def renaming(name: str, version: int = 0) -> pb.UpdateAccountRequest:
    return pb.UpdateAccountRequest(account=account_pb2.Account(name=name, version=version), update_mask=FieldMask(paths=["name"]))


async def outdated(settings: Settings) -> None:
    """Let the proofs of all sessions grow old."""
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute("UPDATE accounts.sessions SET proof_time = proof_time - interval '11 minutes'")
    await connection.close()


class TestUpdateAccount:
    async def test_changes_what_the_mask_names(self, people: People, served: Served) -> None:
        tokens = await people.register("Mio")

        account = (await served.own_account.UpdateAccount(renaming("  Mio  Iso "), metadata=bearer(tokens))).account

        assert ("Mio Iso", 2) == (account.name, account.version)

    async def test_refuses_what_nobody_may_write(self, people: People, served: Served) -> None:
        """B4: least of all one's own role."""
        tokens = await people.register("Mio")
        for path in ("role", "email", "account_id", "version", "nothing"):
            request = pb.UpdateAccountRequest(
                account=account_pb2.Account(role=policy_pb2.ROLE_ADMIN), update_mask=FieldMask(paths=[path])
            )
            refused = await refusal(served.own_account.UpdateAccount(request, metadata=bearer(tokens)))
            assert grpc.StatusCode.INVALID_ARGUMENT is refused.code

        account = (await served.own_account.GetAccount(pb.GetAccountRequest(), metadata=bearer(tokens))).account
        assert 1 == account.role

    async def test_refuses_what_was_read_before_another_change(self, people: People, served: Served) -> None:
        tokens = await people.register("Mio")
        await served.own_account.UpdateAccount(renaming("Rin"), metadata=bearer(tokens))

        refused = await refusal(served.own_account.UpdateAccount(renaming("Ayu", version=1), metadata=bearer(tokens)))

        assert (grpc.StatusCode.ABORTED, "ACCOUNT_CHANGED") == (refused.code, refused.reason)

    async def test_refuses_a_name_that_is_taken(self, people: People, served: Served) -> None:
        await people.register("Rin")
        tokens = await people.register("Mio")

        refused = await refusal(served.own_account.UpdateAccount(renaming("RIN"), metadata=bearer(tokens)))

        assert "ACCOUNT_NAME_TAKEN" == refused.reason


class TestChangePassword:
    async def test_needs_the_present_one_and_ends_the_other_sessions(self, people: People, served: Served) -> None:
        """A14."""
        here = await people.register("Mio")
        there = (await people.sign_in(ADDRESS)).tokens
        wrong = pb.ChangePasswordRequest(current_password="another one", new_password=NEW)
        right = pb.ChangePasswordRequest(current_password=PASSWORD, new_password=NEW)

        refused = await refusal(served.own_account.ChangePassword(wrong, metadata=bearer(here)))
        await served.own_account.ChangePassword(right, metadata=bearer(here))

        assert (grpc.StatusCode.PERMISSION_DENIED, "PASSWORD_WRONG") == (refused.code, refused.reason)
        assert await signed_out(served, there)
        assert (await served.own_account.GetAccount(pb.GetAccountRequest(), metadata=bearer(here))).account.account_id
        assert (await people.sign_in(ADDRESS, NEW)).tokens.access_token

    async def test_ends_sign_ins_that_are_half_way_in(self, people: People, served: Served) -> None:
        """Whoever knows the old password, and waits with what comes after it."""
        here = await people.register("Mio")
        begun = await people.begin(ADDRESS)
        begun = await people.choose(begun, Kind.CHALLENGE_KIND_EMAIL_CODE)
        code = await people.post.code(ADDRESS)
        right = pb.ChangePasswordRequest(current_password=PASSWORD, new_password=NEW)

        await served.own_account.ChangePassword(right, metadata=bearer(here))
        refused = await refusal(people.answer(begun, Kind.CHALLENGE_KIND_EMAIL_CODE, code))

        assert "SIGN_IN_OVER" == refused.reason

    @pytest.mark.parametrize("new", ["password1234", "mio@example.org", "12345678"])
    async def test_refuses_those_that_are_tried_first(self, people: People, served: Served, new: str) -> None:
        """A3."""
        tokens = await people.register("Mio")
        request = pb.ChangePasswordRequest(current_password=PASSWORD, new_password=new)

        refused = await refusal(served.own_account.ChangePassword(request, metadata=bearer(tokens)))

        assert (grpc.StatusCode.INVALID_ARGUMENT, "PASSWORD_TOO_COMMON") == (refused.code, refused.reason)


class TestProof:
    async def test_lets_its_session_do_what_needs_one(self, people: People, served: Served, settings: Settings) -> None:
        """A15."""
        tokens = await people.register("Mio")
        await outdated(settings)
        change = pb.BeginEmailChangeRequest(email=OTHER)

        refused = await refusal(served.own_account.BeginEmailChange(change, metadata=bearer(tokens)))
        step = (await served.own_account.BeginProof(pb.BeginProofRequest(), metadata=bearer(tokens))).step
        done = await people.answer(step, Kind.CHALLENGE_KIND_PASSWORD, PASSWORD)
        begun = (await served.own_account.BeginEmailChange(change, metadata=bearer(tokens))).step

        assert (grpc.StatusCode.FAILED_PRECONDITION, "PROOF_TOO_OLD") == (refused.code, refused.reason)
        assert done.done
        assert Kind.CHALLENGE_KIND_EMAIL_CODE == begun.challenge.kind


class TestEmailChange:
    async def test_needs_the_code_that_is_sent_to_the_new_address(self, people: People, served: Served) -> None:
        tokens = await people.register("Mio")
        step = (await served.own_account.BeginEmailChange(pb.BeginEmailChangeRequest(email=OTHER), metadata=bearer(tokens))).step

        done = await people.answer(step, Kind.CHALLENGE_KIND_EMAIL_CODE, await people.post.code(OTHER))
        account = (await served.own_account.GetAccount(pb.GetAccountRequest(), metadata=bearer(tokens))).account
        told = await people.post.last(ADDRESS)

        assert done.done
        assert OTHER == account.email
        assert ("email_changed", OTHER) == (told.kind, told.facts["new_address"])

    async def test_ends_with_the_session_that_began_it(self, people: People, served: Served) -> None:
        """A thief's, whom the owner throws out."""
        owner = await people.register("Mio")
        thief = (await people.sign_in(ADDRESS)).tokens
        begun = pb.BeginEmailChangeRequest(email=OTHER)
        first = (await served.own_account.BeginEmailChange(begun, metadata=bearer(thief))).step
        await served.sessions.RevokeSession(
            session_service_pb2.RevokeSessionRequest(session_id=thief.session_id), metadata=bearer(owner)
        )
        code = await people.post.code(OTHER)

        one = await refusal(people.answer(first, Kind.CHALLENGE_KIND_EMAIL_CODE, code))

        assert "SIGN_IN_OVER" == one.reason
        assert ADDRESS == (await served.own_account.GetAccount(pb.GetAccountRequest(), metadata=bearer(owner))).account.email

    async def test_to_the_address_of_another_is_refused_to_whoever_can_read_it(self, people: People, served: Served) -> None:
        await people.register("Rin", email=OTHER)
        tokens = await people.register("Mio")
        step = (await served.own_account.BeginEmailChange(pb.BeginEmailChangeRequest(email=OTHER), metadata=bearer(tokens))).step

        refused = await refusal(people.answer(step, Kind.CHALLENGE_KIND_EMAIL_CODE, await people.post.code(OTHER)))

        assert isinstance(step, sign_in_pb2.SignInStep)
        assert (grpc.StatusCode.ALREADY_EXISTS, "EMAIL_TAKEN") == (refused.code, refused.reason)
