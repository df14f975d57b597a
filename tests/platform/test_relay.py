"""The relay and the broker: what is recorded reaches a worker at once, and after an outage as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.broker import Broker, BrokerUnavailable
from adapters.postgres import Database, bare, outbox
from adapters.postgres.listen import Listener
from adapters.postgres.outbox import CHANNEL, PostgresOutbox
from server.events import relay
from server.events.relay import Relay
from tests.builders import NOON
from tests.platform.conftest import OwnValkey
from tests.platform.test_outbox import Counted
from tests.waiting import until

ROUTES = [("Counted", "tests.one")]


class Received:
    """What came through the broker, worked on and done with at once."""

    def __init__(self, box: PostgresOutbox) -> None:
        self.ids: list[str] = []
        self._box = box

    async def deliver(self, delivery_id: str) -> None:
        self.ids.append(delivery_id)
        async with self._box.completing(delivery_id):
            pass

    async def count(self) -> int:
        return len(self.ids)


async def record(database: Database, count: int) -> None:
    async with database.begins(bare)() as connection:
        for number in range(count):
            await outbox.record(connection, Counted(time=NOON, number=number))


@asynccontextmanager
async def relaying(database: Database, url: str, broker_url: str, received: Received) -> AsyncIterator[Broker]:
    """Run a relay and a worker."""
    broker = Broker(broker_url, received.deliver)
    listener = Listener(url)
    running = Relay(PostgresOutbox(database), broker, listener.bell(CHANNEL), ROUTES)
    tasks = [asyncio.create_task(listener.run()), asyncio.create_task(running.run())]
    try:
        async with broker.working(threads=2, grace=1.0):
            yield broker
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        broker.close()


@pytest.fixture
def received(database: Database) -> Received:
    return Received(PostgresOutbox(database))


class TestRelay:
    async def test_sends_each_delivery_once_where_nothing_fails(
        self, database: Database, database_url: str, broker_url: str, received: Received
    ) -> None:
        async with relaying(database, database_url, broker_url, received):
            await record(database, 1)
            await until(received.count)
            # More than fits into a batch, and than may wait in the broker.
            await record(database, relay.WINDOW + relay.BATCH)

            async def all_came() -> bool:
                return len(received.ids) >= 1 + relay.WINDOW + relay.BATCH

            await until(all_came)

        assert len(received.ids) == len(set(received.ids))

    async def test_holds_back_what_the_workers_cannot_take(
        self, database: Database, broker_url: str, received: Received, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay, "WINDOW", 10)
        broker = Broker(broker_url, received.deliver)
        running = Relay(PostgresOutbox(database), broker, Listener("").bell(CHANNEL), ROUTES)
        await record(database, 50)

        for _ in range(5):
            await running._turn()

        assert 10 == await broker.waiting()
        broker.close()

    async def test_keeps_what_it_cannot_send_and_sends_it_later(
        self, database: Database, database_url: str, own_valkey: OwnValkey, received: Received
    ) -> None:
        async with relaying(database, database_url, own_valkey.broker_url, received):
            await record(database, 1)
            await until(received.count)
            await asyncio.to_thread(own_valkey.kill)
            await record(database, 5)
            await asyncio.to_thread(own_valkey.begin)

            async def all_came() -> bool:
                return len(set(received.ids)) == 6

            await until(all_came, seconds=20)


class TestBroker:
    async def test_says_that_it_is_out_of_reach(self, received: Received) -> None:
        broker = Broker("unix:///nowhere/valkey.sock?db=1", received.deliver)

        with pytest.raises(BrokerUnavailable):
            await broker.send(["0191d7a0-0000-7000-8000-000000000001"])
        with pytest.raises(BrokerUnavailable):
            await broker.waiting()
        broker.close()

    async def test_takes_messages_that_hold_more_than_is_known(self, broker_url: str, received: Received) -> None:
        broker = Broker(broker_url, received.deliver)
        broker._actor.send(delivery_id="0191d7a0-0000-7000-8000-000000000001", priority="of a later release")
        async with broker.working(threads=1, grace=1.0):
            await until(received.count)

        assert ["0191d7a0-0000-7000-8000-000000000001"] == received.ids
        broker.close()
