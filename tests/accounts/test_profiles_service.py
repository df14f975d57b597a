"""Every rule and refusal of profiles, over the real store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.postgres import bare
from domain.accounts.allowed_hours import AllowedHours
from domain.accounts.model import AccountNotFound, Limits
from domain.accounts.naming import NameMixesScripts, NameUnreadable
from domain.accounts.profiles import (
    CLOSED,
    MOST_PROFILES,
    AvatarFileUnknown,
    LastProfile,
    PinNeeded,
    PinWrong,
    Profile,
    ProfileChanged,
    ProfileIdReused,
    ProfileNameTaken,
    ProfileNotFound,
    ProfilesFull,
    SessionMissing,
)
from domain.accounts.sessions import ProofTooOld
from domain.accounts.throttle import TooManyTries
from domain.kernel import Page, new_id
from tests.accounts.homes import Home
from tests.accounts.households import a_profile, a_session, an_account, as_viewer
from tests.builders import NOON

JUST_NOW = timedelta(minutes=1)
MINUTE = timedelta(minutes=1)


class TestListProfiles:
    async def test_makes_the_first_one_once_whoever_asks_at_once(self, home: Home) -> None:
        lists = await asyncio.gather(*(home.listed() for _ in range(6)))

        assert ["Akiyama"] == [one.name for one in lists[0]]
        assert all(one == lists[0] for one in lists)
        assert ["ProfileCreated"] == await home.events()

    async def test_knows_of_no_account_that_is_gone(self, home: Home) -> None:
        with pytest.raises(AccountNotFound):
            await home.profiles.list_profiles(viewer=as_viewer(new_id(at=NOON)), at=NOON)


class TestCreateProfile:
    async def test_keeps_what_was_asked_besides_the_first_one(self, home: Home) -> None:
        made = await home.add("  Yui ", maturity=16, region="JP", time_zone="Asia/Tokyo")

        assert ["Akiyama", "Yui"] == [one.name for one in await home.listed()]
        assert made == await home.profiles.get_profile(made.profile_id, viewer=home.viewer())
        assert ["ProfileCreated"] * 2 == await home.events()

    async def test_gives_the_first_result_for_a_repeated_request(self, home: Home) -> None:
        """E: exactly once."""
        wanted = a_profile(name="Yui", account_id=home.account_id)
        made = [await home.profiles.create_profile(wanted, pin, viewer=home.viewer(), at=NOON) for pin in ("1234", "1234")]
        later = await home.update(made[0], {"name": "Ui"}, by=home.viewer(made[0]))
        again = await home.profiles.create_profile(wanted, "1234", viewer=home.viewer(), at=NOON)

        assert made[0] == made[1]
        assert later == again
        with pytest.raises(ProfileIdReused):
            await home.profiles.create_profile(replace(wanted, name="Azusa"), "", viewer=home.viewer(), at=NOON)

    async def test_takes_no_id_from_another_account(self, home: Home) -> None:
        """B2."""
        made = await home.add("Yui")
        other = await an_account(home.database, "Others")
        wanted = a_profile(profile_id=made.profile_id, account_id=other, name="Yui")

        with pytest.raises(ProfileIdReused):
            await home.profiles.create_profile(wanted, "", viewer=as_viewer(other), at=NOON)

    @pytest.mark.parametrize(
        ("name", "refusal"),
        [
            ("Akiyama", ProfileNameTaken),
            ("AKIYAMA", ProfileNameTaken),
            ("Ak\u00edyama", ProfileNameTaken),
            ("Akiyama\u200b", NameUnreadable),
            ("\u0410kiyama", NameMixesScripts),
        ],
    )
    async def test_refuses_names_that_look_alike(self, home: Home, name: str, refusal: type[Exception]) -> None:
        """B8."""
        await home.listed()

        with pytest.raises(refusal):
            await home.add(name)

    async def test_stops_at_the_cap_however_many_ask_at_once(self, home: Home) -> None:
        made = await asyncio.gather(*(home.add(f"Viewer {one}") for one in "abcdefghjkmp"), return_exceptions=True)

        assert MOST_PROFILES == len(await home.listed())
        assert MOST_PROFILES - 1 == sum(isinstance(one, Profile) for one in made)
        assert {Profile, ProfilesFull} == {type(one) for one in made}

    async def test_is_not_for_limited_profiles_without_the_owners_proof(self, home: Home) -> None:
        kid = await home.kid()
        wanted = a_profile(name="Grown-up", account_id=home.account_id)
        proven = await home.session(kid, proven=JUST_NOW)

        with pytest.raises(ProofTooOld):
            await home.profiles.create_profile(wanted, "", viewer=home.viewer(kid, await home.session(kid)), at=NOON)
        assert wanted.name == (await home.profiles.create_profile(wanted, "", viewer=home.viewer(kid, proven), at=NOON)).name

    async def test_takes_an_image_that_the_viewer_may_see(self, home: Home) -> None:
        release, kid = await home.release(age_rating=18), await home.kid()
        poster = await home.poster(release)

        assert poster == (await home.add("Grown", avatar_file_id=poster)).avatar_file_id
        for file, by in ((new_id(at=NOON), home.viewer()), (poster, home.viewer(kid))):
            with pytest.raises(AvatarFileUnknown):
                await home.update(kid, {"avatar_file_id": file}, by=by)
        granted = home.viewer(kid, granted=frozenset({release.release_id}))
        assert poster == (await home.update(kid, {"avatar_file_id": poster}, by=granted)).avatar_file_id


class TestUpdateProfile:
    async def test_changes_what_is_named_and_says_so(self, home: Home) -> None:
        made = await home.add("Yui")
        after = await home.update(made, {"name": "Ui", "private_session": True}, by=home.viewer(made))

        assert (made.version + 1, "Ui", True) == (after.version, after.name, after.private_session)
        assert after == await home.profiles.get_profile(made.profile_id, viewer=home.viewer())
        assert "ProfileUpdated" == (await home.events())[-1]
        assert [] == await home.revoked()

    async def test_does_nothing_where_nothing_is_different(self, home: Home) -> None:
        made = await home.add("Yui")

        assert made == await home.update(made, {"name": "Yui"}, by=home.viewer())
        assert 2 == len(await home.events())

    async def test_refuses_what_was_read_before_another_change(self, home: Home) -> None:
        made = await home.add("Yui")
        await home.update(made, {"name": "Ui"}, by=home.viewer(), version=1)

        with pytest.raises(ProfileChanged):
            await home.update(made, {"name": "Yuki"}, by=home.viewer(), version=1)

    async def test_refuses_the_name_of_another(self, home: Home) -> None:
        made = await home.add("Yui")

        with pytest.raises(ProfileNameTaken):
            await home.update(made, {"name": "akiyama"}, by=home.viewer())

    async def test_makes_all_tokens_void_when_limits_change(self, home: Home) -> None:
        made = await home.add("Yui")
        await home.update(made, {"maturity": 12}, by=home.viewer())

        assert [""] == await home.revoked()
        assert 12 == (await home.limits(made.profile_id)).maturity

    async def test_lifts_a_childs_limit_with_the_owners_proof_alone(self, home: Home) -> None:
        """A kids' profile never has more than its ceiling, and ceases to be one only with the proof."""
        kid, grown = await home.kid(), (await home.listed())[0]
        changes = {"kids": False, "maturity": 18}
        stale, fresh = await home.session(grown), await home.session(grown, proven=JUST_NOW)

        for by in (home.viewer(), home.viewer(grown, stale), home.viewer(kid, stale), home.viewer(grown)):
            with pytest.raises(ProofTooOld):
                await home.update(kid, changes, by=by)
        assert 18 == (await home.update(kid, changes, by=home.viewer(grown, fresh))).maturity

    async def test_takes_the_pin_of_an_unlimited_profile_for_a_proof(self, home: Home) -> None:
        kid, parent = await home.kid(), await home.add("Parent", "4321")
        teen = await home.add("Teen", "1111", maturity=16)

        with pytest.raises(PinWrong):
            await home.update(kid, {"maturity": 6}, by=home.viewer(parent), owner_pin="1234")
        with pytest.raises(ProofTooOld):
            await home.update(kid, {"kids": False}, by=home.viewer(parent))
        with pytest.raises(ProofTooOld):
            await home.update(kid, {"kids": False}, by=home.viewer(teen), owner_pin="1111")
        assert not (await home.update(kid, {"kids": False}, by=home.viewer(parent), owner_pin="4321")).kids

    async def test_leaves_a_child_its_name_avatar_and_language(self, home: Home) -> None:
        kid = await home.kid()
        by = home.viewer(kid)
        after = await home.update(kid, {"name": "Ui", "avatar": "cat", "language": "ja"}, by=by)

        assert ("Ui", "cat", "ja") == (after.name, after.avatar, after.language)
        for changes in ({"maturity": 6}, {"private_session": True}, {"pin": "1234"}, {"time_zone": "Asia/Tokyo"}):
            with pytest.raises(ProofTooOld):
                await home.update(kid, changes, by=by)

    async def test_keeps_the_pin_of_another_from_others(self, home: Home) -> None:
        locked, other = await home.add("Locked", "1234"), (await home.listed())[0]

        for changes in ({"pin": ""}, {"pin": "9999"}, {"name": "Mine"}):
            with pytest.raises(ProofTooOld):
                await home.update(locked, changes, by=home.viewer(other))
        assert "1234" != locked.pin_hash

    async def test_changes_ones_own_pin_with_the_old_one(self, home: Home) -> None:
        mine = await home.add("Mine", "1234")

        with pytest.raises(ProofTooOld):
            await home.update(mine, {"pin": ""}, by=home.viewer(mine))
        assert (await home.update(mine, {"pin": ""}, by=home.viewer(mine), owner_pin="1234")).pin_hash is None

    @pytest.mark.parametrize("changes", [{"kids": True}, {"maturity": 16}, {"allowed_hours": (AllowedHours(1, 0, 60),)}])
    async def test_uses_up_the_proofs_given_on_a_profile_that_comes_to_see_less(self, home: Home, changes: dict[str, Any]) -> None:
        mine, other = (await home.listed())[0], await home.add("Other")
        on_it, beside = [await home.session(one, proven=JUST_NOW) for one in (mine, other)]
        limited = await home.update(mine, changes, by=home.viewer(mine, on_it))
        undo = {"kids": False, "maturity": 18, "allowed_hours": ()}

        for at in (NOON, NOON + MINUTE):
            with pytest.raises(ProofTooOld):
                await home.profiles.update_profile(
                    mine.profile_id, undo, version=0, owner_pin="", viewer=home.viewer(limited, on_it), at=at
                )
        assert not (await home.update(mine, undo, by=home.viewer(other, beside))).is_limited

    async def test_leaves_proofs_where_a_profile_comes_to_see_more(self, home: Home) -> None:
        kid = await home.kid()
        session = await home.session(kid, proven=JUST_NOW)
        by = home.viewer(kid, session)
        await home.update(kid, {"kids": False, "maturity": 16}, by=by)

        assert 18 == (await home.update(kid, {"maturity": 18}, by=by)).maturity

    async def test_lets_in_by_a_new_pin_at_once_whatever_was_guessed_of_the_old_one(self, home: Home) -> None:
        locked, session = await home.add("Locked", "1234"), await home.session(proven=JUST_NOW)
        by = home.viewer(session_id=session)
        guesses = [home.profiles.switch_profile(locked.profile_id, f"{number:04}", viewer=by, at=NOON) for number in range(20)]
        assert TooManyTries in {type(one) for one in await asyncio.gather(*guesses, return_exceptions=True)}
        after = await home.update(locked, {"pin": "5678"}, by=by)

        assert (after, True) == await home.profiles.switch_profile(locked.profile_id, "5678", viewer=by, at=NOON)


class TestDeleteProfile:
    async def test_leaves_the_last_one(self, home: Home) -> None:
        (only,) = await home.listed()

        with pytest.raises(LastProfile):
            await home.profiles.delete_profile(only.profile_id, viewer=home.viewer(), at=NOON)

    async def test_leaves_one_of_the_last_two_when_both_are_deleted_at_once(self, home: Home) -> None:
        await home.add("Yui")
        both = await home.listed()
        outcomes = await asyncio.gather(
            *(home.profiles.delete_profile(one.profile_id, viewer=home.viewer(), at=NOON) for one in both), return_exceptions=True
        )

        assert 1 == len(await home.listed())
        assert [LastProfile] == [type(one) for one in outcomes if one is not None]

    async def test_may_be_repeated(self, home: Home) -> None:
        made = await home.add("Yui")
        for _ in range(2):
            await home.profiles.delete_profile(made.profile_id, viewer=home.viewer(), at=NOON)

        assert 1 == (await home.events()).count("ProfileDeleted")
        with pytest.raises(ProfileNotFound):
            await home.profiles.delete_profile(new_id(at=NOON), viewer=home.viewer(), at=NOON)
        with pytest.raises(ProfileIdReused):
            await home.profiles.create_profile(replace(made, pin_hash=None), "", viewer=home.viewer(), at=NOON)
        assert "Yui" == (await home.add("Yui")).name

    async def test_leaves_nothing_but_an_id_of_it(self, home: Home) -> None:
        """A18."""
        made = await home.add("Yui", "1234", region="JP")
        await home.profiles.delete_profile(made.profile_id, viewer=home.viewer(made), at=NOON)
        async with home.database.reads(bare)() as connection:
            query = "SELECT name, name_key, region, pin_hash, allowed_hours FROM accounts.profiles WHERE profile_id = $1"
            rows = await connection.fetch(query, made.profile_id)

        assert [("", "", "", None, [])] == [tuple(row) for row in rows]

    async def test_takes_with_it_what_was_kept_of_it(self, home: Home) -> None:
        kid = await home.kid()
        await home.ask(await home.release(), home.viewer(kid))
        await home.profiles.delete_profile(kid.profile_id, viewer=home.viewer(), at=NOON)

        with pytest.raises(ProfileNotFound):
            await home.profiles.get_profile(kid.profile_id, viewer=home.viewer())
        assert ([], "") == await home.requests.list_title_requests(None, Page(), viewer=home.viewer(), at=NOON)
        assert "ProfileDeleted" == (await home.events())[-1]

    async def test_gives_a_childs_device_nothing_more(self, home: Home) -> None:
        kid, grown = await home.kid(), await home.add("Grown")
        sessions = [await home.session(one) for one in (kid, grown)]
        for one in (kid, grown):
            await home.profiles.delete_profile(one.profile_id, viewer=home.viewer(), at=NOON)

        assert [kid.profile_id, ""] == [await home.profile_of(one) for one in sessions]
        assert CLOSED == await home.limits(kid.profile_id)
        assert Limits() == await home.limits("")
        with pytest.raises(ProofTooOld):
            (left,) = await home.listed()
            await home.profiles.switch_profile(left.profile_id, "", viewer=home.viewer(kid, sessions[0]), at=NOON)

    async def test_is_not_for_limited_profiles_nor_for_those_with_a_pin_of_others(self, home: Home) -> None:
        kid, locked = await home.kid(), await home.add("Locked", "1234")

        for by, target in ((kid, kid), (kid, locked), ((await home.listed())[0], locked)):
            with pytest.raises(ProofTooOld):
                await home.profiles.delete_profile(target.profile_id, viewer=home.viewer(by), at=NOON)
        await home.profiles.delete_profile(locked.profile_id, viewer=home.viewer(locked), at=NOON)


class TestSwitchProfile:
    async def test_puts_the_session_on_a_profile(self, home: Home) -> None:
        made, session = await home.add("Yui"), await home.session()
        switched = await home.profiles.switch_profile(made.profile_id, "", viewer=home.viewer(session_id=session), at=NOON)
        again = await home.profiles.switch_profile(made.profile_id, "", viewer=home.viewer(session_id=session), at=NOON)

        assert ((made, True), (made, False)) == (switched, again)
        assert made.profile_id == await home.profile_of(session)
        assert [session] == await home.revoked()

    async def test_needs_the_pin_where_there_is_one_whatever_else_was_proven(self, home: Home) -> None:
        locked, session = await home.add("Locked", "1234"), await home.session(proven=JUST_NOW)
        by = home.viewer(session_id=session)

        with pytest.raises(PinNeeded):
            await home.profiles.switch_profile(locked.profile_id, "", viewer=by, at=NOON)
        with pytest.raises(PinWrong):
            await home.profiles.switch_profile(locked.profile_id, "1235", viewer=by, at=NOON)
        assert (locked, True) == await home.profiles.switch_profile(locked.profile_id, "1234", viewer=by, at=NOON)

    async def test_hears_guesses_later_and_later(self, home: Home) -> None:
        """A5, A6, A7: counted before they are looked at, so that those at once are no more than those one after another."""
        locked, session = await home.add("Locked", "1234"), await home.session()
        by = home.viewer(session_id=session)
        guesses = [home.profiles.switch_profile(locked.profile_id, f"{number:04}", viewer=by, at=NOON) for number in range(40)]
        outcomes = [type(one) for one in await asyncio.gather(*guesses, return_exceptions=True)]

        assert {PinWrong, TooManyTries} == set(outcomes)
        assert outcomes.count(PinWrong) < 10
        with pytest.raises(TooManyTries):
            await home.profiles.switch_profile(locked.profile_id, "1234", viewer=by, at=NOON)
        much_later = NOON + timedelta(minutes=20)
        assert (locked, True) == await home.profiles.switch_profile(locked.profile_id, "1234", viewer=by, at=much_later)

    async def test_leaves_a_limited_profile_for_more_with_a_pin_or_the_owners_proof(self, home: Home) -> None:
        kid, other, grown, locked = (
            await home.kid(),
            await home.kid("Ui", maturity=6),
            await home.add("A"),
            await home.add("B", "12345678"),
        )
        session = await home.session(kid)
        by = home.viewer(kid, session)

        with pytest.raises(ProofTooOld):
            await home.profiles.switch_profile(grown.profile_id, "", viewer=by, at=NOON)
        await home.profiles.switch_profile(other.profile_id, "", viewer=by, at=NOON)
        with pytest.raises(ProofTooOld):
            await home.profiles.switch_profile(kid.profile_id, "", viewer=by, at=NOON)
        await home.profiles.switch_profile(locked.profile_id, "12345678", viewer=by, at=NOON)

        assert locked.profile_id == await home.profile_of(session)

    async def test_uses_the_proof_up_when_a_child_gets_the_device(self, home: Home) -> None:
        kid, grown, session = await home.kid(), await home.add("Grown"), await home.session(proven=JUST_NOW)
        by = home.viewer(session_id=session)
        await home.profiles.switch_profile(kid.profile_id, "", viewer=by, at=NOON)

        with pytest.raises(ProofTooOld):
            await home.profiles.switch_profile(grown.profile_id, "", viewer=by, at=NOON)

    async def test_goes_by_the_session_and_not_by_what_an_older_token_says(self, home: Home) -> None:
        kid, grown, session = await home.kid(), await home.add("Grown"), await home.session()
        older = home.viewer(grown, session)
        await home.profiles.switch_profile(kid.profile_id, "", viewer=older, at=NOON)

        with pytest.raises(ProofTooOld):
            await home.profiles.switch_profile(grown.profile_id, "", viewer=older, at=NOON)

    async def test_needs_a_session_of_the_account_that_goes_on(self, home: Home) -> None:
        (only,) = await home.listed()
        other = await an_account(home.database, "Others")
        others = await a_session(home.database, other, at=NOON)
        over = await a_session(home.database, home.account_id, at=NOON - timedelta(days=90))

        for session in ("", "no id", new_id(at=NOON), others, over):
            with pytest.raises(SessionMissing):
                await home.profiles.switch_profile(only.profile_id, "", viewer=home.viewer(session_id=session), at=NOON)


class TestRevoke:
    async def test_covers_what_was_refreshed_since_the_call_came_in(self, home: Home) -> None:
        """A token that was made of the old limits a moment after the call began is void as well."""
        made, session = await home.add("Yui"), await home.session()
        later = NOON + timedelta(seconds=3)
        async with home.database.begins(bare)() as connection:
            await connection.execute("UPDATE accounts.sessions SET rotate_time = $1 WHERE session_id = $2", later, session)
        await home.update(made, {"maturity": 16}, by=home.viewer())
        async with home.database.reads(bare)() as connection:
            assert later == await connection.fetchval("SELECT max(time) FROM accounts.revocations")
