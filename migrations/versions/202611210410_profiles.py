"""profiles: the viewers of an account, and what children ask for."""

from __future__ import annotations

from alembic import op

revision = "202611210410"
down_revision = "202611210400"

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE accounts.profiles (
        profile_id uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        name text NOT NULL,
        name_key text NOT NULL,
        avatar text NOT NULL,
        avatar_file_id uuid,
        language text NOT NULL,
        time_zone text NOT NULL,
        region text NOT NULL,
        maturity smallint NOT NULL,
        kids boolean NOT NULL,
        pin_hash text,
        allowed_hours jsonb NOT NULL,
        private_session boolean NOT NULL,
        public_statistics boolean NOT NULL,
        create_digest bytea NOT NULL,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        delete_time timestamptz
    )
    """,
    "CREATE INDEX profiles_account_id_idx ON accounts.profiles (account_id)",
    "CREATE UNIQUE INDEX profiles_name_key_idx ON accounts.profiles (account_id, name_key) WHERE delete_time IS NULL",
    """
    CREATE TABLE accounts.title_requests (
        title_request_id uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        profile_id uuid NOT NULL REFERENCES accounts.profiles (profile_id) ON DELETE CASCADE,
        release_id uuid NOT NULL,
        note text NOT NULL,
        state smallint NOT NULL,
        create_time timestamptz NOT NULL,
        decide_time timestamptz,
        expire_time timestamptz
    )
    """,
    """
    CREATE INDEX title_requests_account_id_idx
    ON accounts.title_requests (account_id, create_time DESC, title_request_id DESC)
    """,
    "CREATE INDEX title_requests_profile_id_idx ON accounts.title_requests (profile_id, state, expire_time)",
)
REVERSED: tuple[str, ...] = ("DROP TABLE accounts.title_requests", "DROP TABLE accounts.profiles")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
