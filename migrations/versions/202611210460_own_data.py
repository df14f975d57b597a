"""own data: exports, and accounts that are to be erased."""

from __future__ import annotations

from alembic import op

revision = "202611210460"
down_revision = "202611210450"

STATEMENTS: tuple[str, ...] = ()
REVERSED: tuple[str, ...] = ()


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for statement in REVERSED:
        op.execute(statement)
