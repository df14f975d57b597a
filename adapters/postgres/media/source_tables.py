"""The tables of the schema "media" in which video sources, streams, positions and player settings are kept."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from adapters.postgres.schema import Id, Moment, metadata

SCHEMA = "media"

# Episodes are of another context, so nothing refers to their table.
video_sources = Table(
    "video_sources",
    metadata,
    Column("video_source_id", Id, primary_key=True),
    Column("episode_id", Id, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("url", Text, nullable=False),
    # As their dataclasses have them.
    Column("qualities", JSONB, nullable=False),
    Column("audio_tracks", JSONB, nullable=False),
    Column("subtitle_tracks", JSONB, nullable=False),
    Column("skip_markers", JSONB, nullable=False),
    Column("preview_sheets", JSONB, nullable=False),
    Column("protection", JSONB),
    Column("ad_patterns", ARRAY(Text), nullable=False),
    Column("blocked_countries", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("priority", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("update_time", Moment, nullable=False),
    Column("delete_time", Moment),
    Index("video_sources_episode_id_idx", "episode_id"),
    schema=SCHEMA,
)

# A place that an account plays on; one that gave no sign of life for too long counts no more.
streams = Table(
    "streams",
    metadata,
    Column("stream_id", Id, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("profile_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("device_name", Text, nullable=False),
    Column("episode_id", Id, nullable=False),
    Column("video_source_id", Id, nullable=False),
    Column("start_time", Moment, nullable=False),
    Column("beat_time", Moment, nullable=False),
    Index("streams_device_idx", "account_id", "device_id", unique=True),
    schema=SCHEMA,
)

positions = Table(
    "positions",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("profile_id", Text, primary_key=True),
    Column("episode_id", Id, primary_key=True),
    Column("position_seconds", Double, nullable=False),
    Column("update_time", Moment, nullable=False),
    schema=SCHEMA,
)

player_settings = Table(
    "player_settings",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("profile_id", Text, primary_key=True),
    # As their dataclass has them.
    Column("settings", JSONB, nullable=False),
    Column("update_time", Moment, nullable=False),
    schema=SCHEMA,
)
