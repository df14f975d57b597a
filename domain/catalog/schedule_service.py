"""What viewers do with the schedule: one method for each RPC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from domain.catalog.calendar import calendar
from domain.catalog.schedule import Change, ScheduleEntry, ScheduleEntryNotFound
from domain.catalog.seeing import Conditions, seen_release
from domain.catalog.timetable import DAY, LONGEST_PERIOD, WEEK, Broadcast, Span, Timetable, View, dated, span, timetable
from domain.kernel import Begin, Page, Viewer
from domain.paging import place_token, whole_place
from domain.visibility import Sight, Terms, sight
from domain.zones import beginning, zone

LARGEST_CHANGE = 2**63
UTC_ZONE = ZoneInfo("UTC")


class ScheduleStore(Protocol):
    """The schedule, to be read."""

    async def conditions(self, release: str) -> Conditions | None:
        """Return what the release with this id or alias demands of viewers."""

    async def entry(self, schedule_entry_id: str) -> tuple[ScheduleEntry, Terms] | None:
        """Return an entry, and what its release demands of viewers."""

    async def entries(
        self, start: datetime, end: datetime, slots: tuple[date, date], *, release_id: str | None, viewer: Viewer
    ) -> list[tuple[ScheduleEntry, Broadcast]]:
        """Return the entries the viewer may see that air or were to air in a span of time, or stand for slots of some days."""

    async def weekly(self, *, release_id: str | None, viewer: Viewer) -> list[Broadcast]:
        """Return the releases that air weekly now and that the viewer may see."""

    async def changes(self, schedule_entry_id: str, *, below: int | None, limit: int) -> list[tuple[int, Change]]:
        """Return an entry's changes with their numbers, the latest first, from below a number on."""


class Schedule:
    """The schedule, for viewers."""

    def __init__(self, *, read: Begin[ScheduleStore]) -> None:
        self._read = read

    async def get_schedule(self, view: View, *, time_zone: str, release: str, viewer: Viewer, now: datetime) -> Timetable:
        """Raises ZoneUnknown, ReleaseNotFound and ReleaseBlocked."""
        at = zone(time_zone, field="time_zone")
        wanted = span(view, now=now, at=at)
        entries, weekly = await self._found(wanted, at, release=release, viewer=viewer)
        return timetable(wanted, at, entries, weekly)

    async def get_calendar(self, *, release: str, viewer: Viewer, now: datetime, name: str) -> str:
        """Raises ReleaseNotFound and ReleaseBlocked."""
        today = now.astimezone(UTC).date()
        wanted = Span(today - WEEK, today + 4 * WEEK, beginning(today - WEEK, UTC_ZONE))
        entries, weekly = await self._found(wanted, UTC_ZONE, release=release, viewer=viewer)
        found = dated(entries, weekly, wanted.first, wanted.last)
        return calendar((one for one in found if wanted.first <= one.day(UTC_ZONE) <= wanted.last), name=name)

    async def get_schedule_entry(self, schedule_entry_id: str, *, viewer: Viewer) -> ScheduleEntry:
        """Raises ScheduleEntryNotFound."""
        async with self._read() as store:
            return await _visible(store, schedule_entry_id, viewer)

    async def list_schedule_changes(self, schedule_entry_id: str, page: Page, *, viewer: Viewer) -> tuple[list[Change], str]:
        """Return a page and the token of the next one. Raises ScheduleEntryNotFound and PageTokenInvalid."""
        binding = f"schedule_changes/{schedule_entry_id}"
        below = whole_place(page.token, binding=binding, below=LARGEST_CHANGE)
        async with self._read() as store:
            await _visible(store, schedule_entry_id, viewer)
            found = await store.changes(schedule_entry_id, below=below, limit=page.size + 1)
        shown = [change for _, change in found[: page.size]]
        return shown, place_token(found[page.size - 1][0], binding=binding) if len(found) > page.size else ""

    async def _found(
        self, wanted: Span, at: ZoneInfo, *, release: str, viewer: Viewer
    ) -> tuple[Sequence[tuple[ScheduleEntry, Broadcast]], Sequence[Broadcast]]:
        # What a day holds depends on the zone of whoever counts it: look around, and choose by the day itself.
        start, end = beginning(wanted.first, at) - 2 * DAY, beginning(wanted.last, at) + 3 * DAY
        if wanted.undated_until is not None:
            start, end = start - LONGEST_PERIOD, max(end, wanted.undated_until)
        slots = wanted.first - 2 * DAY, wanted.last + 2 * DAY
        async with self._read() as store:
            release_id = seen_release(await store.conditions(release), named=release, viewer=viewer) if release else None
            entries = await store.entries(start, end, slots, release_id=release_id, viewer=viewer)
            weekly = await store.weekly(release_id=release_id, viewer=viewer)
        return (
            [one for one in entries if sight(one[1].terms, viewer) is Sight.VISIBLE],
            [one for one in weekly if sight(one.terms, viewer) is Sight.VISIBLE],
        )


async def _visible(store: ScheduleStore, schedule_entry_id: str, viewer: Viewer) -> ScheduleEntry:
    found = await store.entry(schedule_entry_id)
    if found is None or sight(found[1], viewer) is not Sight.VISIBLE:
        raise ScheduleEntryNotFound(schedule_entry=schedule_entry_id)
    return found[0]
