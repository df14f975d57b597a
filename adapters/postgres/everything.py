"""The tables of all contexts, for whoever compares them with a database."""

from __future__ import annotations

from adapters.postgres import platform
from adapters.postgres.accounts import (
    device_tables,  # noqa: F401 - its tables join the others
    key_tables,  # noqa: F401 - its table joins the others
    own_data_tables,  # noqa: F401 - its table joins the others
    profile_tables,  # noqa: F401 - its tables join the others
    proof_tables,  # noqa: F401 - its tables join the others
    team_tables,  # noqa: F401 - its tables join the others
)
from adapters.postgres.accounts import tables as accounts
from adapters.postgres.catalog import import_tables  # noqa: F401 - its table joins the others
from adapters.postgres.catalog import tables as catalog
from adapters.postgres.editing import tables as editing
from adapters.postgres.media import source_tables  # noqa: F401 - its tables join the others
from adapters.postgres.media import upload_tables as media
from adapters.postgres.operations import tables as operations
from adapters.postgres.schema import metadata

SCHEMAS = {accounts.SCHEMA, catalog.SCHEMA, editing.SCHEMA, media.SCHEMA, operations.SCHEMA, platform.SCHEMA}
# Each after those that it refers to.
TABLES = metadata.sorted_tables
