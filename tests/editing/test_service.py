"""Single edits, their history, and going back in it, over the real store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.catalog.demo import plant
from domain.catalog.kinds import RELEASE
from domain.catalog.model import AliasTaken, Genre, Release, ReleaseNotFound
from domain.editing.model import (
    UNDELETE_WITHIN,
    Action,
    DeletedTooLongAgo,
    ItemChangedMeanwhile,
    ItemKindUnknown,
    ItemNotDeleted,
    RevisionNotFound,
)
from domain.editing.service import Editing
from domain.kernel import Page, new_id
from domain.paging import PageTokenInvalid, place_token
from server.catalog.demo import demo
from tests.builders import NOON, a_release
from tests.editing.conftest import AUTHOR, Look

LATER = NOON + timedelta(hours=1)


@pytest.fixture
async def release(editing: Editing) -> Release:
    made, _ = await editing.create(RELEASE, a_release(genres=(Genre("drama"),)), author=AUTHOR)
    return made


class TestRevisions:
    async def test_tell_who_did_what_when_and_why(self, editing: Editing, release: Release) -> None:
        await editing.update(RELEASE, release.release_id, {"synopsis": "Wind.", "year": 2001}, version=1, author=AUTHOR, at=LATER)
        await editing.delete(RELEASE, release.release_id, version=2, author=AUTHOR, at=LATER)

        revisions, end = await editing.list_revisions("release", release.release_id, Page())

        assert "" == end
        assert [(3, Action.DELETE), (2, Action.UPDATE), (1, Action.CREATE)] == [(r.version, r.action) for r in revisions]
        assert [(), ("synopsis", "year"), ()] == [revision.fields for revision in revisions]
        assert {AUTHOR} == {revision.author for revision in revisions}
        assert [LATER, LATER, NOON] == [revision.time for revision in revisions]

    async def test_are_not_made_by_edits_that_change_nothing(self, editing: Editing, release: Release) -> None:
        await editing.update(RELEASE, release.release_id, {"genres": (Genre("drama", "?"),)}, version=0, author=AUTHOR, at=LATER)
        await editing.update(RELEASE, release.release_id, {"year": 2001}, version=0, author=AUTHOR, at=LATER, validate_only=True)

        revisions, _ = await editing.list_revisions("release", release.release_id, Page())
        assert [1] == [revision.version for revision in revisions]

    async def test_begin_with_how_an_imported_item_was_found(self, editing: Editing, database: Database) -> None:
        async with database.begins(bare)() as connection:
            await connection.execute("DELETE FROM catalog.genres")
            await plant(connection, demo(at=NOON))
            (found,) = await connection.fetch("SELECT release_id, synopsis FROM catalog.releases LIMIT 1")
        await editing.update(RELEASE, found["release_id"], {"synopsis": "Wind."}, version=0, author=AUTHOR, at=LATER)

        revisions, _ = await editing.list_revisions("release", str(found["release_id"]), Page())

        assert [Action.UPDATE, Action.FOUND] == [revision.action for revision in revisions]
        assert found["synopsis"] == revisions[1].decided["synopsis"]

    async def test_come_in_pages(self, editing: Editing, release: Release) -> None:
        for year in range(2001, 2006):
            await editing.update(RELEASE, release.release_id, {"year": year}, version=0, author=AUTHOR, at=LATER)

        first, token = await editing.list_revisions("release", release.release_id, Page(4))
        rest, end = await editing.list_revisions("release", release.release_id, Page(4, token))

        assert ([6, 5, 4, 3], [2, 1], "") == ([r.version for r in first], [r.version for r in rest], end)
        with pytest.raises(PageTokenInvalid):
            await editing.list_revisions("release", new_id(at=NOON), Page(4, token))

    @pytest.mark.parametrize("values", [("x",), (None,), (10**30,), (1, 2), (True,), (1.5,), (0,), ([],)])
    async def test_refuse_places_that_are_none(self, editing: Editing, values: tuple[Any, ...]) -> None:
        token = place_token(*values, binding="revisions/release/x")

        with pytest.raises(PageTokenInvalid):
            await editing.list_revisions("release", "x", Page(4, token))


class TestDiffRevisions:
    async def test_names_what_differs(self, editing: Editing, release: Release) -> None:
        await editing.update(RELEASE, release.release_id, {"year": 2001}, version=0, author=AUTHOR, at=LATER)
        await editing.update(RELEASE, release.release_id, {"synopsis": "Wind."}, version=0, author=AUTHOR, at=LATER)

        both = await editing.diff_revisions("release", release.release_id, before=1, after=3)
        none = await editing.diff_revisions("release", release.release_id, before=2, after=2)
        everything = await editing.diff_revisions("release", release.release_id, before=0, after=1)

        assert [("synopsis", "", "Wind."), ("year", 2026, 2001)] == [(d.field, d.before, d.after) for d in both]
        assert () == none
        assert "alias" in {difference.field for difference in everything}

    async def test_refuses_versions_that_never_were(self, editing: Editing, release: Release) -> None:
        with pytest.raises(RevisionNotFound):
            await editing.diff_revisions("release", release.release_id, before=1, after=2)


class TestRevertItem:
    async def test_makes_it_what_it_was_and_can_be_reverted_itself(self, editing: Editing, release: Release, look: Look) -> None:
        changes = {"synopsis": "Wind.", "genres": (Genre("mecha"),)}
        await editing.update(RELEASE, release.release_id, changes, version=0, author=AUTHOR, at=LATER)
        changed = await look.present(release.release_id)

        outcome = await editing.revert_item("release", release.release_id, to=1, version=2, author=AUTHOR, at=LATER)
        reverted = await look.present(release.release_id)
        await editing.revert_item("release", release.release_id, to=2, version=0, author=AUTHOR, at=LATER)

        assert {"synopsis", "genres"} == {difference.field for difference in outcome.differences}
        assert (3, RELEASE.decided(release)) == (reverted.version, RELEASE.decided(reverted))
        assert RELEASE.decided(changed) == RELEASE.decided(await look.present(release.release_id))

    async def test_refuses_what_came_between_and_what_never_was(self, editing: Editing, release: Release) -> None:
        await editing.update(RELEASE, release.release_id, {"year": 2001}, version=0, author=AUTHOR, at=LATER)

        with pytest.raises(ItemChangedMeanwhile):
            await editing.revert_item("release", release.release_id, to=1, version=1, author=AUTHOR, at=LATER)
        with pytest.raises(RevisionNotFound):
            await editing.revert_item("release", release.release_id, to=7, version=0, author=AUTHOR, at=LATER)
        with pytest.raises(ItemKindUnknown):
            await editing.revert_item("nothing", release.release_id, to=1, version=0, author=AUTHOR, at=LATER)

    async def test_refuses_an_alias_that_was_given_away(self, editing: Editing, release: Release) -> None:
        await editing.update(RELEASE, release.release_id, {"alias": "another"}, version=0, author=AUTHOR, at=LATER)
        await editing.create(RELEASE, a_release(alias=release.alias), author=AUTHOR)

        with pytest.raises(AliasTaken):
            await editing.revert_item("release", release.release_id, to=1, version=0, author=AUTHOR, at=LATER)


class TestUndeleteItem:
    async def test_brings_it_back_whole_and_announces_nothing_again(self, editing: Editing, release: Release, look: Look) -> None:
        await editing.delete(RELEASE, release.release_id, version=0, author=AUTHOR, at=LATER)

        version, effects = await editing.undelete_item("release", release.release_id, author=AUTHOR, at=LATER + UNDELETE_WITHIN)

        back = await look.present(release.release_id)
        assert (3, ["ReleaseUpdated"]) == (version, effects)
        assert RELEASE.decided(release) == RELEASE.decided(back)
        assert 1 == (await look.events()).count("ReleasePublished")

    async def test_refuses_what_is_there_what_never_was_and_what_is_long_gone(self, editing: Editing, release: Release) -> None:
        with pytest.raises(ItemNotDeleted):
            await editing.undelete_item("release", release.release_id, author=AUTHOR, at=LATER)
        with pytest.raises(ReleaseNotFound):
            await editing.undelete_item("release", new_id(at=NOON), author=AUTHOR, at=LATER)
        await editing.delete(RELEASE, release.release_id, version=0, author=AUTHOR, at=LATER)
        with pytest.raises(DeletedTooLongAgo):
            await editing.undelete_item(
                "release", release.release_id, author=AUTHOR, at=LATER + UNDELETE_WITHIN + timedelta(seconds=1)
            )

    async def test_of_many_at_once_is_done_by_one_and_loses_nothing(self, editing: Editing, release: Release, look: Look) -> None:
        """D7: whoever comes late must not put the old state over what was acknowledged since."""
        for attempt in range(6):
            await editing.delete(RELEASE, release.release_id, version=0, author=AUTHOR, at=LATER)

            async def bring_back_and_change(number: int, told: str) -> str:
                await editing.undelete_item("release", release.release_id, author=replace(AUTHOR, note=told), at=LATER)
                changes = {"synopsis": f"{told} {number}"}
                changed, _, _ = await editing.update(RELEASE, release.release_id, changes, version=0, author=AUTHOR, at=LATER)
                return f"{changed.version}: {changed.synopsis}"

            tries = await asyncio.gather(*(bring_back_and_change(n, f"try {attempt}") for n in range(6)), return_exceptions=True)

            done = [one for one in tries if isinstance(one, str)]
            found = await look.present(release.release_id)
            assert done
            assert f"{found.version}: {found.synopsis}" == max(done, key=lambda one: int(one.partition(":")[0]))
            revisions, _ = await editing.list_revisions("release", release.release_id, Page(100))
            assert list(range(found.version, 0, -1)) == [revision.version for revision in revisions]
