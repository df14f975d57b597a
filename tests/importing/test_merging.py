"""What sources tell is merged three ways: it never undoes what somebody else did."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalog.importing import Facts
from domain.catalog.merging import LONGEST_ALIAS, Groups, alias_candidates, made, merged, slug
from domain.catalog.model import Credit, ExternalId, Genre, Kind, Provider, Role, Title
from tests.builders import NOON, a_release

NAMES = ("Action", "Drama", "Music", "Space")
GROUPS = Groups({name: name.lower() for name in NAMES}, {})
years = st.none() | st.integers(1990, 2030)
texts = st.sampled_from(["", "one", "two", "three"])
told = st.builds(
    Facts,
    key=st.just("1"),
    titles=st.lists(st.builds(Title, st.sampled_from(["ja", "en", "ru"]), st.sampled_from(["A", "B", "C"])), max_size=3).map(
        lambda titles: tuple({title.language: title for title in titles}.values())
    ),
    synopsis=texts,
    year=years,
    genres=st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
    studios=st.lists(texts.filter(bool), unique=True).map(tuple),
    age_rating=st.sampled_from([None, 0, 12, 16, 18]),
)


class TestMerging:
    @given(told)
    def test_changes_nothing_when_the_same_is_told_again(self, facts: Facts) -> None:
        release = made(facts, "alias", GROUPS, publish=True, at=NOON)
        assert merged(release, facts, facts, GROUPS) == release

    @given(told, told)
    def test_ends_at_what_is_told_now_where_nobody_else_wrote(self, before: Facts, now: Facts) -> None:
        release = merged(made(before, "alias", GROUPS, publish=True, at=NOON), now, before, GROUPS)
        assert {genre.genre_id for genre in release.genres} == {name.lower() for name in now.genres}
        assert set(release.studios) == set(now.studios)
        assert release.synopsis == (now.synopsis or before.synopsis)
        assert release.year == (now.year or before.year)
        assert set(release.titles) == set(now.titles)

    @given(told, told, years, texts)
    def test_leaves_what_an_editor_wrote(self, before: Facts, now: Facts, year: int | None, synopsis: str) -> None:
        edited = replace(made(before, "alias", GROUPS, publish=True, at=NOON), year=year, synopsis=synopsis)
        after = merged(edited, now, before, GROUPS)
        assert after.year == year or year in {None, before.year}
        assert after.synopsis == synopsis or synopsis in {"", before.synopsis}

    def test_leaves_a_credit_that_an_editor_gave_to_a_team_of_ours(self) -> None:
        told_now = Facts(key="1", credits=(Credit(Role.VOICING, "Kaze"), Credit(Role.VOICING, "Ame")))
        known = Credit(Role.VOICING, "Kaze", "0191d7a0-0000-7000-8000-0000000000f1")
        edited = a_release(credits=(known,))

        for before in (None, replace(told_now, credits=told_now.credits[:1]), told_now):
            after = merged(edited, told_now, before, GROUPS)
            assert [known] == [credit for credit in after.credits if credit.name == "Kaze"]

    @given(told, told, st.sampled_from(NAMES))
    def test_leaves_the_genres_that_an_editor_gave_or_took(self, before: Facts, now: Facts, name: str) -> None:
        release = made(before, "alias", GROUPS, publish=True, at=NOON)
        genre = Genre(name.lower())
        if name in before.genres:
            taken = replace(release, genres=tuple(one for one in release.genres if one != genre))
            assert genre not in merged(taken, now, before, GROUPS).genres
        else:
            given_one = replace(release, genres=(*release.genres, genre))
            assert genre in merged(given_one, now, before, GROUPS).genres

    @given(told, told, told)
    def test_comes_to_rest(self, before: Facts, now: Facts, other: Facts) -> None:
        release = merged(made(other, "alias", GROUPS, publish=True, at=NOON), now, before, GROUPS)
        assert merged(release, now, now, GROUPS) == release

    @pytest.mark.parametrize(
        ("present", "now", "before", "after"),
        [(16, 18, None, 18), (18, 12, None, 18), (16, 12, 16, 12), (12, 16, 16, 12), (16, None, 16, 16), (18, 12, 16, 18)],
    )
    def test_raises_an_age_and_lowers_only_its_own(self, present: int, now: int | None, before: int | None, after: int) -> None:
        facts, old = Facts(key="1", age_rating=now), Facts(key="1", age_rating=before)
        assert merged(a_release(age_rating=present), facts, old, GROUPS).age_rating == after

    def test_keeps_one_id_of_each_provider(self) -> None:
        release = a_release(external_ids=(ExternalId(Provider.MAL, "1"),))
        facts = Facts(key="1", external_ids=(ExternalId(Provider.MAL, "2"), ExternalId(Provider.ANIDB, "3")))
        assert merged(release, facts, None, GROUPS).external_ids == (ExternalId(Provider.MAL, "1"), ExternalId(Provider.ANIDB, "3"))


class TestSlug:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Steins;Gate 0", "steins-gate-0"),
            ("Kimi no Na wa.", "kimi-no-na-wa"),
            ("Rurôni's", "ruronis"),
            ("東京喰種 re", ""),
            ("", ""),
        ],
    )
    def test_keeps_what_may_stand_in_an_address(self, text: str, expected: str) -> None:
        assert slug(text) == expected

    @given(st.text(max_size=400), st.none() | st.integers(1950, 2050), st.sampled_from(["1", "tv/4/season/2", "a_b.C"]))
    def test_makes_aliases_that_the_contract_takes(self, text: str, year: int | None, number: str) -> None:
        known = ExternalId(Provider.TMDB, number)
        facts = Facts(key="1", main_id=known, titles=(Title("en", text),), year=year, kind=Kind.TV)
        for alias in alias_candidates(facts):
            assert 2 <= len(alias) <= LONGEST_ALIAS
            assert all(part.isascii() and part.isalnum() and part == part.lower() for part in alias.split("-"))
