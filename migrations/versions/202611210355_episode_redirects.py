"""episode redirects: rules of episode numbers elsewhere."""

from __future__ import annotations

from alembic import op

revision = "202611210355"
down_revision = "202611210350"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute(
        """
        CREATE TABLE catalog.episode_redirects (
            provider smallint,
            external_id text,
            first_number integer,
            last_number integer,
            targets jsonb NOT NULL,
            target_first_number integer NOT NULL,
            target_last_number integer NOT NULL,
            PRIMARY KEY (provider, external_id, first_number, last_number)
        )
        """
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("DROP TABLE catalog.episode_redirects")
