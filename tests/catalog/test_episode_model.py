"""The rules that episodes keep by themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalog.episodes import (
    EPISODE,
    EpisodeAdded,
    EpisodeReleased,
    EpisodeRemoved,
    EpisodeState,
    EpisodeTitleRepeated,
    EpisodeUpdated,
    PositionNeeded,
    placed_by,
)
from domain.catalog.model import Title
from tests.builders import NOON, a_release, an_episode

LATER = NOON + timedelta(hours=1)
RELEASE = a_release()


class TestPosition:
    def test_puts_what_lies_between_whole_numbers_between_them(self) -> None:
        numbers = ["0", "1", "2", "12", "12.5", "13", "100"]

        assert numbers == sorted(set(numbers), key=placed_by)
        assert len({placed_by(number) for number in numbers}) == len(numbers)

    @given(st.integers(0, 99_999), st.integers(0, 99_999))
    def test_orders_whole_numbers_as_numbers(self, one: int, other: int) -> None:
        assert (one < other) == (placed_by(str(one)) < placed_by(str(other)))

    @given(st.text(alphabet="0123456789.SP", min_size=1, max_size=16))
    def test_fits_what_keeps_it_whatever_the_label(self, label: str) -> None:
        assert 0 <= placed_by(label) < 2**31

    def test_follows_the_number_only_where_none_is_named(self) -> None:
        assert 12_500 == EPISODE.changed(an_episode(RELEASE, number="12.5"), {}, at=NOON).position
        assert 7 == EPISODE.changed(an_episode(RELEASE, number="12.5", position=7), {}, at=NOON).position

    def test_must_be_named_where_the_number_is_a_mere_label(self) -> None:
        with pytest.raises(PositionNeeded):
            EPISODE.changed(an_episode(RELEASE, number="SP1"), {}, at=NOON)

        assert 26_001 == EPISODE.changed(an_episode(RELEASE, number="SP1", position=26_001), {}, at=NOON).position


class TestTitles:
    def test_are_one_in_each_language(self) -> None:
        with pytest.raises(EpisodeTitleRepeated):
            EPISODE.changed(an_episode(RELEASE), {"titles": (Title("en", "One"), Title("en", "Two"))}, at=NOON)


class TestReleasing:
    def test_is_dated_and_told_once_however_often_it_is_taken_back(self) -> None:
        added = EPISODE.changed(an_episode(RELEASE), {}, at=NOON)
        released = EPISODE.changed(added, {"state": EpisodeState.RELEASED}, at=LATER)
        taken_back = EPISODE.changed(released, {"state": EpisodeState.ADDED}, at=LATER + timedelta(hours=1))
        again = EPISODE.changed(taken_back, {"state": EpisodeState.RELEASED}, at=LATER + timedelta(hours=2))

        assert (None, LATER, LATER, LATER) == tuple(e.release_time for e in (added, released, taken_back, again))
        assert [EpisodeAdded] == [type(event) for event in EPISODE.events(None, added, NOON)]
        assert [EpisodeUpdated, EpisodeReleased] == [type(event) for event in EPISODE.events(added, released, LATER)]
        assert [EpisodeUpdated] == [type(event) for event in EPISODE.events(released, taken_back, LATER)]
        assert [EpisodeUpdated] == [type(event) for event in EPISODE.events(taken_back, again, LATER)]

    def test_may_come_with_the_episode_itself(self) -> None:
        episode = EPISODE.changed(an_episode(RELEASE, state=EpisodeState.RELEASED), {}, at=NOON)

        assert [EpisodeAdded, EpisodeReleased] == [type(event) for event in EPISODE.events(None, episode, NOON)]

    def test_ends_with_the_episode(self) -> None:
        episode = EPISODE.changed(an_episode(RELEASE), {}, at=NOON)

        (removed,) = EPISODE.events(replace(episode, version=2), None, LATER)

        assert EpisodeRemoved(time=LATER, episode_id=episode.episode_id, release_id=RELEASE.release_id) == removed
