"""The tables of the schema "accounts" in which people, their sessions and their ways of signing in are kept."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index, Integer, LargeBinary, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from adapters.postgres.schema import Id, Moment, metadata

SCHEMA = "accounts"

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Id, primary_key=True),
    # As it was typed, and as it is compared.
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    Column("email_verify_time", Moment),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    # None for those who only ever sign in elsewhere.
    Column("password_hash", Text),
    Column("password_time", Moment),
    Column("role", SmallInteger, nullable=False),
    Column("language", Text, nullable=False),
    # A ban without an end is for ever.
    Column("ban_reason", Text),
    Column("ban_expire_time", Moment),
    Column("ban_time", Moment),
    Column("version", BigInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("update_time", Moment, nullable=False),
    # When its owner had it deleted; it is erased once the time for second thoughts is over.
    Column("delete_time", Moment),
    Index("accounts_email_key_idx", "email_key", unique=True),
    Index("accounts_name_key_idx", "name_key", unique=True),
    Index("accounts_create_time_idx", "create_time", "account_id"),
    Index("accounts_delete_time_idx", "delete_time", postgresql_where=text("delete_time IS NOT NULL")),
    schema=SCHEMA,
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    # Empty for the account itself.
    Column("profile_id", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("client", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("device_name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("use_time", Moment, nullable=False),
    # When whoever holds it last proved to be the account's owner.
    Column("proof_time", Moment, nullable=False),
    Column("expire_time", Moment, nullable=False),
    Column("end_time", Moment),
    Column("end_reason", SmallInteger),
    # How often its refresh token has been changed for the next one, the hash of the present one, and since when it is that.
    Column("generation", Integer, nullable=False),
    Column("refresh_hash", LargeBinary, nullable=False),
    Column("rotate_time", Moment, nullable=False),
    Index("sessions_account_id_idx", "account_id", "create_time"),
    Index("sessions_expire_time_idx", "expire_time"),
    schema=SCHEMA,
)

# What makes access tokens void before they expire: those of a session, or all that an account had been given by then.
revocations = Table(
    "revocations",
    metadata,
    Column("revocation_id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", Text, nullable=False),
    # Empty for all of the account's.
    Column("session_id", Text, nullable=False),
    Column("time", Moment, nullable=False),
    Index("revocations_time_idx", "time"),
    schema=SCHEMA,
)

# Proving in steps who one is, for whatever purpose.
sign_ins = Table(
    "sign_ins",
    metadata,
    Column("sign_in_id", Id, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("purpose", SmallInteger, nullable=False),
    # None where nobody has the address: it goes on as if somebody had.
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE")),
    Column("email", Text, nullable=False),
    Column("state", JSONB, nullable=False),
    Column("address", Text, nullable=False),
    Column("tries", SmallInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("expire_time", Moment, nullable=False),
    Column("end_time", Moment),
    Index("sign_ins_account_id_idx", "account_id"),
    Index("sign_ins_expire_time_idx", "expire_time"),
    schema=SCHEMA,
)

# Wrong tries, counted for whatever they are held against, and from when on the next one is heard.
throttles = Table(
    "throttles",
    metadata,
    Column("key", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_time", Moment, nullable=False),
    Column("open_time", Moment, nullable=False),
    Index("throttles_last_time_idx", "last_time"),
    schema=SCHEMA,
)
