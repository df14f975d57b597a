"""What imports remember, in the schema "catalog"."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from adapters.postgres.catalog.tables import SCHEMA, releases
from adapters.postgres.schema import Id, metadata

# What each source last told of a release, by the source's own key: what is told again changes nothing, and what somebody has
# changed since can be told from what the source wrote.
import_facts = Table(
    "import_facts",
    metadata,
    Column("source", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("release_id", Id, ForeignKey(releases.c.release_id), nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False),
    Column("facts", JSONB, nullable=False),
    schema=SCHEMA,
)
