"""What readers of all sources share: texts made fit for the catalog, and times made seasons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from domain.catalog.importing import Unusable
from domain.catalog.model import ExternalId, Provider, Season, Status, Title

TOKYO = ZoneInfo("Asia/Tokyo")
LONGEST_TITLE = 300
LONGEST_NAME = 120
LONGEST_GROUP = 64
ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9/_.-]{0,99}$")
LANGUAGE = re.compile(r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?$")
UNSEEN = re.compile(r"[\x00-\x1f\x7f]+")
# A title without a known end that began longer ago than this is over.
LONGEST_RUN = timedelta(days=400)
FIRST_YEAR, LAST_YEAR = 1907, 2100


class RowUnusable(Exception):
    """Raised by a reader for a row that it cannot use."""

    def __init__(self, reason: str, text: str, key: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.key = key

    def at(self, number: int) -> Unusable:
        return Unusable(number, self.key[:200], self.reason, self.text)


def clean(text: Any, longest: int = LONGEST_TITLE) -> str:
    """Return a text without control characters and needless blanks, cut to what the catalog takes; empty when it is none."""
    if not isinstance(text, str):
        return ""
    return " ".join(UNSEEN.sub(" ", text).split())[:longest].rstrip()


def cleaned(texts: Iterable[Any], longest: int) -> tuple[str, ...]:
    """Return texts cleaned, each once, without empty ones."""
    return tuple(dict.fromkeys(found for text in texts if (found := clean(text, longest))))


def external_id(provider: Provider, value: Any) -> Iterator[ExternalId]:
    """Yield an id elsewhere if it is one."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if ID.match(text):
        yield ExternalId(provider, text)


def unique_ids(ids: Iterable[ExternalId]) -> tuple[ExternalId, ...]:
    """Keep the first id of each provider."""
    first: dict[Provider, ExternalId] = {}
    for one in ids:
        first.setdefault(one.provider, one)
    return tuple(first.values())


def unique_titles(titles: Iterable[Title], *, besides: Iterable[Title] = ()) -> tuple[Title, ...]:
    known = set(besides)
    return tuple(one for one in dict.fromkeys(titles) if one.text and one not in known)


def moment(text: Any) -> datetime | None:
    """Return a time with its zone; None when there is none."""
    if not isinstance(text, str) or not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None


def season_of(begin: datetime | None) -> tuple[Season | None, int | None]:
    """Return the season and year in which something began in Japan."""
    if begin is None:
        return None, None
    local = begin.astimezone(TOKYO)
    if not FIRST_YEAR <= local.year <= LAST_YEAR:
        return None, None
    return Season((local.month - 1) // 3 + 1), local.year


def status_of(begin: datetime | None, end: datetime | None, now: datetime) -> Status:
    """Return how far a title's airing has come by now."""
    if begin is None or begin > now:
        return Status.ANNOUNCED
    if end is None:
        return Status.ONGOING if now - begin < LONGEST_RUN else Status.FINISHED
    return Status.ONGOING if end > now else Status.FINISHED
