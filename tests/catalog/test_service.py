"""Every rule and refusal of the catalog, over the real store."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.listen import Bell
from domain.catalog.filters import Filter
from domain.catalog.model import (
    AliasLooksLikeId,
    AliasTaken,
    CursorInvalid,
    Genre,
    GenreUnknown,
    Kind,
    ReleaseBlocked,
    ReleaseNotFound,
    RightsBlock,
    Title,
    TitleLanguageRepeated,
    WeeklySlot,
)
from domain.catalog.service import Catalog
from domain.editing.model import ItemChangedMeanwhile, ItemIdReused
from domain.kernel import Page, new_id
from domain.paging import PageTokenInvalid, page_token
from domain.visibility import Publication
from domain.zones import ZoneUnknown
from tests.builders import GUEST, NOON, a_draft, a_release, a_viewer, an_editor
from tests.catalog.conftest import Desk

LATER = NOON + timedelta(hours=1)


async def events(database: Database) -> list[str]:
    async with database.reads(lambda connection: connection)() as connection:
        rows = await connection.fetch("SELECT name FROM platform.events ORDER BY number")
    return [row["name"] for row in rows]


class TestGetRelease:
    async def test_finds_it_by_id_and_by_alias(self, catalog: Catalog, admin: Desk) -> None:
        created, _ = await admin.create_release(a_release(alias="kaze-no-uta", genres=(Genre("drama"),)))

        by_id = await catalog.get_release(created.release_id, viewer=GUEST)
        by_alias = await catalog.get_release("kaze-no-uta", viewer=GUEST)

        assert by_id == by_alias == created
        assert (Genre("drama", "Drama"),) == by_id.genres

    async def test_hides_drafts_from_viewers_and_shows_them_to_editors(self, catalog: Catalog, admin: Desk) -> None:
        draft, _ = await admin.create_release(a_draft())

        assert draft == await catalog.get_release(draft.release_id, viewer=an_editor())
        with pytest.raises(ReleaseNotFound):
            await catalog.get_release(draft.release_id, viewer=a_viewer())

    async def test_hides_what_is_above_the_maturity_limit_and_says_what_is_blocked_in_the_country(
        self, catalog: Catalog, admin: Desk
    ) -> None:
        created, _ = await admin.create_release(a_release(blocked_countries=("DE",), age_rating=16))

        assert created == await catalog.get_release(created.release_id, viewer=a_viewer(country="FR"))
        with pytest.raises(ReleaseBlocked, match="DE"):
            await catalog.get_release(created.release_id, viewer=a_viewer(country="DE"))
        with pytest.raises(ReleaseNotFound):
            await catalog.get_release(created.release_id, viewer=a_viewer(maturity=12))

    async def test_says_why_a_rights_holder_blocks_it_where_he_does(self, catalog: Catalog, admin: Desk) -> None:
        somewhere = RightsBlock("Toho", "licensed to another platform", ("DE", "FR"))
        partly, _ = await admin.create_release(a_release(rights_blocks=(somewhere,)))
        wholly, _ = await admin.create_release(a_release(rights_blocks=(RightsBlock("Toho", "in dispute"),)))

        assert partly == await catalog.get_release(partly.release_id, viewer=a_viewer(country="JP"))
        for release, words in ((partly, "licensed to another platform"), (wholly, "in dispute")):
            with pytest.raises(ReleaseBlocked, match=words):
                await catalog.get_release(release.release_id, viewer=a_viewer(country="FR"))
        assert ([], "") == await catalog.list_releases(Filter(), Page(), viewer=a_viewer(country="FR"))

    async def test_refuses_what_does_not_exist(self, catalog: Catalog) -> None:
        with pytest.raises(ReleaseNotFound) as refusal:
            await catalog.get_release("no-such-thing", viewer=GUEST)

        assert {"release": "no-such-thing"} == refusal.value.details


class TestBatchGetReleases:
    async def test_keeps_the_order_and_names_what_is_missing(self, catalog: Catalog, admin: Desk) -> None:
        first, _ = await admin.create_release(a_release())
        draft, _ = await admin.create_release(a_draft())
        second, _ = await admin.create_release(a_release())
        unknown = new_id(at=NOON)

        found, missing = await catalog.batch_get_releases(
            [second.release_id, unknown, draft.release_id, first.release_id], viewer=GUEST
        )

        assert [second, first] == found
        assert [unknown, draft.release_id] == missing


class TestListReleases:
    async def test_shows_the_latest_publication_first(self, catalog: Catalog, admin: Desk) -> None:
        for hour in range(3):
            await admin.create_release(a_release(alias=f"number-{hour}", at=NOON + timedelta(hours=hour)))

        releases, following = await catalog.list_releases(Filter(), Page(), viewer=GUEST)

        assert ["number-2", "number-1", "number-0"] == [release.alias for release in releases]
        assert "" == following

    @pytest.mark.parametrize("size", [1, 2, 5, 16])
    async def test_pages_lose_and_repeat_nothing_while_releases_come_and_go(self, catalog: Catalog, admin: Desk, size: int) -> None:
        """B7: what stays throughout is shown exactly once."""
        at_one_time = [(await admin.create_release(a_release()))[0] for _ in range(7)]
        spread = [(await admin.create_release(a_release(at=NOON + timedelta(minutes=n))))[0] for n in range(1, 6)]
        leaving = at_one_time.pop()
        seen: list[str] = []
        page = Page(size)

        while True:
            releases, following = await catalog.list_releases(Filter(), page, viewer=GUEST)
            seen += [release.release_id for release in releases]
            if not following:
                break
            await admin.create_release(a_release(at=NOON + timedelta(days=1)))
            await admin.delete_release(leaving.release_id, version=0, at=LATER)
            page = Page(size, following)

        stayed = {release.release_id for release in at_one_time + spread}
        assert stayed == set(seen) - {leaving.release_id}
        assert len(seen) == len(set(seen))

    async def test_narrows_by_every_filter(self, catalog: Catalog, admin: Desk) -> None:
        await admin.create_release(a_release(alias="a-film", kind=Kind.MOVIE, year=1999, genres=(Genre("drama"), Genre("mecha"))))
        await admin.create_release(a_release(alias="a-series", year=2020, genres=(Genre("drama"),)))

        async def aliases(wanted: Filter) -> list[str]:
            releases, _ = await catalog.list_releases(wanted, Page(), viewer=GUEST)
            return [release.alias for release in releases]

        assert ["a-film"] == await aliases(Filter(kind=Kind.MOVIE))
        assert ["a-series"] == await aliases(Filter(year_from=2000))
        assert ["a-film"] == await aliases(Filter(year_to=2000))
        assert ["a-film"] == await aliases(Filter(genres=("drama", "mecha")))
        assert {"a-film", "a-series"} == set(await aliases(Filter(genres=("drama",))))

    async def test_shows_exactly_what_the_visibility_rule_allows(self, catalog: Catalog, admin: Desk) -> None:
        made = [
            (await admin.create_release(release))[0]
            for release in (
                a_draft(),
                a_release(),
                a_release(age_rating=18),
                a_release(blocked_countries=("JP",)),
                a_release(publication=Publication.WITHDRAWN),
            )
        ]

        for viewer in (GUEST, a_viewer(), a_viewer(country="DE"), a_viewer(maturity=16), an_editor()):
            listed, _ = await catalog.list_releases(Filter(), Page(), viewer=viewer)
            allowed, _ = await catalog.batch_get_releases([release.release_id for release in made], viewer=viewer)
            assert {release.release_id for release in allowed} == {release.release_id for release in listed}

    async def test_refuses_a_token_of_other_filters_or_of_nobodys_making(self, catalog: Catalog, admin: Desk) -> None:
        for _ in range(2):
            await admin.create_release(a_release())
        _, token = await catalog.list_releases(Filter(), Page(1), viewer=GUEST)

        strange = page_token(NOON, "no id\0", binding=Filter().binding)

        for wanted, forged in [
            (Filter(year_from=2000), token),
            *((Filter(), one) for one in (token[:-3], "####", "A" * 64, strange)),
        ]:
            with pytest.raises(PageTokenInvalid):
                await catalog.list_releases(wanted, Page(1, forged), viewer=GUEST)


class TestCreateRelease:
    async def test_records_that_it_was_created_and_published(self, admin: Desk, database: Database) -> None:
        created, effects = await admin.create_release(a_release())

        assert NOON == created.publish_time
        assert ["ReleaseCreated", "ReleasePublished"] == effects
        assert sorted(effects) == sorted(await events(database))

    async def test_gives_the_first_result_when_it_is_repeated(self, admin: Desk, database: Database) -> None:
        draft = a_release()
        created, _ = await admin.create_release(draft)

        repeated, effects = await admin.create_release(draft)

        assert created == repeated
        assert [] == effects
        assert 2 == len(await events(database))

    async def test_refuses_an_id_with_other_contents(self, admin: Desk) -> None:
        draft = a_release()
        await admin.create_release(draft)

        with pytest.raises(ItemIdReused):
            await admin.create_release(a_release(release_id=draft.release_id, alias=draft.alias, synopsis="Another one."))

    async def test_refuses_an_alias_that_is_taken(self, admin: Desk, database: Database) -> None:
        await admin.create_release(a_release(alias="kaze-no-uta"))

        with pytest.raises(AliasTaken):
            await admin.create_release(a_release(alias="kaze-no-uta"))

        assert 2 == len(await events(database))

    @pytest.mark.parametrize(
        ("over", "refusal"),
        [
            ({"genres": (Genre("no-such-genre"),)}, GenreUnknown),
            ({"titles": (Title("en", "One"), Title("en", "Two"))}, TitleLanguageRepeated),
            ({"weekly_slot": WeeklySlot(1, 0, "Mars/Olympus")}, ZoneUnknown),
            ({"alias": "0191d7a0-0000-7000-8000-000000000001"}, AliasLooksLikeId),
        ],
    )
    async def test_refuses_what_no_release_may_be(self, admin: Desk, over: dict[str, object], refusal: type[Exception]) -> None:
        with pytest.raises(refusal):
            await admin.create_release(a_release(**over))

    async def test_rehearses_without_a_trace(self, catalog: Catalog, admin: Desk, database: Database) -> None:
        draft = a_release()

        shown, effects = await admin.create_release(draft, validate_only=True)

        assert draft.alias == shown.alias
        assert ["ReleaseCreated", "ReleasePublished"] == effects
        assert [] == await events(database)
        with pytest.raises(ReleaseNotFound):
            await catalog.get_release(draft.release_id, viewer=an_editor())


class TestUpdateRelease:
    async def test_changes_what_is_named_and_says_what_differs(self, catalog: Catalog, admin: Desk) -> None:
        created, _ = await admin.create_release(a_release(synopsis="Old."))

        changed, fields, _ = await admin.update_release(
            created.release_id, {"synopsis": "New.", "year": created.year}, version=created.version, at=LATER
        )

        assert ["synopsis"] == fields
        assert ("New.", 2, LATER) == (changed.synopsis, changed.version, changed.update_time)
        assert changed == await catalog.get_release(created.release_id, viewer=GUEST)

    async def test_changes_nothing_when_nothing_differs(self, admin: Desk, database: Database) -> None:
        created, _ = await admin.create_release(a_release(synopsis="Old."))

        changed, fields, effects = await admin.update_release(created.release_id, {"synopsis": "Old."}, version=0, at=LATER)

        assert (created, [], []) == (changed, fields, effects)
        assert 2 == len(await events(database))

    async def test_announces_the_first_publication_once(self, admin: Desk, database: Database) -> None:
        draft, _ = await admin.create_release(a_draft())

        for publication in (Publication.PUBLISHED, Publication.WITHDRAWN, Publication.PUBLISHED):
            await admin.update_release(draft.release_id, {"publication": publication}, version=0, at=LATER)

        assert 1 == (await events(database)).count("ReleasePublished")

    async def test_refuses_a_version_that_is_no_longer_the_present_one(self, admin: Desk) -> None:
        created, _ = await admin.create_release(a_release())
        await admin.update_release(created.release_id, {"synopsis": "First."}, version=created.version, at=LATER)

        with pytest.raises(ItemChangedMeanwhile):
            await admin.update_release(created.release_id, {"synopsis": "Second."}, version=created.version, at=LATER)

    async def test_rehearses_without_a_trace(self, catalog: Catalog, admin: Desk) -> None:
        created, _ = await admin.create_release(a_draft())

        shown, fields, effects = await admin.update_release(
            created.release_id, {"publication": Publication.PUBLISHED}, version=0, at=LATER, validate_only=True
        )

        assert Publication.PUBLISHED is shown.publication
        assert (["publication"], ["ReleaseUpdated", "ReleasePublished"]) == (fields, effects)
        assert created == await catalog.get_release(created.release_id, viewer=an_editor())

    async def test_refuses_what_does_not_exist(self, admin: Desk) -> None:
        with pytest.raises(ReleaseNotFound):
            await admin.update_release(new_id(at=NOON), {"synopsis": "New."}, version=0, at=LATER)


class TestDeleteRelease:
    async def test_takes_it_out_of_sight_and_may_be_repeated(self, catalog: Catalog, admin: Desk) -> None:
        created, _ = await admin.create_release(a_release())

        first = await admin.delete_release(created.release_id, version=created.version, at=LATER)
        again = await admin.delete_release(created.release_id, version=created.version, at=LATER)

        assert (["ReleaseDeleted"], []) == (first, again)
        with pytest.raises(ReleaseNotFound):
            await catalog.get_release(created.release_id, viewer=an_editor())

    async def test_refuses_what_never_existed(self, admin: Desk) -> None:
        with pytest.raises(ReleaseNotFound):
            await admin.delete_release(new_id(at=NOON), version=0, at=LATER)


class TestListGenres:
    async def test_counts_what_is_published(self, catalog: Catalog, admin: Desk) -> None:
        await admin.create_release(a_release(genres=(Genre("drama"), Genre("mecha"))))
        await admin.create_release(a_draft(genres=(Genre("drama"),)))

        genres = await catalog.list_genres()

        assert [("Action", 0), ("Drama", 1), ("Mecha", 1)] == [(genre.name, genre.release_count) for genre in genres]


class TestWatchReleases:
    async def test_tells_what_changes_and_goes_on_from_a_cursor(self, catalog: Catalog, admin: Desk, bell: Bell) -> None:
        async with aclosing(catalog.watch_releases("", viewer=GUEST)) as feed:
            start = await anext(feed)
            created, _ = await admin.create_release(a_release())
            bell.ring()
            told = await anext(feed)
        await admin.delete_release(created.release_id, version=0, at=LATER)

        async with aclosing(catalog.watch_releases(told.cursor, viewer=GUEST)) as feed:
            gone = await anext(feed)

        assert start.change is None
        assert told.change is not None
        assert created == told.change.release
        assert gone.change is not None
        assert (created.release_id, None) == (gone.change.release_id, gone.change.release)

    async def test_never_mentions_a_draft_to_viewers_and_tells_them_when_a_release_leaves_their_sight(
        self, catalog: Catalog, admin: Desk, bell: Bell
    ) -> None:
        async with aclosing(catalog.watch_releases("", viewer=GUEST)) as feed:
            await anext(feed)
            draft, _ = await admin.create_release(a_draft())
            shown, _ = await admin.create_release(a_release())
            await admin.delete_release(draft.release_id, version=0, at=LATER)
            await admin.update_release(shown.release_id, {"publication": Publication.WITHDRAWN}, version=0, at=LATER)
            bell.ring()
            told = [(await anext(feed)).change for _ in range(2)]

        assert [(shown.release_id, None)] * 2 == [(change.release_id, change.release) for change in told if change]

    async def test_tells_what_older_work_held_back_as_soon_as_that_ends(
        self, catalog: Catalog, admin: Desk, bell: Bell, database: Database
    ) -> None:
        async with aclosing(catalog.watch_releases("", viewer=GUEST)) as feed:
            await anext(feed)
            async with database.begins(bare)() as older:
                await older.execute("SELECT pg_current_xact_id()")
                created, _ = await admin.create_release(a_release())
                bell.ring()
                coming = asyncio.create_task(anext(feed))
                done, _ = await asyncio.wait([coming], timeout=0.5)
            told = await asyncio.wait_for(coming, 5)

        assert not done
        assert told.change is not None
        assert created == told.change.release

    async def test_refuses_what_is_no_cursor(self, catalog: Catalog) -> None:
        for cursor in ("x", "1", "1-2-3", "-1-1", "f" * 20 + "-1"):
            with pytest.raises(CursorInvalid):
                await anext(catalog.watch_releases(cursor, viewer=GUEST))
