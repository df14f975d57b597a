"""Methods with streams: bounded in number, in time and in memory, and ended in words when the server must end them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from google.protobuf.message import Message

from domain.kernel import Exhausted, Unavailable
from server.call import Call
from server.errors import Answer
from server.pipeline.front import Front, Visit

# A reader that takes nothing for this long holds memory for nobody.
WRITE_SECONDS = 30.0
LAST_WORD_SECONDS = 1.0

Streaming = Callable[[Any, Call], AsyncGenerator[Message, None]]
Collecting = Callable[[AsyncIterator[Message], Call], Awaitable[Message]]


class ServerStopping(Unavailable):
    """Raised to end a stream when the server stops: another one goes on from the last cursor."""

    text = "This server is stopping. Connect again and go on from the last cursor."


class ReaderTooSlow(Exhausted):
    """Raised to end a stream whose reader takes nothing for too long."""

    text = "The stream was not read for {seconds:g} seconds. Connect again and go on from the last cursor."


def server_stream(front: Front, method: Streaming) -> Callable[[Any, Any], Awaitable[None]]:
    """Compose the handler of a method that answers with a stream."""

    async def handle(incoming: Any, context: Any) -> None:
        visit = front.admit(context)
        sender = _Sender(front, visit, context)
        try:
            if visit.fault is not None:
                raise visit.fault
            with front.machinery.streams.place(visit.caller.key):
                await front.admit_strictly(visit)
                request = _requests(front, incoming) if front.plan.client_streaming else front.plan.parse(incoming)
                async with asyncio.timeout(front.plan.timeout), aclosing(method(request, front.call(visit))) as messages:
                    await sender.send_all(messages)
            front.take_down(visit, "OK")
        except asyncio.CancelledError:
            front.take_down(visit, "CANCELLED")
            raise
        except Exception as fault:  # noqa: BLE001 - a fault of any kind becomes an answer here
            answer = front.judge(visit, fault)
            await sender.last_word(answer)
            await front.end(visit, context, answer)
        finally:
            await front.note(visit, b"" if front.plan.client_streaming else incoming)

    return handle


def client_stream(front: Front, method: Collecting) -> Callable[[Any, Any], Awaitable[bytes]]:
    """Compose the handler of a method that takes a stream and gives one answer."""

    async def handle(incoming: Any, context: Any) -> bytes:
        visit = front.admit(context)
        try:
            if visit.fault is not None:
                raise visit.fault
            with front.machinery.streams.place(visit.caller.key):
                await front.admit_strictly(visit)
                async with asyncio.timeout(front.plan.timeout):
                    response = await method(_requests(front, incoming), front.call(visit))
            front.leave(visit, context)
            return response.SerializeToString()
        except asyncio.CancelledError:
            front.take_down(visit, "CANCELLED")
            raise
        except Exception as fault:  # noqa: BLE001 - a fault of any kind becomes an answer here
            await front.turn_away(visit, context, fault)
        finally:
            await front.note(visit, b"")

    return handle


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
                if step.cancelled():
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
        self._sent += 1
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._context.write(message.SerializeToString())
        except TimeoutError as fault:
            raise ReaderTooSlow(retry_after=1, seconds=WRITE_SECONDS) from fault

    async def last_word(self, answer: Answer) -> None:
        """Say in the stream itself why it ends: over HTTP nothing else can be said once it has begun."""
        field = self._front.plan.status_field
        if self._sent and field and answer.message:
            message = self._front.plan.response()
            getattr(message, field).CopyFrom(answer.status)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await self._context.write(message.SerializeToString())
