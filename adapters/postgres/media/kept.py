"""What Media keeps of accounts."""

from __future__ import annotations

from adapters.postgres.media.source_tables import player_settings, positions, streams
from adapters.postgres.media.upload_tables import files
from adapters.postgres.own_data import Fate, Kept
from domain.media.files import FileKind

KEPT = (
    Kept(table=player_settings, fate=Fate.DELETED, about="How its profiles want to play."),
    Kept(table=positions, fate=Fate.DELETED, about="Where its profiles stopped in which episode, and when."),
    Kept(table=streams, fate=Fate.DELETED, about="What plays now, and where."),
    Kept(
        table=files,
        fate=Fate.REPLACED,
        about="Files that it uploaded for others to see.",
        withheld=frozenset({"key", "thumbnails"}),
        named={"kind": FileKind},
    ),
)
