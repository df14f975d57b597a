"""One worker process: relay, scheduler and deliveries on one loop, and the threads of Dramatiq that wait for them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop
from prometheus_client import Gauge, start_http_server

from domain.kernel import Refusal
from server import telemetry
from server.settings import Settings
from server.workshop import Assignment, Workshop, workshop

log = logging.getLogger("ani.worker")

# How long deliveries at work may go on after SIGTERM.
GRACE_SECONDS = 8.0
LOOK_SECONDS = 5.0

# The same in all workers, so the latest look is the truth.
PENDING = Gauge("ani_outbox_pending", "Deliveries still to be done.", multiprocess_mode="livemostrecent")
OLDEST = Gauge("ani_outbox_oldest_seconds", "How long the oldest of them waits.", multiprocess_mode="livemostrecent")
DEAD = Gauge("ani_dead_letters", "Deliveries that were given up.", multiprocess_mode="livemostrecent")


def run(settings: Settings, assignment: Assignment | None = None) -> int:
    """Work until SIGTERM or SIGINT, on what Ani has to do or on another assignment; return the exit status."""
    telemetry.set_up(settings, process="worker")
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # nobody above gathers the metrics of several processes
        _show_metrics(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings, assignment))


def _show_metrics(settings: Settings) -> None:
    try:
        start_http_server(settings.metrics_port, settings.metrics_host)
    except OSError as fault:
        log.warning("no metrics at %s:%d: %s", settings.metrics_host, settings.metrics_port, fault.strerror)


async def _run(settings: Settings, assignment: Assignment | None) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with workshop(settings, assignment) as shop:
        await work(shop, threads=settings.worker_threads, stopping=stopping)
    log.info("stopped")
    return 0


async def work(shop: Workshop, *, threads: int, stopping: asyncio.Event) -> None:
    """Work until told to stop; then nothing new is begun, and what is at work is finished or given back."""
    async with shop.broker.working(threads=threads, grace=GRACE_SECONDS):
        log.info("working with %d threads", threads)
        parts: list[asyncio.Task[Any]] = [asyncio.create_task(part, name=name) for name, part in _parts(shop).items()]
        parts.append(asyncio.create_task(stopping.wait(), name="stopping"))
        # None of the parts ends by itself: one that does has found what nobody thought of, and the process starts afresh.
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        log.info("finishing")
    for part in done:
        part.result()


def _parts(shop: Workshop) -> dict[str, Coroutine[Any, Any, None]]:
    operations = {f"operations-{number}": runner.run_forever() for number, runner in enumerate(shop.runners, 1)}
    parts = {"listen": shop.listener.run(), "relay": shop.relay.run(), "schedule": shop.scheduler.run(), "look": _look(shop)}
    parts["seal"] = shop.sealer.run()
    return parts | operations


async def _look(shop: Workshop) -> None:
    """Keep the metrics of the outbox true."""
    while True:
        try:
            depth = await shop.outbox.depth()
        except Refusal:
            log.debug("the outbox cannot be looked at for now")
        else:
            PENDING.set(depth.pending)
            OLDEST.set(depth.oldest_seconds)
            DEAD.set(depth.dead)
        await asyncio.sleep(LOOK_SECONDS)
