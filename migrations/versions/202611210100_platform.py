"""platform: events, deliveries, timed jobs, audit log."""

from __future__ import annotations

from alembic import op

revision = "202611210100"
down_revision = None

STATEMENTS = (
    "CREATE SCHEMA platform",
    """
    CREATE TABLE platform.events (
        event_id uuid PRIMARY KEY,
        number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
        name text NOT NULL,
        payload jsonb NOT NULL,
        record_time timestamptz NOT NULL DEFAULT now(),
        route_time timestamptz
    )
    """,
    "CREATE INDEX events_unrouted_idx ON platform.events (number) WHERE route_time IS NULL",
    "CREATE INDEX events_record_time_idx ON platform.events (record_time)",
    """
    CREATE TABLE platform.deliveries (
        delivery_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        event_id uuid NOT NULL REFERENCES platform.events,
        consumer text NOT NULL,
        attempts integer NOT NULL DEFAULT 0,
        due_time timestamptz NOT NULL DEFAULT now(),
        send_time timestamptz,
        done_time timestamptz,
        fault text
    )
    """,
    "CREATE UNIQUE INDEX deliveries_event_id_idx ON platform.deliveries (event_id, consumer)",
    "CREATE INDEX deliveries_due_idx ON platform.deliveries (due_time) WHERE done_time IS NULL",
    """
    CREATE TABLE platform.dead_letters (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id uuid NOT NULL REFERENCES platform.events,
        consumer text NOT NULL,
        attempts integer NOT NULL,
        fault text NOT NULL,
        dead_time timestamptz NOT NULL DEFAULT now(),
        replay_time timestamptz
    )
    """,
    "CREATE INDEX dead_letters_event_id_idx ON platform.dead_letters (event_id)",
    """
    CREATE TABLE platform.ticks (
        job text,
        tick_time timestamptz,
        PRIMARY KEY (job, tick_time)
    )
    """,
    """
    CREATE TABLE platform.audit_log (
        entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        time timestamptz NOT NULL,
        request_id text NOT NULL,
        method text NOT NULL,
        account_id text NOT NULL,
        role text NOT NULL,
        address text NOT NULL,
        request jsonb NOT NULL,
        code text NOT NULL,
        reason text NOT NULL,
        duration_seconds double precision NOT NULL
    )
    """,
    "CREATE INDEX audit_log_time_idx ON platform.audit_log (time)",
    "CREATE INDEX audit_log_account_id_idx ON platform.audit_log (account_id, time)",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for table in ("audit_log", "ticks", "dead_letters", "deliveries", "events"):
        op.execute(f"DROP TABLE platform.{table}")
    op.execute("DROP SCHEMA platform")
