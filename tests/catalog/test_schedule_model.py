"""The rules of the schedule: what an entry keeps, what its log tells, and which day anything is on, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.catalog.model import WeeklySlot
from domain.catalog.schedule import (
    SCHEDULE_ENTRY,
    AiringState,
    ChangeKind,
    EpisodeAired,
    Precision,
    ScheduleChanged,
    ScheduleEntry,
    ScheduleEntryAdded,
    ScheduleEntryRemoved,
    SlotDateInvalid,
    changes,
    period,
)
from domain.catalog.timetable import WEEK, Broadcast, View, occurrences, span, timetable
from domain.kernel import new_id
from domain.zones import ZoneUnknown, beginning, zone
from tests.builders import NOON, a_release, an_entry

RELEASE = a_release()
BERLIN, TOKYO, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo"), ZoneInfo("UTC")
zones = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
moments = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - UTC is given
days = st.dates(date(2015, 1, 1), date(2035, 1, 1))
slots = st.builds(WeeklySlot, st.integers(1, 7), st.integers(0, 1439), st.sampled_from(sorted(available_timezones())))


def settled(**over: object) -> ScheduleEntry:
    return SCHEDULE_ENTRY.changed(an_entry(RELEASE, **over), {}, at=NOON)


def a_broadcast(slot: WeeklySlot | None = None, **over: object) -> Broadcast:
    facts: dict[str, object] = {
        "release_id": RELEASE.release_id,
        "alias": RELEASE.alias,
        "titles": RELEASE.titles,
        "terms": RELEASE.terms,
        "slot": slot,
        "version": 1,
        "update_time": NOON,
    }
    return Broadcast(**facts | over)  # type: ignore[arg-type]


class TestEntry:
    def test_keeps_the_beginning_of_what_it_is_planned_for(self) -> None:
        moment = datetime(2026, 5, 20, 16, 45, 30, tzinfo=UTC)  # 01:45:30 on Thursday the 21st in Tokyo

        def planned(precision: Precision) -> datetime:
            return settled(planned_air_time=moment, precision=precision).planned_air_time.astimezone(TOKYO)

        assert datetime(2026, 5, 21, 1, 45, tzinfo=TOKYO) == planned(Precision.MINUTE)
        assert datetime(2026, 5, 21, tzinfo=TOKYO) == planned(Precision.DAY)
        assert datetime(2026, 5, 18, tzinfo=TOKYO) == planned(Precision.WEEK)
        assert datetime(2026, 5, 1, tzinfo=TOKYO) == planned(Precision.MONTH)
        assert datetime(2026, 4, 1, tzinfo=TOKYO) == planned(Precision.SEASON)

    @given(moments, st.sampled_from(Precision), zones)
    def test_is_settled_once_and_for_all(self, moment: datetime, precision: Precision, at: ZoneInfo) -> None:
        start, end = period(moment, precision, at)

        assert start <= moment < end
        assert (start, end) == period(start, precision, at)

    def test_stays_with_the_day_of_its_slot_when_it_is_moved(self) -> None:
        entry = settled()
        moved = SCHEDULE_ENTRY.changed(entry, {"planned_air_time": NOON + WEEK}, at=NOON)

        assert NOON.date().isoformat() == entry.slot_date == moved.slot_date
        assert {NOON.date(), (NOON + WEEK).date()} == moved.claims(TOKYO)

    def test_has_aired_exactly_when_it_is_known_when(self) -> None:
        entry = settled(state=AiringState.AIRED)
        aired = SCHEDULE_ENTRY.changed(entry, {"actual_air_time": NOON}, at=NOON)
        mistaken = SCHEDULE_ENTRY.changed(aired, {"actual_air_time": None}, at=NOON)

        assert [AiringState.PLANNED, AiringState.AIRED, AiringState.PLANNED] == [e.state for e in (entry, aired, mistaken)]

    def test_refuses_a_zone_and_a_day_that_are_none(self) -> None:
        with pytest.raises(ZoneUnknown):
            settled(time_zone="Mars/Olympus")
        with pytest.raises(ZoneUnknown):
            settled(time_zone="../../etc/passwd")
        with pytest.raises(SlotDateInvalid):
            settled(slot_date="2026-02-30")


class TestChanges:
    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"planned_air_time": NOON + WEEK}, [ChangeKind.DELAYED]),
            ({"planned_air_time": NOON - timedelta(hours=1)}, [ChangeKind.BROUGHT_FORWARD]),
            ({"state": AiringState.ON_BREAK, "note": "A marathon is broadcast instead."}, [ChangeKind.BREAK]),
            ({"state": AiringState.DELAYED, "planned_air_time": NOON + WEEK}, [ChangeKind.DELAYED]),
            ({"state": AiringState.CANCELLED}, [ChangeKind.CANCELLED]),
            ({"episode_count": 2}, [ChangeKind.DOUBLE_EPISODE]),
            ({"actual_air_time": NOON}, [ChangeKind.AIRED]),
            ({"note": "With subtitles."}, []),
        ],
    )
    def test_are_named_for_what_happened(self, change: dict[str, object], told: list[ChangeKind]) -> None:
        before = settled()
        after = SCHEDULE_ENTRY.changed(before, change, at=NOON)

        assert told == changes(before, after)

    def test_tell_of_what_is_planned_again(self) -> None:
        before = settled(state=AiringState.ON_BREAK)

        assert [ChangeKind.RESUMED] == changes(before, SCHEDULE_ENTRY.changed(before, {"state": AiringState.PLANNED}, at=NOON))

    def test_are_events_too(self) -> None:
        before = settled()
        after = SCHEDULE_ENTRY.changed(before, {"actual_air_time": NOON}, at=NOON)

        assert [ScheduleEntryAdded] == [type(event) for event in SCHEDULE_ENTRY.events(None, before, NOON)]
        changed, aired = SCHEDULE_ENTRY.events(before, after, NOON)
        assert isinstance(changed, ScheduleChanged)
        assert ("aired",) == changed.changes
        assert isinstance(aired, EpisodeAired)
        assert [ScheduleEntryRemoved] == [type(event) for event in SCHEDULE_ENTRY.events(after, None, NOON)]


class TestOccurrences:
    @given(slots, days)
    def test_come_every_week_at_the_same_time_of_the_clock(self, slot: WeeklySlot, first: date) -> None:
        """But for the weeks in which that time is skipped."""
        at = ZoneInfo(slot.zone)

        found = list(occurrences(slot, at, first, first + timedelta(days=69)))

        assert 10 == len(found)
        assert [moment for _, moment in found] == sorted({moment for _, moment in found})
        for day, moment in found:
            local = moment.astimezone(at)
            assert slot.weekday == day.isoweekday()
            wanted = datetime(day.year, day.month, day.day, *divmod(slot.minute, 60), tzinfo=at)
            exists = wanted.astimezone(UTC).astimezone(at).replace(tzinfo=None) == wanted.replace(tzinfo=None)
            assert not exists or (local.date(), local.hour * 60 + local.minute) == (day, slot.minute)

    def test_of_tokyo_move_by_an_hour_on_berlins_clock(self) -> None:
        slot = WeeklySlot(6, 23 * 60 + 30, "Asia/Tokyo")
        found = [moment.astimezone(BERLIN).hour for _, moment in occurrences(slot, TOKYO, date(2026, 3, 21), date(2026, 4, 4))]

        assert [15, 15, 16] == found  # Berlin sets its clocks on the 29th of March


class TestDays:
    @given(days, zones)
    def test_begin_where_the_day_before_ends_even_without_a_midnight(self, day: date, at: ZoneInfo) -> None:
        start, end = beginning(day, at), beginning(day + timedelta(days=1), at)
        # Where a whole day is skipped, at the date line, nothing is on it.
        assume(start < end)
        middle = start + (end - start) / 2

        assert start.astimezone(at).date() == day == middle.astimezone(at).date()
        assert timedelta(hours=22) <= end - start <= timedelta(hours=26)

    def test_hold_what_tokyo_airs_late_at_night_a_day_earlier_in_berlin(self) -> None:
        slot = WeeklySlot(6, 90, "Asia/Tokyo")  # Saturday 01:30
        now = datetime(2026, 4, 10, 9, 0, tzinfo=UTC)  # Friday

        def shown(at: ZoneInfo) -> list[str]:
            found = timetable(span(View.WEEK, now=now, at=at), at, [], [a_broadcast(slot)])
            return [day.date.isoformat() for day in found.days if day.airings]

        assert ["2026-04-11"] == shown(TOKYO)
        assert ["2026-04-10"] == shown(BERLIN)

    @given(slots, moments, zones)
    def test_of_a_week_hold_each_weekly_slot_about_once(self, slot: WeeklySlot, now: datetime, at: ZoneInfo) -> None:
        """A slot that lies at the edge of the viewer's week may fall on both edges or on none when one of the clocks is set."""
        wanted = span(View.WEEK, now=now, at=at)
        found = timetable(wanted, at, [], [a_broadcast(slot)])

        airings = [airing for day in found.days for airing in day.airings]
        assert 7 == len(found.days)
        assert len(airings) in ({1} if _is_quiet(at, now) and _is_quiet(ZoneInfo(slot.zone), now) else {0, 1, 2})
        assert all(airing.time.astimezone(at).date() == day.date for day in found.days for airing in day.airings)

    @given(moments, zones, st.sampled_from([View.YESTERDAY, View.TODAY, View.TOMORROW]))
    def test_follow_each_other(self, now: datetime, at: ZoneInfo, view: View) -> None:
        wanted = span(view, now=now, at=at)

        today = now.astimezone(at).date()
        assert wanted.first == wanted.last
        assert {View.YESTERDAY: -1, View.TODAY: 0, View.TOMORROW: 1}[view] == (wanted.first - today).days


class TestTimetable:
    SLOT = WeeklySlot(1, 21 * 60, "Asia/Tokyo")  # Mondays at noon in UTC
    NOW = NOON - timedelta(hours=3)  # a Monday

    def shown(self, *entries: ScheduleEntry, view: View = View.UPCOMING, slot: WeeklySlot | None = SLOT) -> list[tuple[str, str]]:
        broadcast = a_broadcast(slot)
        found = timetable(span(view, now=self.NOW, at=UTC_ZONE), UTC_ZONE, [(e, broadcast) for e in entries], [broadcast])
        dated = [(day.date.isoformat(), self._told(airing.entry)) for day in found.days for airing in day.airings]
        return dated + [("", self._told(airing.entry)) for airing in found.undated]

    def _told(self, entry: ScheduleEntry | None) -> str:
        return f"{entry.number} {entry.state.name}" if entry else "expected"

    def test_expects_what_airs_weekly(self) -> None:
        assert [("2026-04-06", "expected"), ("2026-04-13", "expected"), ("2026-04-20", "expected")] == self.shown()

    def test_expects_nothing_where_an_entry_says_more(self) -> None:
        entry = settled(number="7")

        assert [("2026-04-06", "7 PLANNED"), ("2026-04-13", "expected"), ("2026-04-20", "expected")] == self.shown(entry)

    def test_shows_a_delayed_episode_once_and_nothing_on_the_day_it_left(self) -> None:
        delayed = SCHEDULE_ENTRY.changed(settled(number="7"), {"planned_air_time": NOON + WEEK}, at=NOON)

        assert [("2026-04-13", "7 PLANNED"), ("2026-04-20", "expected")] == self.shown(delayed)

    def test_shows_a_break_on_its_day(self) -> None:
        pause = settled(number="", state=AiringState.ON_BREAK)

        assert ("2026-04-06", " ON_BREAK") == self.shown(pause)[0]

    def test_shows_both_of_two_entries_of_a_day(self) -> None:
        first, second = settled(number="7"), settled(number="8", planned_air_time=NOON + timedelta(minutes=30))

        assert [("2026-04-06", "7 PLANNED"), ("2026-04-06", "8 PLANNED")] == self.shown(first, second)[:2]

    def test_leaves_out_what_is_over_when_asked_what_is_to_come(self) -> None:
        over = settled(number="7", planned_air_time=self.NOW - timedelta(minutes=1))

        assert "7 PLANNED" not in {told for _, told in self.shown(over, slot=None)}
        assert [("2026-04-06", "7 PLANNED")] == self.shown(over, slot=None, view=View.TODAY)

    def test_keeps_apart_what_has_no_day_yet(self) -> None:
        week = settled(number="7", precision=Precision.WEEK, planned_air_time=NOON)
        season = settled(number="8", precision=Precision.SEASON, planned_air_time=NOON + timedelta(days=100))
        far = settled(number="9", precision=Precision.SEASON, planned_air_time=NOON + timedelta(days=300))

        assert [("", "7 PLANNED"), ("", "8 PLANNED")] == self.shown(week, season, far, slot=None)
        assert [("", "7 PLANNED")] == self.shown(week, season, far, slot=None, view=View.WEEK)
        assert [] == self.shown(week, season, far, slot=None, view=View.TODAY)

    def test_expects_nothing_before_the_premiere(self) -> None:
        broadcast = a_broadcast(self.SLOT, premiere_time=NOON + WEEK)
        found = timetable(span(View.UPCOMING, now=self.NOW, at=UTC_ZONE), UTC_ZONE, [], [broadcast])

        assert ["2026-04-13", "2026-04-20"] == [day.date.isoformat() for day in found.days if day.airings]

    def test_keeps_a_day_the_same_day_everywhere_when_no_more_is_known(self) -> None:
        entry = settled(precision=Precision.DAY, planned_air_time=datetime(2026, 4, 10, 15, 0, tzinfo=UTC))  # the 11th in Tokyo
        honolulu = ZoneInfo("Pacific/Honolulu")

        found = timetable(span(View.WEEK, now=NOON, at=honolulu), honolulu, [(entry, a_broadcast())], [])

        assert [date(2026, 4, 11)] == [day.date for day in found.days if day.airings]

    def test_passes_over_a_slot_in_a_zone_that_is_no_more(self) -> None:
        assert [] == self.shown(slot=WeeklySlot(1, 0, "Mars/Olympus"))


class TestZone:
    def test_is_known_by_its_name_alone(self) -> None:
        assert ZoneInfo("Europe/Berlin") is zone("Europe/Berlin", field="time_zone")
        with pytest.raises(ZoneUnknown) as refusal:
            zone(new_id(at=NOON), field="time_zone")
        assert "time_zone" == refusal.value.details["field"]


def _is_quiet(at: ZoneInfo, now: datetime) -> bool:
    """Tell whether a zone's clocks are not set around a moment."""
    offsets = {(now + timedelta(hours=hour)).astimezone(at).utcoffset() for hour in range(-240, 241, 6)}
    return len(offsets) == 1
