"""source countries: where a video source must not be shown, though its episode may be."""

from __future__ import annotations

from alembic import op

revision = "202611210480"
down_revision = "202611210470"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("ALTER TABLE media.video_sources ADD COLUMN blocked_countries text[] NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("ALTER TABLE media.video_sources DROP COLUMN blocked_countries")
