"""The part of a call's way that all four kinds of method share: who calls, may they, how often, and how an answer goes out."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

from google.protobuf.message import Message

from domain.audit import ORIGIN, Origin
from domain.kernel import Exhausted, InvalidArgument, PermissionDenied, Refusal, Unauthenticated, Viewer
from server.pipeline import errors
from server.pipeline.cache import AnswerCache
from server.pipeline.call import Call
from server.pipeline.keys import KeyShown
from server.pipeline.overload import Limiter
from server.pipeline.places import OpenStreams
from server.pipeline.plan import Plan
from server.pipeline.quotas import Allowance, Quotas, Standing
from server.pipeline.signing import Signing
from server.pipeline.viewer import Caller, Identification, StaffElsewhere
from server.telemetry import bind_request_id, new_request_id

log = logging.getLogger("ani.pipeline")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
REVISION = re.compile(r"[0-9a-f]{1,16}")
Pair = tuple[str, str | bytes]
LastWord = Callable[[errors.Answer], Awaitable[None]]


class QuotaUsedUp(Exhausted):
    """Raised when a caller has used up an allowance."""

    text = "The allowance '{allowance}' is used up: it holds {limit} calls in {window:g} seconds."


class RevisionUnknown(InvalidArgument):
    """Raised when a call wants to see a revision that the platform has not reached."""

    text = "The x-revision header is not one that this platform gave out."


class Revisions(Protocol):
    """Dates what is stored, so that writers can ask to see their own writes."""

    async def revision(self) -> int:
        """Return a number that grows with every write and covers all that is kept by now."""


@dataclass(frozen=True, slots=True)
class StaffCall:
    """A call of a method that is for staff, for the audit log."""

    plan: Plan
    caller: Caller
    request: bytes
    code: str
    reason: str
    request_id: str
    ended: datetime
    seconds: float
    # What came of it, and what the servicer says it changed.
    answer: Message | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


class Audit(Protocol):
    """Keeps what staff did and tried to do."""

    async def note(self, call: StaffCall) -> None:
        """Keep a call. Never raises: the call is over by now."""


class Observer(Protocol):
    """Counts, times and logs calls."""

    def observe(self, plan: Plan, code: str, seconds: float, request_id: str, caller: str) -> None:
        """Take down a finished call; stands on the path of every call, so it must cost next to nothing."""


class Tracing(Protocol):
    """Makes spans of calls."""

    def begin(self, method: str, metadata: Mapping[str, str | bytes], request_id: str) -> Any:
        """Begin a call's span, within the trace that its metadata names."""

    def end(self, span: Any, code: str) -> None:
        """End a call's span."""


@dataclass(frozen=True, slots=True)
class Machinery:
    """What the pipeline works with."""

    identification: Identification
    signing: Signing
    quotas: Quotas
    limiter: Limiter
    cache: AnswerCache | None
    revisions: Revisions
    audit: Audit
    observer: Observer
    usual: Allowance | None
    draining: asyncio.Event
    streams: OpenStreams = field(default_factory=OpenStreams)
    tracing: Tracing | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass(slots=True)
class Visit:
    """A call on its way: what is known of it so far, and the metadata that its answer will carry."""

    started: float
    request_id: str
    caller: Caller
    headers: list[Pair]
    remaining: Callable[[], float | None]
    revision: int = 0
    fault: Exception | None = None
    code: str = "OK"
    reason: str = ""
    span: Any = None
    # Of calls that go to the audit log: what they changed.
    answer: Message | None = None
    changes: dict[str, Any] | None = None


NOBODY = Caller(Viewer(), "")


class Front:
    """One method's way in and out."""

    def __init__(self, machinery: Machinery, plan: Plan) -> None:
        self.machinery = machinery
        self.plan = plan
        self._identify = machinery.identification.identify
        self.revoked = machinery.identification.revoked
        self._check = plan.check
        self._take = machinery.quotas.take
        self._usual = machinery.usual if plan.metered else None
        self._allowance, self._by_address = _allowance(self._usual, plan)
        self._observe = machinery.observer.observe
        self._tracing = machinery.tracing
        self._audited = plan.audited

    def admit(self, context: Any) -> Visit:
        """Let a call in as far as that needs no waiting; whom it turns away carries the reason."""
        metadata = dict(context.invocation_metadata())
        request_id = metadata.get("x-request-id", "")
        headers: list[Pair] = []
        if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
            request_id = new_request_id()
            headers.append(("x-request-id", request_id))
        visit = Visit(time.perf_counter(), request_id, NOBODY, headers, context.time_remaining)
        if self._audited:
            visit.changes = {}
        if self._tracing is not None:
            visit.span = self._tracing.begin(self.plan.name, metadata, request_id)
        try:
            visit.caller = self._identify(metadata, context.peer)
            self._let_in(visit, metadata)
        except Exception as fault:  # noqa: BLE001 - whoever handles the call turns it into an answer
            visit.fault = fault
            if isinstance(fault, (Unauthenticated, PermissionDenied)):
                counted = visit.caller
                if visit.caller is NOBODY:
                    counted = self.machinery.identification.stranger(metadata, context.peer)
                    visit.caller = fault.caller if isinstance(fault, StaffElsewhere) else counted
                visit.fault = self._counted(visit, fault, counted)
        return visit

    async def meet(self, visit: Visit, context: Any, message: bytes | None) -> None:
        """Let a caller in who shows an API key; raise whatever else speaks against a call. A stream is no message."""
        fault, visit.fault = visit.fault, None
        if not isinstance(fault, KeyShown):
            raise fault or AssertionError("nothing speaks against the call")
        metadata = dict(context.invocation_metadata())
        identification = self.machinery.identification
        visit.caller = stranger = identification.stranger(metadata, context.peer)
        # Asking costs a statement, whoever asks.
        if (asks := not identification.is_known(metadata)) and self._usual is not None:
            self._count(visit, self._take(self._usual, stranger.key))
        try:
            visit.caller, secret = await identification.find(metadata, context.peer)
            if secret:
                signing, key_id = self.machinery.signing, visit.caller.key_id
                await signing.verify(self.plan.name, message, metadata, key_id=key_id, secret=secret)
                asks, stranger = False, visit.caller
            self._let_in(visit, metadata)
        except (Unauthenticated, PermissionDenied) as refusal:
            if isinstance(refusal, StaffElsewhere):
                visit.caller = refusal.caller
            raise refusal if asks else self._counted(visit, refusal, stranger) from None

    def _let_in(self, visit: Visit, metadata: Mapping[str, str | bytes]) -> None:
        """Ask what the contract asks of every caller."""
        if visit.caller.viewer.guest_pass:
            visit.caller = self.plan.guest(visit.caller)
        self._check(visit.caller.viewer)
        if self._allowance is not None:
            key = visit.caller.network if self._by_address else visit.caller.key
            self._count(visit, self._take(self._allowance, key))
        if "x-revision" in metadata:
            visit.revision = _revision(metadata["x-revision"])

    def _counted(self, visit: Visit, refusal: Exception, caller: Caller) -> Exception:
        """Count a call that was turned away as any other, since guessing must not be free, and return what turns it away."""
        try:
            if self._usual is not None:
                self._count(visit, self._take(self._usual, caller.key))
        except QuotaUsedUp as used_up:
            return used_up
        return refusal

    async def take_strictly(self, visit: Visit) -> None:
        """Count a call against the method's own allowances."""
        for quota in self.plan.quotas:
            key = visit.caller.network if quota.by_address else visit.caller.key
            self._count(visit, await self.machinery.quotas.take_strict(quota.allowance, key))

    async def reach(self, visit: Visit) -> None:
        """Make sure that the revision which a call asks for is there, and let nothing older be kept from now on."""
        cache = self.machinery.cache
        if cache is None or visit.revision > cache.revision:
            present = await self.machinery.revisions.revision()
            if visit.revision > present:
                raise RevisionUnknown(field="x-revision")
            if cache is not None:
                cache.revision = max(cache.revision, visit.revision)

    def call(self, visit: Visit, *, shared: bool = False) -> Call:
        """Return what the servicer may know of a call; for an answer that others will share, only what they share."""
        caller = visit.caller
        if not self.plan.read_only:
            viewer, rank = caller.viewer, caller.rank.name if caller.viewer.account_id else ""
            ORIGIN.set(
                Origin(
                    request_id=visit.request_id,
                    account_id=viewer.account_id,
                    role=rank,
                    key_id=caller.key_id,
                    address=caller.address,
                )
            )
        return Call(
            viewer=caller.viewer.shared() if shared else caller.viewer,
            now=self.machinery.clock(),
            clock=self.machinery.clock,
            request_id=visit.request_id,
            standings=tuple if shared else lambda: self.machinery.quotas.standings(caller.key),
            address="" if shared else caller.address,
            network="" if shared else caller.network,
            changes=visit.changes,
            headers=[] if self.plan.ttl else visit.headers,
        )

    def _count(self, visit: Visit, standing: Standing) -> None:
        """Tell the caller how an allowance stands, and refuse when it is used up; a method's own replaces the usual one."""
        allowance = standing.allowance
        headers = (
            ("x-ratelimit-limit", str(allowance.limit)),
            ("x-ratelimit-remaining", str(standing.remaining)),
            ("x-ratelimit-reset", str(int(standing.reset_after + 0.999))),
        )
        if visit.headers and visit.headers[-1][0] == "x-ratelimit-reset":
            visit.headers[-3:] = headers
        else:
            visit.headers += headers
        if standing.retry_after:
            raise QuotaUsedUp(
                retry_after=standing.retry_after, allowance=allowance.name, limit=allowance.limit, window=allowance.window
            )

    def leave(self, visit: Visit, context: Any) -> None:
        """Send an answer's metadata and take the call down."""
        context.set_trailing_metadata(tuple(visit.headers))
        self.take_down(visit, "OK")

    async def fail(
        self, visit: Visit, context: Any, fault: BaseException, request: bytes, last_word: LastWord | None = None
    ) -> NoReturn:
        """End a call that has no answer: in silence when its caller is gone, else with the refusal that the fault means."""
        if isinstance(fault, asyncio.CancelledError) and _called_off():
            self.take_down(visit, "CANCELLED")
            await self.note(visit, request)
            raise fault
        refusal = self._refusal(visit, fault)
        answer = errors.answer(refusal)
        visit.reason = errors.reason(type(refusal))
        self.take_down(visit, answer.code.name)
        await self.note(visit, request)
        if last_word is not None:
            await last_word(answer)
        # With a status alone: a status set on an answer sends an empty message first, which JSON would show.
        await context.abort(answer.code, answer.message, (*visit.headers, *answer.metadata))
        raise AssertionError("abort() always raises")

    def _refusal(self, visit: Visit, fault: BaseException) -> Refusal:
        if isinstance(fault, Refusal):
            return fault
        with bind_request_id(visit.request_id):
            log.error("%s failed", self.plan.name, exc_info=fault)
        return errors.InternalFault(request_id=visit.request_id)

    def take_down(self, visit: Visit, code: str) -> None:
        """Take a call down that ended with a code."""
        visit.code = code
        self._observe(self.plan, code, time.perf_counter() - visit.started, visit.request_id, visit.caller.key)
        if self._tracing is not None:
            self._tracing.end(visit.span, code)

    async def note(self, visit: Visit, request: bytes) -> None:
        """Write a call of a staff method to the audit log, also one that was turned away."""
        if self.plan.audited:
            seconds = time.perf_counter() - visit.started
            await self.machinery.audit.note(
                StaffCall(
                    plan=self.plan,
                    caller=visit.caller,
                    request=request,
                    code=visit.code,
                    reason=visit.reason,
                    request_id=visit.request_id,
                    ended=self.machinery.clock(),
                    seconds=seconds,
                    answer=visit.answer,
                    changes=visit.changes or {},
                )
            )


def _allowance(usual: Allowance | None, plan: Plan) -> tuple[Allowance | None, bool]:
    """Return what a method's calls are counted against, and whether those of an address are counted together."""
    own = plan.instead
    if usual is None or own is None or own.allowance.interval >= usual.interval:
        return usual, False
    return own.allowance, own.by_address


def _called_off() -> bool:
    """Tell whether this call was cancelled; if not, something within was, and whoever waits for the call is still there."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _revision(text: str | bytes) -> int:
    if not isinstance(text, str) or not REVISION.fullmatch(text):
        raise RevisionUnknown(field="x-revision")
    return int(text, 16)
