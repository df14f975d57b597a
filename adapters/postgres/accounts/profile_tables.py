"""The tables of the schema "accounts" in which profiles are kept, and what children ask for."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from adapters.postgres.accounts.tables import SCHEMA, accounts
from adapters.postgres.schema import Id, Moment, metadata

profiles = Table(
    "profiles",
    metadata,
    Column("profile_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    # As it was typed, and as it is compared.
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("avatar", Text, nullable=False),
    # Files are of another context, so nothing refers to their table.
    Column("avatar_file_id", Id),
    Column("language", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("maturity", SmallInteger, nullable=False),
    Column("kids", Boolean, nullable=False),
    Column("pin_hash", Text),
    # [[weekday, start minute, end minute], …]. Empty means always.
    Column("allowed_hours", JSONB, nullable=False),
    Column("private_session", Boolean, nullable=False),
    Column("public_statistics", Boolean, nullable=False),
    Column("create_digest", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("update_time", Moment, nullable=False),
    # Of what was deleted only the id is left, so that deleting it again succeeds.
    Column("delete_time", Moment),
    Index("profiles_account_id_idx", "account_id"),
    Index("profiles_name_key_idx", "account_id", "name_key", unique=True, postgresql_where=text("delete_time IS NULL")),
    schema=SCHEMA,
)

title_requests = Table(
    "title_requests",
    metadata,
    Column("title_request_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("profile_id", Id, ForeignKey(profiles.c.profile_id, ondelete="CASCADE"), nullable=False),
    # Releases are of another context.
    Column("release_id", Id, nullable=False),
    Column("note", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("decide_time", Moment),
    Column("expire_time", Moment),
    Index("title_requests_account_id_idx", "account_id", text("create_time DESC"), text("title_request_id DESC")),
    Index("title_requests_profile_id_idx", "profile_id", "state", "expire_time"),
    schema=SCHEMA,
)
