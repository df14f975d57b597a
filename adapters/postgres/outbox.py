"""The outbox: events recorded with the state they tell of, and their deliveries to whoever reacts to them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from adapters.postgres import Connection, Database, bare
from adapters.postgres.payload import from_payload, to_payload
from adapters.postgres.statement import Statement
from domain.kernel import Event, new_id

CHANNEL = "outbox"


async def record(connection: Connection, event: Event) -> None:
    """Keep an event if and only if the transaction is kept, and wake the relay when it is."""
    await _RECORD.execute(connection, event_id=new_id(at=event.time), name=type(event).__name__, payload=to_payload(event))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A delivery that is being tried."""

    delivery_id: str
    event_id: str
    consumer: str
    # This one included.
    number: int
    name: str
    payload: dict[str, Any]

    def event(self, kind: type[Event]) -> Event:
        """Return the event. Raises TypeError when its payload lacks what the class needs."""
        return from_payload(kind, self.payload)


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is still to be delivered, and since when the oldest of it waits."""

    pending: int
    oldest_seconds: float
    dead: int


class PostgresOutbox:
    """The deliveries, each step a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read = database.reads(bare)

    async def route(self, routes: Iterable[tuple[str, str]], *, limit: int) -> int:
        """Make deliveries of new events, by routes from an event's name to a consumer; return how many events were new."""
        names, consumers = zip(*routes, strict=True) if (routes := list(routes)) else ((), ())
        async with self._read() as connection:
            return int(await _ROUTE.fetchval(connection, names=names, consumers=consumers, limit=limit))

    async def claim(self, *, limit: int, patience: timedelta) -> list[str]:
        """Return deliveries to be sent now, which come again after `patience` unless they are done by then."""
        async with self._read() as connection:
            rows = await _CLAIM.fetch(connection, limit=limit, patience=patience)
        return [row["delivery_id"] for row in rows]

    async def postpone(self, delivery_ids: Sequence[str], *, by: timedelta) -> None:
        """Take back that deliveries were sent, and have them sent later."""
        async with self._read() as connection:
            await _POSTPONE.execute(connection, delivery_ids=list(delivery_ids), by=by)

    async def attempt(self, delivery_id: str, *, patience: timedelta) -> Attempt | None:
        """Count an attempt that starts now; None when the delivery is done, gone or being tried elsewhere."""
        async with self._read() as connection:
            row = await _ATTEMPT.fetchrow(connection, delivery_id=delivery_id, patience=patience)
        if row is None:
            return None
        return Attempt(delivery_id, row["event_id"], row["consumer"], row["attempts"], row["name"], row["payload"])

    @contextlib.asynccontextmanager
    async def completing(self, delivery_id: str) -> AsyncIterator[bool]:
        """Mark a delivery done in the transaction that whatever is begun inside joins; False when another has it."""
        async with self._database.ambient() as connection:
            yield await _DONE.fetchval(connection, delivery_id=delivery_id) is not None

    async def release(self, delivery_id: str, *, fault: str, again_in: timedelta) -> None:
        """Take back an attempt that failed for no fault of its own, and say when the next one is due."""
        async with self._read() as connection:
            await _RELEASE.execute(connection, delivery_id=delivery_id, fault=fault, again_in=again_in)

    async def fail(self, delivery_id: str, *, fault: str, again_in: timedelta) -> None:
        """Keep why an attempt failed, and when the next one is due."""
        async with self._read() as connection:
            await _FAIL.execute(connection, delivery_id=delivery_id, fault=fault, again_in=again_in)

    async def bury(self, delivery_id: str, *, fault: str) -> None:
        """Give a delivery up: it goes to the dead letters, where it stays until somebody replays it."""
        async with self._read() as connection:
            await _BURY.execute(connection, delivery_id=delivery_id, fault=fault)

    async def depth(self) -> Depth:
        async with self._read() as connection:
            (row,) = await _DEPTH.fetch(connection)
        return Depth(row["pending"], row["oldest_seconds"], row["dead"])

    async def last_tick(self, job: str) -> datetime | None:
        """Return the latest tick of a timed job that was acted on."""
        async with self._read() as connection:
            last: datetime | None = await _LAST_TICK.fetchval(connection, job=job)
        return last

    async def pass_over(self, job: str, tick: datetime) -> None:
        """Note a tick without acting on it."""
        async with self._read() as connection:
            await _PASS_OVER.execute(connection, job=job, tick=tick)

    async def tick(self, event: Event, *, job: str, tick: datetime, consumer: str) -> bool:
        """Record an event for one consumer because a timed job is due; False when this was done for the tick already."""
        async with self._read() as connection:
            values = {"event_id": new_id(at=event.time), "name": type(event).__name__, "payload": to_payload(event)}
            return await _TICK.fetchval(connection, job=job, tick=tick, consumer=consumer, **values) is not None

    async def prune(self, *, keep: timedelta, limit: int) -> int:
        """Delete the oldest of what was delivered longer ago than this; return how many events there were."""
        async with self._database.begins(bare)() as connection:
            count = int(await _PRUNE_EVENTS.fetchval(connection, keep=keep, limit=limit))
            await _PRUNE_TICKS.execute(connection, keep=keep)
        return count


# Written as SQL, because each is one statement of several steps: whole without a transaction around it.
_RECORD = Statement(
    text("""
    WITH recorded AS (
        INSERT INTO platform.events (event_id, name, payload) VALUES (:event_id, :name, :payload) RETURNING event_id
    )
    SELECT pg_notify('outbox', '') FROM recorded
    """)
)
_ROUTE = Statement(
    text("""
    WITH fresh AS (
        SELECT event_id, name FROM platform.events
        WHERE route_time IS NULL ORDER BY number LIMIT :limit FOR UPDATE SKIP LOCKED
    ), routed AS (
        UPDATE platform.events SET route_time = now() FROM fresh WHERE events.event_id = fresh.event_id
    ), made AS (
        INSERT INTO platform.deliveries (event_id, consumer)
        SELECT event_id, consumer
        FROM fresh JOIN unnest(CAST(:names AS text[]), CAST(:consumers AS text[])) AS routes (name, consumer) USING (name)
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) FROM fresh
    """)
)
_CLAIM = Statement(
    text("""
    WITH due AS (
        SELECT delivery_id FROM platform.deliveries
        WHERE done_time IS NULL AND due_time <= now() ORDER BY due_time LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE platform.deliveries SET send_time = now(), due_time = now() + CAST(:patience AS interval)
    FROM due WHERE deliveries.delivery_id = due.delivery_id
    RETURNING deliveries.delivery_id
    """)
)
# A delivery that is locked is being tried: nobody waits for it.
_POSTPONE = Statement(
    text("""
    WITH mine AS (
        SELECT delivery_id FROM platform.deliveries
        WHERE delivery_id = ANY (CAST(:delivery_ids AS uuid[])) AND done_time IS NULL FOR UPDATE SKIP LOCKED
    )
    UPDATE platform.deliveries SET send_time = NULL, due_time = now() + CAST(:by AS interval)
    FROM mine WHERE deliveries.delivery_id = mine.delivery_id
    """)
)
_ATTEMPT = Statement(
    text("""
    WITH mine AS (
        SELECT delivery_id, event_id FROM platform.deliveries
        WHERE delivery_id = :delivery_id AND done_time IS NULL FOR UPDATE SKIP LOCKED
    )
    UPDATE platform.deliveries SET attempts = attempts + 1, due_time = now() + CAST(:patience AS interval)
    FROM mine JOIN platform.events ON events.event_id = mine.event_id
    WHERE deliveries.delivery_id = mine.delivery_id
    RETURNING events.event_id, events.name, events.payload, deliveries.consumer, deliveries.attempts
    """)
)
_DONE = Statement(
    text("""
    WITH mine AS (
        SELECT delivery_id FROM platform.deliveries
        WHERE delivery_id = :delivery_id AND done_time IS NULL FOR UPDATE SKIP LOCKED
    )
    UPDATE platform.deliveries SET done_time = now(), fault = NULL
    FROM mine WHERE deliveries.delivery_id = mine.delivery_id
    RETURNING deliveries.delivery_id
    """)
)
_RELEASE = Statement(
    text("""
    UPDATE platform.deliveries
    SET attempts = attempts - 1, fault = :fault, send_time = NULL, due_time = now() + CAST(:again_in AS interval)
    WHERE delivery_id = :delivery_id AND done_time IS NULL
    """)
)
_FAIL = Statement(
    text("""
    UPDATE platform.deliveries SET fault = :fault, send_time = NULL, due_time = now() + CAST(:again_in AS interval)
    WHERE delivery_id = :delivery_id AND done_time IS NULL
    """)
)
_BURY = Statement(
    text("""
    WITH gone AS (
        DELETE FROM platform.deliveries WHERE delivery_id = :delivery_id AND done_time IS NULL
        RETURNING event_id, consumer, attempts
    )
    INSERT INTO platform.dead_letters (event_id, consumer, attempts, fault)
    SELECT event_id, consumer, attempts, CAST(:fault AS text) FROM gone
    """)
)
_DEPTH = Statement(
    text("""
    WITH waiting AS (
        SELECT record_time FROM platform.events WHERE route_time IS NULL
        UNION ALL
        SELECT record_time FROM platform.deliveries JOIN platform.events USING (event_id) WHERE done_time IS NULL
    )
    SELECT
        count(*) AS pending,
        coalesce(CAST(extract(epoch FROM now() - min(record_time)) AS double precision), 0) AS oldest_seconds,
        (SELECT count(*) FROM platform.dead_letters WHERE replay_time IS NULL) AS dead
    FROM waiting
    """)
)
_LAST_TICK = Statement(text("SELECT max(tick_time) FROM platform.ticks WHERE job = :job"))
_PASS_OVER = Statement(text("INSERT INTO platform.ticks (job, tick_time) VALUES (:job, :tick) ON CONFLICT DO NOTHING"))
_TICK = Statement(
    text("""
    WITH fresh AS (
        INSERT INTO platform.ticks (job, tick_time) VALUES (:job, :tick) ON CONFLICT DO NOTHING RETURNING job
    ), recorded AS (
        INSERT INTO platform.events (event_id, name, payload, route_time)
        SELECT CAST(:event_id AS uuid), CAST(:name AS text), CAST(:payload AS jsonb), now() FROM fresh
        RETURNING event_id
    ), made AS (
        INSERT INTO platform.deliveries (event_id, consumer) SELECT event_id, CAST(:consumer AS text) FROM recorded
        RETURNING delivery_id
    )
    SELECT delivery_id, pg_notify('outbox', '') FROM made
    """)
)
_PRUNE_EVENTS = Statement(
    text("""
    WITH old AS (
        SELECT event_id FROM platform.events
        WHERE record_time < now() - CAST(:keep AS interval) AND route_time IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM platform.deliveries WHERE deliveries.event_id = events.event_id
            AND (done_time IS NULL OR done_time >= now() - CAST(:keep AS interval))
        )
        AND NOT EXISTS (SELECT FROM platform.dead_letters WHERE dead_letters.event_id = events.event_id)
        ORDER BY record_time LIMIT :limit
    ), delivered AS (
        DELETE FROM platform.deliveries USING old WHERE deliveries.event_id = old.event_id
    ), gone AS (
        DELETE FROM platform.events USING old WHERE events.event_id = old.event_id RETURNING 1
    )
    SELECT count(*) FROM gone
    """)
)
# The latest tick of each job stays, however long ago: it says which one is the next.
_PRUNE_TICKS = Statement(
    text("""
    DELETE FROM platform.ticks WHERE tick_time < now() - CAST(:keep AS interval)
    AND EXISTS (SELECT FROM platform.ticks AS later WHERE later.job = ticks.job AND later.tick_time > ticks.tick_time)
    """)
)
