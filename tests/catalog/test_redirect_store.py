"""Rules of episode numbers in PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from adapters.postgres import Database
from adapters.postgres.catalog.redirects import PostgresRedirects, Replaced
from domain.catalog.model import ExternalId, Provider
from domain.catalog.redirects import Redirect, chosen, parse_rule
from domain.kernel import Begin

MAL, ANILIST = Provider.MAL, Provider.ANILIST
SEASON = parse_rule("1|2|3:13-24 -> 4|5|6:1-12!")
REST = parse_rule("?|?|3:25-? -> ?|?|7:1-?")


@pytest.fixture
def begin(database: Database) -> Begin[PostgresRedirects]:
    return database.begins(PostgresRedirects)


class TestRedirects:
    async def test_finds_what_speaks_of_an_episode_by_any_id_of_its_title(self, begin: Begin[PostgresRedirects]) -> None:
        async with begin() as rules:
            await rules.replace(SEASON + REST)

            by_one = await rules.redirects([ExternalId(MAL, "1")], 13)
            by_both = await rules.redirects([ExternalId(Provider.ANIDB, "1"), ExternalId(ANILIST, "3")], 2_000)
            beyond = await rules.redirects([ExternalId(MAL, "1")], 12)
            elsewhere = await rules.redirects([ExternalId(ANILIST, "1")], 13)

        assert [SEASON[0]] == by_one
        assert list(REST) == by_both
        assert [] == beyond == elsewhere

    async def test_finds_all_that_speak_of_it(self, begin: Begin[PostgresRedirects]) -> None:
        narrow = parse_rule("1|?|?:20 -> 9|?|?:1")
        async with begin() as rules:
            await rules.replace(SEASON + narrow)

            found = await rules.redirects([ExternalId(MAL, "1")], 20)

        assert {SEASON[0], narrow[0]} == set(found)
        assert narrow[0] == chosen(found)


class TestReplace:
    async def test_changes_nothing_the_second_time(self, begin: Begin[PostgresRedirects]) -> None:
        async with begin() as rules:
            first = await rules.replace(SEASON + REST)
        async with begin() as rules:
            again = await rules.replace(SEASON + REST)

        assert Replaced(added=7, removed=0, kept=0) == first
        assert Replaced(added=0, removed=0, kept=7) == again

    async def test_takes_away_what_is_no_longer_said(self, begin: Begin[PostgresRedirects]) -> None:
        async with begin() as rules:
            await rules.replace(SEASON + REST)
        async with begin() as rules:
            done = await rules.replace(parse_rule("1|?|?:13-24 -> 8|?|?:1-12"))
            found = await rules.redirects([ExternalId(MAL, "1"), ExternalId(ANILIST, "3")], 13)

        assert Replaced(added=1, removed=7, kept=0) == done
        assert [(ExternalId(MAL, "8"),)] == [one.targets for one in found]

    async def test_lets_the_first_of_two_rules_about_the_same_episodes_count(self, begin: Begin[PostgresRedirects]) -> None:
        async with begin() as rules:
            done = await rules.replace(parse_rule("1|?|?:1 -> 2|?|?:1") + parse_rule("1|?|?:1 -> 3|?|?:1"))
            found = await rules.redirects([ExternalId(MAL, "1")], 1)

        assert 1 == done.added
        assert [(ExternalId(MAL, "2"),)] == [one.targets for one in found]

    async def test_keeps_one_of_two_sets_whole_when_both_come_at_once(self, begin: Begin[PostgresRedirects]) -> None:
        async def replace(redirects: tuple[Redirect, ...]) -> None:
            async with begin() as rules:
                await rules.replace(redirects)

        await asyncio.gather(*(replace(one) for one in (SEASON, REST) * 4))

        async with begin() as rules:
            season = await rules.redirects([ExternalId(MAL, "1")], 13)
            rest = await rules.redirects([ExternalId(ANILIST, "3")], 30)
        assert ([SEASON[0]], []) == (season, rest) or ([], list(REST)) == (season, rest)
