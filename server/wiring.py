"""The composition root of a server process: which adapter stands behind which port."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from adapters.images import ChildImages
from adapters.playback_keys import PlaybackKeys
from adapters.playlists import HttpPlaylists
from adapters.postgres import Database, migrate
from adapters.postgres.accounts import revocations
from adapters.postgres.audit import PostgresAudit
from adapters.postgres.catalog.demo import plant
from adapters.postgres.catalog.episodes import PostgresEpisodes
from adapters.postgres.catalog.items import ITEMS
from adapters.postgres.catalog.schedule import PostgresSchedule
from adapters.postgres.catalog.statements import CHANNEL
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.editing.dashboard import PostgresDashboard
from adapters.postgres.editing.store import PostgresEditing
from adapters.postgres.listen import Bell, Listener
from adapters.postgres.media import promos as promo_store
from adapters.postgres.media import sources as source_store
from adapters.postgres.media.playback import PostgresPlayback
from adapters.postgres.media.uploads import PostgresUploads
from adapters.redis import Valkey
from adapters.redis.cache import ValkeyCache
from adapters.redis.quotas import ValkeyQuotas
from adapters.storage import LocalSpooling, storage_at
from adapters.tokens import TokenIssuer, TokenKeys, TokenVerifier
from ani.catalog.v1 import (
    browsing_service_pb2,
    catalog_admin_service_pb2,
    catalog_service_pb2,
    episode_admin_service_pb2,
    episode_service_pb2,
    franchise_admin_service_pb2,
    import_service_pb2,
    schedule_admin_service_pb2,
    schedule_service_pb2,
    taxonomy_admin_service_pb2,
)
from ani.editing.v1 import change_set_service_pb2, dashboard_service_pb2, editing_service_pb2, review_service_pb2
from ani.media.v1 import (
    attachment_service_pb2,
    media_service_pb2,
    player_settings_service_pb2,
    promo_admin_service_pb2,
    promo_service_pb2,
    upload_service_pb2,
    video_source_admin_service_pb2,
)
from ani.operations.v1 import operation_service_pb2
from ani.system.v1 import system_service_pb2
from domain.catalog.episodes import Episodes
from domain.catalog.kinds import KINDS
from domain.catalog.schedule_service import Schedule
from domain.catalog.service import Catalog
from domain.editing.change_sets import ChangeSets
from domain.editing.dashboard import Dashboard
from domain.editing.service import Editing
from domain.kernel import Unavailable
from domain.media import settings as player
from domain.media.playback import Beat, HeartbeatsBusy, Limits, Playback
from domain.media.promos import Hosts, PromoEventsBusy, promo_kind
from domain.media.promotion import Promos
from domain.media.sources import Origins, video_source_kind
from domain.media.uploads import Uploads
from server import accounts_wiring, imports, keys_wiring, proofs_wiring
from server.batching import Batches
from server.catalog.admin_servicer import CatalogAdminServicer
from server.catalog.browsing_servicer import BrowsingServicer
from server.catalog.demo import demo
from server.catalog.edits import EDITS
from server.catalog.episode_servicer import EpisodeAdminServicer, EpisodeServicer
from server.catalog.group_admin_servicer import FranchiseAdminServicer, TaxonomyAdminServicer
from server.catalog.schedule_servicer import ScheduleAdminServicer, ScheduleServicer
from server.catalog.servicer import CatalogServicer
from server.editing.servicer import ChangeSetServicer, DashboardServicer, EditingServicer, ReviewServicer
from server.health import Health, Part
from server.media import promo_edits, source_edits
from server.media.media_servicer import MediaServicer
from server.media.promo_servicer import PromoAdminServicer, PromoServicer
from server.media.settings_servicer import PlayerSettingsServicer
from server.media.source_servicer import VideoSourceAdminServicer
from server.media.upload_servicer import AttachmentServicer, UploadServicer
from server.pipeline import Pipeline
from server.pipeline.audit import AuditTrail
from server.pipeline.cache import AnswerCache
from server.pipeline.front import Machinery, Tracing
from server.pipeline.overload import Limiter
from server.pipeline.quotas import Allowance, Quotas
from server.pipeline.revoked import RevocationWatch
from server.pipeline.viewer import Identification
from server.settings import Settings
from server.system.servicer import SystemServicer
from server.telemetry.calls import CallLog
from server.telemetry.followed import follow
from server.telemetry.logs import SINK
from server.telemetry.metrics import Metrics

# One service stands in each of these files.
SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for contract in (
        catalog_service_pb2,
        browsing_service_pb2,
        catalog_admin_service_pb2,
        taxonomy_admin_service_pb2,
        franchise_admin_service_pb2,
        editing_service_pb2,
        change_set_service_pb2,
        review_service_pb2,
        dashboard_service_pb2,
        upload_service_pb2,
        attachment_service_pb2,
        promo_service_pb2,
        promo_admin_service_pb2,
        media_service_pb2,
        player_settings_service_pb2,
        video_source_admin_service_pb2,
        operation_service_pb2,
        import_service_pb2,
        episode_service_pb2,
        episode_admin_service_pb2,
        schedule_service_pb2,
        schedule_admin_service_pb2,
        *keys_wiring.CONTRACTS,
        system_service_pb2,
        *accounts_wiring.CONTRACTS,
        *proofs_wiring.CONTRACTS,
    )
    for service in contract.DESCRIPTOR.services_by_name.values()
)
USUAL_WINDOW_SECONDS = 60.0


class ValkeyAway(Unavailable):
    """Raised when Valkey is out of reach."""

    text = "It does not answer; caches and quotas are kept in each process alone."


class SchemaBehind(Unavailable):
    """Raised when the database's schema is not the one that this server was made for."""

    text = "The schema is at {present}, this server needs {needed}: run `ani migrate up`."


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
        machinery = await _machinery(settings, process, database, valkey, stack)
        watch = RevocationWatch(
            machinery.identification.revoke, accounts_wiring.revocations(database), listener.bell(revocations.CHANNEL)
        )
        health = Health(_parts(database, valkey), [service.full_name for service in SERVICES])
        pipeline = Pipeline(machinery)
        desk = accounts_wiring.desk(settings, database, issuer(settings), stack)
        proofs = proofs_wiring.proofs(settings, desk, stack)
        servicers = {
            **_catalog(database, bell),
            **_schedule(database),
            **_editing(settings, database, stack),
            **_uploads(settings, database, stack),
            **imports.servicers(settings, database, listener),
            **_player_settings(database),
            **keys_wiring.servicers(settings, desk),
            **accounts_wiring.servicers(desk, factors=proofs.factors, introducers=proofs.introducers),
            **proofs.servicers,
            "SystemService": SystemServicer(health, database.schema_revision),
        }
        for service in SERVICES:
            pipeline.add(service, servicers[service.name])
        await health.begin()
        with suppress(Unavailable):
            await watch.look()
        for coroutine in (listener.run(), health.watch(), watch.run()):
            await stack.enter_async_context(_background(coroutine))
        yield Application(settings, pipeline, health, machinery.draining)


def _catalog(database: Database, bell: Bell) -> dict[str, object]:
    """Return the catalog's servicers by the names of their services."""
    catalog = Catalog(read=database.reads(PostgresCatalog), bell=bell)
    return {"CatalogService": CatalogServicer(catalog), "BrowsingService": BrowsingServicer(catalog)}


def _schedule(database: Database) -> dict[str, object]:
    """Return the servicers of episodes and their air times by the names of their services."""
    return {
        "EpisodeService": EpisodeServicer(Episodes(read=database.reads(PostgresEpisodes))),
        "ScheduleService": ScheduleServicer(Schedule(read=database.reads(PostgresSchedule))),
    }


def _editing(settings: Settings, database: Database, stack: AsyncExitStack) -> dict[str, object]:
    """Return the servicers of editors by the names of their services."""
    promo = promo_kind(Hosts(settings.promo_hosts))
    source = video_source_kind(_origins(settings))
    items = {**ITEMS, **promo_store.ITEMS, **source_store.ITEMS}
    kept = partial(PostgresEditing, kept=items)
    begin, read = database.begins(kept), database.reads(kept)
    editing = Editing([*KINDS, promo, source], begin=begin, read=read)
    change_sets = ChangeSets(editing, begin=begin, read=read)
    promos = _promos(settings, database, stack)
    playback = _playback(settings, database, stack)
    return {
        "MediaService": MediaServicer(playback),
        "VideoSourceAdminService": VideoSourceAdminServicer(editing, source, playback),
        "PromoService": PromoServicer(promos),
        "PromoAdminService": PromoAdminServicer(editing, promo, promos),
        "CatalogAdminService": CatalogAdminServicer(editing),
        "TaxonomyAdminService": TaxonomyAdminServicer(editing),
        "FranchiseAdminService": FranchiseAdminServicer(editing),
        "EpisodeAdminService": EpisodeAdminServicer(editing),
        "ScheduleAdminService": ScheduleAdminServicer(editing),
        "EditingService": EditingServicer(editing),
        "ChangeSetService": ChangeSetServicer(change_sets, {**EDITS, **promo_edits.EDITS, **source_edits.EDITS}),
        "ReviewService": ReviewServicer(change_sets),
        "DashboardService": DashboardServicer(Dashboard(read=database.reads(partial(PostgresDashboard, kept=items)))),
    }


def _promos(settings: Settings, database: Database, stack: AsyncExitStack) -> Promos:
    begin, read = database.begins(promo_store.PostgresPromos), database.reads(promo_store.PostgresPromos)
    promos = Promos(begin=begin, read=read, hosts=Hosts(settings.promo_hosts), serves_vast=settings.vast)
    batches = Batches(promos.write_occurrences, busy=lambda: PromoEventsBusy(retry_after=2))
    stack.push_async_callback(batches.close)
    return Promos(begin=begin, read=read, hosts=Hosts(settings.promo_hosts), serves_vast=settings.vast, write=batches.add)


def _origins(settings: Settings) -> Origins:
    return Origins(settings.video_hosts, settings.video_local_hosts)


def _playback(settings: Settings, database: Database, stack: AsyncExitStack) -> Playback:
    origins = _origins(settings)
    fetcher = HttpPlaylists(origins)
    stack.push_async_callback(fetcher.close)
    read = database.reads(PostgresPlayback)

    async def write(beats: Sequence[Beat]) -> list[bool]:
        async with read() as store:
            return await store.beat(beats)

    batches = Batches(write, busy=lambda: HeartbeatsBusy(retry_after=2))
    stack.push_async_callback(batches.close)
    return Playback(
        begin=database.begins(PostgresPlayback),
        read=read,
        signer=PlaybackKeys(keys(settings)).signer,
        fetcher=fetcher,
        origins=origins,
        limits=Limits(settings.streams_per_account, timedelta(seconds=settings.playback_seconds)),
        write=batches.add,
    )


def _player_settings(database: Database) -> dict[str, object]:
    """Return the servicer of player settings by the name of its service."""
    settings = player.Settings(begin=database.begins(PostgresPlayback), read=database.reads(PostgresPlayback))
    return {"PlayerSettingsService": PlayerSettingsServicer(settings)}


def _uploads(settings: Settings, database: Database, stack: AsyncExitStack) -> dict[str, object]:
    """Return the servicers of uploaded files by the names of their services."""
    images = ChildImages(folder=Path(tempfile.gettempdir()))
    stack.callback(images.close)
    uploads = Uploads(
        begin=database.begins(PostgresUploads),
        read=database.reads(PostgresUploads),
        storage=storage_at(settings.storage_url, folder=settings.data / "files"),
        spool=LocalSpooling(Path(tempfile.gettempdir())),
        images=images,
    )
    return {"UploadService": UploadServicer(uploads), "AttachmentService": AttachmentServicer(uploads)}


async def _machinery(settings: Settings, process: str, database: Database, valkey: Valkey, stack: AsyncExitStack) -> Machinery:
    usual = Allowance("calls a minute", settings.quota_per_minute, USUAL_WINDOW_SECONDS) if settings.quota_per_minute else None
    quotas = Quotas(ValkeyQuotas(valkey), usual=[usual] if usual else [])
    quotas.start()
    stack.push_async_callback(quotas.close)
    limiter = Limiter(fixed=settings.concurrency)
    limiter.start()
    stack.push_async_callback(limiter.close)
    verifier = TokenVerifier(TokenKeys.open(keys(settings)), issuer=settings.token_issuer, audience=settings.token_audience)
    cache = _cache(settings, valkey, stack) if settings.cache else None
    metrics = Metrics()
    calls = CallLog(metrics, SINK if settings.log_level in {"debug", "info"} else None, process=process)
    follow(metrics, limiter, quotas, cache)
    for telling in (metrics, calls):
        telling.start()
        stack.push_async_callback(telling.close)
    return Machinery(
        identification=Identification(verifier, trusted_hops=settings.trusted_hops),
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


def _parts(database: Database, valkey: Valkey) -> list[Part]:
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


def keys(settings: Settings) -> Path:
    """Return the folder of the token keys."""
    return settings.key_folder


def issuer(settings: Settings) -> TokenIssuer:
    """Return what signs local access tokens."""
    return TokenIssuer(TokenKeys.open(keys(settings)), issuer=settings.token_issuer, audience=settings.token_audience)


async def plant_demo(settings: Settings) -> int:
    """Put the demo catalog into a database that has no release; return how many were put there."""
    database = await Database.connect(settings.database_url, size=1, application="ani-demo", patience=30)
    try:
        async with database.begins(lambda connection: connection)() as connection:
            return await plant(connection, demo(at=datetime.now(UTC)))
    finally:
        await database.close()


@asynccontextmanager
async def _background(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
