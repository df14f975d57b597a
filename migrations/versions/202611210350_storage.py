"""storage: uploaded files, promos and what was shown of them."""

from __future__ import annotations

from alembic import op

revision = "202611210350"
down_revision = "202611210340"

STATEMENTS = (
    "CREATE SCHEMA IF NOT EXISTS media",
    """
    CREATE TABLE media.files (
        file_id uuid PRIMARY KEY,
        kind smallint NOT NULL,
        content_type text NOT NULL,
        size integer NOT NULL,
        sha256 text NOT NULL,
        width integer NOT NULL,
        height integer NOT NULL,
        language text NOT NULL,
        key text NOT NULL UNIQUE,
        thumbnails jsonb NOT NULL DEFAULT '[]',
        upload_digest bytea NOT NULL,
        account_id text NOT NULL,
        create_time timestamptz NOT NULL,
        delete_time timestamptz
    )
    """,
    "CREATE INDEX files_list_idx ON media.files (create_time, file_id) WHERE delete_time IS NULL",
    """
    CREATE TABLE media.attachments (
        owner_kind smallint,
        owner_id uuid,
        file_id uuid REFERENCES media.files,
        position integer NOT NULL,
        PRIMARY KEY (owner_kind, owner_id, file_id)
    )
    """,
    "CREATE INDEX attachments_file_id_idx ON media.attachments (file_id)",
    """
    CREATE TABLE media.promos (
        promo_id uuid PRIMARY KEY,
        format smallint NOT NULL,
        placement smallint NOT NULL,
        title text NOT NULL,
        text text NOT NULL,
        image_file_id uuid REFERENCES media.files,
        release_id uuid,
        url text NOT NULL,
        regions text[] NOT NULL,
        start_time timestamptz,
        end_time timestamptz,
        overlay boolean NOT NULL,
        priority integer NOT NULL,
        erid text NOT NULL,
        enabled boolean NOT NULL,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        delete_time timestamptz,
        CONSTRAINT promos_times_check CHECK (end_time > start_time)
    )
    """,
    "CREATE INDEX promos_image_file_id_idx ON media.promos (image_file_id)",
    "CREATE INDEX promos_placement_idx ON media.promos (placement, format) WHERE delete_time IS NULL AND enabled",
    "CREATE INDEX promos_list_idx ON media.promos (create_time, promo_id) WHERE delete_time IS NULL",
    "CREATE TABLE media.promo_events (event_id uuid PRIMARY KEY, record_time timestamptz NOT NULL DEFAULT now())",
    "CREATE INDEX promo_events_record_time_idx ON media.promo_events (record_time)",
    """
    CREATE TABLE media.promo_counts (
        promo_id uuid,
        day date,
        country text,
        action smallint,
        count bigint NOT NULL,
        PRIMARY KEY (promo_id, day, country, action)
    )
    """,
)
REVERSED = tuple(f"DROP TABLE media.{table}" for table in ("promo_counts", "promo_events", "promos", "attachments", "files"))


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
