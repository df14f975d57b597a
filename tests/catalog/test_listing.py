"""Lists of a catalog that is large enough for a statement to choose its road."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.catalog.listing import FEW
from domain.catalog.filters import Filter, Key, Order
from domain.catalog.model import Kind
from domain.catalog.service import Catalog
from domain.kernel import Page
from tests.builders import GUEST, NOON

COUNT = 1000
# How many releases there are from one that carries it to the next.
STEPS = {"common": 1, "half": 2, "third": 3, "few": 50, "one": COUNT, "none": 10 * COUNT}
FILL = """
INSERT INTO catalog.releases (
    release_id, alias, titles, synopsis, kind, status, age_rating, planned_episode_count, publication, version, create_time,
    update_time, publish_time, rating
)
SELECT md5(n::text)::uuid, 'r-' || n, jsonb_build_array(jsonb_build_object('language', 'en', 'text', 'T' || lpad(n::text, 4, '0'))),
    '', 1 + n % 2, 2, 0, 0, CASE WHEN n % 10 = 0 THEN 1 ELSE 2 END, 1, t, t, t, n % 7
FROM generate_series(1, $1::int) n, LATERAL (SELECT $2::timestamptz + n * interval '1 minute' AS t)
"""
CARRY = "INSERT INTO catalog.release_{0}s SELECT md5(n::text)::uuid, $1 FROM generate_series($2::int, $3::int, $2::int) n"


@pytest.fixture
async def filled(database: Database, catalog: Catalog) -> Catalog:
    """A catalog with genres and tags of the names above; every tenth release is a draft, every second one a film."""
    async with database.begins(bare)() as connection:
        await connection.execute(FILL, COUNT, NOON)
        for what, (name, step) in itertools.product(("genre", "tag"), STEPS.items()):
            await connection.execute(f"INSERT INTO catalog.{what}s VALUES ($1, $2)", name, name.upper())
            await connection.execute(CARRY.format(what), name, step, COUNT)
        # Looked at while other tests' rows had just been deleted, the tables would be taken for empty.
        await connection.execute("ANALYZE catalog.releases, catalog.release_genres, catalog.release_tags")
    return catalog


async def listed(catalog: Catalog, wanted: Filter) -> list[int]:
    """Return the numbers of all releases in a list, page by page."""
    numbers: list[int] = []
    token = ""
    while True:
        releases, token = await catalog.list_releases(wanted, Page(100, token), viewer=GUEST)
        numbers += [int(release.alias.removeprefix("r-")) for release in releases]
        if not token:
            return numbers


def carrying(*steps: int) -> list[int]:
    return [n for n in range(1, COUNT + 1) if n % 10 and not any(n % step for step in steps)]


class TestListReleases:
    @pytest.mark.parametrize("tags", [(), ("common",), ("few",), ("none",), ("half", "third"), ("one", "half")])
    @pytest.mark.parametrize("genres", [(), ("common",), ("half", "few"), ("third", "half", "common")])
    async def test_holds_what_carries_all_that_is_wanted(
        self, filled: Catalog, genres: tuple[str, ...], tags: tuple[str, ...]
    ) -> None:
        by_title = Order(Key.TITLE, descending=False)

        found = await listed(filled, Filter(genres=genres, tags=tags, order=by_title))

        assert carrying(*(STEPS[name] for name in genres + tags)) == found

    @pytest.mark.parametrize("genre", ["half", "few"])
    @pytest.mark.parametrize("descending", [True, False])
    async def test_orders_and_narrows_alike_on_either_road(self, filled: Catalog, genre: str, *, descending: bool) -> None:
        wanted = Filter(genres=(genre,), tags=("common",), kind=Kind.TV, order=Order(Key.RATING, descending))

        found = await listed(filled, wanted)

        assert {n for n in carrying(STEPS[genre]) if n % 2 == 0} == set(found)
        assert len(found) == len(set(found))
        assert sorted((n % 7 for n in found), reverse=descending) == [n % 7 for n in found]

    async def test_takes_more_genres_and_tags_than_it_looks_at(self, filled: Catalog) -> None:
        every = tuple(name for name in STEPS if name not in {"one", "none"})

        assert carrying(*STEPS.values())[:0] == await listed(filled, Filter(genres=tuple(STEPS), tags=tuple(STEPS)))
        assert set(carrying(50, 3)) == set(await listed(filled, Filter(genres=every, tags=every)))

    def test_is_large_enough_for_both_roads(self) -> None:
        assert COUNT // STEPS["few"] <= FEW < COUNT // STEPS["half"]

    async def test_finds_the_latest_first(self, filled: Catalog) -> None:
        releases, _ = await filled.list_releases(Filter(genres=("half",)), Page(1), viewer=GUEST)

        assert [NOON + timedelta(minutes=COUNT - 2)] == [release.publish_time for release in releases]
