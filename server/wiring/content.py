"""Composition of what is shown, edited and played: the catalog, its editors, images, videos and promos."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path

from adapters.images import ChildImages
from adapters.playback_keys import PlaybackKeys
from adapters.playlists import HttpPlaylists
from adapters.postgres import Database
from adapters.postgres.catalog.episodes import PostgresEpisodes
from adapters.postgres.catalog.items import ITEMS
from adapters.postgres.catalog.schedule import PostgresSchedule
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.editing.dashboard import PostgresDashboard
from adapters.postgres.editing.store import PostgresEditing
from adapters.postgres.listen import Bell
from adapters.postgres.media import promos as promo_store
from adapters.postgres.media import sources as source_store
from adapters.postgres.media.playback import PostgresPlayback
from adapters.postgres.media.uploads import PostgresUploads
from adapters.storage import LocalSpooling, storage_at
from ani.catalog.v1 import (
    browsing_service_pb2,
    catalog_admin_service_pb2,
    catalog_service_pb2,
    episode_admin_service_pb2,
    episode_service_pb2,
    franchise_admin_service_pb2,
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
from domain.catalog.episodes import Episodes
from domain.catalog.kinds import KINDS
from domain.catalog.schedule_service import Schedule
from domain.catalog.service import Catalog
from domain.editing.change_sets import ChangeSets
from domain.editing.dashboard import Dashboard
from domain.editing.service import Editing
from domain.media import settings as player
from domain.media.playback import Beat, HeartbeatsBusy, Limits, Playback
from domain.media.promos import Hosts, PromoEventsBusy, promo_kind
from domain.media.promotion import Promos
from domain.media.sources import Origins, video_source_kind
from domain.media.uploads import Uploads
from server.batching import Aside, Batches
from server.catalog.admin_servicer import CatalogAdminServicer
from server.catalog.browsing_servicer import BrowsingServicer
from server.catalog.edits import EDITS
from server.catalog.episode_servicer import EpisodeAdminServicer, EpisodeServicer
from server.catalog.group_admin_servicer import FranchiseAdminServicer, TaxonomyAdminServicer
from server.catalog.schedule_servicer import ScheduleAdminServicer, ScheduleServicer
from server.catalog.servicer import CatalogServicer
from server.editing.servicer import ChangeSetServicer, DashboardServicer, EditingServicer, ReviewServicer
from server.media import promo_edits, source_edits
from server.media.media_servicer import MediaServicer
from server.media.promo_servicer import PromoAdminServicer, PromoServicer
from server.media.settings_servicer import PlayerSettingsServicer
from server.media.source_servicer import VideoSourceAdminServicer
from server.media.upload_servicer import AttachmentServicer, UploadServicer
from server.settings import Settings

# One service stands in each of these files.
CONTRACTS = (
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
    episode_service_pb2,
    episode_admin_service_pb2,
    schedule_service_pb2,
    schedule_admin_service_pb2,
)


def servicers(
    settings: Settings, database: Database, bell: Bell, stack: AsyncExitStack, *, aside: Aside = nullcontext
) -> dict[str, object]:
    """Return the servicers by the names of their services. `aside` is entered by calls that wait for a batch to be written."""
    return {
        **_catalog(database, bell),
        **_schedule(database),
        **_editing(settings, database, stack, aside),
        **_uploads(settings, database, stack),
        **_player_settings(database),
    }


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


def _editing(settings: Settings, database: Database, stack: AsyncExitStack, aside: Aside) -> dict[str, object]:
    """Return the servicers of editors by the names of their services."""
    promo = promo_kind(Hosts(settings.promo_hosts))
    source = video_source_kind(_origins(settings))
    items = {**ITEMS, **promo_store.ITEMS, **source_store.ITEMS}
    kept = partial(PostgresEditing, kept=items)
    begin, read = database.begins(kept), database.reads(kept)
    editing = Editing([*KINDS, promo, source], begin=begin, read=read)
    change_sets = ChangeSets(editing, begin=begin, read=read)
    promos = _promos(settings, database, stack, aside)
    playback = _playback(settings, database, stack, aside)
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


def _promos(settings: Settings, database: Database, stack: AsyncExitStack, aside: Aside) -> Promos:
    begin, read = database.begins(promo_store.PostgresPromos), database.reads(promo_store.PostgresPromos)
    promos = Promos(begin=begin, read=read, hosts=Hosts(settings.promo_hosts), serves_vast=settings.vast)
    batches = Batches(promos.write_occurrences, busy=lambda: PromoEventsBusy(retry_after=2), aside=aside)
    stack.push_async_callback(batches.close)
    return Promos(begin=begin, read=read, hosts=Hosts(settings.promo_hosts), serves_vast=settings.vast, write=batches.add)


def _origins(settings: Settings) -> Origins:
    return Origins(settings.video_hosts, settings.video_local_hosts)


def _playback(settings: Settings, database: Database, stack: AsyncExitStack, aside: Aside) -> Playback:
    origins = _origins(settings)
    fetcher = HttpPlaylists(origins)
    stack.push_async_callback(fetcher.close)
    read = database.reads(PostgresPlayback)

    async def write(beats: Sequence[Beat]) -> list[bool]:
        async with read() as store:
            return await store.beat(beats)

    batches = Batches(write, busy=lambda: HeartbeatsBusy(retry_after=2), aside=aside)
    stack.push_async_callback(batches.close)
    return Playback(
        begin=database.begins(PostgresPlayback),
        read=read,
        signer=PlaybackKeys(settings.key_folder).signer,
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
