"""media: video sources, streams, player settings."""

from __future__ import annotations

from alembic import op

revision = "202611210340"
down_revision = "202611210330"

STATEMENTS: tuple[str, ...] = (
    "CREATE SCHEMA IF NOT EXISTS media",
    """
    CREATE TABLE media.video_sources (
        video_source_id uuid PRIMARY KEY,
        episode_id uuid NOT NULL,
        kind smallint NOT NULL,
        url text NOT NULL,
        qualities jsonb NOT NULL,
        audio_tracks jsonb NOT NULL,
        subtitle_tracks jsonb NOT NULL,
        skip_markers jsonb NOT NULL,
        preview_sheets jsonb NOT NULL,
        protection jsonb,
        ad_patterns text[] NOT NULL,
        priority integer NOT NULL,
        enabled boolean NOT NULL,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        delete_time timestamptz
    )
    """,
    "CREATE INDEX video_sources_episode_id_idx ON media.video_sources (episode_id)",
    """
    CREATE TABLE media.streams (
        stream_id uuid PRIMARY KEY,
        account_id text NOT NULL,
        profile_id text NOT NULL,
        device_id text NOT NULL,
        device_name text NOT NULL,
        episode_id uuid NOT NULL,
        video_source_id uuid NOT NULL,
        start_time timestamptz NOT NULL,
        beat_time timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX streams_device_idx ON media.streams (account_id, device_id)",
    """
    CREATE TABLE media.positions (
        account_id text,
        profile_id text,
        episode_id uuid,
        position_seconds double precision NOT NULL,
        update_time timestamptz NOT NULL,
        PRIMARY KEY (account_id, profile_id, episode_id)
    )
    """,
    """
    CREATE TABLE media.player_settings (
        account_id text,
        profile_id text,
        settings jsonb NOT NULL,
        update_time timestamptz NOT NULL,
        PRIMARY KEY (account_id, profile_id)
    )
    """,
)
REVERSED: tuple[str, ...] = (
    *(f"DROP TABLE media.{table}" for table in ("player_settings", "positions", "streams", "video_sources")),
    "DROP SCHEMA media",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
