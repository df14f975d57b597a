"""Kodik's HTTP API: a record for each translation of a title, the ones that changed last first.

The token goes into every address, and Kodik repeats it in those of the next page: addresses are never followed, kept or told, and
of the next page only the cursor is taken.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from adapters.importers import kodik_records
from adapters.importers.reading import moment
from domain.catalog.importing import Portion
from domain.kernel import FailedPrecondition, Unavailable

# It writes the address of every call, and so the token, at this severity.
logging.getLogger("httpx").setLevel(logging.WARNING)
log = logging.getLogger("ani.kodik")

PAGE_SIZE = 100
LARGEST_ANSWER = 32 * 2**20
LONGEST_CURSOR = 512
PATIENCE_SECONDS = 30.0
TRIES = 6
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
# At most so many calls a second.
RATE = 2.0
# Records that change while pages are read may be told a little late.
OVERLAP = timedelta(hours=1)
WANTED = {"types": "anime,anime-serial", "with_material_data": "true", "with_episodes": "true"}


class KodikRefused(FailedPrecondition):
    """Raised when Kodik refuses a call, for instance for its token."""

    text = "Kodik refuses: {problem}"


class KodikUnavailable(Unavailable):
    """Raised when Kodik does not answer, however often it is asked."""

    text = "Kodik does not answer."


class _Again(Exception):
    """Raised when a call is worth repeating, after the pause that Kodik asks for if it does."""

    def __init__(self, problem: str, pause: float = 0.0) -> None:
        super().__init__(problem)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Page:
    """A page of records, and the cursor of the next one; empty on the last."""

    records: list[Any]
    total: int | None
    following: str


class Kodik:
    """Asks Kodik, no faster than it likes, and again when it does not answer."""

    def __init__(
        self, url: str, token: str, *, rate: float = RATE, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._interval = 1.0 / rate
        self._sleep = sleep
        self._next = 0.0
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Kodik]:
        """Keep connections open for the length of a block."""
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, follow_redirects=False, trust_env=False) as client:
            self._client = client
            try:
                yield self
            finally:
                self._client = None

    async def page(self, cursor: str = "") -> Page:
        """Return a page of all records, the ones that changed last first. Raises KodikRefused and KodikUnavailable."""
        parameters = {**WANTED, "limit": str(PAGE_SIZE), "sort": "updated_at", "order": "desc"}
        answer = await self._ask("/list", {**parameters, "next": cursor} if cursor else parameters)
        return Page(_records(answer), _total(answer), _cursor(answer.get("next_page")))

    async def search(self, **keys: str) -> list[Any]:
        """Return the records that are found by their keys, such as shikimori_id or title."""
        return _records(await self._ask("/search", {**WANTED, "limit": str(PAGE_SIZE), **keys}))

    async def _ask(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        pause = FIRST_PAUSE_SECONDS
        for number in range(1, TRIES + 1):
            await self._await_turn()
            try:
                return await self._once(path, parameters)
            except _Again as fault:
                log.warning("Kodik did not answer %s, try %d of %d: %s", path, number, TRIES, fault)
                if number < TRIES:
                    await self._sleep(max(fault.pause, pause * random.uniform(0.75, 1.25)))  # noqa: S311 - spreads, keeps no secret
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        raise KodikUnavailable(retry_after=LONGEST_PAUSE_SECONDS)

    async def _await_turn(self) -> None:
        now = time.monotonic()
        self._next, wait = max(now, self._next) + self._interval, self._next - now
        if wait > 0:
            await self._sleep(wait)

    async def _once(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Ask once. What httpx raises may hold the address, and so the token: its words are not passed on."""
        assert self._client is not None, "Kodik is asked within open()"  # noqa: S101
        problem = ""
        try:
            request = self._client.stream("GET", self._url + path, params={"token": self._token, **parameters})
            async with request as response:
                body = await _bounded(response)
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            problem = type(fault).__name__
        if problem:
            raise _Again(problem)
        return self._understood(response, body)

    def _understood(self, response: httpx.Response, body: bytes) -> dict[str, Any]:
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise _Again(f"status {response.status_code}", _retry_after(response))
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and "error" in answer:
            raise KodikRefused(problem=str(answer["error"])[:200].replace(self._token, "***"))
        if response.status_code != httpx.codes.OK:
            raise KodikRefused(problem=f"status {response.status_code}")
        if not isinstance(answer, dict):
            raise _Again("it is no JSON object")
        return answer


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > LARGEST_ANSWER:
            raise KodikRefused(problem="its answer is larger than any should be")
    return bytes(body)


def _retry_after(response: httpx.Response) -> float:
    told = response.headers.get("retry-after", "")
    return min(float(told), LONGEST_PAUSE_SECONDS) if told.isdecimal() else 0.0


def _records(answer: Mapping[str, Any]) -> list[Any]:
    records = answer.get("results")
    if not isinstance(records, list):
        raise KodikRefused(problem="its answer has no results")
    return records


def _total(answer: Mapping[str, Any]) -> int | None:
    total = answer.get("total")
    return total if isinstance(total, int) and total >= 0 else None


def _cursor(address: Any) -> str:
    """Return the cursor that an address of a next page holds; nothing else of it is believed."""
    if not isinstance(address, str):
        return ""
    found = parse_qs(urlsplit(address).query).get("next", [""])[0]
    return found if len(found) <= LONGEST_CURSOR else ""


class KodikSource:
    """Kodik as a source of an import: a portion for each page, back to what the last import saw."""

    adds = True

    def __init__(self, kodik: Kodik, last: Callable[[], Awaitable[str]]) -> None:
        """Take what tells until when the last import had read."""
        self._kodik = kodik
        self._last = last

    async def portions(
        self, parameters: Mapping[str, Any], checkpoint: Mapping[str, Any], now: datetime
    ) -> AsyncGenerator[Portion, None]:
        """Yield the pages that follow a checkpoint. Raises KodikRefused and KodikUnavailable."""
        if checkpoint.get("read"):
            return
        since = checkpoint["since"] if "since" in checkpoint else parameters.get("since") or await self._last()
        least = moment(since)
        least = least - OVERLAP if least else datetime.min.replace(tzinfo=UTC)
        newest = str(checkpoint.get("newest", ""))
        number, cursor = int(checkpoint.get("row", 0)), str(checkpoint.get("cursor", ""))
        async with self._kodik.open():
            while True:
                page = await self._kodik.page(cursor)
                fresh = [record for record in page.records if _updated(record) >= least]
                newest = newest or max((str(record["updated_at"]) for record in fresh if moment(_told(record))), default="")
                rows = kodik_records.read(fresh, number, now=now)
                number += len(fresh)
                over = len(fresh) < len(page.records) or not page.following or page.following == cursor
                cursor = page.following
                place = {"since": since, "newest": newest, "row": number, "cursor": cursor, "read": over}
                total = page.total if not since else None
                yield Portion(
                    rows=rows, done=number, total=total, unit="records", checkpoint=place, result={"newest": newest or since}
                )
                if over:
                    return


def _told(record: Any) -> Any:
    return record.get("updated_at") if isinstance(record, dict) else None


def _updated(record: Any) -> datetime:
    """Return when a record changed; one that does not say so is looked at."""
    return moment(_told(record)) or datetime.max.replace(tzinfo=UTC)
