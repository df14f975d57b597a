"""What only the wire shows of profiles: mapping, masks, other people's, and what a session may once it is on a profile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from adapters.postgres import Database, bare
from ani.accounts.v1 import profile_pb2
from ani.accounts.v1 import profiles_service_pb2 as pb
from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as catalog_pb
from ani.catalog.v1 import release_list_pb2, release_pb2
from ani.media.v1 import media_service_pb2 as media_pb
from domain.catalog.episodes import Episode
from domain.kernel import new_id
from tests.accounts.households import Family, Household, an_account
from tests.accounts.people import People, bearer
from tests.builders import NOON
from tests.media.playing import DEVICE, kept_episode, kept_source
from tests.pipeline.conftest import Token
from tests.serving import Metadata, Served, refusal

pytestmark = pytest.mark.settings(video_hosts=("video.example",))
OK, NOT_FOUND, DENIED = grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED
ALL = profile_pb2.Profile(
    name="Yui",
    avatar="cat",
    language="ja",
    time_zone="Asia/Tokyo",
    region="JP",
    maturity_limit=16,
    allowed_hours=[profile_pb2.AllowedHours(weekday=6, start_minute=1200, end_minute=60)],
    private_session=True,
    public_statistics=True,
)


@pytest.fixture
async def household(served: Served, token: Token, database: Database) -> Household:
    return Household(served, token, database, await an_account(database))


def updating(profile_id: str, *paths: str, owner_pin: str = "", **facts: Any) -> pb.UpdateProfileRequest:
    profile = profile_pb2.Profile(profile_id=profile_id, **facts)
    return pb.UpdateProfileRequest(profile=profile, update_mask=FieldMask(paths=paths or list(facts)), owner_pin=owner_pin)


class TestListProfiles:
    async def test_begins_with_one_named_like_the_account(self, household: Household) -> None:
        answer = await household.served.profiles.ListProfiles(pb.ListProfilesRequest(), metadata=household.on())
        again = await household.served.profiles.ListProfiles(pb.ListProfilesRequest(), metadata=household.on())

        assert [("Akiyama", 18, False)] == [(one.name, one.maturity_limit, one.kids) for one in answer.profiles]
        assert answer == again
        assert "fox" in answer.avatars
        assert "" == answer.current_profile_id

    async def test_says_which_one_the_caller_is_on(self, household: Household) -> None:
        made = await household.add("Yui")
        answer = await household.served.profiles.ListProfiles(pb.ListProfilesRequest(), metadata=household.on(made))

        assert made.profile_id == answer.current_profile_id


class TestCreateProfile:
    async def test_keeps_every_field_and_shows_no_pin(self, household: Household) -> None:
        """B4."""
        wanted = profile_pb2.Profile(pin="123456", **{field.name: value for field, value in ALL.ListFields()})
        made = (
            await household.served.profiles.CreateProfile(pb.CreateProfileRequest(profile=wanted), metadata=household.on())
        ).profile
        got = (
            await household.served.profiles.GetProfile(pb.GetProfileRequest(profile_id=made.profile_id), metadata=household.on())
        ).profile

        assert got == made
        assert all(getattr(made, field.name) == value for field, value in ALL.ListFields())
        assert ("", True, 1) == (made.pin, made.has_pin, made.version)

    async def test_fills_in_what_is_usual(self, household: Household) -> None:
        grown, kid = await household.add("Grown"), await household.add("Kid", kids=True)

        assert (18, "UTC", "fox", "", False) == (grown.maturity_limit, grown.time_zone, grown.avatar, grown.language, grown.has_pin)
        assert 12 == kid.maturity_limit

    async def test_ignores_what_is_output_only(self, household: Household) -> None:
        """B4."""
        made = await household.add("Yui", has_pin=True, version=99, create_time=Timestamp(seconds=1))

        assert (False, 1) == (made.has_pin, made.version)
        assert made.create_time.seconds > 1

    @pytest.mark.parametrize(
        ("facts", "field"),
        [
            ({"name": ""}, "profile.name"),
            ({"name": "x" * 41}, "profile.name"),
            ({"name": "\u200b"}, "profile.name"),
            ({"pin": "123"}, "profile.pin"),
            ({"pin": "123456789"}, "profile.pin"),
            ({"pin": "12a4"}, "profile.pin"),
            ({"pin": "\u0661\u0662\u0663\u0664"}, "profile.pin"),
            ({"pin": "1234\n"}, "profile.pin"),
            ({"maturity_limit": 13}, "profile.maturity_limit"),
            ({"kids": True, "maturity_limit": 16}, "profile.maturity_limit"),
            ({"kids": True, "public_statistics": True}, "profile.public_statistics"),
            ({"time_zone": "Mars/Olympus"}, "profile.time_zone"),
            ({"time_zone": "../../etc/passwd"}, "profile.time_zone"),
            ({"region": "jp"}, "profile.region"),
            ({"avatar": "nobody"}, "profile.avatar"),
            ({"avatar_file_id": "0191d7a0-0000-7000-8000-0000000000ee"}, "profile.avatar_file_id"),
            ({"language": "no language"}, "profile.language"),
            (
                {"allowed_hours": [profile_pb2.AllowedHours(weekday=8, start_minute=0, end_minute=1)]},
                "profile.allowed_hours[0].weekday",
            ),
            (
                {"allowed_hours": [profile_pb2.AllowedHours(weekday=1, start_minute=0, end_minute=1440)]},
                "profile.allowed_hours[0].end_minute",
            ),
        ],
    )
    async def test_names_the_field_that_is_wrong(self, household: Household, facts: dict[str, Any], field: str) -> None:
        request = pb.CreateProfileRequest(profile=profile_pb2.Profile(**{"name": "Yui", **facts}))
        refused = await refusal(household.served.profiles.CreateProfile(request, metadata=household.on()))

        assert grpc.StatusCode.INVALID_ARGUMENT is refused.code
        assert field in refused.fields


class TestUpdateProfile:
    async def test_changes_the_named_fields_alone(self, household: Household) -> None:
        made = await household.add("Yui", region="DE")
        answer = await household.served.profiles.UpdateProfile(
            updating(made.profile_id, "region", region="JP", name="Not this"), metadata=household.on(made)
        )

        assert ("Yui", "JP", 2, False) == (
            answer.profile.name, answer.profile.region, answer.profile.version, answer.refresh_needed,
        )  # fmt: skip

    async def test_sets_and_takes_a_pin(self, household: Household) -> None:
        made = await household.add("Yui")
        service = household.served.profiles
        set_one = await service.UpdateProfile(updating(made.profile_id, pin="1234"), metadata=household.on(made))
        wrong = await refusal(
            service.UpdateProfile(updating(made.profile_id, "pin", owner_pin="4321"), metadata=household.on(made))
        )
        without = await refusal(service.UpdateProfile(updating(made.profile_id, "pin"), metadata=household.on(made)))
        taken = await service.UpdateProfile(updating(made.profile_id, "pin", owner_pin="1234"), metadata=household.on(made))

        assert (True, "") == (set_one.profile.has_pin, set_one.profile.pin)
        assert (DENIED, "PIN_WRONG") == (wrong.code, wrong.reason)
        assert (grpc.StatusCode.FAILED_PRECONDITION, "PROOF_TOO_OLD") == (without.code, without.reason)
        assert not taken.profile.has_pin

    @pytest.mark.parametrize("path", ["has_pin", "create_time", "profile_id", "version", "account_id", "pin_hash", "nothing"])
    async def test_refuses_fields_that_are_not_to_be_changed(self, household: Household, path: str) -> None:
        """B4."""
        made = await household.add("Yui")
        refused = await refusal(household.served.profiles.UpdateProfile(updating(made.profile_id, path), metadata=household.on()))

        assert (grpc.StatusCode.INVALID_ARGUMENT, "PROFILE_FIELD_UNKNOWN") == (refused.code, refused.reason)

    async def test_refuses_an_older_version(self, household: Household) -> None:
        made = await household.add("Yui")
        await household.served.profiles.UpdateProfile(updating(made.profile_id, name="Ui"), metadata=household.on())
        refused = await refusal(
            household.served.profiles.UpdateProfile(
                updating(made.profile_id, "name", name="Yu", version=1), metadata=household.on()
            )
        )

        assert (grpc.StatusCode.ABORTED, "PROFILE_CHANGED") == (refused.code, refused.reason)


class TestOthers:
    """B2: each method with an id, asked with the id of another account's."""

    REQUESTS: dict[str, Callable[[str], Any]] = {  # noqa: RUF012 - a table
        "GetProfile": lambda one: pb.GetProfileRequest(profile_id=one),
        "UpdateProfile": lambda one: updating(one, name="Mine"),
        "DeleteProfile": lambda one: pb.DeleteProfileRequest(profile_id=one),
        "SwitchProfile": lambda one: pb.SwitchProfileRequest(profile_id=one, pin="1234"),
        "DecideTitleRequest": lambda one: pb.DecideTitleRequestRequest(title_request_id=one, grant=True),
    }

    @pytest.mark.parametrize("method", REQUESTS)
    async def test_know_nothing_of_an_accounts_profiles(self, household: Household, database: Database, method: str) -> None:
        theirs = Household(household.served, household.token, database, await an_account(database, "Others"))
        (session, made) = (await theirs.session(proven=timedelta()), await household.add("Yui", pin="1234"))
        kid = await household.add("Kid", kids=True)
        asked = await a_request(household, kid, await an_episode(database, age_rating=18))
        one = asked.title_request_id if method == "DecideTitleRequest" else made.profile_id
        before = await household.profiles()

        refused = await refusal(
            getattr(household.served.profiles, method)(self.REQUESTS[method](one), metadata=theirs.on(session_id=session))
        )
        unknown = await refusal(
            getattr(household.served.profiles, method)(
                self.REQUESTS[method](new_id(at=NOON)), metadata=theirs.on(session_id=session)
            )
        )

        assert (NOT_FOUND, NOT_FOUND, refused.reason) == (refused.code, unknown.code, unknown.reason)
        assert before == await household.profiles()

    async def test_find_nothing_of_others_in_their_lists(self, household: Household, database: Database) -> None:
        theirs = Household(household.served, household.token, database, await an_account(database, "Others"))
        kid = await household.add("Kid", kids=True)
        await a_request(household, kid, await an_episode(database, age_rating=18))
        listed = await household.served.profiles.ListTitleRequests(pb.ListTitleRequestsRequest(), metadata=theirs.on())

        assert ["Others"] == [one.name for one in await theirs.profiles()]
        assert [] == list(listed.title_requests)

    async def test_cannot_be_named_as_the_profile_one_is_on(self, household: Household, database: Database) -> None:
        """A token that names another's profile counts as one that is gone."""
        theirs = Household(household.served, household.token, database, await an_account(database, "Others"))
        made = await household.add("Yui", pin="1234")
        refused = await refusal(
            theirs.served.profiles.CreateProfile(
                pb.CreateProfileRequest(profile=profile_pb2.Profile(name="Mine")), metadata=theirs.on(made)
            )
        )

        assert "PROOF_TOO_OLD" == refused.reason


class TestSwitchProfile:
    async def test_makes_the_token_void_and_the_next_one_the_profiles(
        self, people: People, served: Served, database: Database
    ) -> None:
        """A14: within a second."""
        family = await Family.of(people)
        episode = await an_episode(database, age_rating=18)
        old = bearer(family.tokens)
        before = await seen(served, episode, old)

        answer = await served.profiles.SwitchProfile(pb.SwitchProfileRequest(profile_id=family.kid.profile_id), metadata=old)
        latest = datetime.now(UTC) + timedelta(seconds=1)
        while (after := await seen(served, episode, old)) is OK:
            assert datetime.now(UTC) < latest
        child = await family.refresh()
        shown = await served.profiles.ListProfiles(pb.ListProfilesRequest(), metadata=child)
        listed = await served.catalog.ListReleases(release_list_pb2.ListReleasesRequest(), metadata=child)

        assert (OK, True, grpc.StatusCode.UNAUTHENTICATED) == (before, answer.refresh_needed, after)
        assert family.kid.profile_id == shown.current_profile_id
        assert NOT_FOUND is await seen(served, episode, child)
        assert [] == list(listed.releases)

    async def test_gives_a_childs_profile_no_part_in_the_accounts_role(
        self, people: People, served: Served, database: Database
    ) -> None:
        """B3."""
        family = await Family.of(people)
        async with database.begins(bare)() as connection:
            await connection.execute("UPDATE accounts.accounts SET role = 4")
        request = admin_pb.CreateReleaseRequest(release=release_pb2.Release())
        grown = await refusal(served.admin.CreateRelease(request, metadata=await family.refresh()))
        child = await refusal(served.admin.CreateRelease(request, metadata=await family.switch(family.kid)))

        assert grpc.StatusCode.INVALID_ARGUMENT is grown.code
        assert (DENIED, "ROLE_TOO_LOW") == (child.code, child.reason)

    async def test_is_not_undone_by_a_child(self, people: People, served: Served) -> None:
        family = await Family.of(people)
        child = await family.switch(family.kid)
        refused = await refusal(
            served.profiles.SwitchProfile(pb.SwitchProfileRequest(profile_id=family.parent.profile_id, pin="0000"), metadata=child)
        )
        first = (await served.profiles.ListProfiles(pb.ListProfilesRequest(), metadata=child)).profiles[0]
        unproven = await refusal(
            served.profiles.SwitchProfile(pb.SwitchProfileRequest(profile_id=first.profile_id), metadata=child)
        )
        await served.profiles.SwitchProfile(
            pb.SwitchProfileRequest(profile_id=family.parent.profile_id, pin="4321"), metadata=child
        )

        assert (DENIED, "PIN_WRONG") == (refused.code, refused.reason)
        assert "PROOF_TOO_OLD" == unproven.reason

    async def test_needs_a_session(self, household: Household) -> None:
        made = await household.add("Yui")
        refused = await refusal(
            household.served.profiles.SwitchProfile(pb.SwitchProfileRequest(profile_id=made.profile_id), metadata=household.on())
        )

        assert (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_MISSING") == (refused.code, refused.reason)


class TestTitleRequests:
    async def test_open_one_release_for_one_child_for_two_hours(
        self, people: People, served: Served, database: Database, token: Token
    ) -> None:
        """B6: another child of the same age is shown nothing of it, whoever asked before."""
        family = await Family.of(people)
        episode = await an_episode(database, age_rating=18)
        parent = await family.elsewhere()
        child, other = await family.switch(family.kid), token(account_id=new_id(at=NOON), maturity=12)
        start = media_pb.StartStreamRequest(episode_id=episode.episode_id, device_id=DEVICE)
        before = [await seen(served, episode, one) for one in (child, other)]

        request = pb.RequestTitleRequest(title_request=profile_pb2.TitleRequest(release_id=episode.release_id, note="Please!"))
        asked = (await served.profiles.RequestTitle(request, metadata=child)).title_request
        decision = pb.DecideTitleRequestRequest(title_request_id=asked.title_request_id, grant=True, owner_pin="4321")
        granted = (
            await served.profiles.DecideTitleRequest(decision, metadata=await parent.switch(family.parent, "4321"))
        ).title_request
        child = await family.refresh()
        after = [await seen(served, episode, one) for one in (child, other, child)]
        started = await served.media.StartStream(start, metadata=child)
        refused = await refusal(served.media.StartStream(start, metadata=other))
        decision.grant = False
        await served.profiles.DecideTitleRequest(decision, metadata=await parent.refresh())
        in_the_end = await seen(served, episode, await family.refresh())

        assert profile_pb2.TITLE_REQUEST_STATE_GRANTED == granted.state
        assert [NOT_FOUND, NOT_FOUND] == before
        assert [OK, NOT_FOUND, OK] == after
        assert started.stream.stream_id
        assert NOT_FOUND is refused.code is in_the_end

    async def test_are_listed_page_by_page(self, household: Household, database: Database) -> None:
        """B7."""
        kid = await household.add("Kid", kids=True)
        asked = [await a_request(household, kid, await an_episode(database, age_rating=16)) for _ in range(3)]
        first = await household.served.profiles.ListTitleRequests(pb.ListTitleRequestsRequest(page_size=2), metadata=household.on())
        last = await household.served.profiles.ListTitleRequests(
            pb.ListTitleRequestsRequest(page_size=2, page_token=first.next_page_token), metadata=household.on()
        )

        assert asked[::-1] == [*first.title_requests, *last.title_requests]
        assert "" == last.next_page_token


class TestAllowedHours:
    async def test_let_nothing_be_played_outside_of_them(self, people: People, served: Served, database: Database) -> None:
        family = await Family.of(people)
        episode = await an_episode(database, age_rating=0)
        now, tomorrow = (
            await family.add("Now", allowed_hours=hours(0)),
            await family.add("Then", pin="1111", allowed_hours=hours(1)),
        )
        start = media_pb.StartStreamRequest(episode_id=episode.episode_id, device_id=DEVICE)
        stream = (await served.media.StartStream(start, metadata=await family.switch(now))).stream
        beat = media_pb.SendHeartbeatRequest(stream_id=stream.stream_id, device_id=DEVICE, position_seconds=1)
        asleep = await family.switch(tomorrow, "1111")
        refused = [await refusal(call) for call in (
            served.media.StartStream(start, metadata=asleep), served.media.SendHeartbeat(beat, metadata=asleep),
        )]  # fmt: skip

        assert [(grpc.StatusCode.FAILED_PRECONDITION, "OUTSIDE_ALLOWED_HOURS")] * 2 == [(one.code, one.reason) for one in refused]
        assert OK is await seen(served, episode, asleep)

    async def test_end_what_a_token_is_good_for(self, people: People) -> None:
        family = await Family.of(people)
        soon = (datetime.now(UTC) + timedelta(minutes=5)).replace(second=0, microsecond=0)
        begins = soon - timedelta(hours=1)
        span = profile_pb2.AllowedHours(
            weekday=begins.isoweekday(), start_minute=begins.hour * 60 + begins.minute, end_minute=soon.hour * 60 + soon.minute
        )
        await family.switch(await family.add("Soon", allowed_hours=[span]))

        assert soon == family.tokens.access_expire_time.ToDatetime(UTC)


def hours(days: int) -> list[profile_pb2.AllowedHours]:
    """Return hours that are now, or in so many days."""
    at = datetime.now(UTC) + timedelta(days=days, hours=-2 if not days else 0)
    minute = at.hour * 60 + at.minute
    return [profile_pb2.AllowedHours(weekday=at.isoweekday(), start_minute=minute, end_minute=(minute + 240) % 1440)]


async def seen(served: Served, episode: Episode, metadata: Metadata) -> grpc.StatusCode:
    """Return what comes of looking at an episode's release."""
    request = catalog_pb.GetReleaseRequest(release=episode.release_id)
    code: grpc.StatusCode = await served.catalog.GetRelease(request, metadata=metadata).code()
    return code


async def an_episode(database: Database, **release: Any) -> Episode:
    """Put a release with an episode that can be played into the catalog."""
    episode = await kept_episode(database, **release)
    await kept_source(database, episode_id=episode.episode_id)
    return episode


async def a_request(household: Household, kid: profile_pb2.Profile, episode: Episode) -> profile_pb2.TitleRequest:
    request = pb.RequestTitleRequest(title_request=profile_pb2.TitleRequest(release_id=episode.release_id))
    return (await household.served.profiles.RequestTitle(request, metadata=household.on(kid))).title_request
