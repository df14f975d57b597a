"""What the tables of all contexts share: one description of the database, and its column types."""

from __future__ import annotations

from typing import Any

from sqlalchemy import DateTime, MetaData, Uuid
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

# Names that say what failed, and that migrations can drop by.
metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

Id = Uuid(as_uuid=False)
Moment = DateTime(timezone=True)


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's xid8: grows with each writing transaction, and never starts again from zero."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "XID8"


# So that a comparison with the database knows the type too.
ischema_names["xid8"] = TransactionId
