"""What airs when: entries and weekly slots, day by day in a viewer's zone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from domain.catalog.model import Title, WeeklySlot
from domain.catalog.schedule import AiringState, Precision, ScheduleEntry, period
from domain.visibility import Terms
from domain.zones import ZoneUnknown, beginning, zone

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
# What is known no more exactly than its season is told of so far ahead.
UNDATED_AHEAD = timedelta(days=120)
# So long before may begin what is not over yet.
LONGEST_PERIOD = timedelta(days=93)


class View(Enum):
    """Which days a schedule shows."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    TOMORROW = "tomorrow"
    WEEK = "week"
    UPCOMING = "upcoming"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """What a schedule must know of a release."""

    release_id: str
    alias: str
    titles: tuple[Title, ...]
    terms: Terms
    # Only of releases that air weekly now.
    slot: WeeklySlot | None = None
    premiere_time: datetime | None = None
    # Both grow with every change of the release and of its schedule, whatever becomes of an entry.
    version: int
    update_time: datetime


@dataclass(frozen=True, slots=True)
class Airing:
    """One airing: what an entry says, or what a weekly slot lets expect when there is none."""

    broadcast: Broadcast
    time: datetime
    entry: ScheduleEntry | None = None
    # The day of the slot that it stands for, where it does.
    slot_date: str = ""

    @property
    def precision(self) -> Precision:
        return Precision.MINUTE if self.entry is None or self.entry.actual_air_time else self.entry.precision

    @property
    def state(self) -> AiringState:
        return self.entry.state if self.entry else AiringState.PLANNED

    def day(self, at: ZoneInfo) -> date:
        """Return the day it airs on, as seen from a zone; one of which only the day is known keeps it everywhere."""
        there = self.entry.zone if self.entry and self.precision is Precision.DAY else at
        return self.time.astimezone(there).date()

    @property
    def place(self) -> tuple[bool, datetime, str, str]:
        """Return what it is ordered by within its day."""
        entry_id = self.entry.schedule_entry_id if self.entry else ""
        return self.precision is not Precision.MINUTE, self.time, self.broadcast.alias, entry_id


@dataclass(frozen=True, slots=True)
class Day:
    """The airings of one day."""

    date: date
    start: datetime
    airings: tuple[Airing, ...]


@dataclass(frozen=True, slots=True)
class Timetable:
    """The days of a view, and what has no day yet."""

    days: tuple[Day, ...]
    undated: tuple[Airing, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """The days of a view, and how much of what has no day belongs to it."""

    first: date
    last: date
    since: datetime
    undated_until: datetime | None = None
    coarsest: Precision = Precision.DAY


def span(view: View, *, now: datetime, at: ZoneInfo) -> Span:
    """Return what a view shows at a moment, in a zone."""
    today = now.astimezone(at).date()
    if view is View.UPCOMING:
        return Span(today, today + 2 * WEEK, now, now + UNDATED_AHEAD, Precision.SEASON)
    if view is View.WEEK:
        monday = today - timedelta(days=today.weekday())
        return Span(monday, monday + 6 * DAY, beginning(monday, at), beginning(monday + WEEK, at), Precision.WEEK)
    day = today + DAY * {View.YESTERDAY: -1, View.TODAY: 0, View.TOMORROW: 1}[view]
    return Span(day, day, beginning(day, at))


def timetable(
    wanted: Span, at: ZoneInfo, entries: Iterable[tuple[ScheduleEntry, Broadcast]], weekly: Iterable[Broadcast]
) -> Timetable:
    """Put entries, and what weekly slots let expect where no entry says otherwise, on the days they belong to."""
    entries = list(entries)
    days: defaultdict[date, list[Airing]] = defaultdict(list)
    for airing in dated(entries, weekly, wanted.first, wanted.last):
        if airing.time >= wanted.since or airing.precision is not Precision.MINUTE:
            days[airing.day(at)].append(airing)
    shown = (wanted.first + DAY * number for number in range((wanted.last - wanted.first).days + 1))
    undated = [Airing(b, e.planned_air_time, e) for e, b in entries if not e.is_dated and _is_within(e, wanted)]
    return Timetable(
        tuple(Day(day, beginning(day, at), tuple(sorted(days[day], key=lambda airing: airing.place))) for day in shown),
        tuple(sorted(undated, key=lambda airing: airing.place)),
    )


def dated(
    entries: Sequence[tuple[ScheduleEntry, Broadcast]], weekly: Iterable[Broadcast], first: date, last: date
) -> Iterator[Airing]:
    """Yield the airings around some days; whoever asks takes those on the days as his zone counts them."""
    by_release: defaultdict[str, list[ScheduleEntry]] = defaultdict(list)
    for entry, broadcast in entries:
        by_release[entry.release_id].append(entry)
        if entry.is_dated:
            yield Airing(broadcast, entry.air_time, entry, entry.slot_date)
    for broadcast in weekly:
        yield from _expected(broadcast, by_release[broadcast.release_id], first, last)


def _expected(broadcast: Broadcast, entries: Sequence[ScheduleEntry], first: date, last: date) -> Iterator[Airing]:
    """Yield what a weekly slot lets expect, but for the days that entries speak of."""
    if broadcast.slot is None:
        return
    try:
        at = zone(broadcast.slot.zone, field="weekly_slot.zone")
    except ZoneUnknown:
        return  # kept when the zone still had this name
    claimed = {day for entry in entries for day in entry.claims(at)}
    # Zones differ by up to a day and two hours.
    for day, moment in occurrences(broadcast.slot, at, first - 2 * DAY, last + 2 * DAY):
        if day not in claimed and (broadcast.premiere_time is None or moment >= broadcast.premiere_time):
            yield Airing(broadcast, moment, None, day.isoformat())


def occurrences(slot: WeeklySlot, at: ZoneInfo, first: date, last: date) -> Iterator[tuple[date, datetime]]:
    """Yield the days of a slot from one day to another, each with its moment; clocks that skip it move it on."""
    day = first + timedelta(days=(slot.weekday - first.isoweekday()) % 7)
    while day <= last:
        yield day, datetime.combine(day, time(*divmod(slot.minute, 60)), at).astimezone(UTC)
        day += WEEK


def _is_within(entry: ScheduleEntry, wanted: Span) -> bool:
    """Tell whether what has no day may air within a view, and is known exactly enough for it."""
    if wanted.undated_until is None or entry.precision > wanted.coarsest:
        return False
    start, end = period(entry.planned_air_time, entry.precision, entry.zone)
    return start < wanted.undated_until and end > wanted.since
