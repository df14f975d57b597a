"""editing: revisions and change sets."""

from __future__ import annotations

from alembic import op

revision = "202611210310"
down_revision = "202611210300"

STATEMENTS = (
    "CREATE SCHEMA editing",
    """
    CREATE TABLE editing.revisions (
        kind text,
        item_id text,
        version bigint,
        action smallint NOT NULL,
        fields text[] NOT NULL,
        account_id text NOT NULL,
        note text NOT NULL,
        change_set_id uuid,
        time timestamptz NOT NULL,
        decided jsonb NOT NULL,
        PRIMARY KEY (kind, item_id, version)
    )
    """,
    "CREATE INDEX revisions_time_idx ON editing.revisions (time)",
    """
    CREATE TABLE editing.change_sets (
        change_set_id uuid PRIMARY KEY,
        title text NOT NULL,
        note text NOT NULL,
        state smallint NOT NULL,
        author_id text NOT NULL,
        reviewer_id text NOT NULL,
        reason text NOT NULL,
        edits jsonb NOT NULL,
        done jsonb NOT NULL,
        publish_time timestamptz,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL
    )
    """,
    "CREATE INDEX change_sets_update_time_idx ON editing.change_sets (update_time, change_set_id)",
    "CREATE INDEX change_sets_state_idx ON editing.change_sets (state, update_time, change_set_id)",
    "CREATE INDEX change_sets_author_idx ON editing.change_sets (author_id, update_time, change_set_id)",
    "CREATE INDEX change_sets_due_idx ON editing.change_sets (publish_time) WHERE state = 4",
)
REVERSED = ("DROP TABLE editing.change_sets", "DROP TABLE editing.revisions", "DROP SCHEMA editing")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
