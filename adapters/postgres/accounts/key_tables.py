"""The table of the schema "accounts" in which API keys are kept."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from adapters.postgres.accounts.tables import SCHEMA, accounts
from adapters.postgres.schema import Id, Moment, metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    # Sealed, since signatures cannot be verified with a hash.
    Column("sealed_secret", Text),
    Column("create_time", Moment, nullable=False),
    Column("expire_time", Moment, nullable=False),
    Column("use_time", Moment),
    Column("revoke_time", Moment),
    Index("api_keys_key_hash_idx", "key_hash", unique=True),
    Index("api_keys_account_id_idx", "account_id", "create_time"),
    schema=SCHEMA,
)
