"""The outbox: what is recorded is delivered to each who reacts to it, once, however often it has to be tried."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import pytest

from adapters.broker import BrokerUnavailable
from adapters.postgres import Database, bare, outbox
from adapters.postgres.dead_letters import PostgresDeadLetters
from adapters.postgres.outbox import PostgresOutbox
from adapters.postgres.payload import from_payload, to_payload
from domain.kernel import Event
from server.events.deliveries import Deliveries, Reaction
from tests.builders import NOON

SOON = timedelta(seconds=5)
NOW = timedelta(0)


class Mood(StrEnum):
    CALM = "calm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Event):
    """Something was counted."""

    number: int
    words: tuple[str, ...] = ()
    mood: Mood = Mood.CALM
    before: datetime | None = None


@pytest.fixture
def box(database: Database) -> PostgresOutbox:
    return PostgresOutbox(database)


async def record(database: Database, *numbers: int) -> None:
    async with database.begins(bare)() as connection:
        for number in numbers:
            await outbox.record(connection, Counted(time=NOON, number=number))


async def deliver_all(box: PostgresOutbox, deliveries: Deliveries) -> int:
    """Do what relay and workers do, until nothing is due; return how many deliveries were tried."""
    tried = 0
    while True:
        await box.route(deliveries.routes, limit=100)
        claimed = await box.claim(limit=100, patience=NOW)
        if not claimed:
            return tried
        await asyncio.gather(*(deliveries.deliver(delivery_id) for delivery_id in claimed))
        tried += len(claimed)


async def one_claimed(box: PostgresOutbox, database: Database) -> str:
    await record(database, 1)
    await box.route([("Counted", "tests.one")], limit=10)
    (delivery_id,) = await box.claim(limit=10, patience=SOON)
    return delivery_id


class Counter:
    """Reacts to events by writing their numbers down, in the transaction of the delivery."""

    def __init__(self, database: Database, *, consumer: str = "tests.counter") -> None:
        self._begin = database.begins(bare)
        self._database = database
        self.reaction = Reaction(consumer, Counted, self.act)
        self.tries: list[int] = []
        self.poison: set[int] = set()

    async def act(self, event: Counted, event_id: str) -> None:
        self.tries.append(event.number)
        async with self._begin() as connection:
            await connection.execute("INSERT INTO catalog.genres (genre_id, name) VALUES ($1, $2)", event_id, str(event.number))
        if event.number in self.poison:
            raise ValueError(f"{event.number} is poison")

    async def effects(self) -> list[int]:
        async with self._database.reads(bare)() as connection:
            rows = await connection.fetch("SELECT name FROM catalog.genres")
        return sorted(int(row["name"]) for row in rows)


@pytest.fixture
def counter(database: Database) -> Counter:
    return Counter(database)


class TestPayload:
    def test_brings_an_event_back_as_it_was(self) -> None:
        event = Counted(time=NOON, number=1, words=("a", "風"), before=datetime(2026, 1, 1, tzinfo=UTC))

        assert event == from_payload(Counted, to_payload(event))

    def test_of_an_older_release_lacks_what_has_a_default(self) -> None:
        assert Counted(time=NOON, number=1) == from_payload(Counted, {"time": NOON.isoformat(), "number": 1})

    def test_of_a_newer_release_has_more_than_is_known(self) -> None:
        assert Counted(time=NOON, number=1) == from_payload(Counted, {"time": NOON.isoformat(), "number": 1, "new": [1]})

    def test_refuses_what_is_no_plain_value(self) -> None:
        with pytest.raises(TypeError, match="plain values"):
            to_payload(Counted(time=NOON, number=1, words=({1},)))  # type: ignore[arg-type]


class TestRecord:
    async def test_is_undone_with_its_transaction(self, box: PostgresOutbox, database: Database) -> None:
        with pytest.raises(ZeroDivisionError):
            async with database.begins(bare)() as connection:
                await outbox.record(connection, Counted(time=NOON, number=1))
                raise ZeroDivisionError

        assert 0 == await box.route([("Counted", "tests.one")], limit=10)


class TestRoute:
    async def test_makes_a_delivery_for_each_who_reacts(self, box: PostgresOutbox, database: Database) -> None:
        await record(database, 1, 2)

        assert 2 == await box.route([("Counted", "tests.one"), ("Counted", "tests.two"), ("Other", "tests.one")], limit=10)
        assert 4 == len(await box.claim(limit=10, patience=SOON))

    async def test_is_done_with_what_nobody_reacts_to(self, box: PostgresOutbox, database: Database) -> None:
        await record(database, 1)

        assert 1 == await box.route([], limit=10)
        assert 0 == await box.route([("Counted", "tests.one")], limit=10)

    async def test_by_two_at_once_makes_each_delivery_once(self, box: PostgresOutbox, database: Database) -> None:
        await record(database, *range(100))

        routed = await asyncio.gather(*(box.route([("Counted", "tests.one")], limit=20) for _ in range(8)))

        assert 100 == sum(routed)
        assert 100 == len(await box.claim(limit=1000, patience=SOON))

    async def test_e7_passes_over_nothing_that_is_committed_late(self, box: PostgresOutbox, database: Database) -> None:
        routes = [("Counted", "tests.one")]
        async with database.begins(bare)() as late:
            await outbox.record(late, Counted(time=NOON, number=1))
            await record(database, 2)
            assert 1 == await box.route(routes, limit=10)

        assert 1 == await box.route(routes, limit=10)


class TestClaim:
    async def test_gives_a_delivery_to_one_relay_only(self, box: PostgresOutbox, database: Database) -> None:
        await record(database, *range(50))
        await box.route([("Counted", "tests.one")], limit=100)

        claims = await asyncio.gather(*(box.claim(limit=10, patience=SOON) for _ in range(8)))

        claimed = [delivery_id for claim in claims for delivery_id in claim]
        assert 50 == len(claimed) == len(set(claimed))

    async def test_comes_again_when_it_was_not_done_in_time(self, box: PostgresOutbox, database: Database) -> None:
        delivery_id = await one_claimed(box, database)
        assert [] == await box.claim(limit=10, patience=SOON)

        await box.postpone([delivery_id], by=NOW)

        assert [delivery_id] == await box.claim(limit=10, patience=SOON)

    async def test_passes_over_what_is_being_tried(self, box: PostgresOutbox, database: Database) -> None:
        delivery_id = await one_claimed(box, database)
        await box.postpone([delivery_id], by=NOW)

        async with box.completing(delivery_id):
            assert [] == await box.claim(limit=10, patience=SOON)


class TestAttempt:
    async def test_is_counted_and_brings_the_event(self, box: PostgresOutbox, database: Database) -> None:
        delivery_id = await one_claimed(box, database)

        attempts = [await box.attempt(delivery_id, patience=SOON) for _ in range(3)]

        assert [1, 2, 3] == [attempt.number for attempt in attempts if attempt]
        assert attempts[2] is not None
        assert Counted(time=NOON, number=1) == attempts[2].event(Counted)

    async def test_is_refused_while_another_is_at_it_and_when_it_is_done(self, box: PostgresOutbox, database: Database) -> None:
        delivery_id = await one_claimed(box, database)

        async with box.completing(delivery_id) as mine:
            assert mine
            assert await box.attempt(delivery_id, patience=SOON) is None

        assert await box.attempt(delivery_id, patience=SOON) is None


class TestDeliver:
    async def test_acts_once_on_each_event(self, box: PostgresOutbox, database: Database, counter: Counter) -> None:
        await record(database, *range(20))

        tried = await deliver_all(box, Deliveries(box, [counter.reaction]))

        assert 20 == tried
        assert list(range(20)) == await counter.effects()

    async def test_acts_once_however_often_it_is_sent(self, box: PostgresOutbox, database: Database, counter: Counter) -> None:
        deliveries = Deliveries(box, [counter.reaction])
        await record(database, 1)
        await box.route(deliveries.routes, limit=10)
        (delivery_id,) = await box.claim(limit=10, patience=SOON)

        await asyncio.gather(*(deliveries.deliver(delivery_id) for _ in range(20)))

        assert [1] == await counter.effects()

    async def test_keeps_nothing_of_a_failed_attempt(self, box: PostgresOutbox, database: Database, counter: Counter) -> None:
        counter.poison = {1}
        await record(database, 1)
        deliveries = Deliveries(box, [counter.reaction], pause=lambda _: 0.0, tries=3)
        await box.route(deliveries.routes, limit=10)
        (delivery_id,) = await box.claim(limit=10, patience=SOON)
        await deliveries.deliver(delivery_id)

        assert [] == await counter.effects()

        counter.poison = set()
        await deliver_all(box, deliveries)
        assert [1] == await counter.effects()
        assert [1, 1] == counter.tries

    async def test_waits_longer_after_each_failure(self, box: PostgresOutbox, database: Database, counter: Counter) -> None:
        counter.poison = {1}
        await record(database, 1)

        tried = await deliver_all(box, Deliveries(box, [counter.reaction]))

        assert 1 == tried
        assert 1 == (await box.depth()).pending

    async def test_is_broken_off_when_it_takes_too_long(self, box: PostgresOutbox, database: Database) -> None:
        async def dawdle(_event: Counted, _event_id: str) -> None:
            await asyncio.sleep(60)

        await record(database, 1)
        slow = Reaction("tests.slow", Counted, dawdle, seconds=0.05)

        await deliver_all(box, Deliveries(box, [slow], tries=1))

        assert 1 == (await box.depth()).dead

    async def test_g5_of_what_a_restored_database_never_heard_of_does_nothing(self, box: PostgresOutbox, counter: Counter) -> None:
        await Deliveries(box, [counter.reaction]).deliver("0191d7a0-0000-7000-8000-000000000001")

        assert [] == counter.tries

    async def test_lets_one_consumer_fail_without_the_other(
        self, box: PostgresOutbox, database: Database, counter: Counter
    ) -> None:
        bad = Counter(database, consumer="tests.bad")
        bad.poison = {1}
        await record(database, 1)

        await deliver_all(box, Deliveries(box, [counter.reaction, bad.reaction]))

        assert [1] == await counter.effects()
        assert 1 == (await box.depth()).pending

    async def test_never_gives_up_while_something_is_out_of_reach(self, box: PostgresOutbox, database: Database) -> None:
        async def refuse(_event: Counted, _event_id: str) -> None:
            raise BrokerUnavailable

        deliveries = Deliveries(box, [Reaction("tests.waiting", Counted, refuse)], tries=2)
        await record(database, 1)
        await box.route(deliveries.routes, limit=10)
        (delivery_id,) = await box.claim(limit=10, patience=SOON)
        for _ in range(10):
            await deliveries.deliver(delivery_id)

        assert (1, 0) == ((await box.depth()).pending, (await box.depth()).dead)

    async def test_gives_up_on_a_fault_that_only_looks_like_an_outage(self, box: PostgresOutbox, database: Database) -> None:
        async def refuse(_event: Counted, _event_id: str) -> None:
            raise ConnectionRefusedError

        await record(database, 1)

        deliveries = Deliveries(box, [Reaction("tests.refused", Counted, refuse)], tries=2, pause=lambda _: 0.0)
        await deliver_all(box, deliveries)

        assert 1 == (await box.depth()).dead

    async def test_cut_off_by_the_end_of_the_worker_is_given_back(self, box: PostgresOutbox, database: Database) -> None:
        begun = asyncio.Event()

        async def dawdle(_event: Counted, _event_id: str) -> None:
            begun.set()
            await asyncio.sleep(60)

        deliveries = Deliveries(box, [Reaction("tests.slow", Counted, dawdle)], tries=1)
        delivery_id = await one_claimed(box, database)
        async with database.begins(bare)() as connection:
            await connection.execute("UPDATE platform.deliveries SET consumer = 'tests.slow'")
        task = asyncio.create_task(deliveries.deliver(delivery_id))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert [delivery_id] == await box.claim(limit=10, patience=SOON)
        attempt = await box.attempt(delivery_id, patience=SOON)
        assert attempt is not None
        assert 1 == attempt.number


class TestDeadLetters:
    async def test_e8_hold_a_poisonous_event_until_it_is_replayed(
        self, box: PostgresOutbox, database: Database, counter: Counter
    ) -> None:
        counter.poison = {13}
        deliveries = Deliveries(box, [counter.reaction], tries=3, pause=lambda _: 0.0)
        await record(database, 12, 13, 14)

        await deliver_all(box, deliveries)

        assert [12, 14] == await counter.effects()
        assert 3 == counter.tries.count(13)
        depth = await box.depth()
        assert (0, 1) == (depth.pending, depth.dead)
        async with database.begins(PostgresDeadLetters)() as letters:
            (letter,) = await letters.newest(limit=10)
            assert ("Counted", "tests.counter", 3) == (letter.event, letter.consumer, letter.attempts)
            assert "ValueError: 13 is poison" == letter.fault
            assert 13 == letter.payload["number"]
            assert [letter.number] == await letters.replay([letter.number])

        counter.poison = set()
        await deliver_all(box, deliveries)

        assert [12, 13, 14] == await counter.effects()
        async with database.begins(PostgresDeadLetters)() as letters:
            assert [] == await letters.newest(limit=10)
            assert [] == await letters.replay(None)
            (seen,) = await letters.find([letter.number])
            assert seen.replay_time is not None

    async def test_e8_take_an_event_that_kills_its_workers(self, box: PostgresOutbox, database: Database, counter: Counter) -> None:
        deliveries = Deliveries(box, [counter.reaction], tries=3)
        await record(database, 1)
        await box.route(deliveries.routes, limit=10)
        (delivery_id,) = await box.claim(limit=10, patience=SOON)
        for _ in range(3):
            # A killed worker has counted its attempt, and nothing more.
            await box.attempt(delivery_id, patience=SOON)

        await deliveries.deliver(delivery_id)

        assert [] == counter.tries
        assert 1 == (await box.depth()).dead

    async def test_hold_what_no_release_at_work_reacts_to(self, box: PostgresOutbox, database: Database) -> None:
        await record(database, 1)
        await box.route([("Counted", "tests.gone")], limit=10)

        await deliver_all(box, Deliveries(box, [], tries=2, pause=lambda _: 0.0))

        async with database.begins(PostgresDeadLetters)() as letters:
            (letter,) = await letters.newest(limit=10)
        assert letter.fault.startswith("ReactionUnknown: nothing here reacts to Counted")


class TestPrune:
    async def test_forgets_what_was_delivered_and_nothing_else(
        self, box: PostgresOutbox, database: Database, counter: Counter
    ) -> None:
        counter.poison = {2, 3}
        deliveries = Deliveries(box, [counter.reaction], tries=1)
        await record(database, 1, 2)
        await deliver_all(box, deliveries)
        await record(database, 3)
        await deliver_all(box, Deliveries(box, [counter.reaction], tries=9))
        await record(database, 4)

        assert 0 == await box.prune(keep=timedelta(hours=1), limit=10)
        assert 1 == await box.prune(keep=NOW, limit=10)

        async with database.reads(bare)() as connection:
            left = await connection.fetch("SELECT payload FROM platform.events ORDER BY number")
        assert [2, 3, 4] == [row["payload"]["number"] for row in left]
