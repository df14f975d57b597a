"""The tables of the schema "platform": events and their deliveries, timed jobs, the audit log."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Identity, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from adapters.postgres.schema import Id, Moment, metadata

SCHEMA = "platform"

events = Table(
    "events",
    metadata,
    Column("event_id", Id, primary_key=True),
    # The order of recording, which within a transaction is that of happening; transactions may end in another order.
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("name", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("record_time", Moment, nullable=False, server_default=text("now()")),
    # When it was fanned out to those who react to it; unset, that is still to be done.
    Column("route_time", Moment),
    Index("events_unrouted_idx", "number", postgresql_where=text("route_time IS NULL")),
    Index("events_record_time_idx", "record_time"),
    schema=SCHEMA,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", Id, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("event_id", Id, ForeignKey(events.c.event_id), nullable=False),
    Column("consumer", Text, nullable=False),
    # Counted when an attempt starts, so that one which takes the whole worker with it counts too.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # When it is sent next unless it is done by then.
    Column("due_time", Moment, nullable=False, server_default=text("now()")),
    Column("send_time", Moment),
    Column("done_time", Moment),
    Column("fault", Text),
    Index("deliveries_event_id_idx", "event_id", "consumer", unique=True),
    Index("deliveries_due_idx", "due_time", postgresql_where=text("done_time IS NULL")),
    schema=SCHEMA,
)

# Kept until somebody decides; a replay makes a new delivery.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Id, ForeignKey(events.c.event_id), nullable=False, index=True),
    Column("consumer", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("fault", Text, nullable=False),
    Column("dead_time", Moment, nullable=False, server_default=text("now()")),
    Column("replay_time", Moment),
    schema=SCHEMA,
)

ticks = Table(
    "ticks",
    metadata,
    Column("job", Text, primary_key=True),
    Column("tick_time", Moment, primary_key=True),
    schema=SCHEMA,
)

# Only ever added to: a trigger keeps it so.
audit_log = Table(
    "audit_log",
    metadata,
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    Column("time", Moment, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("request", JSONB, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("duration_seconds", Double, nullable=False),
    Column("key_id", Text, nullable=False, server_default=text("''")),
    Column("subject", Text, nullable=False, server_default=text("''")),
    Column("changes", JSONB, nullable=False, server_default=text("'{}'")),
    # Its place in the chain, which the worker gives it a moment later.
    Column("chain_number", BigInteger),
    Column("previous_hash", LargeBinary),
    Column("hash", LargeBinary),
    Index("audit_log_time_idx", "time"),
    Index("audit_log_account_id_idx", "account_id", "time"),
    Index("audit_log_chain_number_idx", "chain_number", unique=True),
    Index("audit_log_unchained_idx", "entry_id", postgresql_where=text("chain_number IS NULL")),
    Index("audit_log_method_idx", "method", "time"),
    Index("audit_log_request_id_idx", "request_id"),
    Index("audit_log_subject_idx", "subject", "time", postgresql_where=text("subject <> ''")),
    schema=SCHEMA,
)
