"""Exports: everything that is kept of an account, gathered from all contexts and handed out to its owner for some days."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Protocol

from domain.accounts.export_links import ExportLinks, Link, demand_standing, expiry
from domain.accounts.letters import Letters
from domain.accounts.model import Account, AccountNotFound
from domain.accounts.packing import CONTENT_TYPE, Packer
from domain.accounts.sessions import SessionStore, demand_fresh_proof
from domain.kernel import Begin, FailedPrecondition, InvalidArgument, NotFound, Viewer, new_id

# The kind of the operations that make them.
KIND = "export-own-data"
KEPT = timedelta(days=7)
# What nobody knows after this long is left over from an export that was broken off.
LEFT_OVER = timedelta(days=1)


class ExportState(IntEnum):
    """How far an export is."""

    PREPARING = 1
    READY = 2
    FAILED = 3


class ExportNotFound(NotFound):
    """Raised when the caller has no such export, or no more."""

    text = "There is no export {export_id}."


class ExportPartNotFound(NotFound):
    """Raised when an export does not have so many parts."""

    text = "The export has {parts} parts."


class ExportUnderWay(FailedPrecondition):
    """Raised when an export is to be started while another one is being prepared."""

    text = "The export {export_id} is being prepared: wait for it."


class ExportNotReady(FailedPrecondition):
    """Raised when an export is to be downloaded that is being prepared, or came to nothing."""

    text = "The export {export_id} is not ready."


class ExportIdReused(InvalidArgument):
    """Raised when the id of an export is sent that is in use for something else."""

    text = "The id {export_id} is in use."


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Everything that is kept of an account, in parts."""

    export_id: str
    account_id: str
    state: ExportState = ExportState.PREPARING
    # What its parts are stored under.
    keys: tuple[str, ...] = ()
    size: int = 0
    record_count: int = 0
    create_time: datetime
    ready_time: datetime | None = None
    expire_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an export, as it is handed out."""

    file_name: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Records:
    """Some records of one kind, as plain values."""

    # Where they belong, such as "media/positions".
    name: str
    about: str
    records: Sequence[Mapping[str, Any]]


class Source(Protocol):
    """A context that keeps something of accounts."""

    def collect(self, account_id: str) -> AsyncGenerator[Records, None]:
        """Yield what is kept of an account without what is secret: kind by kind, some records at a time."""


class Shelf(Protocol):
    """Where the parts are kept; every method raises a refusal of kind Unavailable when it is out of reach."""

    async def put(self, key: str, data: bytes, *, content_type: str) -> None: ...

    async def get(self, key: str) -> bytes | None: ...

    async def delete(self, keys: Sequence[str]) -> None: ...

    def keys(self, *, before: datetime) -> AsyncIterator[list[str]]:
        """Return all keys that were written before a time, some at once."""


class ExportStore(SessionStore, Protocol):
    """Exports within one unit of work."""

    async def account(self, account_id: str) -> Account | None: ...

    async def account_to_change(self, account_id: str) -> Account | None: ...

    async def add_export(self, export: Export) -> bool:
        """Keep a new export and have it made; False when its id is in use."""

    async def export(self, export_id: str) -> Export | None: ...

    async def exports(self, account_id: str) -> list[Export]:
        """Return an account's exports, the latest first."""

    async def save_export(self, export: Export) -> bool:
        """Keep what became of an export; False when it is gone."""

    async def expired_exports(self, *, at: datetime, failed_before: datetime) -> list[Export]:
        """Return exports whose time is over, and those begun before a time that came to nothing."""

    async def delete_exports(self, export_ids: Sequence[str]) -> None: ...

    async def unknown_keys(self, keys: Sequence[str]) -> list[str]:
        """Return which of these keys no export has."""


class Exports:
    """Taking away what is kept of oneself, one method for each RPC."""

    def __init__(self, *, begin: Begin[ExportStore], read: Begin[ExportStore], shelf: Shelf, links: ExportLinks) -> None:
        self._begin = begin
        self._read = read
        self._shelf = shelf
        self._links = links

    async def start_export(self, export_id: str, *, viewer: Viewer, at: datetime) -> Export:
        """Raises ProofTooOld, ExportUnderWay, ExportIdReused and AccountNotFound."""
        asked = Export(export_id=export_id, account_id=viewer.account_id, create_time=at)
        async with self._begin() as store:
            # Locked, so that of two calls at once one sees the other's export.
            if await store.account_to_change(viewer.account_id) is None:
                raise AccountNotFound
            await demand_fresh_proof(store, viewer, at=at)
            for known in await store.exports(viewer.account_id):
                if known.export_id == export_id:
                    return known
                if known.state is ExportState.PREPARING:
                    raise ExportUnderWay(export_id=known.export_id)
            if not await store.add_export(asked):
                raise ExportIdReused(export_id=export_id, field="export_id")
        return asked

    async def get_export(self, export_id: str, *, viewer: Viewer, at: datetime) -> Export:
        """Raises ExportNotFound."""
        return await self._export(export_id, viewer.account_id, at=at)

    async def list_exports(self, *, viewer: Viewer, at: datetime) -> list[Export]:
        async with self._read() as store:
            return [one for one in await store.exports(viewer.account_id) if not _is_over(one, at=at)]

    async def download_export(self, export_id: str, part: int, *, viewer: Viewer, at: datetime) -> Part:
        """Raises ProofTooOld, ExportNotFound, ExportNotReady and ExportPartNotFound."""
        async with self._read() as store:
            await demand_fresh_proof(store, viewer, at=at)
        return await self._part(export_id, part, viewer.account_id, at=at)

    async def get_export_links(self, export_id: str, *, viewer: Viewer, at: datetime) -> tuple[list[str], datetime]:
        """Return a link to each part, and when they expire. Raises ProofTooOld, ExportNotFound and ExportNotReady."""
        async with self._read() as store:
            await demand_fresh_proof(store, viewer, at=at)
        found = await self._ready(export_id, viewer.account_id, at=at)
        expires = expiry(at=at, over=found.expire_time)
        link = Link(
            export_id=export_id,
            part=1,
            account_id=viewer.account_id,
            session_id=viewer.session_id,
            expires=int(expires.timestamp()),
        )
        return [self._links.url(replace(link, part=part)) for part in range(1, len(found.keys) + 1)], expires

    async def get_export_file(self, grant: str, *, at: datetime) -> Part:
        """Return the part that a link leads to. Raises ExportLinkInvalid, ExportLinkExpired, ExportLinkVoid and ExportNotFound."""
        link = self._links.read(grant, at=at)
        async with self._read() as store:
            await demand_standing(store, link, at=at)
        return await self._part(link.export_id, link.part, link.account_id, at=at)

    async def _export(self, export_id: str, account_id: str, *, at: datetime) -> Export:
        async with self._read() as store:
            found = await store.export(export_id)
        if found is None or found.account_id != account_id or _is_over(found, at=at):
            raise ExportNotFound(export_id=export_id)
        return found

    async def _ready(self, export_id: str, account_id: str, *, at: datetime) -> Export:
        found = await self._export(export_id, account_id, at=at)
        if found.state is not ExportState.READY:
            raise ExportNotReady(export_id=export_id)
        return found

    async def _part(self, export_id: str, part: int, account_id: str, *, at: datetime) -> Part:
        found = await self._ready(export_id, account_id, at=at)
        if part > len(found.keys):
            raise ExportPartNotFound(parts=len(found.keys))
        data = await self._shelf.get(found.keys[part - 1])
        if data is None:
            raise ExportNotFound(export_id=export_id)
        return Part(f"export-{part}-of-{len(found.keys)}.zip", CONTENT_TYPE, data)


@dataclass(frozen=True, slots=True)
class Packed:
    """What an export came to."""

    keys: tuple[str, ...]
    size: int
    record_count: int


class ExportMaking:
    """What the worker does about exports."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        begin: Begin[ExportStore],
        read: Begin[ExportStore],
        shelf: Shelf,
        letters: Letters,
    ) -> None:
        self._sources = sources
        self._begin = begin
        self._read = read
        self._shelf = shelf
        self._letters = letters

    async def prepare(self, account_id: str, *, at: datetime) -> Packed:
        """Gather everything and store it; what is broken off leaves parts that nobody knows, which the next sweep finds."""
        packer, keys, size = Packer(account_id, at=at), list[str](), 0
        for source in self._sources:
            async with aclosing(source.collect(account_id)) as collected:
                async for records in collected:
                    # Away from the loop that the worker does everything else on.
                    for part in await asyncio.to_thread(packer.add, records.name, records.about, records.records):
                        size += await self._put(keys, part, at=at)
        size += await self._put(keys, await asyncio.to_thread(packer.finish), at=at)
        return Packed(tuple(keys), size, packer.record_count)

    async def _put(self, keys: list[str], part: bytes, *, at: datetime) -> int:
        keys.append(new_id(at=at))
        await self._shelf.put(keys[-1], part, content_type=CONTENT_TYPE)
        return len(part)

    async def finish(self, export_id: str, packed: Packed, *, at: datetime) -> None:
        """Hand an export out, in the place of those before it, and tell its owner.

        Raises ExportNotFound when it is gone with its account; then its parts are too.
        """
        try:
            await self._hand_out(export_id, packed, at=at)
        except ExportNotFound:
            await self._shelf.delete(packed.keys)
            raise

    async def _hand_out(self, export_id: str, packed: Packed, *, at: datetime) -> None:
        async with self._begin() as store:
            export = await store.export(export_id)
            account = await store.account(export.account_id) if export else None
            if export is None or account is None:
                raise ExportNotFound(export_id=export_id)
            for earlier in await store.exports(account.account_id):
                if earlier.state is ExportState.READY and earlier.export_id != export_id:
                    await store.save_export(replace(earlier, expire_time=at))
            ready = replace(
                export,
                keys=packed.keys,
                size=packed.size,
                record_count=packed.record_count,
                ready_time=at,
                expire_time=at + KEPT,
            )
            if not await store.save_export(ready):
                raise ExportNotFound(export_id=export_id)
            await self._letters.write(store, account, "export_ready", at=at)

    async def sweep(self, *, at: datetime) -> tuple[int, int]:
        """Delete exports whose time is over, and what was left over from others; return how many of each."""
        async with self._begin() as store:
            expired = await store.expired_exports(at=at, failed_before=at - KEPT)
            await self._shelf.delete([key for one in expired for key in one.keys])
            await store.delete_exports([one.export_id for one in expired])
        count = 0
        async for keys in self._shelf.keys(before=at - LEFT_OVER):
            async with self._read() as store:
                left_over = await store.unknown_keys(keys)
            await self._shelf.delete(left_over)
            count += len(left_over)
        return len(expired), count


def _is_over(export: Export, *, at: datetime) -> bool:
    return export.expire_time is not None and export.expire_time <= at
