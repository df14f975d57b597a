"""catalog: releases, genres, franchises, episodes, the change feed."""

from __future__ import annotations

from alembic import op

revision = "202611210200"
down_revision = "202611210100"

STATEMENTS = (
    "CREATE SCHEMA catalog",
    """
    CREATE TABLE catalog.releases (
        release_id uuid PRIMARY KEY,
        alias text NOT NULL UNIQUE,
        titles jsonb NOT NULL,
        synopsis text NOT NULL,
        kind smallint NOT NULL,
        status smallint NOT NULL,
        season smallint,
        year smallint,
        age_rating smallint NOT NULL,
        planned_episode_count integer NOT NULL,
        weekday smallint,
        minute smallint,
        zone text,
        blocked_countries text[] NOT NULL DEFAULT '{}',
        publication smallint NOT NULL,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        publish_time timestamptz,
        delete_time timestamptz,
        list_time timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(publish_time, create_time)) STORED,
        CONSTRAINT releases_alias_lower_check CHECK (alias = lower(alias)),
        CONSTRAINT releases_age_rating_check CHECK (age_rating IN (0, 6, 12, 16, 18)),
        CONSTRAINT releases_weekly_slot_check CHECK (num_nonnulls(weekday, minute, zone) IN (0, 3))
    )
    """,
    "CREATE INDEX releases_list_idx ON catalog.releases (list_time, release_id) WHERE delete_time IS NULL",
    "CREATE INDEX releases_kind_idx ON catalog.releases (kind, list_time, release_id) WHERE delete_time IS NULL",
    "CREATE INDEX releases_status_idx ON catalog.releases (status, list_time, release_id) WHERE delete_time IS NULL",
    "CREATE INDEX releases_year_idx ON catalog.releases (year) WHERE delete_time IS NULL",
    "CREATE TABLE catalog.genres (genre_id text PRIMARY KEY, name text NOT NULL)",
    """
    CREATE TABLE catalog.release_genres (
        release_id uuid REFERENCES catalog.releases,
        genre_id text REFERENCES catalog.genres,
        PRIMARY KEY (release_id, genre_id)
    )
    """,
    "CREATE INDEX release_genres_genre_id_idx ON catalog.release_genres (genre_id, release_id)",
    "CREATE TABLE catalog.franchises (franchise_id uuid PRIMARY KEY, name text NOT NULL UNIQUE)",
    """
    CREATE TABLE catalog.franchise_members (
        release_id uuid PRIMARY KEY REFERENCES catalog.releases,
        franchise_id uuid NOT NULL REFERENCES catalog.franchises,
        position integer NOT NULL
    )
    """,
    "CREATE INDEX franchise_members_franchise_id_idx ON catalog.franchise_members (franchise_id, position)",
    """
    CREATE TABLE catalog.episodes (
        episode_id uuid PRIMARY KEY,
        release_id uuid NOT NULL REFERENCES catalog.releases,
        number text NOT NULL,
        position integer NOT NULL,
        title text NOT NULL,
        duration_seconds integer,
        air_time timestamptz,
        UNIQUE (release_id, position)
    )
    """,
    """
    CREATE TABLE catalog.changes (
        xid xid8 DEFAULT pg_current_xact_id(),
        change_id bigint GENERATED ALWAYS AS IDENTITY,
        release_id uuid NOT NULL REFERENCES catalog.releases,
        deleted boolean NOT NULL,
        change_time timestamptz NOT NULL,
        PRIMARY KEY (xid, change_id)
    )
    """,
    "CREATE INDEX changes_release_id_idx ON catalog.changes (release_id)",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for table in ("changes", "episodes", "franchise_members", "franchises", "release_genres", "genres", "releases"):
        op.execute(f"DROP TABLE catalog.{table}")
    op.execute("DROP SCHEMA catalog")
