"""Promos, and the rules they keep by themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Protocol
from urllib.parse import urlsplit

from domain.items import Kind
from domain.kernel import Event, Exhausted, InvalidArgument, NotFound, Viewer
from domain.visibility import Sight, Terms, sight

LONGEST_STATISTICS_DAYS = 92
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
# Nothing that a browser would read in another way than this does.
URL = re.compile(r"https://[!$-;=?-\[\]_a-z~]+")


class PromoFormat(IntEnum):
    """What a promo is."""

    BANNER = 1
    VAST = 2


class PromoPlacement(IntEnum):
    """Where promos are shown."""

    HOME = 1
    LIST = 2
    RELEASE = 3
    PLAYER = 4
    PRE_ROLL = 5
    MID_ROLL = 6
    POST_ROLL = 7


class PromoAction(IntEnum):
    """What became of a promo at a viewer's."""

    SHOW = 1
    CLICK = 2
    SKIP = 3
    FIRST_QUARTER = 4
    HALF = 5
    THIRD_QUARTER = 6
    COMPLETE = 7
    FAIL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Promo:
    """Something that is shown for a time, at a place, in some regions."""

    promo_id: str
    format: PromoFormat
    placement: PromoPlacement
    title: str
    text: str = ""
    image_file_id: str | None = None
    release_id: str | None = None
    url: str = ""
    regions: tuple[str, ...] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None
    overlay: bool = False
    priority: int = 0
    erid: str = ""
    enabled: bool = False
    version: int = 1
    create_time: datetime
    update_time: datetime

    def check(self) -> None:
        """Raises PromoEndsBeforeItBegins, PromoLeadsTwoWays, PromoTagMissing, PromoUrlRefused."""
        if self.start_time and self.end_time and self.end_time <= self.start_time:
            raise PromoEndsBeforeItBegins(field="promo.end_time")
        if self.release_id and self.url:
            raise PromoLeadsTwoWays(field="promo.url")
        if self.format is PromoFormat.VAST and not self.url:
            raise PromoTagMissing(field="promo.url")
        if self.url and host_of(self.url) is None:
            raise PromoUrlRefused(field="promo.url")


WRITABLE = frozenset(
    {
        "format", "placement", "title", "text", "image_file_id", "release_id", "url", "regions", "start_time", "end_time",
        "overlay", "priority", "erid", "enabled",
    }
)  # fmt: skip


def host_of(url: str) -> str | None:
    """Return the host of an https address, or None for anything that is not plainly one."""
    if not URL.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    plain = "@" not in parts.netloc and port in {None, 443} and HOST.fullmatch(host)
    return host if plain else None


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that promos may lead to; each stands for those below it too."""

    names: tuple[str, ...]

    def allow(self, url: str) -> bool:
        host = host_of(url)
        return host is not None and any(host == name or host.endswith(f".{name}") for name in self.names)


@dataclass(frozen=True, slots=True)
class Running:
    """A promo that holds now, with the terms of the release that it leads to."""

    promo: Promo
    terms: Terms | None

    def shown_to(self, viewer: Viewer, hosts: Hosts) -> bool:
        if self.promo.url and not hosts.allow(self.promo.url):
            return False
        if self.promo.regions and viewer.country not in self.promo.regions:
            return False
        if self.promo.release_id is None:
            return True
        return self.terms is not None and sight(self.terms, viewer) is Sight.VISIBLE


@dataclass(frozen=True, slots=True)
class PromoOccurrence:
    """What became of a promo at a viewer's, as the client tells it."""

    event_id: str
    promo_id: str
    action: PromoAction
    country: str
    time: datetime

    @property
    def day(self) -> date:
        return self.time.astimezone(UTC).date()


@dataclass(frozen=True, slots=True)
class PromoCount:
    """How often something became of a promo on one day, in one country."""

    day: date
    country: str
    action: PromoAction
    count: int


class PromoStore(Protocol):
    """Promos and what was counted of them, within one unit of work."""

    async def running(self, format: PromoFormat, placement: PromoPlacement, country: str, *, at: datetime) -> list[Running]:  # noqa: A002 - as the field is called
        """Return what holds at a place in a country, those of the highest priority first; at most 200."""

    async def promo(self, promo_id: str) -> Promo | None:
        """Return a promo, or None when there is none or it is deleted."""

    async def promos(self, *, after: tuple[datetime, str] | None, limit: int) -> list[Promo]:
        """Return promos, the latest first, from a place on."""

    async def count(self, occurrences: Sequence[PromoOccurrence]) -> dict[str, bool]:
        """Count what was not counted before, in one statement.

        Returns, by the ids of those events whose promo exists, whether it was counted now.
        """

    async def counts(self, promo_id: str, *, first: date, last: date) -> list[PromoCount]:
        """Return what was counted, by day, country and action."""

    async def forget_occurrences(self, *, before: datetime) -> int:
        """Forget the ids of events counted before a time; return how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoCreated(Event):
    """A promo was created."""

    promo_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoUpdated(Event):
    """A promo was changed."""

    promo_id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoDeleted(Event):
    """A promo was deleted."""

    promo_id: str


class PromoNotFound(NotFound):
    """Raised when there is no promo with this id."""

    text = "There is no promo {promo}."


class PromoEndsBeforeItBegins(InvalidArgument):
    """Raised when a promo is to end before it begins."""

    text = "A promo ends after it begins."


class PromoLeadsTwoWays(InvalidArgument):
    """Raised when a promo is to lead to a release and to an address."""

    text = "A promo leads to a release or to an address, not to both."


class PromoTagMissing(InvalidArgument):
    """Raised when an ad tag has no address."""

    text = "An ad tag needs the address that the ad is asked for at."


class PromoUrlRefused(InvalidArgument):
    """Raised when a promo is to lead to an address that is not https, or not on an allowed host."""

    text = "The address must be https, on a host that ANI_PROMO_HOSTS allows, without a user and without another port."


class PromoImageRefused(InvalidArgument):
    """Raised when a promo's picture does not exist, or is no banner and no poster."""

    text = "There is no banner or poster {file_id}."


class PromoFieldNotWritable(InvalidArgument):
    """Raised when an update mask names a field that is not there, or that is not the caller's to change."""

    text = "The field {path} of a promo cannot be changed."


class StatisticsTooLong(InvalidArgument):
    """Raised when statistics are asked for more days than may be, or for none."""

    text = "Statistics are given for 1 to {most} days at once."


class PromoEventsBusy(Exhausted):
    """Raised when events come faster than they can be written."""

    text = "Too many events wait to be written: send them again a little later."


def promo_kind(hosts: Hosts) -> Kind[Promo]:
    """Return the promos as a kind of item that editors keep; they may only lead to some hosts."""

    def allowed(promo: Promo, _at: datetime) -> Promo:
        if promo.url and not hosts.allow(promo.url):
            raise PromoUrlRefused(field="promo.url")
        return promo

    def events(before: Promo | None, after: Promo | None, at: datetime) -> list[Event]:
        if after is None:
            return [PromoDeleted(time=at, promo_id=before.promo_id)] if before else []
        if before is None:
            return [PromoCreated(time=at, promo_id=after.promo_id)]
        return [PromoUpdated(time=at, promo_id=after.promo_id, fields=tuple(kind.differences(before, after)))]

    kind = Kind(name="promo", of=Promo, writable=WRITABLE, missing=PromoNotFound, events=events, settled=allowed)
    return kind
