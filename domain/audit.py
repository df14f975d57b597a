"""The audit log: what staff did and tried to do, what happened to accounts, and the chain that shows when any of it was changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

# The purpose of the key by which entries are chained.
PURPOSE = "audit"
# What stands before the first entry.
NOTHING = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the audit log."""

    time: datetime
    # The call's full name, or the name of what happened, such as PasswordChanged.
    method: str
    request_id: str = ""
    # Who did it, as what, by which API key, and from where.
    account_id: str = ""
    role: str = ""
    key_id: str = ""
    address: str = ""
    # The account that it was done to, where it was done to one.
    subject: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    # What was before and after, or the versions that came of it.
    changes: Mapping[str, Any] = field(default_factory=dict)
    code: str = "OK"
    reason: str = ""
    duration_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An entry as it is kept; it is chained a moment after it was written."""

    entry_id: int
    entry: Entry
    number: int | None = None
    previous: bytes = NOTHING
    hash: bytes = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which entries are wanted; what is empty does not narrow."""

    account_id: str = ""
    subject: str = ""
    method: str = ""
    code: str = ""
    request_id: str = ""
    since: datetime | None = None
    until: datetime | None = None


class AuditLog(Protocol):
    """Appends to the audit log in the caller's unit of work."""

    async def note(self, entry: Entry) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The call in whose course something happens: who makes it, from where."""

    request_id: str = ""
    account_id: str = ""
    role: str = ""
    key_id: str = ""
    address: str = ""


# Where there is no call: in the worker.
NO_CALL = Origin()
ORIGIN: ContextVar[Origin] = ContextVar("origin", default=NO_CALL)


async def note(
    log: AuditLog,
    what: str,
    subject: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    at: datetime,
) -> None:
    """Append what happened to an account to the audit log; it is kept if the unit of work is."""
    origin = ORIGIN.get()
    changes = {name: dict(values) for name, values in (("before", before), ("after", after)) if values is not None}
    await log.note(
        Entry(
            time=at,
            method=what,
            request_id=origin.request_id,
            account_id=origin.account_id,
            role=origin.role,
            key_id=origin.key_id,
            address=origin.address,
            subject=subject,
            changes=changes,
        )
    )


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of the chain: whoever knows it can tell when entries are missing at the end."""

    number: int = 0
    hash: bytes = NOTHING

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Raises ValueError."""
        number, _, digits = text.partition(":")
        return cls(int(number), bytes.fromhex(digits))


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where the chain does not hold."""

    number: int
    entry_id: int | None
    why: str


Mark = Callable[[bytes], bytes]


def canonical(number: int, previous: bytes, kept: Kept) -> bytes:
    """Return all that an entry says and its place in the chain, always as the same bytes."""
    entry = kept.entry
    values = {name: getattr(entry, name) for name in Entry.__slots__ if name != "time"}
    time = entry.time.astimezone(UTC).isoformat(timespec="microseconds")
    whole = {**values, "time": time, "entry_id": kept.entry_id, "number": number, "previous": previous.hex()}
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def follow(head: Head, kept: Kept, *, mark: Mark) -> Head:
    """Return the head of the chain once an entry follows it."""
    number = head.number + 1
    return Head(number, mark(canonical(number, head.hash, kept)))


def broken(head: Head, kept: Kept, *, mark: Mark) -> Break | None:
    """Tell why an entry is not the one that followed a head, or None when it is."""
    number = head.number + 1
    if kept.number != number:
        return Break(number, kept.entry_id, f"entry {number} of the chain is missing: after {head.number} comes {kept.number}")
    if kept.previous != head.hash:
        return Break(number, kept.entry_id, "it does not follow the entry before it: one was changed, removed or inserted")
    if kept.hash != follow(head, kept, mark=mark).hash:
        return Break(number, kept.entry_id, "its contents are not those that were written")
    return None
