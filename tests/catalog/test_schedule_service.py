"""Every rule and refusal of the schedule, over the real store."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from icalendar import Calendar

from adapters.postgres import Database
from adapters.postgres.catalog.schedule import PostgresSchedule
from domain.catalog.model import Release, ReleaseBlocked, ReleaseNotFound, RightsBlock, Status, WeeklySlot
from domain.catalog.schedule import (
    SCHEDULE_ENTRY,
    AiringState,
    ChangeKind,
    Precision,
    ScheduleEntry,
    ScheduleEntryNotFound,
    ScheduleReleaseUnknown,
)
from domain.catalog.schedule_service import Schedule
from domain.catalog.timetable import Airing, View
from domain.editing.service import Editing
from domain.kernel import Page, Viewer, new_id
from domain.paging import PageTokenInvalid, place_token
from domain.visibility import Publication
from domain.zones import ZoneUnknown
from tests.builders import GUEST, NOON, a_release, a_viewer, an_editor, an_entry
from tests.catalog.conftest import AUTHOR, Desk

LATER = NOON + timedelta(hours=1)
WEEK = timedelta(days=7)
SLOT = WeeklySlot(1, 21 * 60, "Asia/Tokyo")  # Mondays at noon in UTC


@pytest.fixture
def schedule(database: Database) -> Schedule:
    return Schedule(read=database.reads(PostgresSchedule))


@pytest.fixture
async def release(admin: Desk) -> Release:
    """A release that airs at no time of its own."""
    created, _ = await admin.create_release(a_release(alias="kaze-no-uta"))
    return created


async def created(editing: Editing, release: Release, **over: object) -> ScheduleEntry:
    entry, _ = await editing.create(SCHEDULE_ENTRY, an_entry(release, **over), author=AUTHOR)
    return entry


async def changed(editing: Editing, entry: ScheduleEntry, **change: object) -> ScheduleEntry:
    key = entry.schedule_entry_id
    after, _, _ = await editing.update(SCHEDULE_ENTRY, key, change, version=0, author=AUTHOR, at=LATER)
    return after


async def shown(
    schedule: Schedule, view: View = View.WEEK, *, viewer: Viewer = GUEST, time_zone: str = "UTC", release: str = ""
) -> list[Airing]:
    found = await schedule.get_schedule(view, time_zone=time_zone, release=release, viewer=viewer, now=NOON)
    return [airing for day in found.days for airing in day.airings] + list(found.undated)


async def stamps(schedule: Schedule) -> dict[str, tuple[int, datetime]]:
    """Return by its id what the feed tells of each event's age."""
    feed: Any = Calendar.from_ical(await schedule.get_calendar(release="", viewer=GUEST, now=NOON, name="Ani"))
    return {str(event["UID"]): (int(event["SEQUENCE"]), event["DTSTAMP"].dt) for event in feed.walk("VEVENT")}


class TestGetSchedule:
    async def test_shows_entries_and_what_is_expected(
        self, schedule: Schedule, editing: Editing, release: Release, admin: Desk
    ) -> None:
        weekly, _ = await admin.create_release(a_release(alias="aki-no-kaze", weekly_slot=SLOT))
        entry = await created(editing, release, note="With subtitles.")

        found = await shown(schedule)

        assert [(weekly.release_id, None), (release.release_id, entry)] == [(a.broadcast.release_id, a.entry) for a in found]

    async def test_expects_nothing_of_what_does_not_air_now(self, schedule: Schedule, admin: Desk) -> None:
        for status in (Status.ANNOUNCED, Status.FINISHED, Status.HIATUS):
            await admin.create_release(a_release(weekly_slot=SLOT, status=status))

        assert [] == await shown(schedule)

    async def test_hides_what_the_viewer_may_not_see(self, schedule: Schedule, editing: Editing, admin: Desk) -> None:
        for over in ({"publication": Publication.DRAFT}, {"age_rating": 18}, {"blocked_countries": ("JP",)}):
            hidden, _ = await admin.create_release(a_release(weekly_slot=SLOT, **over))
            await created(editing, hidden, planned_air_time=NOON + timedelta(days=1))

        assert [] == await shown(schedule, viewer=a_viewer(country="JP", maturity=12))
        assert 6 == len(await shown(schedule, viewer=an_editor()))
        assert 4 == len(await shown(schedule, viewer=GUEST))

    async def test_forgets_what_is_deleted(self, schedule: Schedule, editing: Editing, release: Release, admin: Desk) -> None:
        entry, other = await created(editing, release), await created(editing, release, number="2")
        await editing.delete(SCHEDULE_ENTRY, entry.schedule_entry_id, version=0, author=AUTHOR, at=LATER)
        assert [other] == [airing.entry for airing in await shown(schedule)]

        await admin.delete_release(release.release_id, version=0, at=LATER)
        assert [] == await shown(schedule)

    async def test_shows_what_was_moved_where_it_went_and_nothing_where_it_was(
        self, schedule: Schedule, editing: Editing, admin: Desk
    ) -> None:
        weekly, _ = await admin.create_release(a_release(weekly_slot=SLOT))
        entry = await created(editing, weekly)
        far = await changed(editing, entry, planned_air_time=NOON + 30 * WEEK)

        assert [] == await shown(schedule)
        near = await changed(editing, far, planned_air_time=NOON + timedelta(days=2))
        assert [near] == [airing.entry for airing in await shown(schedule)]

    async def test_holds_the_view_that_was_asked_for(self, schedule: Schedule, editing: Editing, release: Release) -> None:
        at = {
            View.YESTERDAY: NOON - timedelta(days=1),
            View.TODAY: NOON + timedelta(hours=1),
            View.TOMORROW: NOON + timedelta(days=1),
        }
        entries = {view: await created(editing, release, planned_air_time=moment) for view, moment in at.items()}

        for view, entry in entries.items():
            assert [entry] == [airing.entry for airing in await shown(schedule, view)]
        upcoming = [entries[View.TODAY], entries[View.TOMORROW]]
        assert upcoming == [airing.entry for airing in await shown(schedule, View.UPCOMING)]

    async def test_counts_days_where_the_viewer_is(self, schedule: Schedule, editing: Editing, release: Release) -> None:
        entry = await created(editing, release, planned_air_time=NOON + timedelta(hours=10, minutes=30))

        assert [entry] == [airing.entry for airing in await shown(schedule, View.TODAY, time_zone="UTC")]
        assert [entry] == [airing.entry for airing in await shown(schedule, View.TOMORROW, time_zone="Europe/Berlin")]

    async def test_holds_what_has_no_day_yet(self, schedule: Schedule, editing: Editing, release: Release) -> None:
        soon = await created(editing, release, precision=Precision.SEASON, planned_air_time=NOON + timedelta(days=100))
        await created(editing, release, precision=Precision.SEASON, planned_air_time=NOON + timedelta(days=250))

        assert [soon] == [airing.entry for airing in await shown(schedule, View.UPCOMING)]
        assert [] == await shown(schedule, View.WEEK)

    async def test_can_be_of_one_release(self, schedule: Schedule, editing: Editing, release: Release, admin: Desk) -> None:
        weekly, _ = await admin.create_release(a_release(weekly_slot=SLOT))
        entry = await created(editing, release)
        await created(editing, weekly, planned_air_time=NOON + timedelta(days=1))

        assert [entry] == [airing.entry for airing in await shown(schedule, release="kaze-no-uta")]
        assert 2 == len(await shown(schedule, release=weekly.release_id))

    async def test_refuses_a_zone_and_a_release_that_are_not_there(self, schedule: Schedule, admin: Desk) -> None:
        draft, _ = await admin.create_release(a_release(publication=Publication.DRAFT))

        with pytest.raises(ZoneUnknown):
            await shown(schedule, time_zone="Europe/Atlantis")
        for missing in (draft.release_id, "no-such-release"):
            with pytest.raises(ReleaseNotFound):
                await shown(schedule, release=missing)

    async def test_says_of_one_release_that_it_is_blocked(self, schedule: Schedule, admin: Desk) -> None:
        blocked, _ = await admin.create_release(a_release(rights_blocks=(RightsBlock("Toho", "in dispute", ("DE",)),)))
        there = a_viewer(country="DE")

        with pytest.raises(ReleaseBlocked, match="in dispute"):
            await shown(schedule, release=blocked.release_id, viewer=there)
        with pytest.raises(ReleaseBlocked, match="in dispute"):
            await schedule.get_calendar(release=blocked.alias, viewer=there, now=NOON, name="Ani")


class TestGetCalendar:
    async def test_holds_what_the_viewer_may_see_of_five_weeks(
        self, schedule: Schedule, editing: Editing, release: Release, admin: Desk
    ) -> None:
        await admin.create_release(a_release(weekly_slot=SLOT))
        hidden, _ = await admin.create_release(a_release(publication=Publication.DRAFT, weekly_slot=SLOT))
        entry = await created(editing, release, number="7")
        await created(editing, release, planned_air_time=NOON + 5 * WEEK)

        feed = await schedule.get_calendar(release="", viewer=GUEST, now=NOON, name="Ani")

        assert 7 == feed.count("BEGIN:VEVENT")
        assert f"UID:{release.release_id}-{entry.slot_date}@ani" in feed
        assert hidden.release_id not in feed

    async def test_never_tells_a_smaller_sequence_whatever_becomes_of_an_entry(
        self, schedule: Schedule, editing: Editing, admin: Desk
    ) -> None:
        """An airing that is put off and back again, and one whose slot is expected again when the entry is gone."""
        weekly, _ = await admin.create_release(a_release(weekly_slot=SLOT))
        told = [await stamps(schedule)]
        entry = await created(editing, weekly)
        told.append(await stamps(schedule))
        for later in (timedelta(days=1), timedelta(0), timedelta(days=2), timedelta(0)):
            await changed(editing, entry, planned_air_time=entry.planned_air_time + later)
            told.append(await stamps(schedule))
        await changed(editing, entry, slot_date="2026-04-07")
        told.append(await stamps(schedule))
        await changed(editing, entry, slot_date=entry.slot_date)
        told.append(await stamps(schedule))
        await editing.delete(SCHEDULE_ENTRY, entry.schedule_entry_id, version=0, author=AUTHOR, at=LATER)
        told.append(await stamps(schedule))
        await editing.undelete_item(SCHEDULE_ENTRY.name, entry.schedule_entry_id, author=AUTHOR, at=LATER)
        told.append(await stamps(schedule))

        slot = f"{weekly.release_id}-{entry.slot_date}@ani"
        sequences, times = zip(*(one[slot] for one in told if slot in one), strict=True)

        assert sorted(set(sequences)) == list(sequences)
        assert sorted(times) == list(times)


class TestScheduleEntry:
    async def test_is_hidden_with_its_release(self, schedule: Schedule, editing: Editing, admin: Desk) -> None:
        draft, _ = await admin.create_release(a_release(publication=Publication.DRAFT))
        entry = await created(editing, draft)

        assert entry == await schedule.get_schedule_entry(entry.schedule_entry_id, viewer=an_editor())
        for key in (entry.schedule_entry_id, new_id(at=NOON)):
            with pytest.raises(ScheduleEntryNotFound):
                await schedule.get_schedule_entry(key, viewer=GUEST)
            with pytest.raises(ScheduleEntryNotFound):
                await schedule.list_schedule_changes(key, Page(), viewer=GUEST)

    async def test_belongs_to_a_release_that_exists(self, editing: Editing) -> None:
        with pytest.raises(ScheduleReleaseUnknown):
            await created(editing, a_release())

    async def test_has_aired_by_one_edit(self, schedule: Schedule, editing: Editing, release: Release) -> None:
        entry = await created(editing, release)
        key = entry.schedule_entry_id

        aired, fields, effects = await editing.update(
            SCHEDULE_ENTRY, key, {"actual_air_time": NOON}, version=1, author=AUTHOR, at=LATER
        )

        assert (AiringState.AIRED, NOON) == (aired.state, aired.actual_air_time)
        assert (["actual_air_time", "state"], ["ScheduleChanged", "EpisodeAired"]) == (fields, effects)
        assert aired == await schedule.get_schedule_entry(key, viewer=GUEST)

    async def test_can_be_brought_back(self, schedule: Schedule, editing: Editing, release: Release) -> None:
        entry = await created(editing, release)
        key = entry.schedule_entry_id
        await changed(editing, entry, state=AiringState.ON_BREAK)
        await editing.delete(SCHEDULE_ENTRY, key, version=0, author=AUTHOR, at=LATER)
        await editing.undelete_item("schedule_entry", key, author=AUTHOR, at=LATER)
        await editing.revert_item("schedule_entry", key, to=1, version=0, author=AUTHOR, at=LATER)

        assert AiringState.PLANNED is (await schedule.get_schedule_entry(key, viewer=GUEST)).state


class TestListScheduleChanges:
    async def test_tells_what_happened_latest_first_page_by_page(
        self, schedule: Schedule, editing: Editing, release: Release
    ) -> None:
        entry = await created(editing, release)
        key = entry.schedule_entry_id
        await changed(editing, entry, planned_air_time=NOON + WEEK, note="A marathon is broadcast instead.")
        await changed(editing, entry, number="7")
        await changed(editing, entry, episode_count=2)
        await changed(editing, entry, actual_air_time=NOON + WEEK)

        first, token = await schedule.list_schedule_changes(key, Page(2), viewer=GUEST)
        second, last = await schedule.list_schedule_changes(key, Page(2, token), viewer=GUEST)

        told = [ChangeKind.AIRED, ChangeKind.DOUBLE_EPISODE, ChangeKind.DELAYED, ChangeKind.ADDED]
        assert told == [change.kind for change in first + second]
        assert "" == last
        delay = second[0]
        assert (NOON, NOON + WEEK) == (delay.planned_before, delay.planned_after)
        assert "A marathon is broadcast instead." == delay.note

    async def test_is_as_true_as_the_edit(self, schedule: Schedule, editing: Editing, release: Release) -> None:
        """What is only tried leaves no trace."""
        entry = await created(editing, release)
        key = entry.schedule_entry_id
        await editing.update(SCHEDULE_ENTRY, key, {"episode_count": 2}, version=0, author=AUTHOR, at=LATER, validate_only=True)

        assert 1 == len((await schedule.list_schedule_changes(key, Page(), viewer=GUEST))[0])

    async def test_refuses_foreign_tokens(self, schedule: Schedule, editing: Editing, release: Release) -> None:
        key = (await created(editing, release)).schedule_entry_id
        binding = f"schedule_changes/{key}"

        for token in ("x", place_token(1, binding="other"), place_token(2**63, binding=binding), place_token("a", binding=binding)):
            with pytest.raises(PageTokenInvalid):
                await schedule.list_schedule_changes(key, Page(2, token), viewer=GUEST)
