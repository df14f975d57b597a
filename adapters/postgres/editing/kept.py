"""What Editing keeps of accounts."""

from __future__ import annotations

from adapters.postgres.editing.tables import change_sets, revisions
from adapters.postgres.own_data import Fate, Kept
from domain.editing.model import Action, State

KEPT = (
    Kept(table=revisions, fate=Fate.REPLACED, about="Its edits that were published.", named={"action": Action}),
    Kept(
        table=change_sets,
        column="author_id",
        fate=Fate.REPLACED,
        about="Edits that it proposed or prepared.",
        withheld=frozenset({"reviewer_id"}),
        named={"state": State},
    ),
    Kept(
        table=change_sets,
        column="reviewer_id",
        fate=Fate.REPLACED,
        name="reviews",
        about="What it reviewed of others, and what it said to them.",
        withheld=frozenset({"author_id", "edits", "done", "note"}),
        named={"state": State},
    ),
)
