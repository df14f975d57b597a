"""The tables of the schema "editing"."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from adapters.postgres.schema import Id, Moment, metadata

SCHEMA = "editing"

revisions = Table(
    "revisions",
    metadata,
    Column("kind", Text, primary_key=True),
    # Text, since some kinds have words for ids.
    Column("item_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("action", SmallInteger, nullable=False),
    Column("fields", ARRAY(Text), nullable=False),
    Column("account_id", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("change_set_id", Id),
    Column("time", Moment, nullable=False),
    Column("decided", JSONB, nullable=False),
    schema=SCHEMA,
)

Index("revisions_time_idx", revisions.c.time)

change_sets = Table(
    "change_sets",
    metadata,
    Column("change_set_id", Id, primary_key=True),
    Column("title", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("author_id", Text, nullable=False),
    Column("reviewer_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # [{"kind": …, "item_id": …, "action": …, "version": …, "changes": {…}}, …] in the order they are made.
    Column("edits", JSONB, nullable=False),
    # [[kind, item id, version], …]
    Column("done", JSONB, nullable=False),
    Column("publish_time", Moment),
    Column("version", BigInteger, nullable=False),
    Column("create_time", Moment, nullable=False),
    Column("update_time", Moment, nullable=False),
    schema=SCHEMA,
)
Index("change_sets_update_time_idx", change_sets.c.update_time, change_sets.c.change_set_id)
Index("change_sets_state_idx", change_sets.c.state, change_sets.c.update_time, change_sets.c.change_set_id)
Index("change_sets_author_idx", change_sets.c.author_id, change_sets.c.update_time, change_sets.c.change_set_id)
# 4 is State.SCHEDULED.
Index("change_sets_due_idx", change_sets.c.publish_time, postgresql_where=text("state = 4"))
