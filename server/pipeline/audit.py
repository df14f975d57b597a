"""What staff did and tried to do, kept whatever came of the call."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from google.protobuf.message import DecodeError, Message

from domain.audit import Entry
from server.pipeline.front import StaffCall
from server.telemetry.redaction import redacted

log = logging.getLogger("ani.audit")


class AuditStore(Protocol):
    """Keeps the audit log."""

    async def record(self, entry: Entry) -> None:
        """Append an entry. Raises a refusal of kind Unavailable."""


class AuditTrail:
    """Writes staff calls to the audit log, and to the process's log when the store is away."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def note(self, call: StaffCall) -> None:
        request = _shown(call)
        entry = Entry(
            time=call.ended,
            request_id=call.request_id,
            method=call.plan.name,
            account_id=call.caller.viewer.account_id,
            role=call.caller.rank.name,
            key_id=call.caller.key_id,
            address=call.caller.address,
            subject=str(request.get("account_id", "")),
            request=request,
            changes={**_versions(call.answer), **call.changes},
            code=call.code,
            reason=call.reason,
            duration_seconds=call.seconds,
        )
        try:
            await self._store.record(entry)
        except Exception:  # whatever it is must not become the answer of a call that is over
            log.exception("an entry of the audit log could not be stored", extra={"entry": _fields(entry)})


def _shown(call: StaffCall) -> dict[str, Any]:
    """Return the request without its secrets; one that cannot be read, or of nobody we know, is kept as its length."""
    if not call.caller.viewer.account_id:
        return {"unread_bytes": len(call.request)}
    try:
        return redacted(call.plan.request.FromString(call.request))
    except DecodeError:
        return {"unreadable_bytes": len(call.request)}


def _versions(answer: Message | None) -> dict[str, Any]:
    """Return which things came of a call in which version: by that, the history of each shows what was before and after."""
    found: dict[str, Any] = {}
    for field, value in answer.ListFields() if answer is not None else ():
        if field.message_type is None or field.is_repeated or "version" not in field.message_type.fields_by_name:
            continue
        names = (f"{field.name}_id", "version")
        found[field.name] = {name: getattr(value, name) for name in names if name in field.message_type.fields_by_name}
    return found


def _fields(entry: Entry) -> dict[str, Any]:
    return {name: str(getattr(entry, name)) for name in entry.__slots__}
