"""Ways into the catalog besides one title and the plain list, over the real store."""

from __future__ import annotations

import itertools
import math
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres import Database, bare
from domain.catalog.filters import Filter, Key, Order, OrderUnknown, order
from domain.catalog.franchises import Franchise
from domain.catalog.kinds import FRANCHISE
from domain.catalog.model import (
    CatalogEmpty,
    Credit,
    ExternalId,
    ExternalIdTaken,
    FranchiseNotFound,
    Genre,
    Kind,
    Provider,
    ProviderRepeated,
    ReleaseNotFound,
    Role,
    Season,
    Tag,
    TagRepeated,
    TagUnknown,
    ThemePlace,
    ThemeSong,
    Title,
    Trailer,
)
from domain.catalog.service import Catalog
from domain.editing.service import Editing
from domain.kernel import Page, new_id
from domain.paging import PageTokenInvalid, place_token
from domain.visibility import Publication
from tests.builders import GUEST, NOON, a_draft, a_release, a_viewer, an_editor
from tests.catalog.conftest import AUTHOR, Desk
from tests.waiting import until

FACTS = {
    "synonyms": (Title("en", "Wind Song"), Title("en", "Songs of Wind")),
    "studios": ("Bones", "Madhouse"),
    "credits": (Credit(Role.VOICING, "AniLiberty"), Credit(Role.TIMING, "Kaze")),
    "rating": 8.25,
    "popularity": 1234,
    "premiere_time": NOON,
    "in_production": True,
    "external_ids": (ExternalId(Provider.MAL, "5114"), ExternalId(Provider.TMDB, "tv/31911")),
    "trailers": (Trailer("PV 1", "https://example.org/pv1"),),
    "theme_songs": (ThemeSong(ThemePlace.OPENING, "Again", "YUI"),),
}


@pytest.fixture
async def tags(database: Database) -> None:
    async with database.begins(bare)() as connection:
        await connection.execute(
            "INSERT INTO catalog.tags (tag_id, name) VALUES ('time-travel', 'Time Travel'), ('alchemy', 'Alchemy')"
        )


async def aliases(catalog: Catalog, wanted: Filter) -> list[str]:
    releases, _ = await catalog.list_releases(wanted, Page(100), viewer=GUEST)
    return [release.alias for release in releases]


class TestRelease:
    async def test_keeps_every_fact(self, catalog: Catalog, admin: Desk, tags: None) -> None:
        created, _ = await admin.create_release(a_release(**FACTS, tags=(Tag("time-travel"),)))

        found = await catalog.get_release(created.release_id, viewer=GUEST)

        assert FACTS == {name: getattr(found, name) for name in FACTS}
        assert (Tag("time-travel", "Time Travel"),) == found.tags

    @pytest.mark.parametrize(
        ("over", "refusal"),
        [
            ({"tags": (Tag("nothing"),)}, TagUnknown),
            ({"tags": (Tag("alchemy"), Tag("alchemy"))}, TagRepeated),
            ({"external_ids": (ExternalId(Provider.MAL, "1"), ExternalId(Provider.MAL, "2"))}, ProviderRepeated),
        ],
    )
    async def test_refuses_what_it_cannot_carry(
        self, admin: Desk, tags: None, over: dict[str, object], refusal: type[Exception]
    ) -> None:
        with pytest.raises(refusal):
            await admin.create_release(a_release(**over))

    async def test_has_its_external_ids_alone(self, admin: Desk) -> None:
        first, _ = await admin.create_release(a_release(**FACTS))

        with pytest.raises(ExternalIdTaken):
            await admin.create_release(a_release(external_ids=(ExternalId(Provider.MAL, "5114"),)))
        await admin.update_release(first.release_id, {"external_ids": ()}, version=0, at=NOON)
        await admin.create_release(a_release(external_ids=(ExternalId(Provider.MAL, "5114"),)))


class TestLookupRelease:
    async def test_finds_it_by_its_id_elsewhere(self, catalog: Catalog, admin: Desk) -> None:
        created, _ = await admin.create_release(a_release(**FACTS))

        assert created == await catalog.lookup_release(Provider.MAL, "5114", viewer=GUEST)
        with pytest.raises(ReleaseNotFound):
            await catalog.lookup_release(Provider.ANIDB, "5114", viewer=GUEST)

    async def test_obeys_the_visibility_rule(self, catalog: Catalog, admin: Desk) -> None:
        await admin.create_release(a_draft(**FACTS))

        with pytest.raises(ReleaseNotFound):
            await catalog.lookup_release(Provider.MAL, "5114", viewer=GUEST)


class TestOrder:
    def test_reads_what_people_write(self) -> None:
        assert Order(Key.PUBLISHED, descending=True) == order("")
        assert Order(Key.RATING, descending=True) == order("rating")
        assert Order(Key.TITLE, descending=False) == order("title")
        assert Order(Key.TITLE, descending=True) == order("title desc")
        for wrong in ("nothing", "rating up", "rating  ", "rating desc desc"):
            with pytest.raises(OrderUnknown):
                order(wrong)


class TestListReleases:
    async def test_narrows_by_the_further_filters(self, catalog: Catalog, admin: Desk, tags: None) -> None:
        await admin.create_release(
            a_release(alias="one", **FACTS, tags=(Tag("time-travel"),), season=Season.FALL, age_rating=6, genres=(Genre("drama"),))
        )
        await admin.create_release(a_release(alias="other", season=Season.WINTER, age_rating=18))

        for wanted in (
            Filter(tags=("time-travel",)),
            Filter(tags=("time travel",)),
            Filter(genres=("drama",)),
            Filter(season=Season.FALL),
            Filter(age_rating_to=12),
            Filter(studio="Madhouse"),
            Filter(voice_team="AniLiberty"),
            Filter(studio="Bones", season=Season.FALL, kind=Kind.TV, tags=("time-travel",), genres=("drama",)),
        ):
            assert ["one"] == await aliases(catalog, wanted), wanted
        for empty in (Filter(studio="bones"), Filter(voice_team="Kaze"), Filter(tags=("alchemy",)), Filter(tags=("nothing",))):
            assert [] == await aliases(catalog, empty)

    async def test_orders_by_what_is_asked_for(self, catalog: Catalog, admin: Desk) -> None:
        await admin.create_release(a_release(alias="low", titles=(Title("en", "Alpha"),), rating=2.5, popularity=30))
        await admin.create_release(
            a_release(alias="high", titles=(Title("en", "beta"),), rating=9.75, popularity=20, premiere_time=NOON)
        )
        await admin.create_release(
            a_release(
                alias="middle", titles=(Title("en", "Gamma"),), rating=5, popularity=10, premiere_time=NOON - timedelta(days=9)
            )
        )

        assert ["high", "middle", "low"] == await aliases(catalog, Filter(order=order("rating")))
        assert ["low", "high", "middle"] == await aliases(catalog, Filter(order=order("popularity")))
        assert ["high", "middle", "low"] == await aliases(catalog, Filter(order=order("premiere")))
        assert ["low", "high", "middle"] == await aliases(catalog, Filter(order=order("title")))
        assert ["middle", "high", "low"] == await aliases(catalog, Filter(order=order("title desc")))

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(key=st.sampled_from(Key), descending=st.booleans(), size=st.sampled_from([1, 3, 16]))
    async def test_pages_in_any_order_lose_and_repeat_nothing(
        self, catalog: Catalog, admin: Desk, key: Key, descending: bool, size: int
    ) -> None:
        """B7: ties too."""
        if not await aliases(catalog, Filter()):
            for number, minute in itertools.product(range(4), range(3)):
                facts = {"rating": number / 3, "popularity": number, "premiere_time": NOON + timedelta(days=number)}
                await admin.create_release(a_release(**facts, at=NOON + timedelta(minutes=minute)))
        wanted = Filter(order=Order(key, descending))
        seen, page = [], Page(size)

        while True:
            releases, following = await catalog.list_releases(wanted, page, viewer=GUEST)
            seen += [release.alias for release in releases]
            if not following:
                break
            page = Page(size, following)

        assert await aliases(catalog, wanted) == seen
        assert 12 == len(set(seen))

    @pytest.mark.parametrize(
        "values", [(), ("x",), (1, "x"), ("a", "b", "c"), (True, "x"), (None, "x"), ([1], "x"), (2**60, "y"), (1.5, "y")]
    )
    @pytest.mark.parametrize("key", [Key.TITLE, Key.RATING, Key.PUBLISHED])
    async def test_refuses_places_that_are_none(self, catalog: Catalog, key: Key, values: tuple[str | float, ...]) -> None:
        wanted = Filter(order=Order(key))
        token = place_token(*values, binding=wanted.binding)

        with pytest.raises(PageTokenInvalid):
            await catalog.list_releases(wanted, Page(1, token), viewer=GUEST)

    @pytest.mark.parametrize(
        ("key", "place"),
        [(Key.POPULARITY, 2**31), (Key.TITLE, "a\0"), (Key.TITLE, "\ud800"), (Key.RATING, math.nan), (Key.PREMIERE, -(2**60))],
    )
    async def test_refuses_places_beyond_what_can_be_compared(self, catalog: Catalog, key: Key, place: str | float) -> None:
        wanted = Filter(order=Order(key))
        token = place_token(place, new_id(at=NOON), binding=wanted.binding)

        with pytest.raises(PageTokenInvalid):
            await catalog.list_releases(wanted, Page(1, token), viewer=GUEST)
        with pytest.raises(PageTokenInvalid):
            await catalog.list_franchises(Page(1, place_token("a\0", new_id(at=NOON), binding="franchises")))


class TestListFilterValues:
    async def test_counts_exactly_what_the_viewer_may_see(self, catalog: Catalog, admin: Desk, tags: None) -> None:
        facts = {"genres": (Genre("drama"),), "tags": (Tag("alchemy"),), "studios": ("Bones",), "age_rating": 16}
        await admin.create_release(a_release(**facts, credits=(Credit(Role.VOICING, "Kaze"),)))
        await admin.create_release(a_release(genres=(Genre("drama"), Genre("mecha")), kind=Kind.MOVIE, year=1999))
        await admin.create_release(a_draft(genres=(Genre("drama"),)))

        grown = await catalog.list_filter_values(viewer=GUEST)
        child = await catalog.list_filter_values(viewer=a_viewer(maturity=12))

        assert [("drama", "Drama", 2), ("mecha", "Mecha", 1)] == [(v.value, v.label, v.release_count) for v in grown["genre"]]
        assert {"1": 1, "2": 1} == {value.value: value.release_count for value in grown["kind"]}
        assert ["Bones"] == [value.value for value in grown["studio"]]
        assert ["Kaze"] == [value.value for value in grown["voice_team"]]
        assert ["alchemy"] == [value.value for value in grown["tag"]]
        assert "studio" not in child
        assert [1, 1] == [value.release_count for value in child["genre"]]


class TestGetRandomRelease:
    async def test_finds_every_visible_one_sooner_or_later(self, catalog: Catalog, admin: Desk) -> None:
        visible = {(await admin.create_release(a_release()))[0].release_id for _ in range(3)}
        await admin.create_release(a_draft())

        found = {(await catalog.get_random_release(viewer=GUEST)).release_id for _ in range(60)}

        assert visible == found

    async def test_says_when_there_is_none(self, catalog: Catalog) -> None:
        with pytest.raises(CatalogEmpty):
            await catalog.get_random_release(viewer=GUEST)


class TestFranchises:
    async def test_show_their_visible_members_in_order_and_what_they_come_to(
        self, catalog: Catalog, admin: Desk, editing: Editing
    ) -> None:
        second, _ = await admin.create_release(a_release(year=2003))
        first, _ = await admin.create_release(a_release(year=1999))
        hidden, _ = await admin.create_release(a_release(publication=Publication.WITHDRAWN))
        members = (first.release_id, second.release_id, hidden.release_id)
        franchise = Franchise(franchise_id=new_id(at=NOON), name="Wind", release_ids=members, create_time=NOON, update_time=NOON)
        await editing.create(FRANCHISE, franchise, author=AUTHOR)

        view = await catalog.get_franchise(franchise.franchise_id, viewer=GUEST)
        shown = await catalog.get_release(second.release_id, viewer=GUEST)

        assert [first.release_id, second.release_id] == [release.release_id for release in view.members]
        assert (2, 1999, 2003) == (view.totals.release_count, view.totals.first_year, view.totals.last_year)
        assert shown.franchise is not None
        assert ("Wind", 2) == (shown.franchise.name, shown.franchise.position)
        with pytest.raises(FranchiseNotFound):
            await catalog.get_franchise(new_id(at=NOON), viewer=GUEST)

    async def test_are_listed_by_name_in_pages(self, catalog: Catalog, editing: Editing) -> None:
        for name in ("Wind", "Air", "Sky"):
            draft = Franchise(franchise_id=new_id(at=NOON), name=name, create_time=NOON, update_time=NOON)
            await editing.create(FRANCHISE, draft, author=AUTHOR)

        first, token = await catalog.list_franchises(Page(2))
        rest, end = await catalog.list_franchises(Page(2, token))

        assert (["Air", "Sky"], ["Wind"], "") == ([f.name for f in first], [f.name for f in rest], end)


class TestListTags:
    async def test_counts_what_is_published(self, catalog: Catalog, admin: Desk, tags: None) -> None:
        await admin.create_release(a_release(tags=(Tag("alchemy"),)))
        await admin.create_release(a_draft(tags=(Tag("alchemy"),)))

        assert [Tag("alchemy", "Alchemy", 1), Tag("time-travel", "Time Travel", 0)] == await catalog.list_tags()


class TestListChanges:
    async def test_goes_on_where_it_left_off(self, catalog: Catalog, admin: Desk) -> None:
        none, start, _ = await catalog.list_changes("", size=2, viewer=GUEST)
        made = [(await admin.create_release(a_release()))[0].release_id for _ in range(3)]
        await admin.create_release(a_draft())

        async def four_are_there() -> bool:
            return len((await catalog.list_changes(start, size=100, viewer=an_editor()))[0]) == 4

        # The feed waits for every transaction that began before, also those of other tests' databases.
        await until(four_are_there)

        first, middle, more = await catalog.list_changes(start, size=2, viewer=GUEST)
        rest, end, _ = await catalog.list_changes(middle, size=2, viewer=GUEST)
        nothing, same, no_more = await catalog.list_changes(end, size=2, viewer=GUEST)

        assert [] == none == nothing
        assert made == [message.change.release_id for message in first + rest if message.change]
        assert (True, False, end) == (more, no_more, same)
