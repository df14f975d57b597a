"""Televisions let in from a phone, over real servers: the device flow of RFC 8628, with a number to be read off besides."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from adapters.postgres import Database
from adapters.postgres.accounts.device_logins import PostgresDeviceLogins
from adapters.postgres.accounts.guest_passes import PostgresGuestPasses
from adapters.postgres.listen import Bell
from ani.accounts.v1 import account_pb2, device_login_pb2, sign_in_pb2
from ani.accounts.v1 import accounts_admin_service_pb2 as admin_pb
from ani.accounts.v1 import device_login_service_pb2 as pb
from ani.accounts.v1 import profiles_service_pb2 as profiles_pb
from ani.accounts.v1 import session_service_pb2 as session_pb
from domain.accounts import decisions, device_login
from domain.accounts.guest_passes import Departures
from domain.kernel import new_id
from server.accounts import device_tasks
from server.settings import Settings
from tests.accounts.households import Family, Household, an_account
from tests.accounts.people import People, bearer
from tests.accounts.televisions import Phone, Television, changed, ended, found, other_than
from tests.builders import NOON
from tests.conftest import StillClock
from tests.pipeline.conftest import Token
from tests.serving import Metadata, Served, refusal, serving
from tests.waiting import until

State = device_login_pb2.DeviceLoginState
PRECONDITION, DENIED = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND, EXHAUSTED = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED
AWAY = "UPDATE accounts.device_logins SET poll_time = poll_time - make_interval(secs => $1)"
EXPIRE = "UPDATE accounts.device_logins SET expire_time = now() + make_interval(secs => $1)"


def from_(address: str) -> Metadata:
    return (("x-forwarded-for", address), ("x-ani-country", "JP"))


@pytest.fixture
async def tv(served: Served) -> Television:
    return await Television.on(served)


@pytest.fixture
async def household(served: Served, token: Token, database: Database) -> Household:
    return Household(served, token, database, await an_account(database))


@pytest.fixture
async def phone(household: Household) -> Phone:
    return Phone(household.served, household.on())


@pytest.fixture
async def stranger(served: Served, token: Token, database: Database) -> Phone:
    return Phone(served, token(account_id=await an_account(database, "Tainaka")))


class TestStart:
    async def test_gives_what_a_device_waits_with_and_what_it_shows(self, tv: Television) -> None:
        """RFC 8628: expires_in, an interval of 5, and the code in the second address."""
        shows = tv.shows

        assert (600, 5) == (shows.expires_in, shows.interval)
        assert [4, 4] == [len(group) for group in shows.user_code.split("-")]
        assert (2, True) == (len(shows.number), shows.number.isdigit())
        assert shows.verification_uri.endswith("/device")
        assert f"{shows.verification_uri}#code={shows.user_code}" == shows.verification_uri_complete == shows.qr_payload

    async def test_gives_everybody_codes_of_their_own(self, served: Served) -> None:
        """RFC 8628: a device_code of high entropy."""
        tvs = [await Television.on(served) for _ in range(8)]

        assert 8 == len({tv.shows.device_code for tv in tvs}) == len({tv.shows.user_code for tv in tvs})
        # An id of sixteen bytes, and 256 bits that nobody guesses.
        assert {48} == {len(base64.urlsafe_b64decode(tv.shows.device_code)) for tv in tvs}

    async def test_keeps_no_code_where_a_dump_would_show_it(self, tv: Television, settings: Settings) -> None:
        """A8."""
        (row,) = await found(settings, "SELECT d::text FROM accounts.device_logins d")
        secret = base64.urlsafe_b64decode(tv.shows.device_code)[16:]

        assert tv.shows.user_code not in row
        assert tv.shows.user_code.replace("-", "") not in row
        for kept in (tv.shows.user_code.replace("-", "").encode(), secret):
            assert kept.hex() not in row


class TestGet:
    async def test_shows_whoever_has_the_code_which_device_it_is(self, served: Served, household: Household) -> None:
        """RFC 8628, 5.4: device, program and place, so that nobody lets in what is not theirs."""
        tv = await Television.on(served, client="Ani for TV 1.2", metadata=from_("192.0.2.7"))
        far = await Phone(served, (*household.on(), *from_("198.51.100.1"))).look(tv.shows.user_code)
        near = await Phone(served, (*household.on(), *from_("192.0.2.7"))).look(tv.shows.user_code)

        assert ("Living room TV", "Ani for TV 1.2", "JP", "192.0.2.7") == (
            far.device_name, far.client, far.country, far.address,
        )  # fmt: skip
        assert (tv.shows.user_code, State.DEVICE_LOGIN_STATE_PENDING) == (far.user_code, far.state)
        assert (False, True) == (far.same_network, near.same_network)
        assert 600 == far.expire_time.seconds - far.create_time.seconds

    @pytest.mark.parametrize("mangle", [str.lower, lambda code: code.replace("-", " "), lambda code: f" {code.replace('-', '')}. "])
    async def test_does_not_mind_how_the_code_was_typed(self, tv: Television, phone: Phone, mangle: Any) -> None:
        """A16, RFC 8628: case and punctuation do not matter."""
        assert tv.shows.user_code == (await phone.look(mangle(tv.shows.user_code))).user_code

    async def test_decides_nothing(self, tv: Television, phone: Phone) -> None:
        """RFC 8628: verification_uri_complete does not skip the confirmation."""
        await phone.look(tv.shows.user_code)

        assert "AUTHORIZATION_PENDING" == await tv.reason()

    async def test_needs_somebody_who_is_signed_in(self, tv: Television, served: Served) -> None:
        """B3."""
        refused = await refusal(Phone(served, ()).look(tv.shows.user_code))

        assert (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING") == (refused.code, refused.reason)

    async def test_is_for_whoever_decided_once_somebody_did(self, tv: Television, phone: Phone, stranger: Phone) -> None:
        """B2."""
        await phone.approve(tv)
        refused = [
            await refusal(stranger.look(tv.shows.user_code)),
            await refusal(stranger.deny(tv.shows.user_code)),
            await refusal(stranger.approve(tv)),
        ]

        assert {NOT_FOUND} == {one.code for one in refused}
        assert ["DEVICE_LOGIN_NOT_FOUND", "DEVICE_LOGIN_NOT_FOUND", "DEVICE_LOGIN_MISMATCH"] == [one.reason for one in refused]
        assert State.DEVICE_LOGIN_STATE_APPROVED == (await phone.look(tv.shows.user_code)).state
        assert (await tv.poll()).access_token

    async def test_finds_none_that_has_expired_or_has_its_tokens(
        self, served: Served, tv: Television, phone: Phone, settings: Settings
    ) -> None:
        await phone.approve(tv)
        await tv.poll()
        redeemed = await refusal(phone.look(tv.shows.user_code))
        late = await Television.on(served)
        await changed(settings, EXPIRE, 0)
        expired = [await refusal(call) for call in (phone.look(late.shows.user_code), phone.deny(late.shows.user_code))]

        assert ["DEVICE_LOGIN_NOT_FOUND"] * 3 == [one.reason for one in (redeemed, *expired)]
        assert "DEVICE_LOGIN_MISMATCH" == (await refusal(phone.approve(late))).reason


class TestGuesses:
    async def test_of_codes_make_the_next_one_wait_on_every_path(self, tv: Television, phone: Phone, stranger: Phone) -> None:
        """A5, A16, RFC 8628, 5.1: few attempts, counted together; A6: another account is not kept from its own device."""
        wrong = [stranger.look("BBBB-BBBB"), stranger.deny("BBBB-BBBB"), stranger.approve(tv, code="BBBB-BBBB")]
        wrong += [stranger.look("no code"), stranger.look("BBBB-BBBC")]
        reasons = [(await refusal(call)).reason for call in wrong]
        closed = [await refusal(stranger.look(tv.shows.user_code)), await refusal(stranger.approve(tv))]

        assert {"DEVICE_LOGIN_NOT_FOUND", "DEVICE_LOGIN_MISMATCH"} == set(reasons)
        assert [(EXHAUSTED, "TOO_MANY_TRIES")] * 2 == [(one.code, one.reason) for one in closed]
        assert all(one.retry_after for one in closed)
        assert "AUTHORIZATION_PENDING" == await tv.reason()
        await phone.approve(tv)
        assert (await tv.poll()).access_token

    async def test_from_many_accounts_in_one_place_are_counted_together(
        self, tv: Television, served: Served, token: Token, database: Database
    ) -> None:
        """A5."""
        reasons = []
        for _ in range(8):
            guesser = Phone(served, (*token(account_id=await an_account(database)), *from_("192.0.2.66")))
            reasons += [(await refusal(guesser.look("BBBB-BBBB"))).reason for _ in range(4)]
        late = await refusal(guesser.look(tv.shows.user_code))

        assert ["DEVICE_LOGIN_NOT_FOUND"] * 30 == reasons[:30]
        assert "TOO_MANY_TRIES" == late.reason

    async def test_that_were_right_cost_nothing(self, served: Served, phone: Phone) -> None:
        tvs = [await Television.on(served) for _ in range(8)]

        assert [tv.shows.user_code for tv in tvs] == [(await phone.look(tv.shows.user_code)).user_code for tv in tvs]

    async def test_of_numbers_send_the_device_away_at_the_third(self, tv: Television, phone: Phone) -> None:
        """Of a hundred numbers three can be tried, by all together."""
        wrong = other_than(tv.shows.number)
        refused = [await refusal(phone.approve(tv, number=wrong)) for _ in range(2)]
        pending = await tv.reason()
        refused.append(await refusal(phone.approve(tv, number=wrong)))
        late = await refusal(phone.approve(tv))

        assert [(NOT_FOUND, "DEVICE_LOGIN_MISMATCH")] * 4 == [(one.code, one.reason) for one in (*refused, late)]
        assert ("AUTHORIZATION_PENDING", "ACCESS_DENIED") == (pending, await tv.reason())

    async def test_of_numbers_leave_two_mistakes_to_people(self, tv: Television, phone: Phone) -> None:
        for _ in range(2):
            await refusal(phone.approve(tv, number=other_than(tv.shows.number)))
        await phone.approve(tv)

        assert (await tv.poll()).access_token

    async def test_of_numbers_by_many_at_once_are_three(
        self, tv: Television, served: Served, token: Token, database: Database
    ) -> None:
        """A7."""
        phones = [Phone(served, token(account_id=await an_account(database))) for _ in range(8)]
        wrong = other_than(tv.shows.number)
        await asyncio.gather(*(refusal(phone.approve(tv, number=wrong)) for phone in phones))

        assert ["3"] == await found(tv.served.application.settings, "SELECT wrong_numbers::text FROM accounts.device_logins")
        assert "ACCESS_DENIED" == await tv.reason()

    @pytest.mark.parametrize("number", ["7", "007", "4x", "٤٢", "42\n"])
    async def test_of_numbers_are_two_digits(self, tv: Television, phone: Phone, number: str) -> None:
        refused = await refusal(phone.approve(tv, number=number))

        assert (grpc.StatusCode.INVALID_ARGUMENT, ["number"]) == (refused.code, list(refused.fields))


class TestPoll:
    async def test_waits_until_somebody_has_decided(self, tv: Television) -> None:
        """A16, RFC 8628: authorization_pending."""
        refused = await tv.refused()

        assert (PRECONDITION, "AUTHORIZATION_PENDING") == (refused.code, refused.reason)

    async def test_that_comes_early_makes_the_interval_five_seconds_longer_for_good(
        self, tv: Television, settings: Settings
    ) -> None:
        """A16, RFC 8628: slow_down, five seconds more each time."""
        await tv.refused()
        early = [await tv.refused(), await tv.refused()]
        await changed(settings, AWAY, 11)
        still_early = await tv.refused()
        await changed(settings, AWAY, 20)
        in_time = await tv.reason()
        await changed(settings, AWAY, 15)
        again_early = await tv.refused()

        assert [(EXHAUSTED, "SLOW_DOWN", 10), (EXHAUSTED, "SLOW_DOWN", 15)] == [
            (one.code, one.reason, one.retry_after) for one in early
        ]
        assert ("SLOW_DOWN", 20) == (still_early.reason, still_early.retry_after)
        assert "AUTHORIZATION_PENDING" == in_time
        assert ("SLOW_DOWN", 25) == (again_early.reason, again_early.retry_after)

    async def test_of_one_device_slows_no_other_down(self, tv: Television, served: Served) -> None:
        other = await Television.on(served)
        await tv.refused()

        assert ("SLOW_DOWN", "AUTHORIZATION_PENDING") == (await tv.reason(), await other.reason())

    async def test_gets_tokens_once_it_was_let_in(self, tv: Television, phone: Phone, household: Household) -> None:
        """RFC 8628: what was decided is told also to whoever asks early."""
        await tv.refused()
        await phone.approve(tv)
        tokens = await tv.poll()

        assert household.account_id == tokens.account_id
        assert (await tv.served.profiles.ListProfiles(profiles_pb.ListProfilesRequest(), metadata=bearer(tokens))).profiles

    async def test_gets_them_once(self, tv: Television, phone: Phone) -> None:
        """A16, RFC 8628: one-time redemption."""
        await phone.approve(tv)
        await tv.poll()
        refused = await tv.refused()

        assert (PRECONDITION, "EXPIRED_TOKEN") == (refused.code, refused.reason)

    async def test_gets_them_once_by_many_at_once(
        self, tv: Television, phone: Phone, household: Household, settings: Settings
    ) -> None:
        """A8, A16."""
        await phone.approve(tv)
        got = await asyncio.gather(*(tv.poll() for _ in range(6)), return_exceptions=True)

        assert 1 == sum(isinstance(one, sign_in_pb2.Tokens) for one in got)
        assert 1 == len(
            await found(settings, "SELECT session_id FROM accounts.sessions WHERE account_id = $1", household.account_id)
        )

    async def test_is_not_decided_on_by_who_has_no_account(self, tv: Television, served: Served, token: Token) -> None:
        """A token for local use may be of nobody."""
        nobody = Phone(served, token())

        approved, denied = await refusal(nobody.approve(tv)), await refusal(nobody.deny(tv.shows.user_code))

        assert ["ACCOUNT_NOT_FOUND"] * 2 == [approved.reason, denied.reason]
        assert "AUTHORIZATION_PENDING" == await tv.reason()

    async def test_is_told_when_the_device_was_sent_away(self, tv: Television, phone: Phone) -> None:
        """A16, RFC 8628: access_denied."""
        await phone.deny(tv.shows.user_code)
        refused = await tv.refused()

        assert (DENIED, "ACCESS_DENIED") == (refused.code, refused.reason)
        assert "DEVICE_LOGIN_MISMATCH" == (await refusal(phone.approve(tv))).reason

    async def test_is_told_when_its_time_is_over(self, tv: Television, phone: Phone, settings: Settings) -> None:
        """A16, RFC 8628: expired_token, also for what was let in and never fetched."""
        await phone.approve(tv)
        await changed(settings, EXPIRE, 0)
        refused = await tv.refused()

        assert (PRECONDITION, "EXPIRED_TOKEN") == (refused.code, refused.reason)

    async def test_with_a_made_up_code_is_told_what_one_that_expired_is(self, tv: Television, served: Served) -> None:
        raw = bytearray(base64.urlsafe_b64decode(tv.shows.device_code))
        raw[-1] ^= 1
        made_up = [base64.urlsafe_b64encode(raw).decode(), "x", "A" * 64, "é" * 20, "A" * 128, tv.shows.user_code]
        calls = [served.device_logins.PollDeviceLogin(pb.PollDeviceLoginRequest(device_code=code)) for code in made_up]

        assert ["EXPIRED_TOKEN"] * 6 == [(await refusal(call)).reason for call in calls]
        assert "AUTHORIZATION_PENDING" == await tv.reason()


class TestWatch:
    async def test_gets_tokens_within_a_second(self, tv: Television, phone: Phone, household: Household) -> None:
        stream = tv.watch()
        alive = await stream.read()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await phone.approve(tv)
        said, refused = await ended(stream)

        assert loop.time() - began < 1
        assert ("heartbeat", None) == (alive.WhichOneof("event"), refused)
        assert [household.account_id] == [message.tokens.account_id for message in said]

    async def test_gets_them_when_somebody_decides_by_another_server(
        self, tv: Television, phone: Phone, settings: Settings, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        async with serving(settings, f"unix:{tmp_path_factory.mktemp('other')}/s") as other:
            stream = tv.elsewhere(other).watch()
            await stream.read()
            loop = asyncio.get_running_loop()
            began = loop.time()
            await phone.approve(tv)
            said, refused = await ended(stream)

        assert loop.time() - began < 1
        assert (["tokens"], None) == ([message.WhichOneof("event") for message in said], refused)

    async def test_ends_when_the_device_is_sent_away(self, tv: Television, phone: Phone) -> None:
        stream = tv.watch()
        await stream.read()
        await phone.deny(tv.shows.user_code)
        said, refused = await ended(stream)

        assert refused is not None
        assert (DENIED, "ACCESS_DENIED") == (refused.code, refused.reason)
        assert ["status"] == [message.WhichOneof("event") for message in said]
        assert DENIED.value[0] == said[0].status.code

    async def test_ends_when_its_time_is_over(self, tv: Television, settings: Settings) -> None:
        await changed(settings, EXPIRE, 1)
        said, refused = await ended(tv.watch())

        assert refused is not None
        assert (PRECONDITION, "EXPIRED_TOKEN") == (refused.code, refused.reason)
        assert "heartbeat" == said[0].WhichOneof("event")

    async def test_gives_signs_of_life(self, tv: Television, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(device_login, "HEARTBEAT_SECONDS", 0.05)
        stream = tv.watch()
        alive = [await stream.read() for _ in range(4)]
        await phone.approve(tv)
        said, _ = await ended(stream)

        assert {"heartbeat"} == {message.WhichOneof("event") for message in alive}
        assert min(message.heartbeat.time.ToNanoseconds() for message in alive) > 0
        assert "tokens" == said[-1].WhichOneof("event")

    async def test_that_broke_off_is_told_at_once_what_was_decided_meanwhile(self, tv: Television, phone: Phone) -> None:
        stream = tv.watch()
        await stream.read()
        stream.cancel()
        await phone.approve(tv)
        said, refused = await ended(tv.watch())

        assert (["tokens"], None) == ([message.WhichOneof("event") for message in said], refused)

    async def test_gets_them_once_by_two_at_once(self, tv: Television, phone: Phone, settings: Settings) -> None:
        """A8, A16."""
        streams = [tv.watch(), tv.watch()]
        for stream in streams:
            await stream.read()
        await phone.approve(tv)
        ends = [await ended(stream) for stream in streams]

        assert ["status", "tokens"] == sorted(str(said[-1].WhichOneof("event")) for said, _ in ends)
        assert ["EXPIRED_TOKEN"] == [refused.reason for _, refused in ends if refused]
        assert 1 == len(await found(settings, "SELECT session_id FROM accounts.sessions"))

    async def test_is_told_by_itself_also_where_it_polled(self, tv: Television, phone: Phone) -> None:
        stream = tv.watch()
        await stream.read()
        await tv.refused()
        await phone.approve(tv)
        said, _ = await ended(stream)

        assert "tokens" == said[-1].WhichOneof("event")

    async def test_with_a_made_up_code_ends_at_once(self, served: Served) -> None:
        stream = served.device_logins.WatchDeviceLogin(pb.WatchDeviceLoginRequest(device_code="A" * 64))
        said, refused = await ended(stream)

        assert refused is not None
        assert ([], "EXPIRED_TOKEN") == (said, refused.reason)


class TestApprove:
    async def test_may_be_repeated(self, tv: Television, phone: Phone) -> None:
        await phone.approve(tv)
        await phone.approve(tv)

        assert (await tv.poll()).access_token

    async def test_is_taken_back_while_the_device_has_no_tokens(self, tv: Television, phone: Phone) -> None:
        await phone.approve(tv)
        await phone.deny(tv.shows.user_code)
        await phone.deny(tv.shows.user_code)

        assert "ACCESS_DENIED" == await tv.reason()

    async def test_puts_the_device_on_a_profile(self, tv: Television, phone: Phone, household: Household) -> None:
        chosen = await household.add("Yui")
        await phone.approve(tv, profile_id=chosen.profile_id)
        tokens = await tv.poll()
        answer = await tv.served.profiles.ListProfiles(profiles_pb.ListProfilesRequest(), metadata=bearer(tokens))

        assert chosen.profile_id == answer.current_profile_id

    async def test_on_another_accounts_profile_finds_none(self, tv: Television, stranger: Phone, household: Household) -> None:
        """B2."""
        others = await household.add("Yui")
        refused = [
            await refusal(stranger.approve(tv, profile_id=profile_id)) for profile_id in (others.profile_id, new_id(at=NOON))
        ]

        assert [(NOT_FOUND, "PROFILE_NOT_FOUND")] * 2 == [(one.code, one.reason) for one in refused]
        assert "AUTHORIZATION_PENDING" == await tv.reason()

    async def test_by_a_limited_profile_lets_in_that_profile_alone(self, served: Served, household: Household) -> None:
        kid, grown = await household.add("Kid", kids=True), await household.add("Grown")
        child = Phone(served, household.on(kid))
        tvs = [await Television.on(served) for _ in range(3)]
        refused = await refusal(child.approve(tvs[0], profile_id=grown.profile_id))
        await child.approve(tvs[1])
        await child.approve(tvs[2], profile_id=kid.profile_id)
        got = [await tv.poll() for tv in tvs[1:]]
        listed = [await served.profiles.ListProfiles(profiles_pb.ListProfilesRequest(), metadata=bearer(tokens)) for tokens in got]

        assert (DENIED, "PROFILE_NOT_ONES") == (refused.code, refused.reason)
        assert "AUTHORIZATION_PENDING" == await tvs[0].reason()
        assert [kid.profile_id] * 2 == [answer.current_profile_id for answer in listed]

    async def test_by_a_profile_that_is_gone_lets_in_nobody_else(self, tv: Television, household: Household) -> None:
        kid = await household.add("Kid", kids=True)
        delete = profiles_pb.DeleteProfileRequest(profile_id=kid.profile_id)
        await household.served.profiles.DeleteProfile(delete, metadata=household.on(session_id=await proven(household)))
        others = [one for one in await household.profiles() if one.profile_id != kid.profile_id]
        orphan = Phone(household.served, household.on(kid))
        refused = await refusal(orphan.approve(tv, profile_id=others[0].profile_id))

        assert "PROFILE_NOT_ONES" == refused.reason

    async def test_puts_no_device_on_a_profile_whose_pin_was_not_given(self, served: Served, household: Household) -> None:
        guarded = await household.add("Mugi", pin="4321")
        tvs = [await Television.on(served) for _ in range(2)]
        refused = await refusal(Phone(served, household.on()).approve(tvs[0], profile_id=guarded.profile_id))
        await Phone(served, household.on(guarded)).approve(tvs[1], profile_id=guarded.profile_id)

        assert (PRECONDITION, "PIN_NEEDED") == (refused.code, refused.reason)
        assert (await tvs[1].poll()).access_token

    async def test_that_names_a_profile_which_cannot_be_given_is_no_guess(
        self, tv: Television, phone: Phone, household: Household
    ) -> None:
        guarded = await household.add("Mugi", pin="4321")
        reasons = [(await refusal(phone.approve(tv, profile_id=guarded.profile_id))).reason for _ in range(8)]

        assert {"PIN_NEEDED"} == set(reasons)


class TestSession:
    async def test_is_listed_and_ended_alone(self, people: People, served: Served) -> None:
        mine = await people.register("Mio", name="Mio's phone")
        phone, tvs = Phone(served, bearer(mine)), [await Television.on(served, name=name) for name in ("TV", "Projector")]
        for tv in tvs:
            await phone.approve(tv)
        gone, stays = [await tv.poll() for tv in tvs]
        listed = (await served.sessions.ListSessions(session_pb.ListSessionsRequest(), metadata=bearer(mine))).sessions
        await served.sessions.RevokeSession(session_pb.RevokeSessionRequest(session_id=gone.session_id), metadata=bearer(mine))

        async def void() -> bool:
            call = served.profiles.ListProfiles(profiles_pb.ListProfilesRequest(), metadata=bearer(gone))
            return await call.code() is grpc.StatusCode.UNAUTHENTICATED

        assert await until(void, seconds=2)
        assert {
            ("TV", account_pb2.SESSION_KIND_DEVICE),
            ("Projector", account_pb2.SESSION_KIND_DEVICE),
            ("Mio's phone", account_pb2.SESSION_KIND_USER),
        } == {(session.device_name, session.kind) for session in listed}
        for tokens in (stays, mine):
            refresh = session_pb.RefreshTokensRequest(refresh_token=tokens.refresh_token)
            assert (await served.sessions.RefreshTokens(refresh)).tokens.access_token

    async def test_is_told_to_the_owner(self, people: People, served: Served) -> None:
        phone = Phone(served, bearer(await people.register("Mio")))
        tv = await Television.on(served, name="Hotel TV", metadata=from_("192.0.2.7"))
        before = len(await people.post.letters())
        await phone.approve(tv)
        unsent = len(await people.post.letters())
        await tv.poll()
        letters = (await people.post.letters("mio@example.org"))[before:]

        assert before == unsent
        assert [("new_sign_in", "Hotel TV", "JP")] == [
            (letter.kind, letter.facts["device"], letter.facts["country"]) for letter in letters
        ]

    async def test_has_proven_nothing_of_its_own(self, people: People, served: Served) -> None:
        """A15: whoever was let in by somebody else takes no limit away."""
        family = await Family.of(people)
        tv = await Television.on(served)
        await Phone(served, await family.switch(family.kid)).approve(tv)
        tokens = await tv.poll()
        switch = profiles_pb.SwitchProfileRequest(profile_id=(await family.elsewhere()).parent.profile_id)
        delete = profiles_pb.DeleteProfileRequest(profile_id=family.kid.profile_id)
        refused = [
            (await refusal(served.profiles.SwitchProfile(switch, metadata=bearer(tokens)))).reason,
            (await refusal(served.profiles.DeleteProfile(delete, metadata=bearer(tokens)))).reason,
        ]

        assert ["PIN_NEEDED", "PROOF_TOO_OLD"] == refused

    async def test_is_none_of_a_banned_account(self, tv: Television, phone: Phone, settings: Settings) -> None:
        await phone.approve(tv)
        await changed(settings, "UPDATE accounts.accounts SET ban_time = now(), ban_reason = 'Spam'")
        refused = await tv.refused()

        assert (DENIED, "ACCOUNT_BANNED") == (refused.code, refused.reason)
        assert [] == await found(settings, "SELECT session_id FROM accounts.sessions")

    async def test_is_none_where_the_profile_is_gone(self, tv: Television, phone: Phone, household: Household) -> None:
        chosen = await household.add("Yui")
        await household.add("Another")
        await phone.approve(tv, profile_id=chosen.profile_id)
        delete = profiles_pb.DeleteProfileRequest(profile_id=chosen.profile_id)
        await tv.served.profiles.DeleteProfile(delete, metadata=household.on())

        assert "EXPIRED_TOKEN" == await tv.reason()

    async def test_is_none_where_whoever_let_it_in_was_thrown_out(self, people: People, served: Served) -> None:
        """A14: a thief's last minutes open no door for later."""
        mine, thief = await people.register("Mio"), (await people.sign_in("mio@example.org")).tokens
        tv = await Television.on(served)
        await Phone(served, bearer(thief)).approve(tv)
        await served.sessions.RevokeSessions(session_pb.RevokeSessionsRequest(keep_this=True), metadata=bearer(mine))

        assert "ACCESS_DENIED" == await tv.reason()

    async def test_outlives_that_of_whoever_let_it_in(self, people: People, served: Served) -> None:
        mine = await people.register("Mio")
        tv = await Television.on(served)
        await Phone(served, bearer(mine)).approve(tv)
        await served.sessions.SignOut(session_pb.SignOutRequest(), metadata=bearer(mine))

        assert (await tv.poll()).access_token


class TestRole:
    async def test_is_a_users_whoever_lets_a_television_in(self, people: People, served: Served, settings: Settings) -> None:
        """B3: it is held for up to a year, and nothing proves who sits before it."""
        mine, tv = await people.register("Mio"), await Television.on(served)
        await changed(settings, "UPDATE accounts.accounts SET role = 4")
        refresh = session_pb.RefreshTokensRequest(refresh_token=mine.refresh_token)
        mine = (await served.sessions.RefreshTokens(refresh)).tokens
        await Phone(served, bearer(mine)).approve(tv)
        tokens = await tv.poll()
        refresh = session_pb.RefreshTokensRequest(refresh_token=tokens.refresh_token)
        refreshed = (await served.sessions.RefreshTokens(refresh)).tokens
        asked = admin_pb.ListAccountsRequest()
        refused = [await refusal(served.accounts_admin.ListAccounts(asked, metadata=bearer(one))) for one in (tokens, refreshed)]

        assert (await served.accounts_admin.ListAccounts(asked, metadata=bearer(mine))).accounts
        assert [(DENIED, "PERMISSION_MISSING")] * 2 == [(one.code, one.reason) for one in refused]


class TestDecisions:
    async def test_are_seen_also_when_the_bell_was_missed(
        self, tv: Television, phone: Phone, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(decisions, "LOOK_SECONDS", 0.05)
        waiting_room = decisions.Decisions(read=database.reads(PostgresDeviceLogins), bell=Bell())
        running = asyncio.create_task(waiting_room.run())
        (key,) = [str(one) for one in await found(settings, "SELECT device_login_id FROM accounts.device_logins")]
        with waiting_room.awaited(key) as waiting, waiting_room.awaited(new_id(at=NOON)) as other:
            await phone.approve(tv)
            woken = await waiting.wait(seconds=5)
            slept = await other.wait(seconds=0)
        running.cancel()

        assert (True, False) == (woken, slept)

    async def test_are_forgotten_an_hour_after_their_time(
        self, tv: Television, database: Database, settings: Settings, clock: StillClock
    ) -> None:
        departures = Departures(begin=database.begins(PostgresGuestPasses))
        _, prune = device_tasks.jobs(departures, database.begins(PostgresDeviceLogins), clock)
        left = []
        for minutes in (69, 72):
            clock.now = datetime.now(UTC) + timedelta(minutes=minutes)
            await prune.act(clock())
            left.append(len(await found(settings, "SELECT device_login_id FROM accounts.device_logins")))

        assert [1, 0] == left


async def proven(household: Household) -> str:
    """Sign the household in anew, with a fresh proof."""
    return await household.session(proven=timedelta())
