"""The tables of the schema "media" in which uploaded files and promos are kept."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from adapters.postgres.schema import Id, Moment, metadata

SCHEMA = "media"

# A deleted file stays, so that its id is not given to another content.
files = Table(
    "files",
    metadata,
    Column("file_id", Id, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("language", Text, nullable=False),
    # What the storage has it under.
    Column("key", Text, nullable=False, unique=True),
    # The narrowest first: [[width, height, size, key], …].
    Column("thumbnails", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("upload_digest", LargeBinary, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("delete_time", Moment),
    schema=SCHEMA,
)
Index("files_list_idx", files.c.create_time, files.c.file_id, postgresql_where=text("delete_time IS NULL"))

# Owners are of other contexts, so nothing refers to their tables.
attachments = Table(
    "attachments",
    metadata,
    Column("owner_kind", SmallInteger, primary_key=True),
    Column("owner_id", Id, primary_key=True),
    Column("file_id", Id, ForeignKey(files.c.file_id), primary_key=True),
    Column("position", Integer, nullable=False),
    Index("attachments_file_id_idx", "file_id"),
    schema=SCHEMA,
)

promos = Table(
    "promos",
    metadata,
    Column("promo_id", Id, primary_key=True),
    Column("format", SmallInteger, nullable=False),
    Column("placement", SmallInteger, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("image_file_id", Id, ForeignKey(files.c.file_id), index=True),
    Column("release_id", Id),
    Column("url", Text, nullable=False),
    # Empty means everywhere.
    Column("regions", ARRAY(Text), nullable=False),
    Column("start_time", Moment),
    Column("end_time", Moment),
    Column("overlay", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("erid", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("update_time", Moment, nullable=False),
    Column("delete_time", Moment),
    CheckConstraint("end_time > start_time", name="times"),
    schema=SCHEMA,
)
Index("promos_placement_idx", promos.c.placement, promos.c.format, postgresql_where=text("delete_time IS NULL AND enabled"))
Index("promos_list_idx", promos.c.create_time, promos.c.promo_id, postgresql_where=text("delete_time IS NULL"))

# What was counted already, for as long as it may come again.
promo_events = Table(
    "promo_events",
    metadata,
    Column("event_id", Id, primary_key=True),
    Column("record_time", Moment, nullable=False, server_default=text("now()"), index=True),
    schema=SCHEMA,
)

promo_counts = Table(
    "promo_counts",
    metadata,
    Column("promo_id", Id, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("country", Text, primary_key=True),
    Column("action", SmallInteger, primary_key=True),
    Column("count", BigInteger, nullable=False),
    schema=SCHEMA,
)
