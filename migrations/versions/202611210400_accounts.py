"""accounts: people, their sessions, and how they sign in."""

from __future__ import annotations

from alembic import op

revision = "202611210400"
down_revision = "202611210355"

STATEMENTS: tuple[str, ...] = (
    "CREATE SCHEMA accounts",
    """
    CREATE TABLE accounts.accounts (
        account_id uuid PRIMARY KEY,
        email text NOT NULL,
        email_key text NOT NULL,
        email_verify_time timestamptz,
        name text NOT NULL,
        name_key text NOT NULL,
        password_hash text,
        password_time timestamptz,
        role smallint NOT NULL,
        language text NOT NULL,
        ban_reason text,
        ban_expire_time timestamptz,
        ban_time timestamptz,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        delete_time timestamptz
    )
    """,
    "CREATE UNIQUE INDEX accounts_email_key_idx ON accounts.accounts (email_key)",
    "CREATE UNIQUE INDEX accounts_name_key_idx ON accounts.accounts (name_key)",
    "CREATE INDEX accounts_delete_time_idx ON accounts.accounts (delete_time) WHERE delete_time IS NOT NULL",
    """
    CREATE TABLE accounts.sessions (
        session_id uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        profile_id text NOT NULL,
        kind smallint NOT NULL,
        client text NOT NULL,
        device_id text NOT NULL,
        device_name text NOT NULL,
        address text NOT NULL,
        country text NOT NULL,
        create_time timestamptz NOT NULL,
        use_time timestamptz NOT NULL,
        proof_time timestamptz NOT NULL,
        expire_time timestamptz NOT NULL,
        end_time timestamptz,
        end_reason smallint,
        generation integer NOT NULL,
        refresh_hash bytea NOT NULL,
        rotate_time timestamptz NOT NULL
    )
    """,
    "CREATE INDEX sessions_account_id_idx ON accounts.sessions (account_id, create_time)",
    "CREATE INDEX sessions_expire_time_idx ON accounts.sessions (expire_time)",
    """
    CREATE TABLE accounts.revocations (
        revocation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account_id text NOT NULL,
        session_id text NOT NULL,
        time timestamptz NOT NULL
    )
    """,
    "CREATE INDEX revocations_time_idx ON accounts.revocations (time)",
    """
    CREATE TABLE accounts.sign_ins (
        sign_in_id uuid PRIMARY KEY,
        secret_hash bytea NOT NULL,
        purpose smallint NOT NULL,
        account_id uuid REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        email text NOT NULL,
        state jsonb NOT NULL,
        address text NOT NULL,
        tries smallint NOT NULL,
        create_time timestamptz NOT NULL,
        expire_time timestamptz NOT NULL,
        end_time timestamptz
    )
    """,
    "CREATE INDEX sign_ins_account_id_idx ON accounts.sign_ins (account_id)",
    "CREATE INDEX sign_ins_expire_time_idx ON accounts.sign_ins (expire_time)",
    """
    CREATE TABLE accounts.throttles (
        key text PRIMARY KEY,
        failures integer NOT NULL,
        last_time timestamptz NOT NULL,
        open_time timestamptz NOT NULL
    )
    """,
    "CREATE INDEX throttles_last_time_idx ON accounts.throttles (last_time)",
)
REVERSED: tuple[str, ...] = (
    *(f"DROP TABLE accounts.{table}" for table in ("throttles", "sign_ins", "revocations", "sessions", "accounts")),
    "DROP SCHEMA accounts",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
