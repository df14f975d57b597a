"""operations and imports."""

from __future__ import annotations

from alembic import op

revision = "202611210330"
down_revision = "202611210320"

STATEMENTS = (
    "CREATE SCHEMA operations",
    """
    CREATE TABLE operations.operations (
        operation_id uuid PRIMARY KEY,
        kind text NOT NULL,
        title text NOT NULL,
        state smallint NOT NULL,
        parameters jsonb NOT NULL,
        checkpoint jsonb NOT NULL,
        done bigint NOT NULL,
        total bigint,
        unit text NOT NULL,
        counts jsonb NOT NULL,
        problem_count bigint NOT NULL,
        result jsonb NOT NULL,
        fault text NOT NULL,
        account_id text NOT NULL,
        shared boolean NOT NULL,
        attempts integer NOT NULL,
        runner text NOT NULL,
        create_time timestamptz NOT NULL,
        start_time timestamptz,
        heartbeat_time timestamptz,
        cancel_time timestamptz,
        end_time timestamptz
    )
    """,
    "CREATE INDEX operations_create_time_idx ON operations.operations (create_time, operation_id)",
    "CREATE INDEX operations_account_id_idx ON operations.operations (account_id, create_time, operation_id)",
    "CREATE INDEX operations_unfinished_idx ON operations.operations (create_time) WHERE state < 3",
    "CREATE INDEX operations_latest_idx ON operations.operations (kind, end_time) WHERE state = 3",
    """
    CREATE TABLE operations.problems (
        operation_id uuid REFERENCES operations.operations,
        number bigint,
        "row" bigint NOT NULL,
        key text NOT NULL,
        reason text NOT NULL,
        text text NOT NULL,
        PRIMARY KEY (operation_id, number)
    )
    """,
    """
    CREATE TABLE catalog.import_facts (
        source text,
        key text,
        release_id uuid NOT NULL REFERENCES catalog.releases,
        digest bytea NOT NULL,
        facts jsonb NOT NULL,
        PRIMARY KEY (source, key)
    )
    """,
    "CREATE INDEX import_facts_release_id_idx ON catalog.import_facts (release_id)",
)
REVERSED = (
    "DROP TABLE catalog.import_facts",
    "DROP TABLE operations.problems",
    "DROP TABLE operations.operations",
    "DROP SCHEMA operations",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
