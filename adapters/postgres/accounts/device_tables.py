"""The tables of the schema "accounts" in which devices that wait to be let in are kept, and guest passes."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, SmallInteger, Table, Text

from adapters.postgres.accounts.tables import SCHEMA, accounts
from adapters.postgres.schema import Id, Moment, metadata

device_logins = Table(
    "device_logins",
    metadata,
    Column("device_login_id", Id, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False),
    # Marked by a key of the platform, since a user code is short enough to be found from a plain hash.
    Column("user_code_mark", LargeBinary, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("wrong_numbers", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    # Who decided, and by which session. None until then.
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE")),
    Column("session_id", Id),
    Column("profile_id", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("device_name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("country", Text, nullable=False),
    # How long to leave between two polls, and when the last one was.
    Column("interval_seconds", SmallInteger, nullable=False),
    Column("poll_time", Moment),
    Column("create_time", Moment, nullable=False),
    Column("decide_time", Moment),
    Column("expire_time", Moment, nullable=False),
    Index("device_logins_user_code_mark_idx", "user_code_mark", unique=True),
    Index("device_logins_account_id_idx", "account_id"),
    Index("device_logins_decide_time_idx", "decide_time"),
    Index("device_logins_expire_time_idx", "expire_time"),
    schema=SCHEMA,
)

# A guest's profile is their pass: what is kept for them is kept under its id.
guest_passes = Table(
    "guest_passes",
    metadata,
    Column("guest_pass_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey(accounts.c.account_id, ondelete="CASCADE"), nullable=False),
    Column("code_mark", LargeBinary, nullable=False),
    Column("maturity", SmallInteger, nullable=False),
    # By which it was made.
    Column("host_session_id", Id),
    Column("device_name", Text, nullable=False),
    # Once it was redeemed.
    Column("session_id", Id),
    Column("create_time", Moment, nullable=False),
    Column("redeem_time", Moment),
    Column("expire_time", Moment, nullable=False),
    # When it ended; its row goes with what was kept for the guest.
    Column("end_time", Moment),
    Index("guest_passes_code_mark_idx", "code_mark", unique=True),
    Index("guest_passes_account_id_idx", "account_id"),
    schema=SCHEMA,
)
