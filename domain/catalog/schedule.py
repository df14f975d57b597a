"""Schedule entries: what is known of an airing, and how that changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import IntEnum
from zoneinfo import ZoneInfo

from domain.items import Kind, everyone
from domain.kernel import Event, InvalidArgument, NotFound
from domain.zones import TOKYO, beginning, zone


class Precision(IntEnum):
    """How exactly an air time is known."""

    MINUTE = 1
    DAY = 2
    WEEK = 3
    MONTH = 4
    SEASON = 5

    @property
    def names_a_day(self) -> bool:
        return self <= Precision.DAY


class AiringState(IntEnum):
    """What has become of a plan."""

    PLANNED = 1
    AIRED = 2
    DELAYED = 3
    ON_BREAK = 4
    CANCELLED = 5


class ChangeKind(IntEnum):
    """What changed in a schedule entry."""

    ADDED = 1
    DELAYED = 2
    BROUGHT_FORWARD = 3
    PRECISION = 4
    BREAK = 5
    DOUBLE_EPISODE = 6
    AIRED = 7
    CANCELLED = 8
    RESUMED = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """What is known of one airing of a release."""

    schedule_entry_id: str
    release_id: str
    number: str = ""
    episode_count: int = 1
    planned_air_time: datetime
    precision: Precision = Precision.MINUTE
    time_zone: str = TOKYO
    # The day of the weekly slot that this stands for, as ISO 8601 writes it.
    slot_date: str = ""
    actual_air_time: datetime | None = None
    state: AiringState = AiringState.PLANNED
    note: str = ""
    version: int = 1
    create_time: datetime
    update_time: datetime

    @property
    def air_time(self) -> datetime:
        """Return when it did air where that is known, else when it is planned to."""
        return self.actual_air_time or self.planned_air_time

    @property
    def zone(self) -> ZoneInfo:
        return zone(self.time_zone, field="schedule_entry.time_zone")

    @property
    def is_dated(self) -> bool:
        """Whether it is known on which day it airs."""
        return self.actual_air_time is not None or self.precision.names_a_day

    def claims(self, at: ZoneInfo) -> set[date]:
        """Return the days on which nothing is to be expected but this."""
        days = {self.air_time.astimezone(at).date()} if self.is_dated else set()
        if self.is_dated and self.precision.names_a_day:
            days.add(self.planned_air_time.astimezone(at).date())
        return days | ({date.fromisoformat(self.slot_date)} if self.slot_date else set())

    def check(self) -> None:
        """Refuse what no entry may be, whoever made it."""
        try:
            if self.slot_date:
                date.fromisoformat(self.slot_date)
        except ValueError as fault:
            raise SlotDateInvalid(slot_date=self.slot_date, field="schedule_entry.slot_date") from fault


WRITABLE = frozenset(
    {
        "release_id", "number", "episode_count", "planned_air_time", "precision", "time_zone", "slot_date", "actual_air_time",
        "state", "note",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an entry, as its change log keeps it."""

    kind: ChangeKind
    time: datetime
    planned_before: datetime | None
    precision_before: Precision | None
    planned_after: datetime
    precision_after: Precision
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntryAdded(Event):
    """An airing was entered into the schedule."""

    schedule_entry_id: str
    release_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChanged(Event):
    """An airing was changed; the changes are named as in its change log."""

    schedule_entry_id: str
    release_id: str
    fields: tuple[str, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeAired(Event):
    """It became known that an airing took place."""

    schedule_entry_id: str
    release_id: str
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntryRemoved(Event):
    """An airing was taken out of the schedule."""

    schedule_entry_id: str
    release_id: str


class ScheduleEntryNotFound(NotFound):
    """Raised when no schedule entry that the viewer may see has this id."""

    text = "There is no schedule entry {schedule_entry}."


class ScheduleReleaseUnknown(InvalidArgument):
    """Raised when an airing is to be of a release that does not exist."""

    text = "There is no release {release} that could air."


class SlotDateInvalid(InvalidArgument):
    """Raised when the day of a slot is none."""

    text = "{slot_date} is no day of the calendar."


def changes(before: ScheduleEntry | None, after: ScheduleEntry) -> list[ChangeKind]:
    """Name what the change log tells of a transition."""
    if before is None:
        return [ChangeKind.ADDED]
    found = []
    if before.state is not after.state:
        found.append(STATE_CHANGES[after.state])
    if before.planned_air_time != after.planned_air_time:
        later = after.planned_air_time > before.planned_air_time
        found.append(ChangeKind.DELAYED if later else ChangeKind.BROUGHT_FORWARD)
    elif before.precision is not after.precision:
        found.append(ChangeKind.PRECISION)
    if after.episode_count > max(1, before.episode_count):
        found.append(ChangeKind.DOUBLE_EPISODE)
    return list(dict.fromkeys(found))


STATE_CHANGES = {
    AiringState.PLANNED: ChangeKind.RESUMED,
    AiringState.AIRED: ChangeKind.AIRED,
    AiringState.DELAYED: ChangeKind.DELAYED,
    AiringState.ON_BREAK: ChangeKind.BREAK,
    AiringState.CANCELLED: ChangeKind.CANCELLED,
}


def log(before: ScheduleEntry | None, after: ScheduleEntry) -> list[Change]:
    """Return what the change log keeps of a transition."""
    return [
        Change(
            kind=kind,
            time=after.update_time,
            planned_before=before.planned_air_time if before else None,
            precision_before=before.precision if before else None,
            planned_after=after.planned_air_time,
            precision_after=after.precision,
            note=after.note,
        )
        for kind in changes(before, after)
    ]


def period(moment: datetime, precision: Precision, at: ZoneInfo) -> tuple[datetime, datetime]:
    """Return where the period that holds a moment begins, and where the next one does."""
    if precision is Precision.MINUTE:
        start = moment.replace(second=0, microsecond=0)
        return start, start + timedelta(minutes=1)
    day = moment.astimezone(at).date()
    if precision is Precision.DAY:
        return beginning(day, at), beginning(day + timedelta(days=1), at)
    if precision is Precision.WEEK:
        monday = day - timedelta(days=day.weekday())
        return beginning(monday, at), beginning(monday + timedelta(days=7), at)
    months = 1 if precision is Precision.MONTH else 3
    first = day.month - 1 - (day.month - 1) % months
    following = first + months
    return (
        beginning(date(day.year, first + 1, 1), at),
        beginning(date(day.year + following // 12, following % 12 + 1, 1), at),
    )


def _settled(entry: ScheduleEntry, _at: datetime) -> ScheduleEntry:
    """Keep the beginning of what is planned, the slot's day, and a state that goes with whether it has aired."""
    planned, _ = period(entry.planned_air_time, entry.precision, entry.zone)
    slot_date = entry.slot_date
    if not slot_date and entry.precision.names_a_day:
        slot_date = planned.astimezone(entry.zone).date().isoformat()
    state = entry.state
    if entry.actual_air_time is not None:
        state = AiringState.AIRED
    elif state is AiringState.AIRED:
        state = AiringState.PLANNED
    return replace(entry, planned_air_time=planned, slot_date=slot_date, state=state)


def _events(before: ScheduleEntry | None, after: ScheduleEntry | None, at: datetime) -> list[Event]:
    known = after or before
    if known is None:
        return []
    about = {"schedule_entry_id": known.schedule_entry_id, "release_id": known.release_id}
    if after is None:
        return [ScheduleEntryRemoved(time=at, **about)]
    events: list[Event]
    if before is None:
        events = [ScheduleEntryAdded(time=at, **about)]
    else:
        told = tuple(kind.name.lower() for kind in changes(before, after))
        events = [ScheduleChanged(time=at, fields=tuple(SCHEDULE_ENTRY.differences(before, after)), changes=told, **about)]
    if after.actual_air_time is not None and (before is None or before.actual_air_time is None):
        events.append(EpisodeAired(time=at, number=after.number, **about))
    return events


SCHEDULE_ENTRY = Kind(
    name="schedule_entry",
    of=ScheduleEntry,
    writable=WRITABLE,
    missing=ScheduleEntryNotFound,
    events=_events,
    settled=_settled,
    shown=everyone,
    entrusted=frozenset({"planned_air_time", "precision", "time_zone", "note"}),
    part_of=lambda entry: ("release", entry.release_id),
)
