"""Editors' genres, tags and franchises, over the real store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from domain.catalog.franchises import (
    DEEPEST,
    Franchise,
    FranchiseCyclic,
    FranchiseHasParts,
    FranchiseTooDeep,
    GenreEntry,
    GenreNotFound,
    MemberTaken,
    MemberUnknown,
    NameTaken,
    ParentUnknown,
    ReleaseRepeated,
    StillCarried,
    TagEntry,
)
from domain.catalog.kinds import FRANCHISE, GENRE, TAG
from domain.catalog.model import FranchiseNotFound, Genre, GenreUnknown, Tag
from domain.catalog.service import Catalog
from domain.editing.model import ItemIdReused
from domain.editing.service import Editing
from domain.kernel import new_id
from tests.builders import GUEST, NOON, a_release
from tests.catalog.conftest import AUTHOR, Desk

LATER = NOON + timedelta(hours=1)


def a_genre(genre_id: str, name: str) -> GenreEntry:
    return GenreEntry(genre_id=genre_id, name=name, create_time=NOON, update_time=NOON)


def a_franchise(name: str, **over: Any) -> Franchise:
    facts: dict[str, Any] = {"franchise_id": new_id(at=NOON), "name": name, "create_time": NOON, "update_time": NOON}
    return Franchise(**facts | over)


async def created(editing: Editing, franchise: Franchise) -> Franchise:
    made, _ = await editing.create(FRANCHISE, franchise, author=AUTHOR)
    return made


class TestGenre:
    async def test_is_created_renamed_and_deleted(self, editing: Editing, catalog: Catalog) -> None:
        await editing.create(GENRE, a_genre("isekai", "Isekai"), author=AUTHOR)
        await editing.update(GENRE, "isekai", {"name": "Another World"}, version=1, author=AUTHOR, at=LATER)

        assert Genre("isekai", "Another World") in await catalog.list_genres()

        await editing.delete(GENRE, "isekai", version=0, author=AUTHOR, at=LATER)
        assert "isekai" not in {genre.genre_id for genre in await catalog.list_genres()}
        with pytest.raises(GenreNotFound):
            await editing.update(GENRE, "isekai", {"name": "Gone"}, version=0, author=AUTHOR, at=LATER)

    async def test_may_be_created_again_with_the_same_words_alone(self, editing: Editing, catalog: Catalog) -> None:
        first = await editing.create(GENRE, a_genre("isekai", "Isekai"), author=AUTHOR)
        again = await editing.create(GENRE, a_genre("isekai", "Isekai"), author=AUTHOR)

        assert ((first[0], []), ["GenreChanged"]) == (again, first[1])
        with pytest.raises(ItemIdReused):
            await editing.create(GENRE, a_genre("isekai", "Other Worlds"), author=AUTHOR)

    async def test_has_its_name_alone(self, editing: Editing, catalog: Catalog) -> None:
        with pytest.raises(NameTaken):
            await editing.create(GENRE, a_genre("drama-two", "DRAMA"), author=AUTHOR)

    async def test_has_its_name_alone_also_when_several_come_at_once(self, editing: Editing) -> None:
        genres = [a_genre(f"isekai-{number}", "Isekai") for number in range(6)]

        outcomes = await asyncio.gather(*(editing.create(GENRE, one, author=AUTHOR) for one in genres), return_exceptions=True)

        assert 5 == sum(isinstance(one, NameTaken) for one in outcomes)

    async def test_is_not_deleted_while_releases_carry_it(self, editing: Editing, admin: Desk) -> None:
        release, _ = await admin.create_release(a_release(genres=(Genre("drama"),)))

        with pytest.raises(StillCarried):
            await editing.delete(GENRE, "drama", version=0, author=AUTHOR, at=LATER)
        await admin.update_release(release.release_id, {"genres": ()}, version=0, at=LATER)
        await editing.delete(GENRE, "drama", version=0, author=AUTHOR, at=LATER)
        with pytest.raises(GenreUnknown):
            await admin.update_release(release.release_id, {"genres": (Genre("drama"),)}, version=0, at=LATER)

    async def test_comes_back(self, editing: Editing, admin: Desk, catalog: Catalog) -> None:
        await editing.delete(GENRE, "drama", version=0, author=AUTHOR, at=LATER)

        await editing.undelete_item("genre", "drama", author=AUTHOR, at=LATER)

        assert "Drama" in {genre.name for genre in await catalog.list_genres()}


class TestTag:
    async def test_is_created_and_carried(self, editing: Editing, admin: Desk, catalog: Catalog) -> None:
        tag = TagEntry(tag_id="time-travel", name="Time Travel", create_time=NOON, update_time=NOON)
        await editing.create(TAG, tag, author=AUTHOR)
        release, _ = await admin.create_release(a_release(tags=(Tag("time-travel"),)))

        assert (Tag("time-travel", "Time Travel"),) == release.tags
        with pytest.raises(StillCarried):
            await editing.delete(TAG, "time-travel", version=0, author=AUTHOR, at=LATER)


class TestFranchise:
    async def test_takes_members_in_an_order_and_gives_them_back(self, editing: Editing, admin: Desk, catalog: Catalog) -> None:
        first, second = [(await admin.create_release(a_release()))[0].release_id for _ in range(2)]
        franchise = await created(editing, a_franchise("Wind", release_ids=(first, second)))

        await editing.update(
            FRANCHISE, franchise.franchise_id, {"release_ids": (second, first)}, version=1, author=AUTHOR, at=LATER
        )
        view = await catalog.get_franchise(franchise.franchise_id, viewer=GUEST)
        await editing.delete(FRANCHISE, franchise.franchise_id, version=0, author=AUTHOR, at=LATER)

        assert [second, first] == [release.release_id for release in view.members]
        assert (await catalog.get_release(first, viewer=GUEST)).franchise is None
        with pytest.raises(FranchiseNotFound):
            await catalog.get_franchise(franchise.franchise_id, viewer=GUEST)

    async def test_comes_back_with_its_members_unless_they_were_given_away(self, editing: Editing, admin: Desk) -> None:
        member = (await admin.create_release(a_release()))[0].release_id
        franchise = await created(editing, a_franchise("Wind", release_ids=(member,)))
        await editing.delete(FRANCHISE, franchise.franchise_id, version=0, author=AUTHOR, at=LATER)

        await editing.undelete_item("franchise", franchise.franchise_id, author=AUTHOR, at=LATER)
        await editing.delete(FRANCHISE, franchise.franchise_id, version=0, author=AUTHOR, at=LATER)
        await created(editing, a_franchise("Air", release_ids=(member,)))

        with pytest.raises(MemberTaken):
            await editing.undelete_item("franchise", franchise.franchise_id, author=AUTHOR, at=LATER)

    async def test_refuses_members_that_are_not_there_or_there_twice(self, editing: Editing, admin: Desk) -> None:
        member = (await admin.create_release(a_release()))[0].release_id

        with pytest.raises(MemberUnknown):
            await created(editing, a_franchise("Wind", release_ids=(member, new_id(at=NOON))))
        with pytest.raises(ReleaseRepeated):
            await created(editing, a_franchise("Wind", release_ids=(member, member)))
        with pytest.raises(NameTaken):
            await created(editing, a_franchise("Wind"))
            await created(editing, a_franchise("Wind"))

    async def test_is_no_part_of_itself(self, editing: Editing) -> None:
        whole = await created(editing, a_franchise("Whole"))
        part = await created(editing, a_franchise("Part", parent_franchise_id=whole.franchise_id))

        for parent in (part.franchise_id, whole.franchise_id):
            with pytest.raises(FranchiseCyclic):
                await editing.update(
                    FRANCHISE, whole.franchise_id, {"parent_franchise_id": parent}, version=0, author=AUTHOR, at=LATER
                )
        with pytest.raises(ParentUnknown):
            await created(editing, a_franchise("Lost", parent_franchise_id=new_id(at=NOON)))
        with pytest.raises(FranchiseHasParts):
            await editing.delete(FRANCHISE, whole.franchise_id, version=0, author=AUTHOR, at=LATER)

    async def test_closes_no_circle_from_two_sides_at_once(self, editing: Editing) -> None:
        one, other = await created(editing, a_franchise("One")), await created(editing, a_franchise("Other"))

        tries = await asyncio.gather(
            *(
                editing.update(
                    FRANCHISE, a.franchise_id, {"parent_franchise_id": b.franchise_id}, version=0, author=AUTHOR, at=LATER
                )
                for a, b in ((one, other), (other, one))
            ),
            return_exceptions=True,
        )

        assert 1 == sum(isinstance(outcome, FranchiseCyclic) for outcome in tries), tries

    async def test_is_a_part_of_a_few_levels_at_most(self, editing: Editing) -> None:
        parent = None
        with pytest.raises(FranchiseTooDeep):
            for level in range(DEEPEST + 2):
                made = await created(editing, a_franchise(f"Level {level}", parent_franchise_id=parent))
                parent = made.franchise_id
