"""Guests over a real server: let in once, for some hours, to watch and nothing else, and gone without a trace."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from adapters.postgres import Database, bare
from adapters.postgres.accounts.device_logins import PostgresDeviceLogins
from adapters.postgres.accounts.guest_passes import PostgresGuestPasses
from adapters.postgres.everything import TABLES
from adapters.postgres.media.playback import PostgresPlayback
from ani.accounts.v1 import account_pb2, guest_pass_pb2, own_account_service_pb2, sign_in_pb2
from ani.accounts.v1 import device_login_service_pb2 as login_pb
from ani.accounts.v1 import guest_pass_service_pb2 as pb
from ani.accounts.v1 import profiles_service_pb2 as profiles_pb
from ani.accounts.v1 import session_service_pb2 as session_pb
from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as catalog_pb
from ani.media.v1 import media_service_pb2 as media_pb
from ani.media.v1 import player_settings_service_pb2 as settings_pb
from domain.accounts.guest_passes import Departures
from domain.accounts.profiles import ProfileDeleted
from domain.catalog.episodes import Episode
from domain.kernel import Role
from server.accounts import device_tasks
from server.media import playback_tasks
from server.settings import Settings
from tests.accounts.households import Household, an_account
from tests.accounts.people import People, bearer
from tests.accounts.televisions import changed, found
from tests.conftest import StillClock
from tests.media.playing import kept_episode, kept_source
from tests.pipeline.conftest import Token
from tests.serving import Metadata, Served, refusal
from tests.waiting import until

pytestmark = pytest.mark.settings(video_hosts=("video.example",))
PRECONDITION, DENIED = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND, UNKNOWN = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED
HOURS = 3600
State = guest_pass_pb2.GuestPassState
AGE = """
    UPDATE accounts.guest_passes SET create_time = create_time - $1::interval, redeem_time = redeem_time - $1::interval,
    expire_time = expire_time - $1::interval, end_time = end_time - $1::interval
"""
AGE_SESSIONS = "UPDATE accounts.sessions SET expire_time = expire_time - $1::interval WHERE kind = 3"


@dataclass(frozen=True, slots=True)
class Host:
    """Somebody who lets guests in."""

    served: Served
    metadata: Metadata

    async def invite(self, **limits: Any) -> pb.CreateGuestPassResponse:
        return await self.served.guest_passes.CreateGuestPass(pb.CreateGuestPassRequest(**limits), metadata=self.metadata)

    async def passes(self) -> list[guest_pass_pb2.GuestPass]:
        return list(
            (await self.served.guest_passes.ListGuestPasses(pb.ListGuestPassesRequest(), metadata=self.metadata)).guest_passes
        )

    async def end(self, guest_pass_id: str) -> None:
        await self.served.guest_passes.EndGuestPass(pb.EndGuestPassRequest(guest_pass_id=guest_pass_id), metadata=self.metadata)

    async def sessions(self) -> list[account_pb2.Session]:
        return list((await self.served.sessions.ListSessions(session_pb.ListSessionsRequest(), metadata=self.metadata)).sessions)


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who was let in."""

    served: Served
    tokens: sign_in_pb2.Tokens

    @property
    def metadata(self) -> Metadata:
        return bearer(self.tokens)

    async def play(self, episode: Episode, device_id: str = "device-0099") -> media_pb.StartStreamResponse:
        request = media_pb.StartStreamRequest(episode_id=episode.episode_id, device_id=device_id)
        return await self.served.media.StartStream(request, metadata=self.metadata)

    async def beat(self, stream_id: str, position: float = 61.5) -> None:
        beat = media_pb.SendHeartbeatRequest(stream_id=stream_id, device_id="device-0099", position_seconds=position)
        await self.served.media.SendHeartbeat(beat, metadata=self.metadata)

    async def refresh(self) -> sign_in_pb2.Tokens:
        request = session_pb.RefreshTokensRequest(refresh_token=self.tokens.refresh_token)
        return (await self.served.sessions.RefreshTokens(request)).tokens

    async def settings(self) -> settings_pb.PlayerSettings:
        request = settings_pb.GetPlayerSettingsRequest()
        return (await self.served.player_settings.GetPlayerSettings(request, metadata=self.metadata)).player_settings

    async def is_out(self) -> bool:
        """Tell whether the guest's access token is void."""
        request = settings_pb.GetPlayerSettingsRequest()
        code = await self.served.player_settings.GetPlayerSettings(request, metadata=self.metadata).code()
        return code is UNKNOWN


async def come_in(served: Served, code: str, *, metadata: Metadata = (), **device: Any) -> Guest:
    request = pb.RedeemGuestPassRequest(code=code, device=sign_in_pb2.Device(**device))
    return Guest(served, (await served.guest_passes.RedeemGuestPass(request, metadata=metadata)).tokens)


@pytest.fixture
async def household(served: Served, token: Token, database: Database) -> Household:
    return Household(served, token, database, await an_account(database))


@pytest.fixture
async def host(household: Household) -> Host:
    return Host(household.served, household.on())


@pytest.fixture
async def departures(database: Database) -> Departures:
    return Departures(begin=database.begins(PostgresGuestPasses))


class TestCreate:
    async def test_gives_a_code_that_is_good_for_four_hours(self, host: Host) -> None:
        made = await host.invite()
        facts = made.guest_pass

        assert [4, 4, 4] == [len(group) for group in made.code.split("-")]
        assert made.qr_payload.endswith(f"/guest#code={made.code}")
        assert (State.GUEST_PASS_STATE_UNUSED, 18, "") == (facts.state, facts.maturity_limit, facts.device_name)
        assert 4 * HOURS == facts.expire_time.seconds - facts.create_time.seconds
        assert not facts.HasField("redeem_time")
        assert [facts] == await host.passes()

    async def test_keeps_no_code_where_a_dump_would_show_it(self, host: Host, settings: Settings) -> None:
        """A8."""
        made = await host.invite()
        (row,) = await found(settings, "SELECT p::text FROM accounts.guest_passes p")
        bare_code = made.code.replace("-", "")

        assert made.guest_pass.guest_pass_id in row
        assert not [kept for kept in (made.code, bare_code, bare_code.encode().hex()) if kept in row]

    async def test_gives_no_code_out_twice(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        codes = iter(["B" * 12, "B" * 12, "C" * 12])
        monkeypatch.setattr("domain.accounts.typed_codes.fresh", lambda _length: next(codes))

        made = [(await host.invite()).code for _ in range(2)]

        assert ["BBBB-BBBB-BBBB", "CCCC-CCCC-CCCC"] == made
        assert 2 == len(await host.passes())

    async def test_makes_three_at_a_time_also_when_asked_at_once(self, host: Host) -> None:
        got = await asyncio.gather(*(host.invite() for _ in range(6)), return_exceptions=True)
        made = [one for one in got if isinstance(one, pb.CreateGuestPassResponse)]
        refused = await refusal(host.invite())
        await host.end(made[0].guest_pass.guest_pass_id)

        assert 3 == len(made)
        assert (PRECONDITION, "GUEST_PASSES_FULL") == (refused.code, refused.reason)
        assert (await host.invite()).code

    async def test_counts_neither_what_is_over_nor_others(
        self, host: Host, served: Served, token: Token, database: Database, settings: Settings
    ) -> None:
        for _ in range(3):
            await host.invite()
        other = Host(served, token(account_id=await an_account(database)))

        assert (await other.invite()).code
        await changed(settings, AGE, timedelta(hours=4))
        assert (await host.invite()).code
        assert 1 == len(await host.passes())

    @pytest.mark.parametrize("limits", [{"kids": True}, {"maturity_limit": 16}])
    async def test_is_not_for_limited_profiles(self, household: Household, served: Served, limits: dict[str, Any]) -> None:
        limited = await household.add("Yui", **limits)
        refused = await refusal(Host(served, household.on(limited)).invite())

        assert (DENIED, "GUESTS_NOT_LET") == (refused.code, refused.reason)

    async def test_takes_ratings_alone(self, host: Host) -> None:
        refused = [await refusal(host.invite(maturity_limit=limit)) for limit in (-1, 19)]

        assert [["maturity_limit"]] * 2 == [list(one.fields) for one in refused]


class TestRedeem:
    async def test_lets_a_guest_in_for_four_hours_from_then_on(self, host: Host, household: Household, settings: Settings) -> None:
        made = await host.invite()
        await changed(settings, AGE, timedelta(hours=3, minutes=59))
        guest = await come_in(host.served, made.code, name="Ritsu's tablet", device_id="device-0099")
        (used,) = await host.passes()
        left = guest.tokens.refresh_expire_time.ToDatetime(UTC) - datetime.now(UTC)

        assert household.account_id == guest.tokens.account_id
        assert (State.GUEST_PASS_STATE_IN_USE, "Ritsu's tablet") == (used.state, used.device_name)
        assert 4 * HOURS == used.expire_time.seconds - used.redeem_time.seconds
        assert timedelta(hours=3, minutes=58) < left <= timedelta(hours=4)
        assert (await guest.refresh()).access_token

    async def test_makes_the_guests_device_none_of_the_hosts(self, host: Host, settings: Settings) -> None:
        """A6: a guest's device is not what keeps others' guesses out of its way."""
        guest = await come_in(host.served, (await host.invite()).code, device_id="device-0099")

        assert "" == guest.tokens.device_token
        assert [""] == await found(settings, "SELECT device_id FROM accounts.sessions")

    async def test_shows_the_guest_among_the_hosts_sessions(self, people: People, served: Served) -> None:
        host = Host(served, bearer(await people.register("Mio")))
        letters = len(await people.post.letters())
        await come_in(served, (await host.invite()).code, name="Ritsu's tablet")

        assert ("Ritsu's tablet", account_pb2.SESSION_KIND_GUEST_PASS) in [
            (session.device_name, session.kind) for session in await host.sessions()
        ]
        assert letters == len(await people.post.letters())

    async def test_does_not_mind_how_the_code_was_typed(self, host: Host) -> None:
        code = (await host.invite()).code

        assert (await come_in(host.served, f" {code.lower().replace('-', ' ')}.")).tokens.access_token

    async def test_lets_in_one_of_many_at_once(self, host: Host, settings: Settings) -> None:
        """A8."""
        code = (await host.invite()).code
        got = await asyncio.gather(*(come_in(host.served, code) for _ in range(6)), return_exceptions=True)

        assert 1 == sum(isinstance(one, Guest) for one in got)
        assert 1 == len(await found(settings, "SELECT session_id FROM accounts.sessions"))

    async def test_refuses_all_that_is_not_good_alike(self, host: Host, settings: Settings) -> None:
        """A4: nobody learns which codes were good once."""
        used, expired, ended = [await host.invite() for _ in range(3)]
        await come_in(host.served, used.code)
        await host.end(ended.guest_pass.guest_pass_id)
        refused = [await refusal(come_in(host.served, code)) for code in (used.code, ended.code, "BBBB-BBBB-BBBB", "no code")]
        await changed(settings, AGE, timedelta(hours=4))
        refused.append(await refusal(come_in(host.served, expired.code)))

        assert {(NOT_FOUND, "GUEST_PASS_INVALID")} == {(one.code, one.reason) for one in refused}
        assert 1 == len({one.message for one in refused})

    async def test_lets_nobody_in_to_a_banned_account(self, host: Host, settings: Settings) -> None:
        """Why its owner may not sign in is nothing to a guest."""
        code = (await host.invite()).code
        await changed(settings, "UPDATE accounts.accounts SET ban_time = now(), ban_reason = 'Spam'")
        refused = await refusal(come_in(host.served, code))
        await changed(settings, "UPDATE accounts.accounts SET ban_time = NULL, ban_reason = NULL")

        assert (NOT_FOUND, "GUEST_PASS_INVALID") == (refused.code, refused.reason)
        assert "Spam" not in refused.message
        assert (await come_in(host.served, code)).tokens.access_token

    async def test_lets_nobody_in_whose_host_was_thrown_out(self, people: People, served: Served) -> None:
        """A14."""
        mine, thief = await people.register("Mio"), (await people.sign_in("mio@example.org")).tokens
        code = (await Host(served, bearer(thief)).invite()).code
        kept = (await Host(served, bearer(mine)).invite()).code
        await served.sessions.RevokeSessions(session_pb.RevokeSessionsRequest(keep_this=True), metadata=bearer(mine))
        refused = await refusal(come_in(served, code))

        assert (NOT_FOUND, "GUEST_PASS_INVALID") == (refused.code, refused.reason)
        assert (await come_in(served, kept)).tokens.access_token

    async def test_makes_whoever_guesses_wait(self, host: Host) -> None:
        """A5."""
        code, place = (await host.invite()).code, (("x-forwarded-for", "192.0.2.66"),)
        reasons = [(await refusal(come_in(host.served, "BBBB-BBBB-BBBB", metadata=place))).reason for _ in range(31)]
        closed = await refusal(come_in(host.served, code, metadata=place))

        assert ["GUEST_PASS_INVALID"] * 30 == reasons[:30]
        assert ("TOO_MANY_TRIES", "TOO_MANY_TRIES") == (reasons[30], closed.reason)
        assert (await come_in(host.served, code)).tokens.access_token


class TestGuest:
    async def test_plays_and_sets_the_player_for_themselves(self, host: Host, database: Database) -> None:
        episode = await an_episode(database)
        guest = await come_in(host.served, (await host.invite()).code)
        stream = (await guest.play(episode)).stream
        await guest.beat(stream.stream_id)
        wanted = settings_pb.PlayerSettings(audio_languages=["ja"])
        request = settings_pb.UpdatePlayerSettingsRequest(player_settings=wanted, update_mask={"paths": ["audio_languages"]})  # type: ignore[arg-type]
        await host.served.player_settings.UpdatePlayerSettings(request, metadata=guest.metadata)
        hosts = await host.served.player_settings.GetPlayerSettings(settings_pb.GetPlayerSettingsRequest(), metadata=host.metadata)
        stop = media_pb.StopStreamRequest(stream_id=stream.stream_id, device_id="device-0099")
        await host.served.media.StopStream(stop, metadata=guest.metadata)

        assert ["ja"] == (await guest.settings()).audio_languages
        assert [] == hosts.player_settings.audio_languages

    async def test_may_do_nothing_else(self, host: Host, household: Household, settings: Settings) -> None:
        """B3: not the host's role either, be it an administrator's."""
        await changed(settings, "UPDATE accounts.accounts SET role = $1", Role.ADMIN.value)
        code = (await host.invite()).code
        guest, served = await come_in(host.served, code), host.served
        metadata, someone = guest.metadata, household.account_id
        calls = [
            served.own_account.GetAccount(own_account_service_pb2.GetAccountRequest(), metadata=metadata),
            served.sessions.ListSessions(session_pb.ListSessionsRequest(), metadata=metadata),
            served.sessions.RevokeSessions(session_pb.RevokeSessionsRequest(), metadata=metadata),
            served.profiles.ListProfiles(profiles_pb.ListProfilesRequest(), metadata=metadata),
            served.profiles.SwitchProfile(profiles_pb.SwitchProfileRequest(profile_id=someone), metadata=metadata),
            served.guest_passes.CreateGuestPass(pb.CreateGuestPassRequest(), metadata=metadata),
            served.guest_passes.ListGuestPasses(pb.ListGuestPassesRequest(), metadata=metadata),
            served.device_logins.GetDeviceLogin(login_pb.GetDeviceLoginRequest(user_code="BBBBBBBB"), metadata=metadata),
            served.device_logins.ApproveDeviceLogin(
                login_pb.ApproveDeviceLoginRequest(user_code="BBBBBBBB", number="42"), metadata=metadata
            ),
            served.media.ListStreams(media_pb.ListStreamsRequest(), metadata=metadata),
            served.admin.DeleteRelease(admin_pb.DeleteReleaseRequest(release_id=someone), metadata=metadata),
        ]
        refused = [await refusal(call) for call in calls]

        assert {(DENIED, "GUEST_PASS_INSUFFICIENT")} == {(one.code, one.reason) for one in refused}
        assert 1 == len(await host.passes())

    async def test_sees_of_what_is_public_what_everybody_does(self, host: Host, database: Database, settings: Settings) -> None:
        await changed(settings, "UPDATE accounts.accounts SET role = $1", Role.ADMIN.value)
        episode = await an_episode(database)
        guest = await come_in(host.served, (await host.invite()).code)
        request = catalog_pb.GetReleaseRequest(release=episode.release_id)
        seen = await host.served.catalog.GetRelease(request, metadata=guest.metadata)

        assert seen == await host.served.catalog.GetRelease(request)

    @pytest.mark.parametrize(("limits", "codes"), [
        ({"maturity_limit": 12}, [grpc.StatusCode.OK, NOT_FOUND, NOT_FOUND]),
        ({"maturity_limit": 16}, [grpc.StatusCode.OK, grpc.StatusCode.OK, NOT_FOUND]),
        ({}, [grpc.StatusCode.OK] * 3),
    ])  # fmt: skip
    async def test_plays_up_to_the_rating_that_the_host_chose(
        self, host: Host, database: Database, limits: dict[str, Any], codes: list[grpc.StatusCode]
    ) -> None:
        """B6: also after a refresh."""
        episodes = [await an_episode(database, age_rating=rating) for rating in (12, 16, 18)]
        guest = await come_in(host.served, (await host.invite(**limits)).code)
        later = Guest(guest.served, await guest.refresh())
        for one in (guest, later):
            assert codes == [await code_of(one, episode) for episode in episodes]

    async def test_takes_one_of_the_hosts_places_to_play(self, host: Host, household: Household, database: Database) -> None:
        episodes = [await an_episode(database) for _ in range(3)]
        guests = [await come_in(host.served, (await host.invite()).code) for _ in range(2)]
        for number, guest in enumerate(guests):
            await guest.play(episodes[number], device_id=f"device-000{number}")
        request = media_pb.StartStreamRequest(episode_id=episodes[2].episode_id, device_id="device-0007")
        refused = await refusal(host.served.media.StartStream(request, metadata=household.on()))

        assert (PRECONDITION, "STREAMS_FULL") == (refused.code, refused.reason)


class TestEnd:
    async def test_shuts_the_guest_out_within_a_second(self, host: Host) -> None:
        """A14."""
        made = await host.invite()
        guest = await come_in(host.served, made.code)
        assert not await guest.is_out()
        await host.end(made.guest_pass.guest_pass_id)

        assert await until(guest.is_out, seconds=1)
        assert "SESSION_ENDED" == (await refusal(guest.refresh())).reason
        assert [] == await host.passes()
        assert [] == await host.sessions()

    async def test_of_somebody_elses_pass_finds_none(self, host: Host, served: Served, token: Token, database: Database) -> None:
        """B2."""
        made = await host.invite()
        other = Host(served, token(account_id=await an_account(database)))
        refused = await refusal(other.end(made.guest_pass.guest_pass_id))

        assert (NOT_FOUND, "GUEST_PASS_NOT_FOUND") == (refused.code, refused.reason)
        assert [] == await other.passes()
        assert 1 == len(await host.passes())

    async def test_comes_after_four_hours_by_itself(self, host: Host, settings: Settings) -> None:
        """A13."""
        guest = await come_in(host.served, (await host.invite()).code)
        for statement in (AGE, AGE_SESSIONS):
            await changed(settings, statement, timedelta(hours=4) - timedelta(minutes=5))
        last = await guest.refresh()
        for statement in (AGE, AGE_SESSIONS):
            await changed(settings, statement, timedelta(minutes=5))
        refused = await refusal(Guest(host.served, last).refresh())

        assert last.access_expire_time.ToDatetime(UTC) - datetime.now(UTC) <= timedelta(minutes=5)
        assert (UNKNOWN, "SESSION_ENDED") == (refused.code, refused.reason)
        assert [] == await host.passes()

    async def test_comes_when_the_guest_signs_out(self, host: Host, departures: Departures, settings: Settings) -> None:
        guest = await come_in(host.served, (await host.invite()).code)
        await host.served.sessions.SignOut(session_pb.SignOutRequest(), metadata=guest.metadata)
        listed = await host.passes()
        await departures.look_after(at=datetime.now(UTC))

        assert [] == listed
        assert [True] == await found(settings, "SELECT end_time IS NOT NULL FROM accounts.guest_passes")

    async def test_comes_when_the_host_ends_the_session(self, people: People, served: Served, departures: Departures) -> None:
        host = Host(served, bearer(await people.register("Mio")))
        guest = await come_in(served, (await host.invite()).code)
        revoke = session_pb.RevokeSessionRequest(session_id=guest.tokens.session_id)
        await served.sessions.RevokeSession(revoke, metadata=host.metadata)
        await departures.look_after(at=datetime.now(UTC))
        gone = await departures.look_after(at=datetime.now(UTC) + timedelta(minutes=1))

        assert await until(guest.is_out, seconds=1)
        assert [guest.tokens.session_id] == [one.session_id for one in gone]


class TestDepartures:
    async def test_leave_nothing_of_a_guest(
        self, host: Host, departures: Departures, database: Database, settings: Settings
    ) -> None:
        """A18: in no table, but for what tells that somebody went."""
        episode = await an_episode(database)
        made = await host.invite()
        guest_id = made.guest_pass.guest_pass_id
        guest = await come_in(host.served, made.code, name="Ritsu's tablet", device_id="device-0099")
        stream = (await guest.play(episode)).stream
        await guest.beat(stream.stream_id)
        wanted = settings_pb.PlayerSettings(audio_languages=["ja"])
        request = settings_pb.UpdatePlayerSettingsRequest(player_settings=wanted, update_mask={"paths": ["audio_languages"]})  # type: ignore[arg-type]
        await host.served.player_settings.UpdatePlayerSettings(request, metadata=guest.metadata)
        before = await holding(database, guest_id, "Ritsu's tablet", "device-0099")
        await host.end(guest_id)
        await departures.look_after(at=datetime.now(UTC) + timedelta(minutes=1))
        await forgotten(database, settings)

        assert {"media.streams", "media.positions", "media.player_settings", "accounts.guest_passes", "accounts.sessions"} <= before
        assert set() == await holding(database, "Ritsu's tablet", "device-0099")
        assert {"platform.events"} == await holding(database, guest_id)

    async def test_are_told_once(self, host: Host, departures: Departures, settings: Settings) -> None:
        made = await host.invite()
        await come_in(host.served, made.code)
        await host.end(made.guest_pass.guest_pass_id)
        later = datetime.now(UTC) + timedelta(minutes=1)
        gone = await asyncio.gather(*(departures.look_after(at=later) for _ in range(4)))

        assert [made.guest_pass.guest_pass_id] == [one.guest_pass_id for some in gone for one in some]
        assert 1 == (await found(settings, "SELECT name FROM platform.events")).count("ProfileDeleted")

    async def test_wait_until_every_server_knows_that_the_guest_is_out(self, host: Host, departures: Departures) -> None:
        made = await host.invite()
        await come_in(host.served, made.code)
        await host.end(made.guest_pass.guest_pass_id)
        at = datetime.now(UTC)

        assert [] == await departures.look_after(at=at + timedelta(seconds=20))
        assert 1 == len(await departures.look_after(at=at + timedelta(seconds=31)))

    async def test_shut_guests_out_whose_time_is_over(self, host: Host, departures: Departures, settings: Settings) -> None:
        guest = await come_in(host.served, (await host.invite()).code)
        await changed(settings, AGE, timedelta(hours=4))
        await departures.look_after(at=datetime.now(UTC))

        assert await until(guest.is_out, seconds=1)
        assert "SESSION_ENDED" == (await refusal(guest.refresh())).reason

    async def test_are_looked_after_by_the_worker_every_thirty_seconds(
        self, host: Host, departures: Departures, database: Database, clock: StillClock, settings: Settings
    ) -> None:
        await host.invite()
        look_after, _ = device_tasks.jobs(departures, database.begins(PostgresDeviceLogins), clock)
        left = []
        for hours in (3.9, 4.1, 4.2):
            clock.now = datetime.now(UTC) + timedelta(hours=hours)
            await look_after.act(clock())
            left.append(len(await found(settings, "SELECT guest_pass_id FROM accounts.guest_passes")))

        assert timedelta(seconds=30) == look_after.every
        assert [1, 1, 0] == left


async def an_episode(database: Database, **release: Any) -> Episode:
    """Put a release with an episode that can be played into the catalog."""
    episode = await kept_episode(database, **release)
    await kept_source(database, episode_id=episode.episode_id)
    return episode


async def code_of(guest: Guest, episode: Episode) -> grpc.StatusCode:
    """Return what comes of playing an episode."""
    request = media_pb.StartStreamRequest(episode_id=episode.episode_id, device_id="device-0099")
    code: grpc.StatusCode = await guest.served.media.StartStream(request, metadata=guest.metadata).code()
    return code


async def holding(database: Database, *texts: str) -> set[str]:
    """Return the tables that hold one of these texts, anywhere."""
    names = set()
    async with database.reads(bare)() as connection:
        for table in TABLES:
            held = f"SELECT 1 FROM {table.fullname} AS t, unnest($1::text[]) AS sought WHERE strpos(t::text, sought) > 0 LIMIT 1"
            if await connection.fetchval(held, list(texts)):
                names.add(table.fullname)
    return names


async def forgotten(database: Database, settings: Settings) -> None:
    """Have every context do what it does about profiles that are gone."""
    (reaction,) = playback_tasks.reactions(database.begins(PostgresPlayback))
    query = "SELECT payload->>'{}' FROM platform.events WHERE name = 'ProfileDeleted'"
    (account_id,), (profile_id,) = [await found(settings, query.format(name)) for name in ("account_id", "profile_id")]
    await reaction.act(ProfileDeleted(time=datetime.now(UTC), account_id=account_id, profile_id=profile_id), "event")
