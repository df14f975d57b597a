"""schedule: episodes and air times."""

from __future__ import annotations

from alembic import op

revision = "202611210320"
down_revision = "202611210310"

# What is there can be watched, and whole numbers get room between them for those that come in between.
STATEMENTS = (
    """
    ALTER TABLE catalog.episodes
        DROP CONSTRAINT episodes_release_id_position_key,
        ADD absolute_number text NOT NULL DEFAULT '',
        ADD season_number text NOT NULL DEFAULT '',
        ADD titles jsonb NOT NULL DEFAULT '[]',
        ADD synopsis text NOT NULL DEFAULT '',
        ADD state smallint NOT NULL DEFAULT 2,
        ADD release_time timestamptz,
        ADD version bigint NOT NULL DEFAULT 1,
        ADD create_time timestamptz NOT NULL DEFAULT now(),
        ADD update_time timestamptz NOT NULL DEFAULT now(),
        ADD delete_time timestamptz
    """,
    "UPDATE catalog.episodes SET position = position * 1000, release_time = coalesce(air_time, now())",
    "CREATE UNIQUE INDEX episodes_position_idx ON catalog.episodes (release_id, position) WHERE delete_time IS NULL",
    """
    CREATE TABLE catalog.schedule_entries (
        schedule_entry_id uuid PRIMARY KEY,
        release_id uuid NOT NULL REFERENCES catalog.releases,
        number text NOT NULL,
        episode_count smallint NOT NULL,
        planned_air_time timestamptz NOT NULL,
        precision smallint NOT NULL,
        time_zone text NOT NULL,
        slot_date date,
        actual_air_time timestamptz,
        state smallint NOT NULL,
        note text NOT NULL,
        version bigint NOT NULL DEFAULT 1,
        create_time timestamptz NOT NULL DEFAULT now(),
        update_time timestamptz NOT NULL DEFAULT now(),
        delete_time timestamptz
    )
    """,
    "CREATE INDEX schedule_entries_release_id_idx ON catalog.schedule_entries (release_id)",
    "CREATE INDEX schedule_entries_planned_air_time_idx ON catalog.schedule_entries (planned_air_time) WHERE delete_time IS NULL",
    "CREATE INDEX schedule_entries_actual_air_time_idx ON catalog.schedule_entries (actual_air_time) WHERE delete_time IS NULL",
    "CREATE INDEX schedule_entries_slot_date_idx ON catalog.schedule_entries (slot_date) WHERE delete_time IS NULL",
    """
    CREATE TABLE catalog.schedule_changes (
        change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        schedule_entry_id uuid NOT NULL REFERENCES catalog.schedule_entries,
        kind smallint NOT NULL,
        change_time timestamptz NOT NULL,
        planned_before timestamptz,
        precision_before smallint,
        planned_after timestamptz NOT NULL,
        precision_after smallint NOT NULL,
        note text NOT NULL
    )
    """,
    "CREATE INDEX schedule_changes_schedule_entry_id_idx ON catalog.schedule_changes (schedule_entry_id, change_id)",
)
REVERSED = (
    "DROP TABLE catalog.schedule_changes",
    "DROP TABLE catalog.schedule_entries",
    "DROP INDEX catalog.episodes_position_idx",
    "DELETE FROM catalog.episodes WHERE delete_time IS NOT NULL",
    """
    UPDATE catalog.episodes SET position = placed.place
    FROM (SELECT episode_id, row_number() OVER (PARTITION BY release_id ORDER BY position) AS place FROM catalog.episodes) AS placed
    WHERE placed.episode_id = episodes.episode_id
    """,
    """
    ALTER TABLE catalog.episodes
        DROP absolute_number, DROP season_number, DROP titles, DROP synopsis, DROP state, DROP release_time, DROP version,
        DROP create_time, DROP update_time, DROP delete_time,
        ADD CONSTRAINT episodes_release_id_position_key UNIQUE (release_id, position)
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
