"""Ani's own work: caches that stay true although the server that changed something was killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import version

import pytest

from adapters.postgres import Database, bare, outbox
from adapters.redis import Valkey
from adapters.redis.cache import ValkeyCache
from ani.catalog.v1 import catalog_admin_service_pb2
from ani.options.v1 import policy_pb2
from domain.catalog.model import ReleaseUpdated
from server.catalog.tasks import tags
from server.pipeline.cache import Answer
from server.settings import Settings
from server.worker import work
from server.workshop import CacheUnavailable, _forgetting, workshop
from tests.builders import NOON
from tests.platform.conftest import OwnValkey
from tests.waiting import until

RELEASE_ID = "0191d7a0-0000-7000-8000-000000000001"
KEY = b"0123456789abcdef"


@pytest.fixture
def settings(database_url: str, valkey_url: str, broker_url: str) -> Settings:
    return replace(Settings.read({}), database_url=database_url, redis_url=valkey_url, broker_url=broker_url, worker_threads=2)


@pytest.fixture
async def cache(valkey_url: str) -> AsyncIterator[ValkeyCache]:
    valkey = await Valkey.connect(valkey_url)
    yield ValkeyCache(valkey, release=version("ani"))
    await valkey.close()


class TestKeepCachesTrue:
    async def test_makes_the_shared_cache_forget_a_changed_release(
        self, settings: Settings, database: Database, cache: ValkeyCache
    ) -> None:
        answer = Answer(b"stale", (f"release/{RELEASE_ID}",))
        empty = await cache.get(KEY)
        assert empty is not None
        await cache.put(KEY, answer, clock=empty[0], ttl=600, revision=0)
        found = await cache.get(KEY)
        assert found is not None
        assert found[1] is not None
        stopping = asyncio.Event()
        async with workshop(settings) as shop:
            working = asyncio.create_task(work(shop, threads=2, stopping=stopping))
            async with database.begins(bare)() as connection:
                await outbox.record(connection, ReleaseUpdated(time=NOON, release_id=RELEASE_ID, fields=("synopsis",)))

            async def forgotten() -> bool:
                present = await cache.get(KEY)
                return present is not None and present[1] is None

            await until(forgotten)
            await until(lambda: _nothing_pending(database))
            stopping.set()
            await working

    async def test_is_tried_again_while_the_shared_cache_is_out_of_reach(
        self, database: Database, own_valkey: OwnValkey, client: Valkey
    ) -> None:
        own_valkey.kill()
        await until(lambda: _away(client))

        with pytest.raises(CacheUnavailable):
            await _forgetting(database, client)(["releases"])

        own_valkey.begin()

    def test_forgets_what_the_contract_says_a_change_makes_untrue(self) -> None:
        method = catalog_admin_service_pb2.DESCRIPTOR.services_by_name["CatalogAdminService"].methods_by_name["UpdateRelease"]
        drops = method.GetOptions().Extensions[policy_pb2.policy].drops

        forgotten = tags(ReleaseUpdated(time=NOON, release_id=RELEASE_ID, fields=()))

        assert sorted(drop.replace("{release.release_id}", RELEASE_ID) for drop in drops) == sorted(forgotten)


async def _nothing_pending(database: Database) -> bool:
    return (await outbox.PostgresOutbox(database).depth()).pending == 0


async def _away(client: Valkey) -> bool:
    return not client.up
