"""The tables of what accounts prove themselves with besides their passwords."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, PrimaryKeyConstraint, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from adapters.postgres.accounts.tables import SCHEMA, accounts
from adapters.postgres.schema import Id, Moment, metadata

totps = Table(
    "totps",
    metadata,
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), primary_key=True),
    Column("sealed_seed", Text, nullable=False),
    # No code up to this step of thirty seconds is good any more.
    Column("last_step", BigInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    schema=SCHEMA,
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("code_hash", LargeBinary, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("use_time", Moment),
    PrimaryKeyConstraint("account_id", "code_hash"),
    schema=SCHEMA,
)

passkeys = Table(
    "passkeys",
    metadata,
    Column("passkey_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("credential_id", LargeBinary, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    # Whether signing in otherwise asks for a second proof.
    Column("required", Boolean, nullable=False),
    Column("transports", ARRAY(Text), nullable=False),
    Column("model", Text, nullable=False),
    Column("synced", Boolean, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("use_time", Moment),
    Index("passkeys_credential_id_idx", "credential_id", unique=True),
    Index("passkeys_account_id_idx", "account_id"),
    schema=SCHEMA,
)

# Accounts at other issuers that are good for signing in.
issuer_links = Table(
    "issuer_links",
    metadata,
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("issuer", Text, nullable=False),
    # What the issuer knows them by.
    Column("subject", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("use_time", Moment),
    PrimaryKeyConstraint("account_id", "issuer"),
    Index("issuer_links_subject_idx", "issuer", "subject", unique=True),
    schema=SCHEMA,
)
