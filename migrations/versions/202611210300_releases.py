"""releases: ratings, studios, tags, credits, external ids, blocks."""

from __future__ import annotations

from alembic import op

revision = "202611210300"
down_revision = "202611210200"

STATEMENTS = (
    """
    ALTER TABLE catalog.releases
        DROP IF EXISTS creation_digest,
        ADD synonyms jsonb NOT NULL DEFAULT '[]',
        ADD in_production boolean NOT NULL DEFAULT false,
        ADD premiere_time timestamptz,
        ADD rating double precision NOT NULL DEFAULT 0,
        ADD popularity integer NOT NULL DEFAULT 0,
        ADD studios text[] NOT NULL DEFAULT '{}',
        ADD credits jsonb NOT NULL DEFAULT '[]',
        ADD voice_teams text[] NOT NULL DEFAULT '{}',
        ADD external_ids jsonb NOT NULL DEFAULT '[]',
        ADD rights_blocks jsonb NOT NULL DEFAULT '[]',
        ADD held_countries text[] NOT NULL DEFAULT '{}',
        ADD trailers jsonb NOT NULL DEFAULT '[]',
        ADD theme_songs jsonb NOT NULL DEFAULT '[]',
        ADD title_key text NOT NULL GENERATED ALWAYS AS (lower(coalesce(titles -> 0 ->> 'text', ''))) STORED,
        ADD premiere_key timestamptz NOT NULL
            GENERATED ALWAYS AS (coalesce(premiere_time, timestamptz '1900-01-01 00:00:00+00')) STORED
    """,
    "CREATE INDEX releases_rating_idx ON catalog.releases (rating, release_id) WHERE delete_time IS NULL",
    "CREATE INDEX releases_popularity_idx ON catalog.releases (popularity, release_id) WHERE delete_time IS NULL",
    "CREATE INDEX releases_premiere_idx ON catalog.releases (premiere_key, release_id) WHERE delete_time IS NULL",
    "CREATE INDEX releases_title_idx ON catalog.releases (title_key, release_id) WHERE delete_time IS NULL",
    "CREATE INDEX releases_studios_idx ON catalog.releases USING gin (studios) WHERE delete_time IS NULL",
    "CREATE INDEX releases_voice_teams_idx ON catalog.releases USING gin (voice_teams) WHERE delete_time IS NULL",
    """
    CREATE TABLE catalog.external_ids (
        provider smallint,
        external_id text,
        release_id uuid NOT NULL REFERENCES catalog.releases,
        PRIMARY KEY (provider, external_id)
    )
    """,
    "CREATE INDEX external_ids_release_id_idx ON catalog.external_ids (release_id)",
    """
    ALTER TABLE catalog.genres
        ADD version bigint NOT NULL DEFAULT 1,
        ADD create_time timestamptz NOT NULL DEFAULT now(),
        ADD update_time timestamptz NOT NULL DEFAULT now(),
        ADD delete_time timestamptz
    """,
    """
    CREATE TABLE catalog.tags (
        tag_id text PRIMARY KEY,
        name text NOT NULL,
        version bigint NOT NULL DEFAULT 1,
        create_time timestamptz NOT NULL DEFAULT now(),
        update_time timestamptz NOT NULL DEFAULT now(),
        delete_time timestamptz
    )
    """,
    """
    CREATE TABLE catalog.release_tags (
        release_id uuid REFERENCES catalog.releases,
        tag_id text REFERENCES catalog.tags,
        PRIMARY KEY (release_id, tag_id)
    )
    """,
    "CREATE INDEX release_tags_tag_id_idx ON catalog.release_tags (tag_id, release_id)",
    """
    ALTER TABLE catalog.franchises
        ADD parent_franchise_id uuid REFERENCES catalog.franchises,
        ADD version bigint NOT NULL DEFAULT 1,
        ADD create_time timestamptz NOT NULL DEFAULT now(),
        ADD update_time timestamptz NOT NULL DEFAULT now(),
        ADD delete_time timestamptz
    """,
    "CREATE INDEX franchises_parent_franchise_id_idx ON catalog.franchises (parent_franchise_id)",
)
REVERSED = (
    """
    ALTER TABLE catalog.franchises
        DROP parent_franchise_id, DROP version, DROP create_time, DROP update_time, DROP delete_time
    """,
    "DROP TABLE catalog.release_tags",
    "DROP TABLE catalog.tags",
    "ALTER TABLE catalog.genres DROP version, DROP create_time, DROP update_time, DROP delete_time",
    "DROP TABLE catalog.external_ids",
    """
    ALTER TABLE catalog.releases
        DROP premiere_key, DROP title_key, DROP theme_songs, DROP trailers, DROP held_countries, DROP rights_blocks,
        DROP external_ids, DROP voice_teams, DROP credits, DROP studios, DROP popularity, DROP rating, DROP premiere_time,
        DROP in_production, DROP synonyms
    """,
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
