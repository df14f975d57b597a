"""Rules of profiles that need no store: hours, limits, who may change what, and what that means for what is seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from domain.accounts.allowed_hours import AllowedHours, now
from domain.accounts.naming import NameMixesScripts, NameUnreadable
from domain.accounts.profiles import (
    ADULT,
    KIDS_CEILING,
    LIMITS,
    AvatarUnknown,
    KidsLimitTooHigh,
    KidsStatisticsPublic,
    Profile,
    changes_limits,
    demands_proof,
    differing,
    digest,
    nobody,
    sees_more,
)
from domain.accounts.title_requests import GRANTED_FOR, TitleRequest, TitleRequestOver, TitleRequestState
from domain.kernel import Role, Viewer
from domain.visibility import Publication, Sight, Terms, playable, sight
from domain.zones import ZoneUnknown
from tests.accounts.households import a_profile
from tests.builders import NOON

WEEK = timedelta(days=7)
MINUTE = timedelta(minutes=1)
minutes = st.integers(0, 1439)
windows = st.builds(AllowedHours, st.integers(1, 7), minutes, minutes)
hours = st.lists(windows, max_size=4).map(tuple)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "Africa/Cairo"])
moments = st.datetimes(datetime(2024, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds it
ids = st.sampled_from(["a", "b", "c"])
ages = st.sampled_from([0, 6, 12, 16, 18])
countries = st.sampled_from(["", "JP", "DE"])
terms = st.builds(
    Terms,
    st.sampled_from(Publication),
    ages,
    st.frozensets(countries),
    st.frozensets(st.sampled_from(["*", "JP", "DE"])),
    ids,
)
viewers = st.builds(
    Viewer,
    account_id=ids,
    role=st.sampled_from(Role),
    country=countries,
    maturity=ages,
    granted=st.frozensets(ids),
    asleep=st.booleans(),
)


@st.composite
def profiles(draw: st.DrawFn, profile_id: str = "") -> Profile:
    kids = draw(st.booleans())
    facts: dict[str, Any] = {
        "profile_id": profile_id or draw(ids),
        "account_id": "account",
        "name": draw(st.sampled_from(["Mio", "Ritsu"])),
        "time_zone": draw(zones),
        "kids": kids,
        "maturity": draw(ages.filter(lambda age: not kids or age <= KIDS_CEILING)),
        "allowed_hours": draw(hours),
        "pin_hash": draw(st.sampled_from([None, "one", "other"])),
        "private_session": draw(st.booleans()),
    }
    return a_profile(**facts).tidied()


@st.composite
def changes(draw: st.DrawFn) -> tuple[Profile, Profile]:
    """A profile, and what it is after some of its fields have changed."""
    before, other = draw(profiles("a")), draw(profiles("a"))
    fields = draw(st.sets(st.sampled_from(differing(before, other)), max_size=2)) if before != other else set()
    return before, replace(before, **{name: getattr(other, name) for name in fields})


class TestAllowedHours:
    @given(hours=hours, at=moments)
    def test_are_those_of_the_week_where_the_clocks_stay(self, hours: tuple[AllowedHours, ...], at: datetime) -> None:
        def covers(window: AllowedHours, minute: int) -> bool:
            start = (window.weekday - 1) * 1440 + window.start_minute
            length = (window.end_minute - window.start_minute - 1) % 1440 + 1
            return (minute - start) % (7 * 1440) < length

        minute = at.weekday() * 1440 + at.hour * 60 + at.minute

        assert now(hours, ZoneInfo("UTC"), at=at).open == (not hours or any(covers(one, minute) for one in hours))

    @given(hours=hours, zone=zones, at=moments)
    def test_tell_when_they_change(self, hours: tuple[AllowedHours, ...], zone: str, at: datetime) -> None:
        found = now(hours, ZoneInfo(zone), at=at)
        assume(found.until is not None and found.until < at + WEEK)
        assert found.until is not None

        assert found.until > at
        assert now(hours, ZoneInfo(zone), at=found.until - timedelta(microseconds=1)).open == found.open
        assert now(hours, ZoneInfo(zone), at=found.until).open != found.open

    @given(zone=zones, at=moments)
    def test_of_every_whole_day_never_end(self, zone: str, at: datetime) -> None:
        found = now([AllowedHours(day, 0, 0) for day in range(1, 8)], ZoneInfo(zone), at=at)

        assert found.open
        assert found.until is not None
        assert found.until >= at + timedelta(days=6)

    def test_that_are_none_are_always(self) -> None:
        assert (True, None) == (now((), ZoneInfo("UTC"), at=NOON).open, now((), ZoneInfo("UTC"), at=NOON).until)

    @pytest.mark.parametrize(
        ("window", "opens", "closes"),
        [
            # The clocks go from two to three: what ends within the hour left out ends as much later, and lasts as long.
            (AllowedHours(7, 90, 150), "2026-03-29T00:30Z", "2026-03-29T01:30Z"),
            (AllowedHours(7, 150, 240), "2026-03-29T01:30Z", "2026-03-29T02:00Z"),
            (AllowedHours(6, 1380, 240), "2026-03-28T22:00Z", "2026-03-29T02:00Z"),
            # The clocks go from three to two: times that come twice are meant the first time.
            (AllowedHours(7, 120, 180), "2026-10-25T00:00Z", "2026-10-25T02:00Z"),
            (AllowedHours(7, 0, 150), "2026-10-24T22:00Z", "2026-10-25T00:30Z"),
            (AllowedHours(7, 1200, 60), "2026-10-25T19:00Z", "2026-10-26T00:00Z"),
        ],
    )
    def test_follow_the_clock_on_the_wall(self, window: AllowedHours, opens: str, closes: str) -> None:
        zone = ZoneInfo("Europe/Berlin")
        start, end = datetime.fromisoformat(opens), datetime.fromisoformat(closes)

        assert [False, True, True, False] == [now([window], zone, at=at).open for at in (start - MINUTE, start, end - MINUTE, end)]
        assert start == now([window], zone, at=start - MINUTE).until
        assert end == now([window], zone, at=start).until


class TestTidied:
    @pytest.mark.parametrize(
        ("over", "refusal"),
        [
            ({"name": " \u200b "}, NameUnreadable),
            ({"name": "p\u0430p\u0430"}, NameMixesScripts),
            ({"avatar": "nobody"}, AvatarUnknown),
            ({"time_zone": "Mars/Olympus"}, ZoneUnknown),
            ({"kids": True, "maturity": 16}, KidsLimitTooHigh),
            ({"kids": True, "maturity": 12, "public_statistics": True}, KidsStatisticsPublic),
        ],
    )
    def test_refuses(self, over: dict[str, Any], refusal: type[Exception]) -> None:
        with pytest.raises(refusal):
            a_profile(**over).tidied()

    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("  Mio \t Akiyama ", "Mio Akiyama"),
            ("澪", "澪"),
            ("\u041c\u0438\u043e", "\u041c\u0438\u043e"),
            ("e\u0301lodie", "élodie"),
        ],
    )
    def test_composes_names_of_all_scripts(self, name: str, kept: str) -> None:
        """B8."""
        assert kept == a_profile(name=name).tidied().name

    @pytest.mark.parametrize("other", ["MIO", "Mi\u043e", "Mio\u200b", "\uff2d\uff49\uff4f", "Mi0"])
    def test_gives_names_that_look_alike_one_key(self, other: str) -> None:
        """B8."""
        assert a_profile(name="Mio").name_key == a_profile(name=other).name_key


class TestChanged:
    def test_brings_a_profile_within_a_childs_limits_when_it_becomes_one(self) -> None:
        after = a_profile(public_statistics=True).changed({"kids": True})

        assert (KIDS_CEILING, False) == (after.maturity, after.public_statistics)
        assert 6 == a_profile(maturity=6).changed({"kids": True}).maturity

    def test_does_not_do_so_against_what_is_asked(self) -> None:
        with pytest.raises(KidsLimitTooHigh):
            a_profile().changed({"kids": True, "maturity": 18})
        with pytest.raises(KidsLimitTooHigh):
            a_profile(kids=True, maturity=12).changed({"maturity": 16})


class TestDemandsProof:
    @given(caller=profiles("c"), after=profiles("c"))
    def test_of_whoever_would_see_more_afterwards(self, caller: Profile, after: Profile) -> None:
        """Nobody lifts a limit of their own without it."""
        assume(sees_more(after, caller))

        assert demands_proof(caller, caller, after)

    @given(caller=profiles("c"), target=profiles("t"), after=profiles("t"))
    def test_of_limited_callers_for_whatever_others_are(self, caller: Profile, target: Profile, after: Profile) -> None:
        assume(caller.is_limited and differing(target, after))

        assert demands_proof(caller, target, after)
        assert demands_proof(caller, None, after)
        assert demands_proof(caller, target, None)

    @given(change=changes())
    def test_before_a_childs_limits_or_privacy_change(self, change: tuple[Profile, Profile]) -> None:
        caller, after = change
        fields = set(differing(caller, after))

        assert demands_proof(caller, caller, after) or not fields & (LIMITS | {"pin_hash"}) or not caller.is_limited
        assert demands_proof(caller, caller, after) or not caller.kids or fields <= {"name", "avatar", "avatar_file_id", "language"}

    @given(caller=profiles("c"), target=profiles("t"), after=profiles("t"))
    def test_where_a_pin_of_anothers_is_in_the_way(self, caller: Profile, target: Profile, after: Profile) -> None:
        assume(target.pin_hash is not None and differing(target, after))

        assert demands_proof(caller, target, after)
        assert demands_proof(caller, target, None)

    # Of two profiles either one sees more than the other, or each sees what the other does not.
    @settings(suppress_health_check=[HealthCheck.filter_too_much])
    @given(one=profiles("t"), other=profiles("t"))
    def test_not_to_set_limits(self, one: Profile, other: Profile) -> None:
        target, after = (other, one) if sees_more(other, one) else (one, other)
        target = replace(target, pin_hash=None)
        assume(not sees_more(after, target))
        caller = a_profile()

        assert not demands_proof(caller, target, after)
        assert not demands_proof(caller, None, after)

    def test_not_of_the_account_itself_but_of_whoever_is_on_a_profile_that_is_gone(self) -> None:
        target = a_profile()

        assert not demands_proof(nobody("account", "", at=NOON), target, None)
        assert demands_proof(nobody("account", "gone", at=NOON), target, None)


class TestSeesMore:
    @given(profile=profiles())
    def test_is_never_true_of_the_same(self, profile: Profile) -> None:
        assert not sees_more(profile, profile)

    @given(change=changes())
    def test_leaves_no_limit_out(self, change: tuple[Profile, Profile]) -> None:
        """Two of which neither sees more than the other have the same limits."""
        one, other = change
        same = [(side.maturity, side.kids, side.allowed_hours) for side in change]

        assert sees_more(one, other) or sees_more(other, one) or same[0] == same[1]

    @given(change=changes())
    def test_never_goes_unnoticed_by_tokens(self, change: tuple[Profile, Profile]) -> None:
        before, after = change

        assert changes_limits(before, after) or not (sees_more(after, before) or sees_more(before, after))


class TestDigest:
    @given(one=profiles("a"), other=profiles("a"))
    def test_tells_profiles_apart_but_for_their_pins(self, one: Profile, other: Profile) -> None:
        same = not set(differing(one, other)) - {"pin_hash"}

        assert same == (digest(one) == digest(other))


class TestLimits:
    def test_are_told_until_the_first_of_them_changes(self) -> None:
        evening = a_profile(maturity=12, allowed_hours=(AllowedHours(1, 600, 780),))
        grants = [("r1", NOON + timedelta(minutes=30)), ("r2", NOON + timedelta(hours=2))]
        limits = evening.limits(grants, at=NOON)

        assert (12, False, True, ("r1", "r2")) == (limits.maturity, limits.asleep, limits.is_limited, limits.grants)
        assert NOON + timedelta(minutes=30) == limits.until
        assert NOON + timedelta(hours=1) == evening.limits([], at=NOON).until

    def test_put_a_profile_to_sleep_outside_of_its_hours(self) -> None:
        limits = a_profile(allowed_hours=(AllowedHours(1, 780, 840),)).limits([], at=NOON)

        assert (True, NOON + timedelta(hours=1)) == (limits.asleep, limits.until)

    @given(profile=profiles(), at=moments)
    def test_hold_the_role_back_of_every_limited_profile(self, profile: Profile, at: datetime) -> None:
        unlimited = profile.maturity == ADULT and not profile.kids and not profile.allowed_hours

        assert profile.limits([], at=at).is_limited is not unlimited


class TestSight:
    """The one visibility rule, with grants and hours."""

    @given(terms=terms, viewer=viewers)
    def test_lifts_the_maturity_limit_for_what_was_granted_and_nothing_else(self, terms: Terms, viewer: Viewer) -> None:
        bare = replace(viewer, granted=frozenset())
        grown = replace(bare, maturity=ADULT)

        assert sight(terms, viewer) is sight(terms, grown if terms.release_id in viewer.granted else bare)

    @given(terms=terms, viewer=viewers)
    def test_is_the_same_for_all_of_a_segment(self, terms: Terms, viewer: Viewer) -> None:
        """B6: what is shared cannot depend on more than what it is shared by."""
        assert sight(terms, viewer) is sight(terms, viewer.shared())
        assert viewer.segment == viewer.shared().segment

    @given(one=viewers, other=viewers, terms=terms)
    def test_is_told_apart_by_the_segment(self, one: Viewer, other: Viewer, terms: Terms) -> None:
        """B6."""
        assert sight(terms, one) is sight(terms, other) or one.segment != other.segment

    @given(terms=terms, viewer=viewers)
    def test_is_what_may_be_played_but_for_the_hours(self, terms: Terms, viewer: Viewer) -> None:
        seen = sight(terms, viewer)

        assert seen is sight(terms, replace(viewer, asleep=not viewer.asleep))
        assert seen is playable(terms, replace(viewer, asleep=False))
        asleep = playable(terms, replace(viewer, asleep=True))
        assert asleep is (Sight.OUTSIDE_ALLOWED_HOURS if seen is Sight.VISIBLE else seen)


class TestDecided:
    def test_grants_for_two_hours_once(self) -> None:
        request = _a_request()
        granted = request.decided(grant=True, at=NOON)

        assert (TitleRequestState.GRANTED, NOON + GRANTED_FOR) == (granted.state, granted.expire_time)
        assert granted == granted.decided(grant=True, at=NOON + timedelta(hours=1))
        assert granted.holds(at=NOON + GRANTED_FOR - MINUTE)
        assert not granted.holds(at=NOON + GRANTED_FOR)

    def test_takes_a_grant_back_while_it_holds(self) -> None:
        granted = _a_request().decided(grant=True, at=NOON)
        refused = granted.decided(grant=False, at=NOON + MINUTE)

        assert (TitleRequestState.REFUSED, None) == (refused.state, refused.expire_time)
        assert refused == refused.decided(grant=False, at=NOON + 2 * MINUTE)
        assert refused.decided(grant=True, at=NOON + 2 * MINUTE).holds(at=NOON + GRANTED_FOR + MINUTE)

    @pytest.mark.parametrize("grant", [True, False])
    def test_says_nothing_of_a_grant_that_has_ended(self, grant: bool) -> None:
        granted = _a_request().decided(grant=True, at=NOON)

        with pytest.raises(TitleRequestOver):
            granted.decided(grant=grant, at=NOON + GRANTED_FOR)


def _a_request() -> TitleRequest:
    return TitleRequest(title_request_id="t", account_id="a", profile_id="p", release_id="r", create_time=NOON)
