"""Every rule and refusal of requests for titles, over the real store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.postgres.catalog.store import PostgresCatalog
from domain.accounts.profiles import (
    PinWrong,
)
from domain.accounts.sessions import ProofTooOld
from domain.accounts.title_requests import (
    GRANTED_FOR,
    MOST_GRANTS,
    MOST_WAITING,
    GrantsFull,
    ProfileIsLimited,
    TitleNotAboveLimit,
    TitleNotFound,
    TitleRequest,
    TitleRequestIdReused,
    TitleRequestNotFound,
    TitleRequestsFull,
    TitleRequestState,
)
from domain.kernel import Page, new_id
from domain.paging import PageTokenInvalid
from tests.accounts.homes import Home
from tests.accounts.households import a_profile, a_session, an_account, as_viewer
from tests.builders import NOON, a_draft, a_release

JUST_NOW = timedelta(minutes=1)
MINUTE = timedelta(minutes=1)


class TestRequestTitle:
    async def test_keeps_one_request_for_a_release_while_it_waits(self, home: Home) -> None:
        kid, release = await home.kid(), await home.release()
        asked = await home.ask(release, home.viewer(kid), note="Please")

        assert (TitleRequestState.WAITING, "Please") == (asked.state, asked.note)
        assert asked == await home.ask(release, home.viewer(kid), note="Please!!")
        assert asked == await home.ask(release, home.viewer(kid), title_request_id=asked.title_request_id, note="Please")
        with pytest.raises(TitleRequestIdReused):
            await home.ask(release, home.viewer(kid), title_request_id=asked.title_request_id, note="Else")
        assert "TitleRequested" == (await home.events())[-1]

    async def test_takes_no_id_from_another_account(self, home: Home) -> None:
        """B2."""
        kid, release = await home.kid(), await home.release()
        asked = await home.ask(release, home.viewer(kid))
        other = await an_account(home.database, "Others")
        wanted = a_profile(name="Kid", account_id=other, kids=True, maturity=12)
        theirs = await home.profiles.create_profile(wanted, "", viewer=as_viewer(other), at=NOON)

        with pytest.raises(TitleRequestIdReused):
            await home.ask(release, as_viewer(other, theirs), title_request_id=asked.title_request_id)

    async def test_tells_a_child_of_nothing_that_nobody_may_see(self, home: Home) -> None:
        by = home.viewer(await home.kid())
        hidden = [a_release(), a_draft(age_rating=18), await home.release(blocked_countries=("JP",))]
        async with home.database.begins(PostgresCatalog)() as catalog:
            assert await catalog.add_release(hidden[1])

        for release in hidden:
            with pytest.raises(TitleNotFound):
                await home.ask(release, by)

    async def test_is_not_for_what_may_be_seen_anyway(self, home: Home) -> None:
        kid = await home.kid()

        with pytest.raises(TitleNotAboveLimit):
            await home.ask(await home.release(age_rating=12), home.viewer(kid))
        with pytest.raises(TitleNotAboveLimit):
            await home.ask(await home.release(), home.viewer())

    async def test_stops_at_so_many_that_wait(self, home: Home) -> None:
        by = home.viewer(await home.kid())
        for _ in range(MOST_WAITING):
            await home.ask(await home.release(), by)

        with pytest.raises(TitleRequestsFull):
            await home.ask(await home.release(), by)


class TestDecideTitleRequest:
    async def test_lets_the_profile_see_the_release_for_two_hours(self, home: Home) -> None:
        kid, parent, release = await home.kid(), await home.add("Parent", "4321"), await home.release()
        sessions = [await home.session(one) for one in (kid, kid, parent)]
        asked = await home.ask(release, home.viewer(kid))
        granted = await home.decide(asked, home.viewer(parent), owner_pin="4321")
        again = await home.decide(asked, home.viewer(parent), owner_pin="4321", minutes=5)

        assert granted == again
        assert NOON + GRANTED_FOR == granted.expire_time
        assert ((release.release_id,), NOON + GRANTED_FOR) == ((found := await home.limits(kid.profile_id)).grants, found.until)
        assert () == (await home.limits(kid.profile_id, hours=2)).grants
        assert set(sessions[:2]) == set(await home.revoked())
        assert "TitleGranted" == (await home.events())[-1]

    async def test_takes_a_grant_back(self, home: Home) -> None:
        kid, parent = await home.kid(), await home.add("Parent", "4321")
        asked = await home.ask(await home.release(), home.viewer(kid))
        await home.session(kid)
        await home.decide(asked, home.viewer(parent), owner_pin="4321")
        refused = await home.decide(asked, home.viewer(parent), grant=False, minutes=5)

        assert TitleRequestState.REFUSED is refused.state
        assert () == (await home.limits(kid.profile_id, minutes=6)).grants
        assert 2 == len(await home.revoked())

    async def test_is_for_the_owner_alone(self, home: Home) -> None:
        kid, grown = await home.kid(), (await home.listed())[0]
        asked = await home.ask(await home.release(), home.viewer(kid))

        with pytest.raises(ProfileIsLimited):
            await home.decide(asked, home.viewer(kid, await home.session(kid, proven=JUST_NOW)))
        with pytest.raises(ProofTooOld):
            await home.decide(asked, home.viewer(grown, await home.session(grown)))
        assert (await home.decide(asked, home.viewer(grown, await home.session(grown, proven=JUST_NOW)))).holds(at=NOON)

    async def test_needs_the_right_pin(self, home: Home) -> None:
        kid, parent = await home.kid(), await home.add("Parent", "4321")
        asked = await home.ask(await home.release(), home.viewer(kid))

        with pytest.raises(PinWrong):
            await home.decide(asked, home.viewer(parent), owner_pin="0000")
        with pytest.raises(ProofTooOld):
            await home.decide(asked, home.viewer(parent))

    async def test_decides_nothing_for_other_accounts(self, home: Home) -> None:
        """B2."""
        asked = await home.ask(await home.release(), home.viewer(await home.kid()))
        other = await an_account(home.database, "Others")
        proven = await a_session(home.database, other, at=NOON, proven=JUST_NOW)

        for grant in (True, False):
            with pytest.raises(TitleRequestNotFound):
                await home.decide(asked, as_viewer(other, session_id=proven), grant=grant)

    async def test_stops_at_so_many_grants_at_once(self, home: Home) -> None:
        by, parent = home.viewer(await home.kid()), await home.add("Parent", "4321")
        asked = [await home.ask(await home.release(), by) for _ in range(MOST_GRANTS + 1)]
        for one in asked[:-1]:
            await home.decide(one, home.viewer(parent), owner_pin="4321")

        with pytest.raises(GrantsFull):
            await home.decide(asked[-1], home.viewer(parent), owner_pin="4321")
        assert (await home.decide(asked[-1], home.viewer(parent), owner_pin="4321", hours=3)).state is TitleRequestState.GRANTED


class TestListTitleRequests:
    @pytest.mark.parametrize("size", [1, 2, 5])
    async def test_goes_through_all_of_the_account(self, home: Home, size: int) -> None:
        """B7."""
        one, other, parent = await home.kid(), await home.kid("Ui"), await home.add("Parent", "4321")
        asked = [await home.ask(await home.release(), home.viewer(by)) for by in (one, other, one, other, one)]
        await home.decide(asked[0], home.viewer(parent), owner_pin="4321")
        found: list[TitleRequest] = []
        token = ""
        while token or not found:
            shown, token = await home.requests.list_title_requests(None, Page(size, token), viewer=home.viewer(), at=NOON)
            found += shown

        assert sorted((request.title_request_id for request in asked), reverse=True) == [one.title_request_id for one in found]

    async def test_shows_a_child_its_own(self, home: Home) -> None:
        one, other = await home.kid(), await home.kid("Ui")
        asked = [await home.ask(await home.release(), home.viewer(by)) for by in (one, other)]
        shown, _ = await home.requests.list_title_requests(None, Page(), viewer=home.viewer(one), at=NOON)
        waiting, _ = await home.requests.list_title_requests(TitleRequestState.WAITING, Page(), viewer=home.viewer(), at=NOON)
        granted, _ = await home.requests.list_title_requests(TitleRequestState.GRANTED, Page(), viewer=home.viewer(), at=NOON)

        assert (asked[:1], 2, []) == (shown, len(waiting), granted)

    async def test_takes_no_token_of_another_list(self, home: Home) -> None:
        """B7."""
        kid = await home.kid()
        for _ in range(2):
            await home.ask(await home.release(), home.viewer(kid))
        _, token = await home.requests.list_title_requests(None, Page(1), viewer=home.viewer(), at=NOON)

        for state, by in ((None, home.viewer(kid)), (TitleRequestState.WAITING, home.viewer()), (None, as_viewer(new_id(at=NOON)))):
            with pytest.raises(PageTokenInvalid):
                await home.requests.list_title_requests(state, Page(1, token), viewer=by, at=NOON)
