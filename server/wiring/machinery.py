"""Composition of what every call goes through, and of what a process is healthy by."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from importlib.metadata import version

from adapters.postgres import Database, migrate
from adapters.postgres.audit import PostgresAudit
from adapters.redis import Valkey
from adapters.redis.cache import ValkeyCache
from adapters.redis.nonces import ValkeyNonces
from adapters.redis.quotas import ValkeyQuotas
from domain.kernel import Unavailable
from server.health import Part
from server.pipeline.audit import AuditTrail
from server.pipeline.cache import AnswerCache
from server.pipeline.front import Machinery, Tracing
from server.pipeline.overload import Limiter
from server.pipeline.quotas import Allowance, Quotas
from server.pipeline.signing import Signing
from server.pipeline.viewer import Identification
from server.settings import Settings
from server.telemetry.calls import CallLog
from server.telemetry.followed import follow
from server.telemetry.logs import SINK
from server.telemetry.metrics import Metrics
from server.wiring import keys
from server.wiring.tokens import AccessTokens

USUAL_WINDOW_SECONDS = 60.0


class ValkeyAway(Unavailable):
    """Raised when Valkey is out of reach."""

    text = "It does not answer; caches and quotas are kept in each process alone."


class SchemaBehind(Unavailable):
    """Raised when the database's schema is not the one that this server was made for."""

    text = "The schema is at {present}, this server needs {needed}: run `ani migrate up`."


async def machinery(
    settings: Settings, process: str, database: Database, valkey: Valkey, stack: AsyncExitStack, *, tokens: AccessTokens
) -> Machinery:
    usual = Allowance("calls a minute", settings.quota_per_minute, USUAL_WINDOW_SECONDS) if settings.quota_per_minute else None
    quotas = Quotas(ValkeyQuotas(valkey), usual=[usual] if usual else [])
    quotas.start()
    stack.push_async_callback(quotas.close)
    limiter = Limiter(fixed=settings.concurrency)
    limiter.start()
    stack.push_async_callback(limiter.close)
    cache = _cache(settings, valkey, stack) if settings.cache else None
    metrics = Metrics()
    calls = CallLog(metrics, SINK if settings.log_level in {"debug", "info"} else None, process=process)
    follow(metrics, limiter, quotas, cache)
    for telling in (metrics, calls):
        telling.start()
        stack.push_async_callback(telling.close)
    return Machinery(
        identification=_identification(settings, database, tokens),
        signing=Signing(ValkeyNonces(valkey)),
        quotas=quotas,
        limiter=limiter,
        cache=cache,
        revisions=database,
        audit=AuditTrail(PostgresAudit(database)),
        observer=calls,
        usual=usual,
        draining=asyncio.Event(),
        tracing=_tracing(settings, process, stack),
    )


def _identification(settings: Settings, database: Database, tokens: AccessTokens) -> Identification:
    return Identification(
        tokens.verifier,
        keys=keys.known_keys(settings, database),
        trusted_hops=settings.trusted_hops,
        staff_networks=settings.staff_networks,
    )


def _tracing(settings: Settings, process: str, stack: AsyncExitStack) -> Tracing | None:
    """Return what makes spans, if a collector is set; the library is only imported then, since it costs memory."""
    if not settings.otlp_endpoint:
        return None
    from server.telemetry import tracing

    spans = tracing.Tracing(settings.otlp_endpoint, process=process)
    stack.callback(spans.close)
    return spans


def _cache(settings: Settings, valkey: Valkey, stack: AsyncExitStack) -> AnswerCache:
    """Return the cache of this process over the shared one, whose entries are only read by processes of the same release."""
    shared = ValkeyCache(valkey, release=version("ani"))
    stack.push_async_callback(shared.close)
    cache = AnswerCache(shared, megabytes=settings.cache_megabytes)
    shared.listen(cache.heard, connected=cache.hear_again, lost=cache.deafen)
    return cache


def parts(database: Database, valkey: Valkey) -> list[Part]:
    needed = migrate.head()

    async def schema() -> None:
        # A newer schema is fine: each release runs beside the one before.
        if (present := await database.schema_revision()) < needed:
            raise SchemaBehind(present=present or "nothing", needed=needed)

    async def cache() -> None:
        if not valkey.up:
            raise ValkeyAway

    return [
        Part("database", database.check, essential=True),
        Part("schema", schema, essential=True),
        Part("valkey", cache, essential=False),
    ]
