"""Composition root of a worker process: what it reacts to, what it does by the clock, and which adapters stand behind that."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path

from adapters.broker import Broker
from adapters.envelopes import SealedEnvelopes
from adapters.images import ChildImages
from adapters.mail import mail_at
from adapters.postgres import Database
from adapters.postgres.accounts.store import PostgresAccounts
from adapters.postgres.audit import PostgresAudit
from adapters.postgres.catalog.items import ITEMS
from adapters.postgres.editing.purging import PostgresPurge
from adapters.postgres.editing.store import PostgresEditing
from adapters.postgres.listen import Listener
from adapters.postgres.media import promos as promo_store
from adapters.postgres.media import sources as source_store
from adapters.postgres.media.playback import PostgresPlayback
from adapters.postgres.media.uploads import PostgresUploads
from adapters.postgres.operations import store as operations_store
from adapters.postgres.operations.store import PostgresOperations
from adapters.postgres.outbox import CHANNEL, PostgresOutbox
from adapters.redis import Valkey
from adapters.redis.cache import ValkeyCache
from adapters.secret_keys import Mark
from adapters.storage import LocalSpooling, storage_at
from domain import audit
from domain.catalog.kinds import KINDS
from domain.editing.change_sets import ChangeSets
from domain.editing.service import Editing
from domain.kernel import Unavailable, new_id
from domain.media.promos import Hosts, promo_kind
from domain.media.promotion import Promos
from domain.media.sources import Origins, video_source_kind
from domain.media.uploads import Uploads
from domain.operations.model import Operation, State
from domain.operations.ports import Job as OperationJob
from domain.operations.runner import Runner
from server import imports
from server.accounts import tasks as accounts_tasks
from server.catalog import tasks as catalog
from server.catalog.import_jobs import KIND
from server.editing import tasks as editing_tasks
from server.events.deliveries import Deliveries, Reaction
from server.events.relay import Relay
from server.events.scheduler import Job, Scheduler
from server.events.sealing import Sealer
from server.mail import tasks as mail_tasks
from server.mail.letters import Writer
from server.media import playback_tasks, promo_tasks, upload_tasks
from server.settings import Settings
from server.wiring import devices, own_data

log = logging.getLogger("ani.worker")

# Jobs may take their time where calls may not.
PATIENCE_SECONDS = 30.0
WAIT_SECONDS = 5.0
# Operations that a worker is at together.
OPERATIONS = 2
# Besides the deliveries: relay, scheduler, sealer, what looks at the outbox, and operations with their heartbeats.
SPARE_CONNECTIONS = 4 + 2 * OPERATIONS
KEPT = timedelta(days=7)
PRUNED_AT_ONCE = 50_000
OPERATIONS_KEPT = timedelta(days=30)
# A killed command may be run again for so long.
ABANDONED = timedelta(days=1)


class CacheUnavailable(Unavailable):
    """Raised when the shared cache is out of reach: it may come back with answers that are no longer true."""

    text = "The shared cache does not answer for now."


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does: about events, by the clock, and when it takes long."""

    reactions: Sequence[Reaction]
    jobs: Sequence[Job] = ()
    # By the kind of operation.
    operations: Mapping[str, OperationJob] = field(default_factory=dict)


Assignment = Callable[[Database, PostgresOutbox], Work]


@dataclass(frozen=True, slots=True)
class Workshop:
    """A worker process, put together."""

    outbox: PostgresOutbox
    broker: Broker
    listener: Listener
    relay: Relay
    scheduler: Scheduler
    runners: Sequence[Runner]
    sealer: Sealer


@asynccontextmanager
async def workshop(settings: Settings, assignment: Assignment | None = None) -> AsyncIterator[Workshop]:
    """Put a worker together, for Ani's own work or another, and take it apart again."""
    async with AsyncExitStack() as stack:
        database = await Database.connect(
            settings.database_url,
            size=settings.worker_threads + SPARE_CONNECTIONS,
            application="ani-worker",
            patience=PATIENCE_SECONDS,
            wait=WAIT_SECONDS,
        )
        stack.push_async_callback(database.close)
        outbox = PostgresOutbox(database)
        work = assignment(database, outbox) if assignment else await _own_work(settings, database, outbox, stack)
        deliveries = Deliveries(outbox, [*work.reactions, *(job.reaction() for job in work.jobs)])
        broker = Broker(settings.broker_url, deliveries.deliver)
        stack.callback(broker.close)
        listener = Listener(settings.database_url, application="ani-worker-listen")
        relay = Relay(outbox, broker, listener.bell(CHANNEL), deliveries.routes)
        scheduler = Scheduler(outbox, work.jobs, clock=lambda: datetime.now(UTC))
        bell = listener.bell(operations_store.CHANNEL)
        runners = [imports.runner(database, dict(work.operations), bell) for _ in range(OPERATIONS)]
        sealer = Sealer(PostgresAudit(database), Mark(settings.key_folder, audit.PURPOSE).of)
        yield Workshop(outbox, broker, listener, relay, scheduler, runners, sealer)


async def _own_work(settings: Settings, database: Database, outbox: PostgresOutbox, stack: AsyncExitStack) -> Work:
    valkey = await Valkey.connect(settings.redis_url)
    stack.push_async_callback(valkey.close)
    forget = _forgetting(database, valkey)
    uploads = _uploads(settings, database, stack)
    own = own_data.duties(settings, database, _now)
    reactions = [
        *catalog.reactions(forget),
        *upload_tasks.reactions(uploads, forget),
        *promo_tasks.reactions(forget),
        *playback_tasks.reactions(database.begins(PostgresPlayback)),
        *_mailing(settings),
        *own.reactions,
    ]
    jobs = [
        *_jobs(outbox, database),
        _publishing(settings, database),
        editing_tasks.purging(database.begins(PostgresPurge)),
        *upload_tasks.jobs(uploads, _now),
        *promo_tasks.jobs(_promos(settings, database), _now),
        playback_tasks.job(database.begins(PostgresPlayback)),
        accounts_tasks.pruning(database.begins(PostgresAccounts)),
        *devices.jobs(database, _now),
        *own.jobs,
    ]
    origins = Origins(settings.video_hosts, settings.video_local_hosts)
    operations = imports.jobs(database, kodik_url=settings.kodik_url, kodik_token=settings.kodik_token, origins=origins)
    return Work(reactions, [*jobs, *_importing(settings, database)], operations | own.operations)


def _importing(settings: Settings, database: Database) -> list[Job]:
    """Return the job that imports from Kodik by the clock, if it is to be done."""
    if not (settings.kodik_token and settings.kodik_every_hours):
        return []

    async def start(tick: datetime) -> None:
        at = datetime.now(UTC)
        async with database.begins(PostgresOperations)() as store:
            if await store.operations(kind=KIND, state=State.RUNNING, account_id="", after=None, limit=1):
                log.info("an import is still at work: the one that is due now is left out")
                return
            parameters = {"source": "kodik", "publish": True}
            asked = Operation(operation_id=new_id(at=tick), kind=KIND, title="kodik", parameters=parameters, create_time=at)
            await store.add(asked)

    return [Job("import-kodik", start, every=timedelta(hours=settings.kodik_every_hours))]


def _uploads(settings: Settings, database: Database, stack: AsyncExitStack) -> Uploads:
    images = ChildImages(folder=Path(tempfile.gettempdir()))
    stack.callback(images.close)
    return Uploads(
        begin=database.begins(PostgresUploads),
        read=database.reads(PostgresUploads),
        storage=storage_at(settings.storage_url, folder=settings.data / "files"),
        spool=LocalSpooling(Path(tempfile.gettempdir())),
        images=images,
    )


def _mailing(settings: Settings) -> list[Reaction]:
    mailer = mail_at(settings.mail_url, password=settings.mail_password, sender=settings.mail_from, folder=settings.data / "mail")
    platform = settings.mail_from.partition(" <")[0] if " <" in settings.mail_from else "Ani"
    envelopes = SealedEnvelopes(settings.key_folder)
    return mail_tasks.reactions(envelopes, mailer, Writer(settings.site_url, platform), _now)


def _promos(settings: Settings, database: Database) -> Promos:
    begin, read = database.begins(promo_store.PostgresPromos), database.reads(promo_store.PostgresPromos)
    return Promos(begin=begin, read=read, hosts=Hosts(settings.promo_hosts), serves_vast=settings.vast)


def _now() -> datetime:
    return datetime.now(UTC)


def _forgetting(database: Database, valkey: Valkey) -> Callable[[Iterable[str]], Awaitable[None]]:
    """Return what makes the caches of all processes forget answers."""
    cache = ValkeyCache(valkey, release=version("ani"))

    async def forget(tags: Iterable[str]) -> None:
        revision = await database.revision()
        if valkey.up:
            await cache.drop(tags, revision=revision)
        if not valkey.up:
            raise CacheUnavailable

    return forget


def _publishing(settings: Settings, database: Database) -> Job:
    """Return the job that publishes change sets at their time."""
    kept = partial(PostgresEditing, kept={**ITEMS, **promo_store.ITEMS, **source_store.ITEMS})
    begin, read = database.begins(kept), database.reads(kept)
    media = promo_kind(Hosts(settings.promo_hosts)), video_source_kind(Origins(settings.video_hosts, settings.video_local_hosts))
    change_sets = ChangeSets(Editing([*KINDS, *media], begin=begin, read=read), begin=begin, read=read)

    async def publish(_tick: datetime) -> None:
        for change_set_id, refusal in await change_sets.publish_due(at=datetime.now(UTC)):
            if refusal:
                log.warning("the change set %s is a draft again: %s", change_set_id, refusal)
            else:
                log.info("the change set %s was published at its time", change_set_id)

    return Job("publish", publish, every=timedelta(seconds=30))


def _jobs(outbox: PostgresOutbox, database: Database) -> list[Job]:
    async def prune(_tick: datetime) -> None:
        if count := await outbox.prune(keep=KEPT, limit=PRUNED_AT_ONCE):
            log.info("forgot %d events that were delivered before the last %d days", count, KEPT.days)
        async with database.begins(PostgresOperations)() as operations:
            now = datetime.now(UTC)
            await operations.abandon(before=now - ABANDONED, at=now)
            await operations.prune(before=datetime.now(UTC) - OPERATIONS_KEPT, limit=PRUNED_AT_ONCE)

    return [Job("prune", prune, every=timedelta(hours=1), offset=timedelta(minutes=17))]
