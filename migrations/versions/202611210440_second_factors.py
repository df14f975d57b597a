"""second factors: one-time passwords, recovery codes, passkeys, and accounts at other issuers."""

from __future__ import annotations

from alembic import op

revision = "202611210440"
down_revision = "202611210430"

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE accounts.totps (
        account_id uuid PRIMARY KEY REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        sealed_seed text NOT NULL,
        last_step bigint NOT NULL,
        create_time timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE accounts.recovery_codes (
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        code_hash bytea NOT NULL,
        create_time timestamptz NOT NULL,
        use_time timestamptz,
        PRIMARY KEY (account_id, code_hash)
    )
    """,
    """
    CREATE TABLE accounts.passkeys (
        passkey_id uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        credential_id bytea NOT NULL,
        public_key bytea NOT NULL,
        sign_count bigint NOT NULL,
        name text NOT NULL,
        required boolean NOT NULL,
        transports text[] NOT NULL,
        model text NOT NULL,
        synced boolean NOT NULL,
        create_time timestamptz NOT NULL,
        use_time timestamptz
    )
    """,
    "CREATE UNIQUE INDEX passkeys_credential_id_idx ON accounts.passkeys (credential_id)",
    "CREATE INDEX passkeys_account_id_idx ON accounts.passkeys (account_id)",
    """
    CREATE TABLE accounts.issuer_links (
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        issuer text NOT NULL,
        subject text NOT NULL,
        email text NOT NULL,
        create_time timestamptz NOT NULL,
        use_time timestamptz,
        PRIMARY KEY (account_id, issuer)
    )
    """,
    "CREATE UNIQUE INDEX issuer_links_subject_idx ON accounts.issuer_links (issuer, subject)",
)
REVERSED: tuple[str, ...] = (
    "DROP TABLE accounts.issuer_links",
    "DROP TABLE accounts.passkeys",
    "DROP TABLE accounts.recovery_codes",
    "DROP TABLE accounts.totps",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
