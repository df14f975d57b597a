"""A steady load on a stack: readers, writers who insist, and watchers; and the books of what became of each call."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import grpc
import httpx
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import (
    catalog_admin_service_pb2_grpc,
    catalog_service_pb2_grpc,
    release_facts_pb2,
    release_list_pb2,
    release_pb2,
)
from ani.catalog.v1 import catalog_service_pb2 as pb
from domain.kernel import new_id
from tests.serving import taken_apart
from tests.stack import Stack
from tests.waiting import until

SECONDS = 10.0
# Between a caller's calls: a steady load, not as much as there can be.
PAUSE = 0.02
OK = "OK"
# What a client may take for a reason to ask again with the same id.
TRANSIENT = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"}
KINDS = {"cached", "uncached", "genres", "json", "create", "update"}
HTTP = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one call."""

    at: float
    kind: str
    outcome: str
    seconds: float
    words: str = ""
    retry_info: bool = False


@dataclass(slots=True)
class Kept:
    """What the platform has acknowledged of one release."""

    release_id: str
    synopsis: str = ""
    events: Counter[str] = field(default_factory=Counter)

    @property
    def deleted(self) -> bool:
        return bool(self.events["ReleaseDeleted"])


class Load:
    """Callers at work for the length of a block; writers finish what they have begun before it ends."""

    def __init__(self, stack: Stack, *, readers: int = 4, writers: int = 2, watchers: int = 1) -> None:
        self.stack = stack
        self.calls: list[Told] = []
        self.kept: list[Kept] = []
        self.seen: list[Counter[str]] = [Counter() for _ in range(watchers)]
        self._stopping = asyncio.Event()
        self._exits = AsyncExitStack()
        self._crews = (readers, writers)
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        readers, writers = self._crews
        self._http = await self._exits.enter_async_context(self.stack.http(timeout=SECONDS))
        self._credentials = tuple(self.stack.credentials("editor").items())
        self.aliases = [release["alias"] for release in (await self._http.get("/v1/releases?page_size=100")).json()["releases"]]
        native, web = self._read_natively, self._read_json
        begun = [asyncio.Event() for _ in self.seen]
        self._watching = [asyncio.create_task(self._watch(*pair)) for pair in zip(self.seen, begun, strict=True)]
        async with asyncio.timeout(20):
            await asyncio.gather(*(event.wait() for event in begun))
        self._tasks = [asyncio.create_task(self._read(native if n % 2 else web)) for n in range(readers)]
        self._tasks += [asyncio.create_task(self._write()) for _ in range(writers)]
        return self

    async def __aexit__(self, *fault: object) -> None:
        try:
            await self.finish()
        finally:
            for task in (*self._tasks, *self._watching):
                task.cancel()
            await asyncio.gather(*self._tasks, *self._watching, return_exceptions=True)
            await self._exits.aclose()

    async def finish(self) -> None:
        """Begin nothing new, end what was begun, and let watchers catch up."""
        self._stopping.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)

        async def caught_up() -> bool:
            return all(seen[release_id] >= times for seen in self.seen for release_id, times in self.changes.items())

        # Who does not is found out by whoever checks the books.
        with suppress(TimeoutError):
            await until(caught_up, seconds=20)

    @property
    def changes(self) -> dict[str, int]:
        """Return how often each release changed; the one that publishes it is the one that creates it."""
        return {kept.release_id: kept.events.total() - kept.events["ReleasePublished"] for kept in self.kept}

    @property
    def failed(self) -> list[Told]:
        return [call for call in self.calls if call.outcome != OK]

    def since(self, at: float) -> list[Told]:
        """Return the calls that began after a moment."""
        return [call for call in self.calls if call.at >= at]

    def succeeded(self, since: float) -> set[str]:
        """Return the kinds of calls of which one succeeded after a moment."""
        return {call.kind for call in self.since(since) if call.outcome == OK}

    async def _channel(self) -> grpc.aio.Channel:
        """Open a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 500)]
        return await self._exits.enter_async_context(grpc.aio.insecure_channel(self.stack.address, options=options))

    async def _read(self, reading: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            await reading()
            await asyncio.sleep(PAUSE)

    async def _read_natively(self) -> None:
        catalog = catalog_service_pb2_grpc.CatalogServiceStub(await self._channel())
        for number in itertools.cycle(range(3)):
            if self._stopping.is_set():
                return
            hot = pb.GetReleaseRequest(release=random.choice(self.aliases))
            # Nobody has asked for exactly this before, so no cache can answer.
            cold = release_list_pb2.ListReleasesRequest(page_size=random.randint(1, 100), year_from=random.randint(1, 2000))
            match number:
                case 0:
                    await self._call("cached", catalog.GetRelease(hot, timeout=SECONDS))
                case 1:
                    await self._call("uncached", catalog.ListReleases(cold, timeout=SECONDS))
                case _:
                    await self._call("genres", catalog.ListGenres(pb.ListGenresRequest(), timeout=SECONDS))
            await asyncio.sleep(PAUSE)

    async def _read_json(self) -> None:
        place = random.choice([f"/v1/releases/{random.choice(self.aliases)}", f"/v1/releases?year_to={random.randint(2000, 2100)}"])
        await self._call("json", self._get(place))

    async def _get(self, place: str) -> None:
        answer = await self._http.get(place)
        if answer.status_code != 200:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)

    async def _write(self) -> None:
        admin = catalog_admin_service_pb2_grpc.CatalogAdminServiceStub(await self._channel())
        for number in itertools.count():
            if self._stopping.is_set():
                return
            kept = Kept(new_id(at=datetime.now(UTC)))
            await self._insist("create", admin.CreateRelease, _draft(kept.release_id))
            # Acknowledged: from now on it must be there.
            self.kept.append(kept)
            kept.events.update(ReleaseCreated=1, ReleasePublished=1)
            for told in ("Once.", "Twice."):
                await self._insist("update", admin.UpdateRelease, _change(kept, told))
                kept.synopsis = told
                kept.events.update(ReleaseUpdated=1)
            if number % 4 == 3:
                await self._insist("delete", admin.DeleteRelease, admin_pb.DeleteReleaseRequest(release_id=kept.release_id))
                kept.events.update(ReleaseDeleted=1)

    async def _insist(self, kind: str, method: Callable[..., Awaitable[Any]], request: Message) -> None:
        """Send a write, and again with the same id whenever it is not known what became of it."""
        outcome = ""
        while outcome != OK:
            outcome = await self._call(kind, method(request, metadata=self._credentials, timeout=SECONDS))
            await asyncio.sleep(PAUSE if outcome == OK else PAUSE * 5)

    async def _call(self, kind: str, call: Awaitable[Any]) -> str:
        at = time.monotonic()
        outcome, words, retry_info = OK, "", False
        try:
            await call
        except grpc.aio.AioRpcError as fault:
            outcome, words = fault.code().name, fault.details() or ""
            retry_info = taken_apart(fault).retry_after is not None
        except httpx.HTTPStatusError as fault:
            outcome, words = HTTP.get(fault.response.status_code, str(fault.response.status_code)), str(fault)
            retry_info = "RetryInfo" in fault.response.text
        except httpx.TransportError as fault:
            outcome, words = "UNAVAILABLE", repr(fault)
        self.calls.append(Told(at, kind, outcome, time.monotonic() - at, words, retry_info))
        return outcome

    async def _watch(self, seen: Counter[str], begun: asyncio.Event) -> None:
        """Count what is told of each release, going on from the last cursor whenever the stream ends."""
        catalog = catalog_service_pb2_grpc.CatalogServiceStub(await self._channel())
        cursor = ""
        while True:
            try:
                async for message in catalog.WatchReleases(pb.WatchReleasesRequest(cursor=cursor)):
                    cursor = message.cursor or cursor
                    begun.set()
                    if message.HasField("change"):
                        seen[message.change.release_id] += 1
            except grpc.aio.AioRpcError:
                await asyncio.sleep(PAUSE * 5)


async def working(load: Load, *, seconds: float = 30.0) -> float:
    """Wait until callers of every kind were served from now on, and return how long that took."""
    since = time.monotonic()

    async def served() -> bool:
        return load.succeeded(since) >= KINDS

    await until(served, seconds=seconds)
    return time.monotonic() - since


def _draft(release_id: str) -> admin_pb.CreateReleaseRequest:
    release = release_pb2.Release(
        release_id=release_id,
        alias=f"release-{release_id[-12:]}",
        titles=[release_facts_pb2.LocalizedTitle(language="en", text="Wind")],
        kind=release_pb2.RELEASE_KIND_TV,
        status=release_pb2.RELEASE_STATUS_ONGOING,
        age_rating=release_pb2.AGE_RATING_12,
        publication=release_pb2.PUBLICATION_PUBLISHED,
    )
    return admin_pb.CreateReleaseRequest(release=release)


def _change(kept: Kept, synopsis: str) -> admin_pb.UpdateReleaseRequest:
    release = release_pb2.Release(release_id=kept.release_id, synopsis=synopsis)
    return admin_pb.UpdateReleaseRequest(release=release, update_mask=FieldMask(paths=["synopsis"]))
