"""A server process, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from adapters.postgres import Database
from adapters.postgres.accounts import revocations
from adapters.postgres.catalog.statements import CHANNEL
from adapters.postgres.listen import Listener
from adapters.redis import Valkey
from ani.catalog.v1 import (
    import_service_pb2,
)
from ani.operations.v1 import operation_service_pb2
from ani.system.v1 import system_service_pb2
from domain.kernel import Refusal
from server import imports
from server.health import Health
from server.pipeline import Pipeline
from server.pipeline.revoked import RevocationWatch
from server.settings import Settings
from server.system.servicer import SystemServicer
from server.wiring import accounts, content, devices, keys, own_data, proofs, tokens
from server.wiring.machinery import machinery as machinery_of
from server.wiring.machinery import parts

# One service stands in each of these files.
SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for contract in (
        *content.CONTRACTS,
        operation_service_pb2,
        import_service_pb2,
        system_service_pb2,
        *accounts.CONTRACTS,
        *keys.CONTRACTS,
        *proofs.CONTRACTS,
        *tokens.CONTRACTS,
        *devices.CONTRACTS,
        *own_data.CONTRACTS,
    )
    for service in contract.DESCRIPTOR.services_by_name.values()
)


@dataclass(frozen=True, slots=True)
class Application:
    """A server process without its socket."""

    settings: Settings
    pipeline: Pipeline
    health: Health
    draining: asyncio.Event
    services: tuple[ServiceDescriptor, ...] = SERVICES


@asynccontextmanager
async def application(settings: Settings, *, process: str = "server") -> AsyncIterator[Application]:
    """Put a server process together, and take it apart again."""
    async with AsyncExitStack() as stack:
        database = await Database.connect(settings.database_url, size=settings.database_pool, application="ani-server")
        stack.push_async_callback(database.close)
        valkey = await Valkey.connect(settings.redis_url)
        stack.push_async_callback(valkey.close)
        listener = Listener(settings.database_url, application="ani-server-listen")
        bell = listener.bell(CHANNEL)
        access = tokens.AccessTokens.of(settings)
        machinery = await machinery_of(settings, process, database, valkey, stack, tokens=access)
        watch = RevocationWatch(machinery.identification.revoke, accounts.revocations(database), listener.bell(revocations.CHANNEL))
        health = Health(parts(database, valkey), [service.full_name for service in SERVICES])
        pipeline = Pipeline(machinery)
        desk = accounts.desk(settings, database, access.issuer, stack, aside=machinery.limiter.aside)
        proven = proofs.proofs(settings, desk, stack)
        let_in = devices.devices(settings, desk, listener)
        servicers = {
            **content.servicers(settings, database, bell, stack, aside=machinery.limiter.aside),
            **imports.servicers(settings, database, listener),
            **keys.servicers(settings, desk),
            **accounts.servicers(desk, factors=proven.factors, introducers=proven.introducers),
            **proven.servicers,
            **access.servicers,
            **let_in.servicers,
            **own_data.servicers(settings, desk),
            "SystemService": SystemServicer(health, database.schema_revision),
        }
        for service in SERVICES:
            pipeline.add(service, servicers[service.name])
        await health.begin()
        with suppress(Refusal):
            await watch.look()
        look_out = access.keys.watch(machinery.identification.forget)
        for coroutine in (listener.run(), health.watch(), watch.run(), look_out, let_in.decisions.run()):
            await stack.enter_async_context(_background(coroutine))
        yield Application(settings, pipeline, health, machinery.draining)


@asynccontextmanager
async def _background(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
