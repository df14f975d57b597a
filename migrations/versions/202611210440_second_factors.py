"""second factors: one-time passwords, recovery codes, passkeys, and accounts at other issuers."""

from __future__ import annotations

from alembic import op

revision = "202611210440"
down_revision = "202611210430"

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
