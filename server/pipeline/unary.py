"""Methods with one request and one answer: from the cache where the contract allows, else by the servicer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from google.protobuf.message import Message

from server.pipeline.cache import Answer, AnswerCache, Entry
from server.pipeline.call import Call
from server.pipeline.errors import Overdue
from server.pipeline.front import Front, Pair, Visit
from server.pipeline.writes import Write

Method = Callable[[Message, Call], Awaitable[Message]]
Handler = Callable[[bytes, Any], Awaitable[bytes]]

# What an anonymous answer may still depend on; the country is known by a header that the gateway sets.
VARIES = "authorization, x-ani-country, x-revision"


def unary(front: Front, method: Method) -> Handler:
    """Compose a method's handler."""
    cache, work = front.machinery.cache, Work(front, method)
    if cache is not None and front.plan.ttl > 0:
        return _cached(front, work, cache)
    return _direct(front, work if front.plan.read_only else Write(front, work))


class Working(Protocol):
    """Work on a call, or work with something around it."""

    async def __call__(self, data: bytes, visit: Visit) -> tuple[Message, Message]:
        """Return the request and its answer."""


class Work:
    """The part of a call that is real work: held back under overload, bounded in time, validated, done."""

    def __init__(self, front: Front, method: Method) -> None:
        self._front = front
        self._plan = front.plan
        self._method = method
        self._limiter = front.machinery.limiter
        self._pace = self._limiter.pace()

    async def __call__(self, data: bytes, visit: Visit, *, for_many: bool = False) -> tuple[Message, Message]:
        """Return the request and its answer. Raises refusals, Overdue past the method's own bound."""
        plan, limiter = self._plan, self._limiter
        try:
            async with asyncio.timeout(plan.timeout) as bound:
                if not limiter.try_enter(plan.criticality):
                    await limiter.enter(plan.criticality, plan.timeout if for_many else _sooner(plan.timeout, visit.remaining()))
                started, answered = time.perf_counter(), False
                try:
                    request = plan.parse(data)
                    response = await self._method(request, self._front.call(visit, shared=plan.shared))
                    answered = True
                    return request, response
                finally:
                    # A quick refusal says nothing about how long work takes.
                    limiter.leave(started if answered else 0.0, self._pace)
        except TimeoutError:
            if bound.expired():
                raise Overdue(seconds=f"{plan.timeout:g}") from None
            raise

    async def answer(self, data: bytes, visit: Visit) -> Answer:
        """Return the answer as the cache keeps it, for all who wait for it by now."""
        request, response = await self(data, visit, for_many=True)
        return Answer(response.SerializeToString(), self._plan.tags(request, response))


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((seconds for seconds in (one, other) if seconds is not None), default=None)


def _direct(front: Front, work: Working) -> Handler:
    strict, audited = bool(front.plan.quotas), front.plan.audited

    async def handle(data: bytes, context: Any) -> bytes:
        visit = front.admit(context)
        try:
            if visit.fault is not None:
                await front.meet(visit, context, data)
            if strict:
                await front.take_strictly(visit)
            if visit.revision:
                await front.reach(visit)
            _, response = await work(data, visit)
            body = response.SerializeToString()
        except (asyncio.CancelledError, Exception) as fault:  # noqa: BLE001 - a fault of any kind becomes an answer here
            await front.fail(visit, context, fault, data)
        front.leave(visit, context)
        if audited:
            visit.answer = response
            await front.note(visit, data)
        return body

    return handle


def _cached(front: Front, work: Work, cache: AnswerCache) -> Handler:
    plan = front.plan
    name, shared, strict, audited = plan.name, plan.shared, bool(plan.quotas), plan.audited

    async def handle(data: bytes, context: Any) -> bytes:
        visit = front.admit(context)
        try:
            if visit.fault is not None:
                await front.meet(visit, context, data)
            caller = visit.caller
            if strict:
                await front.take_strictly(visit)
            key = (f"{name}:{caller.segment if shared else caller.self_only}", data)
            entry = cache.peek(key, visit.revision)
            if entry is None:
                if visit.revision:
                    await front.reach(visit)
                entry = await cache.load(key, visit.revision, plan.ttl, lambda: work.answer(data, visit))
        except (asyncio.CancelledError, Exception) as fault:  # noqa: BLE001 - a fault of any kind becomes an answer here
            await front.fail(visit, context, fault, data)
        if shared and not caller.viewer.account_id:
            visit.headers += _reuse(entry)
        front.leave(visit, context)
        if audited:
            await front.note(visit, data)
        return entry.body

    return handle


def _reuse(entry: Entry) -> tuple[Pair, ...]:
    """Say how long browsers and proxies may use a public answer again. The gateway forbids it wherever nothing is said."""
    age = max(0, int(entry.expires - time.monotonic()))
    return (("cache-control", f"public, max-age={age}"), ("etag", entry.etag), ("vary", VARIES))
