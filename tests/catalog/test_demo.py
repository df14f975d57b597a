"""The demo catalog holds to the contract's rules and to its own promises."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from domain.catalog.model import Kind, Season, Status

DEMO: dict[str, Any] = json.loads((Path(__file__).parents[2] / "server" / "catalog" / "demo.json").read_text("utf-8"))
RELEASES: list[dict[str, Any]] = DEMO["releases"]
ALIAS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
AGE_RATINGS = {0, 6, 12, 16, 18}
MOST_EPISODES = 26


class TestDemoCatalog:
    def test_holds_about_sixty_releases(self) -> None:
        assert 55 <= len(RELEASES) <= 70

    def test_gives_each_genre_an_id_a_name_and_a_use(self) -> None:
        ids = [genre["genre_id"] for genre in DEMO["genres"]]

        assert len(set(ids)) == len(ids)
        assert all(ALIAS.fullmatch(genre_id) and 2 <= len(genre_id) <= 48 for genre_id in ids)
        assert all(1 <= len(genre["name"]) <= 64 for genre in DEMO["genres"])
        assert set(ids) == {genre_id for release in RELEASES for genre_id in release["genres"]}

    def test_gives_each_release_an_alias_of_its_own(self) -> None:
        aliases = [release["alias"] for release in RELEASES]

        assert len(set(aliases)) == len(aliases)
        assert all(ALIAS.fullmatch(alias) and 2 <= len(alias) <= 96 for alias in aliases)

    def test_orders_franchises_of_known_releases_each_in_one(self) -> None:
        members = [alias for franchise in DEMO["franchises"] for alias in franchise["members"]]

        assert set(members) <= {release["alias"] for release in RELEASES}
        assert len(set(members)) == len(members)
        assert all(len(franchise["members"]) > 1 for franchise in DEMO["franchises"])

    def test_airs_something_on_every_day_of_the_week(self) -> None:
        slots = [release["weekly_slot"] for release in RELEASES if release["weekly_slot"]]

        assert {slot["weekday"] for slot in slots} == set(range(1, 8))
        assert 10 <= len(slots) <= 14

    def test_shows_every_kind_and_leaves_no_surprise_in_the_file(self) -> None:
        keys = {
            "alias", "kind", "status", "season", "year", "age_rating", "titles", "synopsis", "genres",
            "planned_episode_count", "weekly_slot", "episodes",
        }  # fmt: skip

        assert set(DEMO) == {"as_of", "genres", "franchises", "releases"}
        assert all(set(release) == keys for release in RELEASES)
        assert {release["kind"] for release in RELEASES} == {kind.name for kind in Kind}


@pytest.mark.parametrize("release", RELEASES, ids=[release["alias"] for release in RELEASES])
class TestDemoRelease:
    def test_has_titles_with_the_romanised_one_first(self, release: dict[str, Any]) -> None:
        languages = [title["language"] for title in release["titles"]]

        assert languages[:2] == ["ja-Latn", "ja"]
        assert len(set(languages)) == len(languages)
        assert all(LANGUAGE.fullmatch(language) for language in languages)
        assert all(1 <= len(title["text"]) <= 300 and title["text"] == title["text"].strip() for title in release["titles"])

    def test_has_one_line_of_synopsis(self, release: dict[str, Any]) -> None:
        assert 1 <= len(release["synopsis"]) <= 160
        assert "\n" not in release["synopsis"]

    def test_has_only_values_that_the_contract_knows(self, release: dict[str, Any]) -> None:
        assert release["status"] in Status.__members__
        assert release["season"] is None or release["season"] in Season.__members__
        assert release["age_rating"] in AGE_RATINGS
        assert 1907 <= release["year"] <= 2100
        assert 1 <= len(release["genres"]) == len(set(release["genres"]))

    def test_airs_weekly_only_while_it_is_ongoing(self, release: dict[str, Any]) -> None:
        slot = release["weekly_slot"]

        assert (slot is not None) == (release["status"] == "ONGOING")
        assert slot is None or (1 <= slot["weekday"] <= 7 and 0 <= slot["minute"] <= 1439 and slot["zone"] == "Asia/Tokyo")

    def test_holds_no_more_episodes_than_there_are(self, release: dict[str, Any]) -> None:
        episodes, planned = release["episodes"], release["planned_episode_count"]

        assert 1 <= episodes["count"] <= min(planned or MOST_EPISODES, MOST_EPISODES)
        assert 1 <= episodes["duration_minutes"] <= 240
        assert len(episodes.get("titles", [])) in {0, episodes["count"]}
        assert release["status"] != "FINISHED" or episodes["count"] == min(planned, MOST_EPISODES)

    def test_first_aired_in_its_year_and_before_the_facts_were_taken(self, release: dict[str, Any]) -> None:
        first = release["episodes"]["first_aired"]

        assert date.fromisoformat(first).year == release["year"]
        assert first <= DEMO["as_of"]

    def test_first_aired_in_its_season(self, release: dict[str, Any]) -> None:
        first, season = release["episodes"]["first_aired"], release["season"]

        assert season is None or (date.fromisoformat(first).month - 1) // 3 + 1 == Season[season]
