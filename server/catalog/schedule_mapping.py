"""Where the messages and dataclasses of the schedule meet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from ani.catalog.v1 import schedule_pb2
from domain.catalog.schedule import AiringState, Change, Precision, ScheduleEntry
from domain.catalog.timetable import Airing, Day
from domain.kernel import new_id
from domain.zones import TOKYO
from server.catalog.episode_mapping import moment_from_pb
from server.catalog.mapping import FieldNotWritable, moment_to_pb


def entry_to_pb(entry: ScheduleEntry) -> schedule_pb2.ScheduleEntry:
    facts: dict[str, Any] = {
        "schedule_entry_id": entry.schedule_entry_id,
        "release_id": entry.release_id,
        "number": entry.number,
        "episode_count": entry.episode_count,
        "planned_air_time": moment_to_pb(entry.planned_air_time),
        "precision": entry.precision,
        "time_zone": entry.time_zone,
        "slot_date": entry.slot_date,
        "state": entry.state,
        "note": entry.note,
        "version": entry.version,
        "create_time": moment_to_pb(entry.create_time),
        "update_time": moment_to_pb(entry.update_time),
    }
    if entry.actual_air_time:
        facts["actual_air_time"] = moment_to_pb(entry.actual_air_time)
    return schedule_pb2.ScheduleEntry(**facts)


def day_to_pb(day: Day) -> schedule_pb2.ScheduleDay:
    return schedule_pb2.ScheduleDay(
        date=day.date.isoformat(),
        start_time=moment_to_pb(day.start),  # type: ignore[arg-type]
        airings=map(airing_to_pb, day.airings),
    )


def airing_to_pb(airing: Airing) -> schedule_pb2.Airing:
    entry, broadcast = airing.entry, airing.broadcast
    facts: dict[str, Any] = {
        "release_id": broadcast.release_id,
        "alias": broadcast.alias,
        "titles": [{"language": title.language, "text": title.text} for title in broadcast.titles],
        "expected": entry is None,
        "episode_count": entry.episode_count if entry else 1,
        "air_time": moment_to_pb(airing.time),
        "precision": airing.precision,
        "planned_air_time": moment_to_pb(entry.planned_air_time if entry else airing.time),
        "state": airing.state,
    }
    if entry:
        facts |= {"schedule_entry_id": entry.schedule_entry_id, "number": entry.number, "note": entry.note}
    return schedule_pb2.Airing(**facts)


def change_to_pb(change: Change) -> schedule_pb2.ScheduleChange:
    facts: dict[str, Any] = {
        "kind": change.kind,
        "change_time": moment_to_pb(change.time),
        "planned_after": moment_to_pb(change.planned_after),
        "precision_after": change.precision_after,
        "note": change.note,
    }
    if change.planned_before and change.precision_before:
        facts |= {"planned_before": moment_to_pb(change.planned_before), "precision_before": change.precision_before}
    return schedule_pb2.ScheduleChange(**facts)


# How each field that a caller may change is read; a mask names them by the same names.
READERS: dict[str, Callable[[schedule_pb2.ScheduleEntry], Any]] = {
    "number": lambda m: m.number,
    "episode_count": lambda m: m.episode_count or 1,
    "planned_air_time": lambda m: moment_from_pb(m.planned_air_time),
    "precision": lambda m: Precision(m.precision or Precision.MINUTE),
    "time_zone": lambda m: m.time_zone or TOKYO,
    "slot_date": lambda m: m.slot_date,
    "actual_air_time": lambda m: moment_from_pb(m.actual_air_time) if m.HasField("actual_air_time") else None,
    "state": lambda m: AiringState(m.state or AiringState.PLANNED),
    "note": lambda m: m.note,
}


def entry_from_pb(message: schedule_pb2.ScheduleEntry, *, at: datetime) -> ScheduleEntry:
    decided = {name: read(message) for name, read in READERS.items()}
    entry_id = message.schedule_entry_id or new_id(at=at)
    return ScheduleEntry(schedule_entry_id=entry_id, release_id=message.release_id, create_time=at, update_time=at, **decided)


def entry_changes_from_pb(message: schedule_pb2.ScheduleEntry, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises FieldNotWritable."""
    for path in mask.paths:
        if path not in READERS:
            raise FieldNotWritable(path=path, field="update_mask")
    return {path: READERS[path](message) for path in mask.paths}
