"""The rules of episode numbers: how they are written, and what they say of an episode."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalog.model import ExternalId, Provider
from domain.catalog.redirects import OPEN, Episodes, Redirect, RuleUnreadable, chosen, parse_rule, read_rules

DATA = Path(__file__).parents[3] / "shared" / "data" / "catalog" / "anime_relations.txt"
MAL, KITSU, ANILIST = Provider.MAL, Provider.KITSU, Provider.ANILIST
PLAIN = "- 1|2|3:13-24 -> 4|5|6:1-12"


def said_of(text: str, provider: Provider, external_id: str, number: int) -> tuple[str, int] | None:
    """Return to which id of the same provider, and to which number, rules lead."""
    redirects = [one for line in text.splitlines() for one in parse_rule(line)]
    found = chosen(r for r in redirects if r.source == ExternalId(provider, external_id) and number in r.episodes)
    if found is None:
        return None
    return next(one.external_id for one in found.targets if one.provider is provider), found.number(number)


class TestParseRule:
    @pytest.mark.parametrize(("provider", "source", "target"), [(MAL, "1", "4"), (KITSU, "2", "5"), (ANILIST, "3", "6")])
    def test_speaks_of_a_title_by_each_of_its_ids(self, provider: Provider, source: str, target: str) -> None:
        assert (target, 1) == said_of(PLAIN, provider, source, 13)
        assert (target, 12) == said_of(PLAIN, provider, source, 24)

    @pytest.mark.parametrize("number", [0, 12, 25])
    def test_says_nothing_of_episodes_beyond_its_range(self, number: int) -> None:
        assert said_of(PLAIN, MAL, "1", number) is None

    def test_leaves_unknown_ids_out(self) -> None:
        redirects = parse_rule("- ?|7205|15061:51-101 -> 30|?|20181:1-51")

        assert [KITSU, ANILIST] == [one.source.provider for one in redirects]
        assert {frozenset({ExternalId(MAL, "30"), ExternalId(ANILIST, "20181")})} == {frozenset(one.targets) for one in redirects}

    def test_repeats_the_first_title(self) -> None:
        assert ("33820", 1) == said_of("- 33820|12478|21898:0 -> ~|~|~:1", MAL, "33820", 0)

    def test_lets_the_second_title_go_by_the_first_ones_numbers(self) -> None:
        assert said_of(PLAIN, MAL, "4", 13) is None
        assert ("4", 1) == said_of(PLAIN + "!", MAL, "4", 13)
        assert said_of(PLAIN + "!", MAL, "4", 12) is None

    def test_takes_ranges_without_an_end(self) -> None:
        rule = "- ?|?|170068:19-? -> ?|?|206425:1-?!"

        assert ("206425", 1) == said_of(rule, ANILIST, "170068", 19)
        assert ("206425", 2000) == said_of(rule, ANILIST, "206425", 2018)

    def test_lets_several_episodes_be_one(self) -> None:
        assert [("20752", 1)] * 2 == [said_of("- ?|?|20595:11-12 -> ?|?|20752:1", ANILIST, "20595", n) for n in (11, 12)]

    def test_says_nothing_that_is_so_anyway(self) -> None:
        assert [ExternalId(MAL, "1")] == [one.source for one in parse_rule("1|?|?:5-6 -> 2|?|?:5-6!")]

    @pytest.mark.parametrize(
        "text",
        [
            "", "- ", "nonsense", "1|2|3:4 => 5|6|7:8", "1|2:4 -> 5|6|7:8", "1|2|3|4:4 -> 5|6|7:8", "1|2|x:4 -> 5|6|7:8",
            "1|2|3 -> 5|6|7", "1|2|3:4-2 -> 5|6|7:1-3", "1|2|3:1-12 -> 5|6|7:1-11", "1|2|3:1-? -> 5|6|7:1-11",
            "1|2|3:1-3 -> 5|6|7:1-?", "?|?|?:1 -> 5|6|7:1", "1|2|3:1 -> ?|?|?:1", "~|2|3:1 -> 5|6|7:1", "1|2|3:? -> 5|6|7:1",
            "1|2|3:1.5 -> 5|6|7:1", "1|2|3:-1 -> 5|6|7:1", "1|2|3:1234567 -> 5|6|7:1", "1|2|3:1 -> 1|2|3:1", "1|2|3:1! -> 5|6|7:1",
            "\u0661|2|3:1 -> 5|6|7:1", "1|2|3:\u0661 -> 5|6|7:1",
        ],
    )  # fmt: skip
    def test_refuses_what_no_rule_is(self, text: str) -> None:
        with pytest.raises(RuleUnreadable):
            parse_rule(text)

    @given(st.text())
    def test_refuses_or_understands_any_text(self, text: str) -> None:
        try:
            redirects = parse_rule(text)
        except RuleUnreadable:
            return
        assert redirects

    @given(
        st.lists(st.one_of(st.just("?"), st.integers(1, 10**6).map(str)), min_size=6, max_size=6),
        st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 500), st.booleans(),
    )  # fmt: skip
    def test_shifts_every_episode_of_a_range_alike(self, ids: list[str], first: int, to: int, width: int, both: bool) -> None:
        rule = f"{'|'.join(ids[:3])}:{first}-{first + width} -> {'|'.join(ids[3:])}:{to}-{to + width}{'!' * both}"
        try:
            redirects = parse_rule(rule)
        except RuleUnreadable:
            assert {"?"} in (set(ids[:3]), set(ids[3:])) or first == to
            return

        for redirect in redirects:
            assert [to, to + width] == [redirect.number(first), redirect.number(first + width)]
            assert {one.external_id for one in redirect.targets} == set(ids[3:]) - {"?"}
            assert redirect.targets[0].provider is redirect.source.provider or redirect.source.provider not in {
                one.provider for one in redirect.targets
            }


class TestChosen:
    def test_takes_the_narrowest_rule(self) -> None:
        rules = "16498|?|?:60-75 -> 40028|?|?:1-16!\n40028|?|?:17-75 -> 48583|?|?:1-59"

        assert ("40028", 1) == said_of(rules, MAL, "40028", 60)
        assert ("48583", 43) == said_of(rules, MAL, "40028", 59)

    def test_is_none_where_no_rule_speaks(self) -> None:
        assert chosen([]) is None


class TestReadRules:
    TEXT = """\ufeff# a comment
::meta
- version: 1.3.0
::rules
# Rules -> rules
- 1|2|3:13-24 -> 4|5|6:1-12
broken

- 1|2|3:25 -> ?|?|7:1
"""

    def test_passes_over_comments_and_facts_about_the_file(self) -> None:
        assert [6, 7, 9] == [line.number for line in read_rules(self.TEXT.splitlines())]

    def test_names_what_cannot_be_used_and_goes_on(self) -> None:
        good, broken, last = read_rules(self.TEXT.splitlines())

        assert ("", "broken", "") == (good.problem, broken.text, last.problem)
        assert broken.problem
        assert not broken.redirects
        assert 3 == len(good.redirects)

    @pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data/catalog/anime_relations.txt")
    def test_understands_every_rule_of_the_real_file(self) -> None:
        with DATA.open(encoding="utf-8") as file:
            lines = list(read_rules(file))

        assert 543 == len(lines)
        assert not [line for line in lines if line.problem]
        assert Redirect(ExternalId(ANILIST, "170068"), Episodes(19, OPEN), (ExternalId(ANILIST, "206425"),), Episodes(1, OPEN)) in [
            one for line in lines for one in line.redirects
        ]
