"""Dramatiq over Valkey: carries the ids of deliveries to whichever worker is free. PostgreSQL knows what is to be done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import dramatiq
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from domain.kernel import Unavailable

log = logging.getLogger("ani.broker")

T = TypeVar("T")

QUEUE = "deliveries"
# The jobs of a killed worker go to another one this much later; looked for with every fetch, since by default it may take an hour.
HEARTBEAT_MILLISECONDS = 5_000
ALWAYS = 1_000_000
# How long an idle worker may take to notice a job.
IDLE_MILLISECONDS = 250
TIMEOUT_SECONDS = 2.0


class BrokerUnavailable(Unavailable):
    """Raised when Valkey does not take jobs."""

    text = "The broker does not answer for now."


class OurLoop(EventLoopThread):
    """The loop that runs in this process anyway, in the place of one more thread with a loop of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        threading.Thread.__init__(self)
        self.logger = log
        self.loop = loop
        self.interrupt_check_ival = 1.0


class OnOurLoop(AsyncIO):
    """Runs actors on the loop that was running when the worker was started."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: asyncio.AbstractEventLoop | None = None

    def before_worker_boot(self, _broker: dramatiq.Broker, _worker: dramatiq.Worker) -> None:
        if self.loop is None:
            raise RuntimeError("a worker is started with `working`")
        set_event_loop_thread(OurLoop(self.loop))

    def after_worker_shutdown(self, _broker: dramatiq.Broker, _worker: dramatiq.Worker) -> None:
        set_event_loop_thread(None)


class Broker:
    """One queue of delivery ids. Retries, delays and dead letters are the outbox's, so none of Dramatiq's are in use."""

    def __init__(self, url: str, deliver: Callable[[str], Awaitable[None]]) -> None:
        self._deliver = deliver
        self._running: set[asyncio.Task[Any]] = set()
        self._loop = OnOurLoop()
        self._client = Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 1)
        )
        self._broker = RedisBroker(  # type: ignore[no-untyped-call]
            client=self._client,
            middleware=[self._loop],
            heartbeat_timeout=HEARTBEAT_MILLISECONDS,
            maintenance_chance=ALWAYS,
        )
        self._actor = dramatiq.actor(actor_name="deliver", queue_name=QUEUE, broker=self._broker)(self._act)

    async def waiting(self) -> int:
        """Return how many ids no worker has taken yet. Raises BrokerUnavailable."""
        return await self._blocking(lambda: int(self._client.llen(f"{self._broker.namespace}:{QUEUE}")))

    async def send(self, delivery_ids: Sequence[str]) -> None:
        """Queue deliveries; when it fails, some of them may be queued. Raises BrokerUnavailable."""

        def send() -> None:
            for delivery_id in delivery_ids:
                self._actor.send(delivery_id=delivery_id)

        await self._blocking(send)

    @contextlib.asynccontextmanager
    async def working(self, *, threads: int, grace: float) -> AsyncIterator[None]:
        """Deliver on this loop, so many at once; at the end let those at work finish, and break them off after the grace."""
        self._loop.loop = asyncio.get_running_loop()
        worker = dramatiq.Worker(self._broker, worker_threads=threads, worker_timeout=IDLE_MILLISECONDS)
        await asyncio.to_thread(worker.start)
        try:
            yield
        finally:
            stopping = asyncio.create_task(asyncio.to_thread(worker.stop, timeout=int(grace * 1000)))
            await asyncio.wait({stopping}, timeout=grace)
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await asyncio.wait({stopping}, timeout=TIMEOUT_SECONDS * 2)

    def close(self) -> None:
        self._client.close()

    async def _act(self, *, delivery_id: str, **_: Any) -> None:
        """Deliver; what an older or newer release sends beside the id is left aside."""
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        await self._deliver(delivery_id)

    async def _blocking(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except RedisError as fault:
            raise BrokerUnavailable from fault
