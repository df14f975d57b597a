"""The schedule as iCalendar (RFC 5545), for calendars that subscribe to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from domain.catalog.schedule import AiringState, Precision
from domain.catalog.timetable import Airing

LONGEST_LINE = 75
USUAL_MINUTES = 30
STATUSES = {
    AiringState.PLANNED: "CONFIRMED",
    AiringState.AIRED: "CONFIRMED",
    AiringState.DELAYED: "CANCELLED",
    AiringState.ON_BREAK: "CANCELLED",
    AiringState.CANCELLED: "CANCELLED",
}
ESCAPES = {"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n"}
# No line may hold any of these, in whatever disguise.
ESCAPED = str.maketrans({chr(number): None for number in (*range(32), 127)} | ESCAPES)


def calendar(airings: Iterable[Airing], *, name: str) -> str:
    """Return a feed."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Ani//Schedule//EN",
        "CALSCALE:GREGORIAN",
        f"NAME:{text(name)}",
        f"X-WR-CALNAME:{text(name)}",
        "REFRESH-INTERVAL;VALUE=DURATION:PT1H",
        "X-PUBLISHED-TTL:PT1H",
        *(line for uid, airing in _named(airings) for line in _event(uid, airing)),
        "END:VCALENDAR",
    ]
    return "".join(f"{folded}\r\n" for line in lines for folded in fold(line))


def _named(airings: Iterable[Airing]) -> list[tuple[str, Airing]]:
    """Give each airing its id: the slot's goes to what stands for it first, so that a plan keeps the id of the expectation."""
    named: dict[str, Airing] = {}
    for airing in sorted(airings, key=lambda one: one.entry.schedule_entry_id if one.entry else ""):
        uid = f"{airing.broadcast.release_id}-{airing.slot_date}"
        if airing.entry and (not airing.slot_date or uid in named):
            uid = airing.entry.schedule_entry_id
        named[uid] = airing
    return sorted(named.items(), key=lambda one: (one[1].time, one[0]))


def _event(uid: str, airing: Airing) -> Iterator[str]:
    entry, broadcast = airing.entry, airing.broadcast
    count = entry.episode_count if entry else 1
    yield "BEGIN:VEVENT"
    yield f"UID:{uid}@ani"
    # An entry's own would fall when the slot that it stood for is expected again.
    yield f"DTSTAMP:{moment(broadcast.update_time)}"
    yield f"SEQUENCE:{broadcast.version}"
    if airing.precision is Precision.MINUTE:
        yield f"DTSTART:{moment(airing.time)}"
        yield f"DURATION:PT{USUAL_MINUTES * count}M"
    else:
        day = airing.time.astimezone(entry.zone).date() if entry else airing.time.date()
        yield f"DTSTART;VALUE=DATE:{day:%Y%m%d}"
        yield f"DTEND;VALUE=DATE:{day + timedelta(days=1):%Y%m%d}"
    words = [broadcast.titles[0].text if broadcast.titles else broadcast.alias, entry.number if entry else ""]
    words.append(f"({count})" if count > 1 else "")
    yield f"SUMMARY:{text(' '.join(filter(None, words)))}"
    if entry and entry.note:
        yield f"DESCRIPTION:{text(entry.note)}"
    yield f"STATUS:{STATUSES[airing.state] if entry else 'TENTATIVE'}"
    yield "TRANSP:TRANSPARENT"
    yield "END:VEVENT"


def text(value: str) -> str:
    """Escape a text."""
    return value.replace("\r\n", "\n").translate(ESCAPED)


def moment(at: datetime) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}"


def fold(line: str) -> Iterator[str]:
    """Break a line into parts of at most 75 octets, never within a character; those after the first begin with a space."""
    if len(line.encode()) <= LONGEST_LINE:  # as nearly all are
        yield line
        return
    part, size = "", 0
    for character in line:
        octets = len(character.encode())
        if size + octets > LONGEST_LINE:
            yield part
            part, size = " ", 1
        part += character
        size += octets
    yield part
