"""Valkey or Redis, held so that its absence costs nobody more than a moment: calls fail at once until it is back."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import NoScriptError, RedisError, ResponseError

log = logging.getLogger("ani.valkey")

Argument = bytes | str | int | float

# Nobody who asks waits longer than this; a connection that says nothing for the second span is given up.
PATIENCE_SECONDS = 0.05
HOPELESS_SECONDS = 0.25
# A timer that comes this late says that this process was held up, not Valkey: the answer may be in the socket already.
HELD_UP_SECONDS = 0.01
CONNECT_SECONDS = 1.0
LOOK_SECONDS = 0.5
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
# A subscription that hears nothing asks whether anybody is there: a vanished machine closes no connection.
SILENCE_SECONDS = 2.0


# Whatever answers may not be Valkey at all: then lines are endless, or no numbers where there should be.
FAULTS = (RedisError, OSError, EOFError, ValueError)


class ValkeyDown(Exception):
    """Raised when Valkey is out of reach, too slow, or refuses a command; whoever catches it goes on without."""


class Script:
    """A Lua script, sent whole only to a Valkey that does not know it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True, eq=False)
class _Asked:
    """Commands that somebody waits for, as they go over the wire."""

    packed: list[bytes]
    commands: int
    answer: asyncio.Future[list[Any]]
    due: float


class Valkey:
    """One connection that all callers share: what is asked while a batch is on its way goes out together as the next."""

    def __init__(self, url: str, *, patience: float = PATIENCE_SECONDS) -> None:
        # The library's own time-outs and retries stay off: each would cost microseconds a reply, and none bounds the whole.
        self._pool = ConnectionPool.from_url(url, protocol=2, socket_timeout=None, socket_connect_timeout=CONNECT_SECONDS)
        self._patience = patience
        self._connection: AbstractConnection | None = None
        self._asked: list[_Asked] = []
        self._exchange: asyncio.Task[None] | None = None
        self._overdue = False
        self._tried = asyncio.Event()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._subscriptions: list[Subscription] = []

    @classmethod
    async def connect(cls, url: str, *, patience: float = PATIENCE_SECONDS) -> Valkey:
        """Return a client that has tried once and goes on trying; without Valkey it works too, by raising ValkeyDown."""
        valkey = cls(url, patience=patience)
        valkey._keeper = asyncio.create_task(valkey._keep(), name="valkey")
        await valkey._tried.wait()
        return valkey

    @property
    def up(self) -> bool:
        """Whether asking has a chance."""
        return self._connection is not None and not self._overdue

    async def run(self, *command: Argument) -> Any:
        """Return a command's reply. Raises ValkeyDown."""
        return (await self.pipeline((command,)))[0]

    async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Return the replies to commands sent in one go, not as a transaction. Raises ValkeyDown, also if one is refused."""
        replies = await self._ask(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise ValkeyDown(str(reply)) from reply
        return replies

    async def script(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """Return what a script returns. Raises ValkeyDown."""
        rest = (len(keys), *keys, *arguments)
        reply = (await self._ask((("EVALSHA", script.digest, *rest),)))[0]
        if isinstance(reply, NoScriptError):
            return await self.run("EVAL", script.source, *rest)
        if isinstance(reply, ResponseError):
            raise ValkeyDown(str(reply)) from reply
        return reply

    def subscribe(
        self,
        channels: Iterable[str],
        heard: Callable[[str, bytes], None],
        *,
        connected: Callable[[], None],
        lost: Callable[[], None],
    ) -> Subscription:
        """Hear what is published until closed; the callbacks tell when listening begins, and when it breaks off or cannot begin."""
        subscription = Subscription(self._pool, tuple(channels), heard, connected, lost)
        self._subscriptions.append(subscription)
        return subscription

    async def close(self) -> None:
        for subscription in self._subscriptions:
            await subscription.close()
        if self._keeper is not None:
            await _cancelled(self._keeper)

    async def _ask(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        connection = self._connection
        if connection is None or self._overdue:
            raise ValkeyDown("out of reach")
        loop = asyncio.get_running_loop()
        # Packed here, so that what cannot be sent is the asker's fault alone.
        packed = connection.pack_commands(commands)
        asked = _Asked(packed, len(commands), loop.create_future(), loop.time() + self._patience)
        self._asked.append(asked)
        if self._exchange is None:
            self._exchange = loop.create_task(self._talk(connection))
        return await asked.answer

    async def _talk(self, connection: AbstractConnection) -> None:
        """Send what was asked and hand out the replies, until nobody asks; at most one such task lives."""
        try:
            while self._asked:
                batch, self._asked = self._asked, []
                await self._send(connection, batch)
                self._overdue = False
        except FAULTS as fault:
            log.warning("Valkey is out of reach: %s", fault)
            self._connection = None
            self._refuse_asked("out of reach")
            self._lost.set()
        finally:
            self._exchange = None

    async def _send(self, connection: AbstractConnection, batch: list[_Asked]) -> None:
        loop = asyncio.get_running_loop()
        impatient = loop.call_at(batch[0].due, self._expire, batch)
        hopeless = loop.call_at(batch[0].due + HOPELESS_SECONDS, self._lost.set)
        try:
            await connection.send_packed_command([piece for asked in batch for piece in asked.packed], check_health=False)
            for asked in batch:
                replies = [await _reply(connection) for _ in range(asked.commands)]
                if not asked.answer.done():
                    asked.answer.set_result(replies)
        finally:
            impatient.cancel()
            hopeless.cancel()
            _refuse(batch, "out of reach")

    def _expire(self, batch: list[_Asked], *, spared: bool = False) -> None:
        """Let nobody wait any longer, and nobody begin to, until the replies come or the connection is given up."""
        loop = asyncio.get_running_loop()
        if loop.time() - batch[0].due > HELD_UP_SECONDS and not spared:
            loop.call_later(HELD_UP_SECONDS / 2, lambda: self._expire(batch, spared=True))
        elif not all(asked.answer.done() for asked in batch):
            self._overdue = True
            _refuse(batch, "too slow")
            self._refuse_asked("too slow")

    def _refuse_asked(self, why: str) -> None:
        asked, self._asked = self._asked, []
        _refuse(asked, why)

    async def _keep(self) -> None:
        """Connect, wait until the connection is lost, connect again: connecting is never on a caller's time."""
        pause = 0.0
        while True:
            connection = _unconnected(self._pool)
            try:
                await _open(connection)
                self._connect(connection)
                pause = 0.0
                await self._until_lost(connection)
            except FAULTS as fault:
                if pause == 0.0:
                    log.warning("Valkey cannot be reached: %s", str(fault) or "it does not answer")
                pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, 2 * pause))
            finally:
                self._tried.set()
                await self._give_up(connection)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - it spreads load and guards nothing

    async def _until_lost(self, connection: AbstractConnection) -> None:
        """Wait until a call finds the connection lost, and look by oneself while nobody calls."""
        while not self._lost.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._lost.wait()
            # Between two calls there is nothing to read but the end.
            if self._exchange is None and await connection.can_read():
                log.warning("Valkey is out of reach: it closed the connection")
                return

    def _connect(self, connection: AbstractConnection) -> None:
        self._lost.clear()
        self._overdue = False
        self._connection = connection
        if self._tried.is_set():
            log.info("Valkey is in reach again")
        self._tried.set()

    async def _give_up(self, connection: AbstractConnection) -> None:
        self._connection = None
        if self._exchange is not None:
            await _cancelled(self._exchange)
        self._refuse_asked("out of reach")
        await connection.disconnect(nowait=True)


class Subscription:
    """Listens on a connection of its own, and connects again by itself; what was published in between is gone for good."""

    def __init__(
        self,
        pool: ConnectionPool,
        channels: tuple[str, ...],
        heard: Callable[[str, bytes], None],
        connected: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._channels = channels
        self._heard = heard
        self._connected = connected
        self._lost = lost
        self._task = asyncio.create_task(self._listen(), name="valkey-subscription")

    async def close(self) -> None:
        await _cancelled(self._task)

    async def _listen(self) -> None:
        pause, listening = SHORTEST_PAUSE, True
        while True:
            connection = _unconnected(self._pool)
            try:
                await _open(connection)
                await self._begin(connection)
                pause, listening = SHORTEST_PAUSE, True
                await self._hear(connection)
            except FAULTS as fault:
                log.debug("the subscription to %s broke off: %s", self._channels, fault)
            finally:
                if listening:
                    listening = False
                    self._lost()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - it spreads load and guards nothing
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _begin(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.send_command("SUBSCRIBE", *self._channels, check_health=False)
            for _ in self._channels:
                await connection.read_response()
        self._connected()

    async def _hear(self, connection: AbstractConnection) -> None:
        asked = False
        while True:
            message = await connection.read_response(timeout=SILENCE_SECONDS)
            if message is None and asked:
                raise TimeoutError("nobody answers")
            asked = message is None
            if asked:
                await connection.send_command("PING", check_health=False)
            elif message[0] == b"message":
                self._hand_over(message[1].decode(), message[2])

    def _hand_over(self, channel: str, payload: bytes) -> None:
        try:
            self._heard(channel, payload)
        except Exception:
            log.exception("a message on %s was not understood", channel)


def _unconnected(pool: ConnectionPool) -> AbstractConnection:
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection


async def _open(connection: AbstractConnection) -> None:
    """Connect, and make sure that Valkey answers: one that still loads its data, or hangs, is not there yet."""
    async with asyncio.timeout(CONNECT_SECONDS):
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command("PING", check_health=False)
        await connection.read_response()


async def _reply(connection: AbstractConnection) -> Any:
    """Return a reply, refusals too: one that was raised in the middle of a batch would leave the rest unread."""
    try:
        return await connection.read_response()
    except ResponseError as refusal:
        return refusal


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _refuse(asked: Iterable[_Asked], why: str) -> None:
    for one in asked:
        if not one.answer.done():
            one.answer.set_exception(ValkeyDown(why))
