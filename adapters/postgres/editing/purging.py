"""Where items are purged that were deleted too long ago to be brought back; their history stays.

Of what an import would bring again a mark stays, so that nothing returns that an editor has deleted: of a release its row with
its ids elsewhere, emptied; of a source's episodes and players their rows; of genres and tags their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from adapters.postgres import Connection
from adapters.postgres.statement import Statement


class PostgresPurge:
    """Purging, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def purge(self, *, before: datetime, limit: int) -> dict[str, int]:
        """Purge at most so many items of each kind that were deleted before a time; return how many, by kind."""
        counts = {"release": await self._purge_releases(before, limit)}
        episodes = await EPISODES.fetch(self._connection, before=before, limit=limit)
        counts["episode"] = await self._purge_episodes([row["episode_id"] for row in episodes])
        entries = await ENTRIES.fetch(self._connection, before=before, limit=limit)
        counts["schedule_entry"] = await self._purge_entries([row["schedule_entry_id"] for row in entries])
        for kind, statement in {"video_source": VIDEO_SOURCES, "promo": PROMOS, "franchise": FRANCHISES}.items():
            counts[kind] = len(await statement.fetch(self._connection, before=before, limit=limit))
        return counts

    async def _purge_releases(self, before: datetime, limit: int) -> int:
        gone = [row["release_id"] for row in await RELEASES.fetch(self._connection, before=before, limit=limit)]
        if not gone:
            return 0
        parts = await EPISODES_OF.fetch(self._connection, release_ids=gone)
        await self._purge_episodes([row["episode_id"] for row in parts])
        entries = await ENTRIES_OF.fetch(self._connection, release_ids=gone)
        await self._purge_entries([row["schedule_entry_id"] for row in entries])
        for statement in EMPTY:
            await statement.execute(self._connection, release_ids=gone)
        return len(gone)

    async def _purge_episodes(self, episode_ids: Sequence[str]) -> int:
        for statement in EMPTY_EPISODES if episode_ids else ():
            await statement.execute(self._connection, episode_ids=list(episode_ids))
        return len(episode_ids)

    async def _purge_entries(self, entry_ids: Sequence[str]) -> int:
        for statement in EMPTY_ENTRIES if entry_ids else ():
            await statement.execute(self._connection, entry_ids=list(entry_ids))
        return len(entry_ids)


_RELEASES = "ANY (CAST(:release_ids AS uuid[]))"
_EPISODES = "ANY (CAST(:episode_ids AS uuid[]))"
_ENTRIES = "ANY (CAST(:entry_ids AS uuid[]))"

# Those that are emptied go by another alias.
RELEASES = Statement(
    text("""
    SELECT release_id FROM catalog.releases
    WHERE delete_time < :before AND alias <> 'deleted-' || release_id
    ORDER BY release_id LIMIT :limit FOR UPDATE SKIP LOCKED
    """)
)
EPISODES_OF = Statement(text(f"SELECT episode_id FROM catalog.episodes WHERE release_id = {_RELEASES}"))  # noqa: S608
ENTRIES_OF = Statement(text(f"SELECT schedule_entry_id FROM catalog.schedule_entries WHERE release_id = {_RELEASES}"))  # noqa: S608
EMPTY = (
    *(
        Statement(text(f"DELETE FROM {table} WHERE {column} = {_RELEASES}"))  # noqa: S608 - tables
        for table, column in (
            ("catalog.release_genres", "release_id"),
            ("catalog.release_tags", "release_id"),
            ("catalog.franchise_members", "release_id"),
            ("media.attachments", "owner_id"),
        )
    ),
    Statement(
        text("""
        UPDATE catalog.import_facts SET facts = jsonb_build_object('key', key)
        WHERE release_id = ANY (CAST(:release_ids AS uuid[]))
        """)
    ),
    Statement(
        text("""
        UPDATE catalog.releases SET
            alias = 'deleted-' || release_id, titles = '[]', synonyms = '[]', synopsis = '', studios = '{}', credits = '[]',
            voice_teams = '{}', rights_blocks = '[]', held_countries = '{}', trailers = '[]', theme_songs = '[]'
        WHERE release_id = ANY (CAST(:release_ids AS uuid[]))
        """)
    ),
)
# An episode that a source tells of would be brought again.
EPISODES = Statement(
    text("""
    SELECT episode_id FROM catalog.episodes
    WHERE delete_time < :before AND NOT EXISTS (
        SELECT FROM catalog.import_facts WHERE import_facts.release_id = episodes.release_id AND jsonb_exists(facts, 'links')
    )
    ORDER BY episode_id LIMIT :limit FOR UPDATE SKIP LOCKED
    """)
)
EMPTY_EPISODES = (
    Statement(
        text(f"""
        DELETE FROM media.attachments WHERE owner_id = {_EPISODES}
            OR owner_id IN (SELECT video_source_id FROM media.video_sources WHERE episode_id = {_EPISODES})
        """)  # noqa: S608
    ),
    *(
        Statement(text(f"DELETE FROM {table} WHERE episode_id = {_EPISODES}"))  # noqa: S608 - tables
        for table in ("media.video_sources", "media.positions", "catalog.episodes")
    ),
)
ENTRIES = Statement(
    text("""
    SELECT schedule_entry_id FROM catalog.schedule_entries
    WHERE delete_time < :before ORDER BY schedule_entry_id LIMIT :limit FOR UPDATE SKIP LOCKED
    """)
)
EMPTY_ENTRIES = tuple(
    Statement(text(f"DELETE FROM catalog.{table} WHERE schedule_entry_id = {_ENTRIES}"))  # noqa: S608 - tables
    for table in ("schedule_changes", "schedule_entries")
)
# What an editor made begins with its creation; what an import brought would be brought again.
VIDEO_SOURCES = Statement(
    text("""
    DELETE FROM media.video_sources WHERE video_source_id IN (
        SELECT video_source_id FROM media.video_sources AS gone
        WHERE gone.delete_time < :before AND EXISTS (
            SELECT FROM editing.revisions
            WHERE revisions.kind = 'video_source' AND revisions.item_id = CAST(gone.video_source_id AS text)
                AND revisions.version = 1 AND revisions.action = 1
        )
        LIMIT :limit
    ) RETURNING video_source_id
    """)
)
PROMOS = Statement(
    text("""
    DELETE FROM media.promos WHERE promo_id IN (
        SELECT promo_id FROM media.promos WHERE delete_time < :before LIMIT :limit
    ) RETURNING promo_id
    """)
)
FRANCHISES = Statement(
    text("""
    DELETE FROM catalog.franchises WHERE franchise_id IN (
        SELECT franchise_id FROM catalog.franchises AS gone
        WHERE gone.delete_time < :before
            AND NOT EXISTS (SELECT FROM catalog.franchises AS below WHERE below.parent_franchise_id = gone.franchise_id)
            AND NOT EXISTS (SELECT FROM catalog.franchise_members WHERE franchise_members.franchise_id = gone.franchise_id)
        LIMIT :limit
    ) RETURNING franchise_id
    """)
)
