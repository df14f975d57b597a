"""The tables of the schema "catalog"."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from adapters.postgres.schema import Id, Moment, TransactionId, metadata

SCHEMA = "catalog"

releases = Table(
    "releases",
    metadata,
    Column("release_id", Id, primary_key=True),
    Column("alias", Text, nullable=False, unique=True),
    # In the order they are shown: [{"language": "ja", "text": "…"}, …].
    Column("titles", JSONB, nullable=False),
    Column("synopsis", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("season", SmallInteger),
    Column("year", SmallInteger),
    Column("age_rating", SmallInteger, nullable=False),
    Column("planned_episode_count", Integer, nullable=False),
    Column("weekday", SmallInteger),
    Column("minute", SmallInteger),
    Column("zone", Text),
    # Other names, in any order: [{"language": "ja", "text": "…"}, …].
    Column("synonyms", JSONB, nullable=False, server_default=text("'[]'")),
    # Whether it is being translated or dubbed, whatever its airing.
    Column("in_production", Boolean, nullable=False, server_default=text("false")),
    Column("premiere_time", Moment),
    Column("rating", Double, nullable=False, server_default=text("0")),
    Column("popularity", Integer, nullable=False, server_default=text("0")),
    Column("studios", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # [{"role": 3, "name": "…"}, …]; the names of those who voice it once more, to be looked for.
    Column("credits", JSONB, nullable=False, server_default=text("'[]'")),
    Column("voice_teams", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # As the table of that name has them, to be read with the release.
    Column("external_ids", JSONB, nullable=False, server_default=text("'[]'")),
    # [{"holder": "…", "reason": "…", "countries": […]}, …]; the countries once more, to be looked for, * meaning all of them.
    Column("rights_blocks", JSONB, nullable=False, server_default=text("'[]'")),
    Column("held_countries", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("trailers", JSONB, nullable=False, server_default=text("'[]'")),
    Column("theme_songs", JSONB, nullable=False, server_default=text("'[]'")),
    Column("blocked_countries", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("publication", SmallInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("update_time", Moment, nullable=False),
    Column("publish_time", Moment),
    Column("delete_time", Moment),
    # What lists are ordered by.
    Column("list_time", Moment, Computed("coalesce(publish_time, create_time)", persisted=True), nullable=False),
    Column("title_key", Text, Computed("lower(coalesce(titles -> 0 ->> 'text', ''))", persisted=True), nullable=False),
    Column(
        "premiere_key",
        Moment,
        Computed("coalesce(premiere_time, timestamptz '1900-01-01 00:00:00+00')", persisted=True),
        nullable=False,
    ),
    CheckConstraint("alias = lower(alias)", name="alias_lower"),
    CheckConstraint("age_rating IN (0, 6, 12, 16, 18)", name="age_rating"),
    CheckConstraint("num_nonnulls(weekday, minute, zone) IN (0, 3)", name="weekly_slot"),
    schema=SCHEMA,
)
# Read backwards, so that the latest comes first.
_listed = text("delete_time IS NULL")
Index("releases_list_idx", releases.c.list_time, releases.c.release_id, postgresql_where=_listed)
Index("releases_kind_idx", releases.c.kind, releases.c.list_time, releases.c.release_id, postgresql_where=_listed)
Index("releases_status_idx", releases.c.status, releases.c.list_time, releases.c.release_id, postgresql_where=_listed)
Index("releases_year_idx", releases.c.year, postgresql_where=_listed)
for _name, _key in {"rating": "rating", "popularity": "popularity", "premiere": "premiere_key", "title": "title_key"}.items():
    Index(f"releases_{_name}_idx", releases.c[_key], releases.c.release_id, postgresql_where=_listed)
for _name in ("studios", "voice_teams"):
    Index(f"releases_{_name}_idx", releases.c[_name], postgresql_using="gin", postgresql_where=_listed)

external_ids = Table(
    "external_ids",
    metadata,
    Column("provider", SmallInteger, primary_key=True, autoincrement=False),
    Column("external_id", Text, primary_key=True),
    Column("release_id", Id, ForeignKey(releases.c.release_id), nullable=False, index=True),
    schema=SCHEMA,
)


def _kept() -> list[Column[Any]]:
    """Return the columns of what editors keep."""
    return [
        Column("version", BigInteger, nullable=False, server_default=text("1")),
        Column("create_time", Moment, nullable=False, server_default=func.now()),
        Column("update_time", Moment, nullable=False, server_default=func.now()),
        Column("delete_time", Moment),
    ]


genres = Table(
    "genres",
    metadata,
    Column("genre_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    *_kept(),
    schema=SCHEMA,
)

release_genres = Table(
    "release_genres",
    metadata,
    Column("release_id", Id, ForeignKey(releases.c.release_id), primary_key=True),
    Column("genre_id", Text, ForeignKey(genres.c.genre_id), primary_key=True),
    Index("release_genres_genre_id_idx", "genre_id", "release_id"),
    schema=SCHEMA,
)

tags = Table(
    "tags",
    metadata,
    Column("tag_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    *_kept(),
    schema=SCHEMA,
)

release_tags = Table(
    "release_tags",
    metadata,
    Column("release_id", Id, ForeignKey(releases.c.release_id), primary_key=True),
    Column("tag_id", Text, ForeignKey(tags.c.tag_id), primary_key=True),
    Index("release_tags_tag_id_idx", "tag_id", "release_id"),
    schema=SCHEMA,
)

franchises = Table(
    "franchises",
    metadata,
    Column("franchise_id", Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("parent_franchise_id", Id, ForeignKey("catalog.franchises.franchise_id"), index=True),
    *_kept(),
    schema=SCHEMA,
)

franchise_members = Table(
    "franchise_members",
    metadata,
    Column("release_id", Id, ForeignKey(releases.c.release_id), primary_key=True),
    Column("franchise_id", Id, ForeignKey(franchises.c.franchise_id), nullable=False),
    Column("position", Integer, nullable=False),
    Index("franchise_members_franchise_id_idx", "franchise_id", "position"),
    schema=SCHEMA,
)

episodes = Table(
    "episodes",
    metadata,
    Column("episode_id", Id, primary_key=True),
    Column("release_id", Id, ForeignKey(releases.c.release_id), nullable=False),
    # As it is shown, such as 12.5 or SP1; the position is what episodes are ordered by.
    Column("number", Text, nullable=False),
    Column("absolute_number", Text, nullable=False, server_default=text("''")),
    Column("season_number", Text, nullable=False, server_default=text("''")),
    Column("position", Integer, nullable=False),
    # The main title; what older rows have in place of titles.
    Column("title", Text, nullable=False),
    Column("titles", JSONB, nullable=False, server_default=text("'[]'")),
    Column("synopsis", Text, nullable=False, server_default=text("''")),
    Column("duration_seconds", Integer),
    Column("air_time", Moment),
    Column("state", SmallInteger, nullable=False, server_default=text("2")),
    Column("release_time", Moment),
    *_kept(),
    schema=SCHEMA,
)
Index(
    "episodes_position_idx",
    episodes.c.release_id,
    episodes.c.position,
    unique=True,
    postgresql_where=episodes.c.delete_time.is_(None),
)

schedule_entries = Table(
    "schedule_entries",
    metadata,
    Column("schedule_entry_id", Id, primary_key=True),
    Column("release_id", Id, ForeignKey(releases.c.release_id), nullable=False, index=True),
    Column("number", Text, nullable=False),
    Column("episode_count", SmallInteger, nullable=False),
    Column("planned_air_time", Moment, nullable=False),
    Column("precision", SmallInteger, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("slot_date", Date),
    Column("actual_air_time", Moment),
    Column("state", SmallInteger, nullable=False),
    Column("note", Text, nullable=False),
    *_kept(),
    schema=SCHEMA,
)
_scheduled = schedule_entries.c.delete_time.is_(None)
for _name in ("planned_air_time", "actual_air_time", "slot_date"):
    Index(f"schedule_entries_{_name}_idx", schedule_entries.c[_name], postgresql_where=_scheduled)

schedule_changes = Table(
    "schedule_changes",
    metadata,
    Column("change_id", BigInteger, Identity(always=True), primary_key=True),
    Column("schedule_entry_id", Id, ForeignKey(schedule_entries.c.schedule_entry_id), nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("change_time", Moment, nullable=False),
    Column("planned_before", Moment),
    Column("precision_before", SmallInteger),
    Column("planned_after", Moment, nullable=False),
    Column("precision_after", SmallInteger, nullable=False),
    Column("note", Text, nullable=False),
    Index("schedule_changes_schedule_entry_id_idx", "schedule_entry_id", "change_id"),
    schema=SCHEMA,
)

# How often the schedule of a release has changed, entries that are gone included: calendars must never be told a smaller number.
schedule_versions = Table(
    "schedule_versions",
    metadata,
    Column("release_id", Id, ForeignKey(releases.c.release_id), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("change_time", Moment, nullable=False),
    schema=SCHEMA,
)

# Rules of episode numbers elsewhere, one row for each provider that knows a rule's first title.
episode_redirects = Table(
    "episode_redirects",
    metadata,
    Column("provider", SmallInteger, primary_key=True, autoincrement=False),
    Column("external_id", Text, primary_key=True),
    Column("first_number", Integer, primary_key=True, autoincrement=False),
    # The largest number there is where the range is not known to end.
    Column("last_number", Integer, primary_key=True, autoincrement=False),
    # [{"provider": 1, "external_id": "…"}, …]
    Column("targets", JSONB, nullable=False),
    Column("target_first_number", Integer, nullable=False),
    Column("target_last_number", Integer, nullable=False),
    schema=SCHEMA,
)

# The change feed. Numbers are drawn before commits and so appear out of order: a reader takes what follows its place in
# (xid, change_id) and has an xid below pg_snapshot_xmin(pg_current_snapshot()), under which nothing can appear any more.
changes = Table(
    "changes",
    metadata,
    Column("xid", TransactionId(), primary_key=True, server_default=text("pg_current_xact_id()")),
    Column("change_id", BigInteger, Identity(always=True), primary_key=True),
    Column("release_id", Id, ForeignKey(releases.c.release_id), nullable=False, index=True),
    Column("deleted", Boolean, nullable=False),
    Column("change_time", Moment, nullable=False),
    schema=SCHEMA,
)
