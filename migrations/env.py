"""Run by Alembic around each command; the connection comes from `adapters/postgres/migrate.py`."""

from __future__ import annotations

from typing import Any

from alembic import context

from adapters.postgres.everything import SCHEMAS
from adapters.postgres.schema import metadata


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave alone what is in the database beside our schemas."""
    return kind != "schema" or name in SCHEMAS


def tell(*, step: Any, **_: object) -> None:
    context.config.attributes["tell"](f"{'applied' if step.is_upgrade else 'undone'}: {step.up_revision.doc}")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_schemas=True,
    include_name=ours,
    transaction_per_migration=True,
    on_version_apply=tell,  # type: ignore[arg-type]  # called with keywords alone, more of them with each release
)
with context.begin_transaction():
    context.run_migrations()
