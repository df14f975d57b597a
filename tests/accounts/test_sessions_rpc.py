"""Sessions over a real server: refresh tokens that are good for one use, and ends that everybody hears of."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import asyncpg
import grpc
import pytest

from ani.accounts.v1 import own_account_service_pb2 as own_pb
from ani.accounts.v1 import session_service_pb2 as pb
from ani.accounts.v1 import sign_in_pb2
from ani.catalog.v1 import catalog_service_pb2 as catalog_pb
from domain.kernel import Role
from server.settings import Settings
from tests.accounts.people import People, bearer, signed_out
from tests.serving import Metadata, Served, refusal, serving
from tests.waiting import until

ADDRESS = "mio@example.org"
Token = Callable[..., Metadata]


async def refreshed(served: Served, token: str) -> sign_in_pb2.Tokens:
    return (await served.sessions.RefreshTokens(pb.RefreshTokensRequest(refresh_token=token))).tokens


async def account(served: Served, tokens: sign_in_pb2.Tokens) -> own_pb.GetAccountResponse:
    return await served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=bearer(tokens))


async def aged(settings: Settings, change: str) -> None:
    """Let time pass for all sessions."""
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute(f"UPDATE accounts.sessions SET {change}")
    await connection.close()


class TestRefresh:
    async def test_gives_the_next_tokens_of_the_same_session(self, people: People, served: Served) -> None:
        first = await people.register("Mio")

        second = await refreshed(served, first.refresh_token)
        third = await refreshed(served, second.refresh_token)

        assert {first.session_id} == {second.session_id, third.session_id}
        assert 3 == len({one.refresh_token for one in (first, second, third)})
        assert (await account(served, third)).account.account_id == first.account_id

    async def test_asked_for_by_many_at_once_has_one_successor(self, people: People, served: Served) -> None:
        """A12: no fork, and a lost answer does no harm."""
        first = await people.register("Mio")

        found = await asyncio.gather(*(refreshed(served, first.refresh_token) for _ in range(50)))

        assert 1 == len({one.refresh_token for one in found})
        assert (await refreshed(served, found[0].refresh_token)).access_token

    async def test_with_an_old_token_ends_the_session(self, people: People, served: Served, settings: Settings) -> None:
        """A12: two hold it, and nobody can tell who is right."""
        first = await people.register("Mio")
        second = await refreshed(served, first.refresh_token)
        await aged(settings, "rotate_time = rotate_time - interval '11 seconds'")

        refused = await refusal(served.sessions.RefreshTokens(pb.RefreshTokensRequest(refresh_token=first.refresh_token)))
        after = await refusal(served.sessions.RefreshTokens(pb.RefreshTokensRequest(refresh_token=second.refresh_token)))

        assert (grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_REUSED") == (refused.code, refused.reason)
        assert "SESSION_ENDED" == after.reason
        assert await signed_out(served, second)

    async def test_with_a_token_long_gone_ends_the_session(self, people: People, served: Served) -> None:
        tokens = [await people.register("Mio")]
        tokens.extend([await refreshed(served, tokens[-1].refresh_token)])
        tokens.append(await refreshed(served, tokens[-1].refresh_token))

        refused = await refusal(served.sessions.RefreshTokens(pb.RefreshTokensRequest(refresh_token=tokens[0].refresh_token)))

        assert "REFRESH_TOKEN_REUSED" == refused.reason

    async def test_with_a_made_up_token_does_nothing(self, people: People, served: Served) -> None:
        """Whoever knows a session's id cannot end it by guessing."""
        first = await people.register("Mio")
        second = await refreshed(served, first.refresh_token)
        raw = base64.urlsafe_b64decode(first.refresh_token + "==")
        forged = base64.urlsafe_b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode().rstrip("=")
        for token in (forged, "", "x", "A" * 70, "_" * 70, second.access_token[:256]):
            refused = await refusal(served.sessions.RefreshTokens(pb.RefreshTokensRequest(refresh_token=token)))
            assert refused.reason in {"REFRESH_TOKEN_INVALID", "REQUEST_INVALID"}

        assert (await refreshed(served, second.refresh_token)).access_token

    @pytest.mark.parametrize(
        "change", ["expire_time = now()", "use_time = now() - interval '61 days'", "end_time = now(), end_reason = 2"]
    )
    async def test_of_a_session_that_is_over_is_refused(
        self, people: People, served: Served, settings: Settings, change: str
    ) -> None:
        """A13."""
        tokens = await people.register("Mio")
        await aged(settings, change)

        refused = await refusal(served.sessions.RefreshTokens(pb.RefreshTokensRequest(refresh_token=tokens.refresh_token)))

        assert (grpc.StatusCode.UNAUTHENTICATED, "SESSION_ENDED") == (refused.code, refused.reason)

    async def test_of_a_banned_account_is_refused_with_the_reason(self, people: People, served: Served, settings: Settings) -> None:
        tokens = await people.register("Mio")
        connection = await asyncpg.connect(settings.database_url)
        await connection.execute("UPDATE accounts.accounts SET ban_time = now(), ban_reason = 'Spam'")
        await connection.close()

        refused = await refusal(served.sessions.RefreshTokens(pb.RefreshTokensRequest(refresh_token=tokens.refresh_token)))
        signing_in = await refusal(people.sign_in(ADDRESS))

        assert {(grpc.StatusCode.PERMISSION_DENIED, "ACCOUNT_BANNED")} == {(one.code, one.reason) for one in (refused, signing_in)}
        assert "Spam" in refused.message

    async def test_takes_no_other_kind_of_token(self, people: People, served: Served) -> None:
        """A11."""
        tokens = await people.register("Mio")
        swapped = sign_in_pb2.Tokens(access_token=tokens.refresh_token)

        refused = await refusal(served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=bearer(swapped)))

        assert (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID") == (refused.code, refused.reason)


class TestRevocation:
    async def test_is_heard_by_every_server_within_a_second(
        self, people: People, served: Served, settings: Settings, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A14."""
        first = await people.register("Mio")
        second = (await people.sign_in(ADDRESS)).tokens
        async with serving(settings, f"unix:{tmp_path_factory.mktemp('other')}/s") as other:
            assert (await account(other, second)).account.account_id == first.account_id
            loop = asyncio.get_running_loop()
            began = loop.time()
            await served.sessions.RevokeSession(pb.RevokeSessionRequest(session_id=second.session_id), metadata=bearer(first))

            async def void() -> bool:
                try:
                    await account(other, second)
                except grpc.aio.AioRpcError as fault:
                    return fault.code() is grpc.StatusCode.UNAUTHENTICATED
                return False

            assert await until(void, seconds=5)
            assert loop.time() - began < 1

        assert (await account(served, first)).account.account_id

    async def test_ends_the_streams_that_were_opened(self, people: People, served: Served) -> None:
        """A14."""
        tokens = await people.register("Mio")
        stream = served.catalog.WatchReleases(catalog_pb.WatchReleasesRequest(), metadata=bearer(tokens))
        reading = asyncio.create_task(stream.read())
        await served.sessions.SignOut(pb.SignOutRequest(), metadata=bearer(tokens))

        while True:
            try:
                if await asyncio.wait_for(reading, 5) is grpc.aio.EOF:
                    break
            except grpc.aio.AioRpcError:
                break
            reading = asyncio.create_task(stream.read())

        assert grpc.StatusCode.UNAUTHENTICATED is await stream.code()

    async def test_of_the_others_keeps_this_one(self, people: People, served: Served) -> None:
        first = await people.register("Mio")
        others = [(await people.sign_in(ADDRESS)).tokens for _ in range(2)]

        answer = await served.sessions.RevokeSessions(pb.RevokeSessionsRequest(keep_this=True), metadata=bearer(first))
        listed = await served.sessions.ListSessions(pb.ListSessionsRequest(), metadata=bearer(first))

        assert 2 == answer.revoked_count
        assert [(first.session_id, True)] == [(session.session_id, session.current) for session in listed.sessions]
        for tokens in others:
            refused = await refusal(served.sessions.RefreshTokens(pb.RefreshTokensRequest(refresh_token=tokens.refresh_token)))
            assert "SESSION_ENDED" == refused.reason

    async def test_of_somebody_elses_session_finds_none(self, people: People, served: Served) -> None:
        """B2."""
        mio, rin = await people.register("Mio"), await people.register("Rin")

        refused = await refusal(
            served.sessions.RevokeSession(pb.RevokeSessionRequest(session_id=mio.session_id), metadata=bearer(rin))
        )

        assert (grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND") == (refused.code, refused.reason)
        assert (await refreshed(served, mio.refresh_token)).access_token

    async def test_by_a_token_without_a_session_ends_none(self, people: People, served: Served, token: Token) -> None:
        tokens = await people.register("Mio")

        await served.sessions.SignOut(pb.SignOutRequest(), metadata=token(Role.USER, account_id=tokens.account_id))

        assert (await refreshed(served, tokens.refresh_token)).access_token


class TestListSessions:
    async def test_tells_where_the_account_is_signed_in(self, people: People, served: Served) -> None:
        tokens = await people.register("Mio", device_id="device-0001", name="Mio's phone", client="Ani for Android 2.1")
        await people.sign_in(ADDRESS, device_id="device-0002", name="TV")

        sessions = (await served.sessions.ListSessions(pb.ListSessionsRequest(), metadata=bearer(tokens))).sessions

        assert [("TV", False), ("Mio's phone", True)] == [(session.device_name, session.current) for session in sessions]
        assert "Ani for Android 2.1" == sessions[1].client
