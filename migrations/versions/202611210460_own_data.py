"""own data: exports, and accounts that are to be erased."""

from __future__ import annotations

from alembic import op

revision = "202611210460"
down_revision = "202611210450"

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE accounts.exports (
        export_id uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES accounts.accounts (account_id) ON DELETE CASCADE,
        keys text[] NOT NULL,
        size bigint NOT NULL,
        record_count bigint NOT NULL,
        create_time timestamptz NOT NULL,
        ready_time timestamptz,
        expire_time timestamptz
    )
    """,
    "CREATE INDEX exports_account_id_idx ON accounts.exports (account_id, create_time)",
)
REVERSED: tuple[str, ...] = ("DROP TABLE accounts.exports",)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
