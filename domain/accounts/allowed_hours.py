"""Allowed hours: the spans of a week in which a profile may play, on the clock of its own time zone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
# The span that began the day before may still go on; a week on, the same ones come again.
LOOKED_BACK, LOOKED_AHEAD = 2, 9


@dataclass(frozen=True, slots=True, order=True)
class AllowedHours:
    """A span of each week. It ends on the next day where its end is not after its start."""

    # 1 for Monday to 7 for Sunday.
    weekday: int
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class Now:
    """Whether somebody may play, and when that changes; never within a week for those who always may."""

    open: bool
    until: datetime | None = None


def now(hours: Iterable[AllowedHours], zone: ZoneInfo, *, at: datetime) -> Now:
    """Tell whether a moment is within the hours; without any, every moment is."""
    windows = tuple(hours)
    if not windows:
        return Now(open=True)
    for start, end in _spans(windows, zone, at):
        if start <= at < end:
            return Now(open=True, until=end)
        if at < start:
            return Now(open=False, until=start)
    return Now(open=False)


def _spans(windows: tuple[AllowedHours, ...], zone: ZoneInfo, at: datetime) -> list[tuple[datetime, datetime]]:
    """Return the spans of the days around a moment in order, those that touch each other as one."""
    today = at.astimezone(zone).date()
    days = [today + DAY * offset for offset in range(-LOOKED_BACK, LOOKED_AHEAD)]
    found = sorted(_span(window, day, zone) for day in days for window in windows if window.weekday == day.isoweekday())
    joined: list[tuple[datetime, datetime]] = []
    for start, end in found:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:  # the clocks may skip all of it
            joined.append((start, end))
    return joined


def _span(window: AllowedHours, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    last = day if window.end_minute > window.start_minute else day + DAY
    return _moment(day, window.start_minute, zone), _moment(last, window.end_minute, zone)


def _moment(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """Return when a clock on the wall shows a time: the first time of two; of one that it skips, as much later as it skips."""
    return datetime.combine(day, time(minute // 60, minute % 60), zone).astimezone(UTC)
