"""Methods with streams: bounded in number, in time and in memory, and ended in words when the server must end them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, aclosing, asynccontextmanager, suppress
from typing import Any

from google.protobuf.message import Message

from domain.kernel import Exhausted, Unauthenticated, Unavailable
from server.pipeline.call import Call
from server.pipeline.errors import Answer, Overdue
from server.pipeline.front import Front, Visit
from server.pipeline.viewer import Caller

# A reader that takes nothing for this long holds memory for nobody.
WRITE_SECONDS = 30.0
LAST_WORD_SECONDS = 1.0

Streaming = Callable[[Any, Call], AsyncGenerator[Message, None]]
Collecting = Callable[[AsyncIterator[Message], Call], Awaitable[Message]]


class ServerStopping(Unavailable):
    """Raised to end a stream when the server stops: another one goes on from the last cursor."""

    text = "This server is stopping. Connect again and go on from the last cursor."


class SignInExpired(Unauthenticated):
    """Raised to end a stream when the token expires by which it was opened."""

    text = "The access token has expired. Get a new one, and go on from the last cursor."


class ReaderTooSlow(Exhausted):
    """Raised to end a stream whose reader takes nothing for too long."""

    text = "The stream was not read for {seconds:g} seconds. Connect again and go on from the last cursor."


def server_stream(front: Front, method: Streaming) -> Callable[[Any, Any], Awaitable[None]]:
    """Compose the handler of a method that answers with a stream."""
    plan = front.plan

    async def handle(incoming: Any, context: Any) -> None:
        visit = front.admit(context)
        sender = _Sender(front, visit, context)
        noted = b"" if plan.client_streaming else incoming
        # The place is held to the end: a reader who does not read may keep the status waiting too.
        with ExitStack() as held:
            try:
                if visit.fault is not None:
                    await front.meet(visit, context, None if plan.client_streaming else incoming)
                held.enter_context(_place(front, visit))
                await _await_turn(front, visit)
                request = _requests(front, incoming) if plan.client_streaming else plan.parse(incoming)
                async with (
                    _until(front, visit.caller),
                    _bounded(plan.timeout),
                    aclosing(method(request, front.call(visit))) as messages,
                ):
                    await sender.send_all(messages)
            except (asyncio.CancelledError, Exception) as fault:  # noqa: BLE001 - a fault of any kind becomes an answer here
                await front.fail(visit, context, fault, noted, sender.last_word)
            front.leave(visit, context)
            await front.note(visit, noted)

    return handle


def client_stream(front: Front, method: Collecting) -> Callable[[Any, Any], Awaitable[bytes]]:
    """Compose the handler of a method that takes a stream and gives one answer."""

    async def handle(incoming: Any, context: Any) -> bytes:
        visit = front.admit(context)
        try:
            if visit.fault is not None:
                await front.meet(visit, context, None)
            with _place(front, visit):
                await _await_turn(front, visit)
                async with _bounded(front.plan.timeout):
                    response = await method(_requests(front, incoming), front.call(visit))
            body = response.SerializeToString()
        except (asyncio.CancelledError, Exception) as fault:  # noqa: BLE001 - a fault of any kind becomes an answer here
            await front.fail(visit, context, fault, b"")
        front.leave(visit, context)
        await front.note(visit, b"")
        return body

    return handle


def _place(front: Front, visit: Visit) -> AbstractContextManager[None]:
    """Hold a place for a stream whose caller was let in."""
    return front.machinery.streams.place(visit.caller.key)


async def _await_turn(front: Front, visit: Visit) -> None:
    """Go through the rest of what any call goes through; under overload, a stream waits or is shed when it opens."""
    plan, limiter = front.plan, front.machinery.limiter
    await front.take_strictly(visit)
    if visit.revision:
        await front.reach(visit)
    await limiter.enter(plan.criticality, visit.remaining())
    limiter.leave()


@asynccontextmanager
async def _bounded(seconds: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as bound:
            yield
    except TimeoutError:
        if bound.expired():
            raise Overdue(seconds=f"{seconds:g}") from None
        raise


@asynccontextmanager
async def _until(front: Front, caller: Caller) -> AsyncIterator[None]:
    """End a stream with the token by which it was opened, be it in its time or before."""
    left = None if caller.expires is None else max(0.0, caller.expires - time.time())
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(left) as bound:
            with front.revoked.followed(caller.viewer, caller.issued, lambda: bound.reschedule(loop.time())):
                yield
    except TimeoutError:
        if bound.expired():
            raise SignInExpired from None
        raise


async def _requests(front: Front, incoming: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async for data in incoming:
        yield front.plan.parse(data)


class _Sender:
    """Writes a stream's messages, and stops when the reader does not read or the server has to stop."""

    def __init__(self, front: Front, visit: Visit, context: Any) -> None:
        self._front = front
        self._visit = visit
        self._context = context
        self._draining = front.machinery.draining
        self._sent = 0
        self._stuck = False

    async def send_all(self, messages: AsyncIterator[Message]) -> None:
        stop = asyncio.ensure_future(self._draining.wait())
        try:
            while True:
                step = asyncio.ensure_future(anext(messages, None))
                try:
                    await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not step.done():
                        step.cancel()
                        await asyncio.gather(step, return_exceptions=True)
                if step.cancelled() and stop.done():
                    raise ServerStopping
                message = step.result()
                if message is None:
                    return
                await self._write(message)
        finally:
            stop.cancel()

    async def _write(self, message: Message) -> None:
        if not self._sent:
            await self._context.send_initial_metadata(tuple(self._visit.headers))
            self._visit.headers.clear()
        self._sent += 1
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._context.write(message.SerializeToString())
        except TimeoutError as fault:
            self._stuck = True
            raise ReaderTooSlow(retry_after=1, seconds=WRITE_SECONDS) from fault

    async def last_word(self, answer: Answer) -> None:
        """Say in the stream itself why it ends: over HTTP nothing else can be said once it has begun.

        Not where a message is still on its way, for there can be but one.
        """
        field = self._front.plan.status_field
        if self._sent and field and not self._stuck:
            message = self._front.plan.response()
            getattr(message, field).CopyFrom(answer.status)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await self._context.write(message.SerializeToString())
