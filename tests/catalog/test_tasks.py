"""Which cached answers the worker forgets for a server that was killed before it could."""

from __future__ import annotations

import pytest

from domain.catalog.episodes import EpisodeAdded, EpisodeReleased, EpisodeRemoved, EpisodeUpdated
from domain.catalog.redirects import EpisodeRulesReplaced
from domain.catalog.schedule import ScheduleChanged, ScheduleEntryAdded, ScheduleEntryRemoved
from server.catalog.tasks import Changed, tags
from tests.builders import NOON, a_release, an_entry, an_episode

RELEASE = a_release()
EPISODE = {"episode_id": an_episode(RELEASE).episode_id, "release_id": RELEASE.release_id}
ENTRY = {"schedule_entry_id": an_entry(RELEASE).schedule_entry_id, "release_id": RELEASE.release_id}


class TestTags:
    @pytest.mark.parametrize(
        "event",
        [
            EpisodeAdded(time=NOON, number="1", **EPISODE),
            EpisodeUpdated(time=NOON, fields=("number",), **EPISODE),
            EpisodeReleased(time=NOON, number="1", **EPISODE),
            EpisodeRemoved(time=NOON, **EPISODE),
        ],
        ids=lambda event: type(event).__name__,
    )
    def test_of_an_episode_are_those_of_its_release_and_of_lists(self, event: Changed) -> None:
        assert {f"release/{RELEASE.release_id}", "releases", "schedule"} == set(tags(event))

    @pytest.mark.parametrize(
        "event",
        [
            ScheduleEntryAdded(time=NOON, **ENTRY),
            ScheduleChanged(time=NOON, fields=("state",), changes=("break",), **ENTRY),
            ScheduleEntryRemoved(time=NOON, **ENTRY),
        ],
        ids=lambda event: type(event).__name__,
    )
    def test_of_an_airing_are_those_of_the_schedule(self, event: Changed) -> None:
        assert ("schedule",) == tags(event)

    def test_of_new_rules_are_those_of_mapped_episodes(self) -> None:
        assert tags(EpisodeRulesReplaced(time=NOON, added=1, removed=0)) == ("episode-rules",)
