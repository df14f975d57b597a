"""schedule versions: how often the schedule of a release has changed, which never falls."""

from __future__ import annotations

from alembic import op

revision = "202611210470"
down_revision = "202611210460"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute(
        """
        CREATE TABLE catalog.schedule_versions (
            release_id uuid PRIMARY KEY REFERENCES catalog.releases (release_id),
            version integer NOT NULL,
            change_time timestamptz NOT NULL
        )
        """
    )
    # No less than calendars were told by now.
    op.execute(
        """
        INSERT INTO catalog.schedule_versions (release_id, version, change_time)
        SELECT release_id, sum(version), max(update_time) FROM catalog.schedule_entries GROUP BY release_id
        """
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("DROP TABLE catalog.schedule_versions")
