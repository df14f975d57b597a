"""One gRPC server process: its start, its drain and its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Mapping
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from server import telemetry
from server.settings import Settings
from server.wiring.application import Application
from server.wiring.application import application as wired

log = logging.getLogger("ani.serve")

MEGABYTE = 1024 * 1024
GRACE_SECONDS = 10.0
# A call leaves next to nothing behind that counting references does not free.
COLLECT_AFTER = 20_000
OPTIONS = (
    ("grpc.max_receive_message_length", 4 * MEGABYTE),
    ("grpc.max_send_message_length", 16 * MEGABYTE),
    # Only uncompressed requests: gRPC unpacks the whole of a message before it looks how large it is.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
    ("grpc.max_concurrent_streams", 1000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 3),
    # Each process has its own address: sharing one balances connections, not calls.
    ("grpc.so_reuseport", 0),
)


class Generic:
    """Stands in for a server where generated code registers its methods, and keeps only their generic handlers.

    A registered method costs every call on the server (ADR 0002).
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        pass


def run(settings: Settings, *, address: str, index: int = 0) -> int:
    """Serve on an address until SIGTERM, or SIGINT, which says that nobody calls any more; return the exit status."""
    telemetry.set_up(settings, process=f"server-{index}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, address, f"server-{index}"))


async def _serve(settings: Settings, address: str, process: str) -> int:
    stopping: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    _on_signals(stopping, {signal.SIGTERM: settings.drain_seconds, signal.SIGINT: 0})
    async with wired(settings, process=process) as application:
        server = await start(application, address)
        # What start-up made stays for good: collections need not go through it again and again while calls wait.
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER)
        log.info("serving on %s", address)
        seconds = await stopping
        log.info("draining for %d seconds", seconds)
        await drain(application, server, seconds=seconds)
    log.info("stopped")
    return 0


def _on_signals(stopping: asyncio.Future[int], seconds: Mapping[signal.Signals, int]) -> None:
    """Let the first of these signals tell how long to drain."""

    def stop(number: signal.Signals) -> None:
        if not stopping.done():
            stopping.set_result(seconds[number])

    for number in seconds:
        stopping.get_loop().add_signal_handler(number, stop, number)


async def start(application: Application, address: str) -> grpc.aio.Server:
    """Start a server that answers for an application. Raises OSError when the address is taken."""
    server = grpc.aio.server(options=OPTIONS)
    generic: Any = Generic(server)
    server.add_generic_rpc_handlers((application.pipeline,))
    health_pb2_grpc.add_HealthServicer_to_server(application.health.servicer, generic)
    if application.settings.reflection:
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        names = [service.full_name for service in application.services]
        reflection.enable_server_reflection([*names, health_name, reflection.SERVICE_NAME], generic)
    try:
        server.add_insecure_port(address)
    except RuntimeError as fault:
        raise OSError(f"cannot listen on {address}: it is taken, or not an address of this machine") from fault
    await server.start()
    return server


async def drain(application: Application, server: grpc.aio.Server, *, seconds: float) -> None:
    """Stop without failing a call: say so, wait until it is heard, end streams in words, finish what is at work."""
    await application.health.drain()
    await asyncio.sleep(seconds)
    application.draining.set()
    await server.stop(GRACE_SECONDS)


if __name__ == "__main__":
    sys.exit("use `ani serve`")
