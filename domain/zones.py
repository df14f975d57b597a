"""Time zones by the names that everyone uses, and days in them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from domain.kernel import InvalidArgument

# Where most of what is shown is broadcast first.
TOKYO = "Asia/Tokyo"


class ZoneUnknown(InvalidArgument):
    """Raised when a time zone does not exist."""

    text = "There is no time zone {zone}."


def zone(name: str, *, field: str) -> ZoneInfo:
    """Return a zone. Raises ZoneUnknown."""
    if name not in _names():
        raise ZoneUnknown(zone=name, field=field)
    return ZoneInfo(name)


def beginning(day: date, at: ZoneInfo) -> datetime:
    """Return when a day begins: where the clocks skip midnight, at the moment they do."""
    return datetime.combine(day, time(), at).astimezone(UTC)


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones())
