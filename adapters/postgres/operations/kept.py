"""What is kept of accounts with long work."""

from __future__ import annotations

from adapters.postgres.operations.tables import operations
from adapters.postgres.own_data import Fate, Kept
from domain.operations.model import State

KEPT = (
    Kept(
        table=operations,
        fate=Fate.REPLACED,
        about="Long work that it started, for thirty days.",
        withheld=frozenset({"checkpoint", "runner", "attempts", "shared"}),
        named={"state": State},
    ),
)
