"""The tables of all contexts, for whoever compares them with a database."""

from __future__ import annotations

from adapters.postgres import platform
from adapters.postgres.catalog import tables as catalog
from adapters.postgres.editing import tables as editing

SCHEMAS = {catalog.SCHEMA, editing.SCHEMA, platform.SCHEMA}
