"""The table of the schema "accounts" in which exports are kept."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from adapters.postgres.accounts.tables import SCHEMA, accounts
from adapters.postgres.schema import Id, Moment, metadata

exports = Table(
    "exports",
    metadata,
    # Also that of the operation which makes it.
    Column("export_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    # What its parts are stored under; none until it is ready.
    Column("keys", ARRAY(Text), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("record_count", BigInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("ready_time", Moment),
    Column("expire_time", Moment),
    Index("exports_account_id_idx", "account_id", "create_time"),
    schema=SCHEMA,
)
