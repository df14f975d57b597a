"""What lists of releases can be narrowed to and ordered by."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import Enum

from domain.catalog.model import Kind, Season, Status
from domain.kernel import InvalidArgument

# What a database has no text for.
UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")
LARGEST_EXACT = 2**53


class Key(Enum):
    """What a list can be ordered by."""

    PUBLISHED = "published"
    RATING = "rating"
    POPULARITY = "popularity"
    PREMIERE = "premiere"
    TITLE = "title"


LARGEST = {Key.POPULARITY: 2**31 - 1}


@dataclass(frozen=True, slots=True)
class Order:
    """By what a list is ordered, and whether from the highest to the lowest; ids decide ties."""

    key: Key = Key.PUBLISHED
    descending: bool = True


class OrderUnknown(InvalidArgument):
    """Raised when a list is to be ordered by what it cannot be ordered by."""

    text = (
        "A list can be ordered by published, rating, popularity, premiere or title, with asc or desc after it, not by {order_by}."
    )


def order(text: str) -> Order:
    """Read an order such as "rating" or "title desc"; without a direction it is the one people expect. Raises OrderUnknown."""
    name, _, direction = text.partition(" ")
    try:
        key = Key(name) if name else Key.PUBLISHED
    except ValueError as fault:
        raise OrderUnknown(order_by=text, field="order_by") from fault
    if direction not in {"", "asc", "desc"}:
        raise OrderUnknown(order_by=text, field="order_by")
    return Order(key, direction == "desc" if direction else key is not Key.TITLE)


def comparable(key: Key, value: object) -> bool:
    """Tell whether a value can be the place where a list goes on. Others may stand in a token that somebody made up."""
    if key is Key.TITLE:
        return isinstance(value, str) and not UNWRITABLE.search(value)
    if isinstance(value, bool) or not isinstance(value, (int, float) if key is Key.RATING else int):
        return False
    return abs(value) <= LARGEST.get(key, LARGEST_EXACT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which releases a list is to hold; what is unset does not restrict it. Genres and tags are ids or names in lower case."""

    genres: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    kind: Kind | None = None
    status: Status | None = None
    season: Season | None = None
    year_from: int | None = None
    year_to: int | None = None
    age_rating_to: int | None = None
    studio: str | None = None
    voice_team: str | None = None
    order: Order = Order()

    @property
    def binding(self) -> str:
        """Return what a page token is bound to."""
        plain = self.genres, self.tags
        rest = [getattr(self, field.name) for field in fields(self) if field.name not in {"genres", "tags"}]
        return repr((*(sorted(names) for names in plain), *rest))


@dataclass(frozen=True, slots=True)
class Value:
    """A value that a list can be narrowed to, and how many releases it leaves."""

    value: str
    label: str
    release_count: int
