"""The iCalendar feed: read by a calendar's own library, and held to what RFC 5545 demands of its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar

from domain.catalog.calendar import LONGEST_LINE, calendar, fold, text
from domain.catalog.model import Title, WeeklySlot
from domain.catalog.schedule import SCHEDULE_ENTRY, AiringState, Precision, ScheduleEntry
from domain.catalog.timetable import Airing, Broadcast, dated
from tests.builders import NOON, a_release, an_entry

RELEASE = a_release()
LATER = NOON + timedelta(hours=1)
SLOT = WeeklySlot(1, 21 * 60, "Asia/Tokyo")
BROADCAST = Broadcast(
    release_id=RELEASE.release_id,
    alias=RELEASE.alias,
    titles=RELEASE.titles,
    terms=RELEASE.terms,
    slot=SLOT,
    version=3,
    update_time=NOON,
)


def settled(**over: object) -> ScheduleEntry:
    return SCHEDULE_ENTRY.changed(an_entry(RELEASE, **over), {}, at=NOON)


def changed(entry: ScheduleEntry, **change: object) -> ScheduleEntry:
    return SCHEDULE_ENTRY.kept(SCHEDULE_ENTRY.changed(entry, change, at=LATER), version=entry.version + 1, at=LATER)


def read(*entries: ScheduleEntry, weekly: Sequence[Broadcast] = (), broadcast: Broadcast = BROADCAST) -> list[Any]:
    airings = dated([(entry, broadcast) for entry in entries], weekly, date(2026, 4, 6), date(2026, 4, 12))
    return Calendar.from_ical(calendar(airings, name="Ani")).walk("VEVENT")


class TestFeed:
    def test_is_what_a_calendar_reads(self) -> None:
        (event,) = read(settled(number="12.5", note="Late, because of sports; sorry."))

        assert "Kaze no Uta 12.5" == event["SUMMARY"]
        assert NOON == event["DTSTART"].dt
        assert timedelta(minutes=30) == event["DURATION"].dt
        assert "Late, because of sports; sorry." == event["DESCRIPTION"]
        assert "CONFIRMED" == event["STATUS"]

    def test_says_what_it_is_and_needs_nothing_that_is_not_there(self) -> None:
        feed = Calendar.from_ical(calendar([Airing(BROADCAST, NOON, settled())], name="Ani"))

        assert "2.0" == feed["VERSION"]
        assert feed["PRODID"]
        assert not feed.errors
        assert [] == [error for event in feed.walk("VEVENT") for error in event.errors]
        assert {"UID", "DTSTAMP", "DTSTART", "SUMMARY"} <= set(feed.walk("VEVENT")[0])

    def test_of_nothing_is_a_feed_too(self) -> None:
        assert [] == Calendar.from_ical(calendar([], name="Ani")).walk("VEVENT")

    def test_tells_what_is_only_expected(self) -> None:
        events = read(weekly=[BROADCAST])

        assert {"TENTATIVE"} == {event["STATUS"] for event in events}
        assert {"Kaze no Uta"} == {event["SUMMARY"] for event in events}

    def test_gives_a_day_where_no_more_is_known(self) -> None:
        (event,) = read(settled(precision=Precision.DAY, planned_air_time=datetime(2026, 4, 10, 15, 0, tzinfo=UTC)))

        assert (date(2026, 4, 11), date(2026, 4, 12)) == (event["DTSTART"].dt, event["DTEND"].dt)

    def test_leaves_out_what_has_no_day(self) -> None:
        assert [] == read(settled(precision=Precision.WEEK))

    def test_calls_off_what_does_not_air(self) -> None:
        for state in (AiringState.ON_BREAK, AiringState.DELAYED, AiringState.CANCELLED):
            (event,) = read(settled(state=state))
            assert "CANCELLED" == event["STATUS"]

    def test_makes_a_double_episode_twice_as_long(self) -> None:
        (event,) = read(settled(number="7", episode_count=2))

        assert ("Kaze no Uta 7 (2)", timedelta(hours=1)) == (event["SUMMARY"], event["DURATION"].dt)


class TestIdentity:
    def test_stays_when_an_airing_is_moved(self) -> None:
        entry = settled()
        (before,) = read(entry)
        (after,) = read(changed(entry, planned_air_time=NOON + timedelta(days=2)))

        assert before["UID"] == after["UID"]
        assert before["DTSTART"].dt < after["DTSTART"].dt

    def test_passes_from_an_expectation_to_the_entry_that_replaces_it(self) -> None:
        expected = {event["DTSTART"].dt: event for event in read(weekly=[BROADCAST])}[NOON]
        entered = {event["DTSTART"].dt: event for event in read(settled(), weekly=[BROADCAST])}[NOON]

        assert expected["UID"] == entered["UID"]

    def test_has_stamps_that_grow_with_the_release(self) -> None:
        (before,) = read(settled())
        renamed = replace(BROADCAST, titles=(Title("en", "Another Wind"),), version=4, update_time=LATER)
        (after,) = read(settled(), broadcast=renamed)

        assert before["SEQUENCE"] < after["SEQUENCE"]
        assert before["DTSTAMP"].dt < after["DTSTAMP"].dt

    def test_is_one_for_each_of_two_on_a_day(self) -> None:
        first, second = settled(number="7"), settled(number="8")

        both = {event["SUMMARY"]: event["UID"] for event in read(second, first)}

        assert 2 == len(set(both.values()))
        assert both == {event["SUMMARY"]: event["UID"] for event in read(first, second)}


class TestLines:
    @given(st.text(max_size=400), st.text(max_size=16))
    def test_are_short_end_alike_and_say_what_they_were_given(self, note: str, number: str) -> None:
        """Whatever an editor may enter: no text ends a line early, or says something of its own."""
        entry = settled(note="x", number="1")
        feed = calendar([Airing(BROADCAST, NOON, replace(entry, note=f"x{note}", number=f"x{number}"))], name="Ani")

        lines = feed.split("\r\n")
        assert "" == lines.pop()
        assert all(len(line.encode()) <= LONGEST_LINE for line in lines)
        assert not any(character in feed.replace("\r\n", "") for character in "\r\n")
        (event,) = Calendar.from_ical(feed).walk("VEVENT")
        kept = "".join(c for c in f"x{note}".replace("\r\n", "\n") if c == "\n" or (ord(c) >= 32 and ord(c) != 127))
        assert kept.rstrip() == str(event["DESCRIPTION"]).rstrip()

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=500))
    def test_are_unfolded_to_what_they_were(self, line: str) -> None:
        folded = list(fold(line))

        assert line == folded[0] + "".join(part[1:] for part in folded[1:])
        assert all(part.startswith(" ") for part in folded[1:])

    def test_escape_what_means_something(self) -> None:
        assert r"a\\b\;c\,d\ne" == text("a\\b;c,d\r\ne\x00\x07")
