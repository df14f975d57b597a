"""Methods with one request and one answer: from the cache where the contract allows, else by the servicer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from domain.kernel import Refusal
from server.cache import Answer, AnswerCache, Entry
from server.call import Call
from server.pipeline.front import Front, Pair, Visit
from server.telemetry import REQUEST_ID

Method = Callable[[Message, Call], Awaitable[Message]]
Handler = Callable[[bytes, Any], Awaitable[bytes]]

TELLING_SECONDS = 1.0
# What an anonymous answer may still depend on; the country is known by a header that the gateway sets.
VARIES = "authorization, x-ani-country, x-revision"


def unary(front: Front, method: Method) -> Handler:
    """Compose a method's handler."""
    cache = front.machinery.cache
    if cache is not None and front.plan.ttl > 0:
        return _cached(front, Work(front, method), cache)
    return _direct(front, Work(front, method))


class Work:
    """The part of a call that is real work: held back under overload, bounded in time, validated, done."""

    def __init__(self, front: Front, method: Method) -> None:
        self._front = front
        self._plan = front.plan
        self._method = method
        self._limiter = front.machinery.limiter
        self._pace = self._limiter.pace()

    async def __call__(self, data: bytes, visit: Visit) -> tuple[Message, Message]:
        """Return the request and its answer. Raises refusals, and TimeoutError past the method's own bound."""
        plan, limiter = self._plan, self._limiter
        REQUEST_ID.set(visit.request_id)  # each call is a task of its own, so nothing needs to be set back
        async with asyncio.timeout(plan.timeout):
            if not limiter.try_enter(plan.criticality):
                await limiter.enter(plan.criticality, plan.timeout)
            started, answered = time.perf_counter(), False
            try:
                request = plan.parse(data)
                response = await self._method(request, self._front.call(visit, shared=plan.shared))
                answered = True
                return request, response
            finally:
                # A quick refusal says nothing about how long work takes; what was given up after long does.
                telling = answered or time.perf_counter() - started > TELLING_SECONDS
                limiter.leave(started if telling else 0.0, self._pace)

    async def answer(self, data: bytes, visit: Visit) -> Answer:
        """Return the answer as the cache keeps it."""
        request, response = await self(data, visit)
        return Answer(response.SerializeToString(), self._plan.tags(request, response))


def _direct(front: Front, work: Work) -> Handler:
    read_only = front.plan.read_only

    async def handle(data: bytes, context: Any) -> bytes:
        visit = front.admit(context)
        try:
            if visit.fault is not None:
                raise visit.fault
            await front.admit_strictly(visit)
            request, response = await work(data, visit)
            if not read_only:
                await _settle(front, visit, request, response)
            body = response.SerializeToString()
            front.leave(visit, context)
            return body
        except asyncio.CancelledError:
            front.take_down(visit, "CANCELLED")
            raise
        except Exception as fault:  # noqa: BLE001 - a fault of any kind becomes an answer here
            await front.turn_away(visit, context, fault)
        finally:
            await front.note(visit, data)

    return handle


async def _settle(front: Front, visit: Visit, request: Message, response: Message) -> None:
    """After a write: forget the answers it made stale, and date it, so that its writer can ask to see it."""
    if getattr(request, "validate_only", False):
        return
    cache, drops = front.machinery.cache, front.plan.drops
    tags = drops(request, response) if drops else ()
    if cache is not None:
        cache.heard(tags, 0)  # before anything can wait: from here on this process shows the new state
    try:
        revision = await front.machinery.revisions.revision()
    except Refusal:
        revision = 0  # the write is kept, and an answer without its date beats none
    if cache is not None and tags:
        await cache.drop(tags, revision)
    if revision:
        visit.headers.append(("x-revision", f"{revision:x}"))


def _cached(front: Front, work: Work, cache: AnswerCache) -> Handler:
    plan = front.plan
    name, shared = plan.name, plan.shared

    async def handle(data: bytes, context: Any) -> bytes:
        visit = front.admit(context)
        caller = visit.caller
        try:
            if visit.fault is not None:
                raise visit.fault
            key = (f"{name}:{caller.segment if shared else caller.self_only}", data)
            entry = cache.peek(key, visit.revision)
            if entry is None:
                await front.admit_strictly(visit)
                entry = await cache.load(key, visit.revision, plan.ttl, lambda: work.answer(data, visit))
            if shared and not caller.viewer.account_id:
                visit.headers += _reuse(entry)
            front.leave(visit, context)
            return entry.body
        except asyncio.CancelledError:
            front.take_down(visit, "CANCELLED")
            raise
        except Exception as fault:  # noqa: BLE001 - a fault of any kind becomes an answer here
            await front.turn_away(visit, context, fault)

    return handle


def _reuse(entry: Entry) -> tuple[Pair, ...]:
    """Say how long browsers and proxies may use a public answer again. The gateway forbids it wherever nothing is said."""
    age = max(0, int(entry.expires - time.monotonic()))
    return (("cache-control", f"public, max-age={age}"), ("etag", entry.etag), ("vary", VARIES))
