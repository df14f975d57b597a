"""The tables of the schema "operations"."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from adapters.postgres.schema import Id, Moment, metadata

SCHEMA = "operations"

operations = Table(
    "operations",
    metadata,
    Column("operation_id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("checkpoint", JSONB, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("unit", Text, nullable=False),
    # How many by name.
    Column("counts", JSONB, nullable=False),
    Column("problem_count", BigInteger, nullable=False),
    Column("result", JSONB, nullable=False),
    Column("fault", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Who is at it; empty while nobody is.
    Column("runner", Text, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("start_time", Moment),
    Column("heartbeat_time", Moment),
    Column("cancel_time", Moment),
    Column("end_time", Moment),
    Index("operations_create_time_idx", "create_time", "operation_id"),
    Index("operations_account_id_idx", "account_id", "create_time", "operation_id"),
    Index("operations_unfinished_idx", "create_time", postgresql_where=text("state < 3")),
    Index("operations_latest_idx", "kind", "end_time", postgresql_where=text("state = 3")),
    schema=SCHEMA,
)

problems = Table(
    "problems",
    metadata,
    Column("operation_id", Id, ForeignKey(operations.c.operation_id), primary_key=True),
    # In the order they were met, from 1.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("row", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("text", Text, nullable=False),
    schema=SCHEMA,
)
