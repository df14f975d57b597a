"""device sign-in: signing in on devices without a keyboard, and guest passes."""

from __future__ import annotations

from alembic import op

revision = "202611210450"
down_revision = "202611210440"

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE accounts.device_logins (
        device_login_id uuid PRIMARY KEY,
        secret_hash bytea NOT NULL,
        user_code_mark bytea NOT NULL,
        number smallint NOT NULL,
        wrong_numbers smallint NOT NULL,
        state smallint NOT NULL,
        account_id uuid REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        session_id uuid,
        profile_id text NOT NULL,
        client text NOT NULL,
        device_id text NOT NULL,
        device_name text NOT NULL,
        address text NOT NULL,
        country text NOT NULL,
        interval_seconds smallint NOT NULL,
        poll_time timestamptz,
        create_time timestamptz NOT NULL,
        decide_time timestamptz,
        expire_time timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX device_logins_user_code_mark_idx ON accounts.device_logins (user_code_mark)",
    "CREATE INDEX device_logins_account_id_idx ON accounts.device_logins (account_id)",
    "CREATE INDEX device_logins_decide_time_idx ON accounts.device_logins (decide_time)",
    "CREATE INDEX device_logins_expire_time_idx ON accounts.device_logins (expire_time)",
    """
    CREATE TABLE accounts.guest_passes (
        guest_pass_id uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        code_mark bytea NOT NULL,
        maturity smallint NOT NULL,
        host_session_id uuid,
        device_name text NOT NULL,
        session_id uuid,
        create_time timestamptz NOT NULL,
        redeem_time timestamptz,
        expire_time timestamptz NOT NULL,
        end_time timestamptz
    )
    """,
    "CREATE UNIQUE INDEX guest_passes_code_mark_idx ON accounts.guest_passes (code_mark)",
    "CREATE INDEX guest_passes_account_id_idx ON accounts.guest_passes (account_id)",
)
REVERSED: tuple[str, ...] = ("DROP TABLE accounts.guest_passes", "DROP TABLE accounts.device_logins")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
