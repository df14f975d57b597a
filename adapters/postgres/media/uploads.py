"""The store of uploaded files, and where its rows and dataclasses meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres import Connection, outbox
from adapters.postgres.media.upload_tables import files
from adapters.postgres.statement import Statement
from domain.kernel import Event
from domain.media.files import Attachment, File, FileKind, OwnerKind, Thumbnail, Use
from domain.visibility import Publication, Terms


class PostgresUploads:
    """Uploaded files on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def file(self, file_id: str) -> File | None:
        row = await _BY_ID.fetchrow(self._connection, file_id=file_id)
        return _file(row) if row else None

    async def file_to_use(self, file_id: str) -> File | None:
        row = await _TO_USE.fetchrow(self._connection, file_id=file_id)
        return _file(row) if row else None

    async def uploaded(self, file_id: str) -> tuple[File | None, bytes] | None:
        row = await _UPLOADED.fetchrow(self._connection, file_id=file_id)
        return (None if row["delete_time"] else _file(row), row["upload_digest"]) if row else None

    async def add_file(self, file: File, *, digest: bytes, account_id: str) -> bool:
        row = {name: getattr(file, name) for name in _COLUMNS if name != "thumbnails"}
        added = await _ADD.fetchval(self._connection, **row, upload_digest=digest, account_id=account_id)
        return added is not None

    async def set_thumbnails(self, file_id: str, thumbnails: Sequence[Thumbnail]) -> None:
        rows = [[one.width, one.height, one.size, one.key] for one in thumbnails]
        await _SET_THUMBNAILS.execute(self._connection, file_id=file_id, thumbnails=rows)

    async def files(self, kind: FileKind | None, *, after: tuple[datetime, str] | None, limit: int) -> list[File]:
        time, file_id = after or (None, None)
        rows = await _LIST.fetch(self._connection, kind=kind, after_time=time, after_id=file_id, limit=limit)
        return [_file(row) for row in rows]

    async def use(self, file_id: str, *, at: datetime) -> Use | None:
        row = await _USE.fetchrow(self._connection, file_id=file_id, at=at)
        return Use(_file(row), tuple(_terms(*one) for one in row["terms"]), row["in_promo"]) if row else None

    async def is_used(self, file_id: str) -> bool:
        # The lock is taken first: what is read in the same statement may be from before the wait for it.
        await _LOCK.execute(self._connection, file_id=file_id)
        return bool(await _IS_USED.fetchval(self._connection, file_id=file_id))

    async def unused(self, kinds: Sequence[FileKind], *, before: datetime, limit: int) -> list[File]:
        rows = await _UNUSED.fetch(self._connection, kinds=[int(kind) for kind in kinds], before=before, limit=limit)
        return [_file(row) for row in rows]

    async def delete_file(self, file_id: str, *, at: datetime) -> None:
        await _DELETE.execute(self._connection, file_id=file_id, at=at)

    async def unknown(self, keys: Sequence[str]) -> list[str]:
        return [row["key"] for row in await _UNKNOWN.fetch(self._connection, keys=list(keys))]

    async def owner_exists(self, owner_kind: OwnerKind, owner_id: str) -> bool:
        return bool(await _OWNER.fetchval(self._connection, owner_kind=owner_kind, owner_id=owner_id))

    async def attached_count(self, owner_kind: OwnerKind, owner_id: str, *, but: str) -> int:
        await _TAKE_TURN.fetchval(self._connection, owner=f"{owner_kind}/{owner_id}")
        count = await _COUNT.fetchval(self._connection, owner_kind=owner_kind, owner_id=owner_id, file_id=but)
        return int(count)

    async def attach(self, owner_kind: OwnerKind, owner_id: str, file_id: str, *, position: int) -> None:
        await _ATTACH.execute(self._connection, owner_kind=owner_kind, owner_id=owner_id, file_id=file_id, position=position)

    async def detach(self, owner_kind: OwnerKind, owner_id: str, file_id: str) -> None:
        await _DETACH.execute(self._connection, owner_kind=owner_kind, owner_id=owner_id, file_id=file_id)

    async def attachments(self, owner_kind: OwnerKind, owner_ids: Sequence[str]) -> list[tuple[Attachment, Use]]:
        rows = await _ATTACHMENTS.fetch(self._connection, owner_kind=owner_kind, owner_ids=list(owner_ids))
        return [_attachment(owner_kind, row) for row in rows]

    async def owners(self, file_id: str) -> list[str]:
        return [row["owner_id"] for row in await _OWNERS.fetch(self._connection, file_id=file_id)]

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)


def _file(row: asyncpg.Record) -> File:
    return File(
        file_id=row["file_id"],
        kind=FileKind(row["kind"]),
        content_type=row["content_type"],
        size=row["size"],
        sha256=row["sha256"],
        width=row["width"],
        height=row["height"],
        language=row["language"],
        key=row["key"],
        thumbnails=tuple(Thumbnail(*one) for one in row["thumbnails"]),
        create_time=row["create_time"],
    )


def _attachment(owner_kind: OwnerKind, row: asyncpg.Record) -> tuple[Attachment, Use]:
    file = _file(row)
    terms = _terms(*(row[name] for name in ("publication", "age_rating", "blocked_countries", "held_countries", "release_id")))
    return Attachment(owner_kind, row["owner_id"], row["position"], file), Use(file, (terms,), in_promo=False)


def _terms(publication: int, age_rating: int, blocked: Sequence[str], held: Sequence[str], release_id: str) -> Terms:
    return Terms(Publication(publication), age_rating, frozenset(blocked), frozenset(held), release_id)


def _query(sql: str, **parts: str) -> Statement:
    for name, part in parts.items():
        sql = sql.replace(f"[{name}]", part)
    return Statement(text(sql.replace("[columns]", ", ".join(f"files.{name}" for name in _COLUMNS))))


_COLUMNS = (
    "file_id",
    "kind",
    "content_type",
    "size",
    "sha256",
    "width",
    "height",
    "language",
    "key",
    "thumbnails",
    "create_time",
)
_ATTACHED = "SELECT FROM media.attachments WHERE attachments.file_id = files.file_id"
_PROMOTED = "SELECT FROM media.promos WHERE promos.image_file_id = files.file_id AND promos.delete_time IS NULL"
_RUNNING = "promos.enabled AND coalesce(promos.start_time <= :at, TRUE) AND coalesce(promos.end_time > :at, TRUE)"
# The release that an attachment belongs to, be it by one of its episodes.
_RELEASE = """
    LEFT JOIN catalog.episodes
    ON attachments.owner_kind = 2 AND episodes.episode_id = attachments.owner_id AND episodes.delete_time IS NULL
    JOIN catalog.releases
    ON releases.release_id = CASE WHEN attachments.owner_kind = 1 THEN attachments.owner_id ELSE episodes.release_id END
    AND releases.delete_time IS NULL
"""

_BY_ID = _query("SELECT [columns] FROM media.files WHERE file_id = :file_id AND delete_time IS NULL")
_TO_USE = _query("SELECT [columns] FROM media.files WHERE file_id = :file_id AND delete_time IS NULL FOR SHARE")
_UPLOADED = _query("SELECT [columns], upload_digest, delete_time FROM media.files WHERE file_id = :file_id")
_ADD = Statement(
    insert(files)
    .values(
        {
            name: bindparam(name, type_=files.c[name].type)
            for name in (*_COLUMNS, "upload_digest", "account_id")
            if name != "thumbnails"
        }
    )
    .on_conflict_do_nothing(index_elements=[files.c.file_id])
    .returning(files.c.file_id)
)
_SET_THUMBNAILS = _query("UPDATE media.files SET thumbnails = :thumbnails WHERE file_id = :file_id AND delete_time IS NULL")
_LIST = _query(
    """
    SELECT [columns] FROM media.files
    WHERE delete_time IS NULL AND (CAST(:kind AS smallint) IS NULL OR kind = :kind)
    AND (CAST(:after_time AS timestamptz) IS NULL OR (create_time, file_id) < (:after_time, CAST(:after_id AS uuid)))
    ORDER BY create_time DESC, file_id DESC LIMIT :limit
    """
)
_USE = _query(
    """
    SELECT [columns], EXISTS ([promoted] AND [running]) AS in_promo, (
        SELECT coalesce(jsonb_agg(jsonb_build_array(
            publication, age_rating, blocked_countries, held_countries, releases.release_id
        )), '[]')
        FROM media.attachments [release] WHERE attachments.file_id = files.file_id
    ) AS terms
    FROM media.files WHERE file_id = :file_id AND delete_time IS NULL
    """,
    promoted=_PROMOTED,
    running=_RUNNING,
    release=_RELEASE,
)
_LOCK = _query("SELECT FROM media.files WHERE file_id = :file_id FOR UPDATE")
_IS_USED = _query(
    "SELECT EXISTS ([attached]) OR EXISTS ([promoted]) FROM media.files WHERE file_id = :file_id",
    attached=_ATTACHED,
    promoted=_PROMOTED,
)
_UNUSED = _query(
    """
    SELECT [columns] FROM media.files
    WHERE delete_time IS NULL AND kind = ANY(CAST(:kinds AS smallint[])) AND create_time < :before
    AND NOT EXISTS ([attached]) AND NOT EXISTS ([promoted])
    ORDER BY create_time LIMIT :limit
    """,
    attached=_ATTACHED,
    promoted=_PROMOTED,
)
_DELETE = _query("UPDATE media.files SET delete_time = :at WHERE file_id = :file_id AND delete_time IS NULL")
# A thumbnail's key is its image's with the width behind it; thumbnails whose making broke off may go as well as stay.
_UNKNOWN = _query(
    """
    SELECT key FROM unnest(CAST(:keys AS text[])) AS stored (key)
    WHERE NOT EXISTS (SELECT FROM media.files WHERE files.key = left(stored.key, 36) AND delete_time IS NULL)
    """
)
_OWNER = _query(
    """
    SELECT CASE CAST(:owner_kind AS smallint)
        WHEN 1 THEN EXISTS (SELECT FROM catalog.releases WHERE release_id = CAST(:owner_id AS uuid) AND delete_time IS NULL)
        ELSE EXISTS (
            SELECT FROM catalog.episodes JOIN catalog.releases USING (release_id)
            WHERE episode_id = CAST(:owner_id AS uuid) AND releases.delete_time IS NULL AND episodes.delete_time IS NULL
        )
    END
    """
)
_TAKE_TURN = _query("SELECT pg_advisory_xact_lock(hashtextextended(:owner, 350))")
_COUNT = _query(
    "SELECT count(*) FROM media.attachments WHERE owner_kind = :owner_kind AND owner_id = :owner_id AND file_id <> :file_id"
)
_ATTACH = _query(
    """
    INSERT INTO media.attachments (owner_kind, owner_id, file_id, position)
    VALUES (:owner_kind, :owner_id, :file_id, :position)
    ON CONFLICT (owner_kind, owner_id, file_id) DO UPDATE SET position = EXCLUDED.position
    """
)
_DETACH = _query("DELETE FROM media.attachments WHERE owner_kind = :owner_kind AND owner_id = :owner_id AND file_id = :file_id")
_ATTACHMENTS = _query(
    """
    SELECT [columns], attachments.owner_id, attachments.position, releases.publication, releases.age_rating,
        releases.blocked_countries, releases.held_countries, releases.release_id
    FROM unnest(CAST(:owner_ids AS uuid[])) WITH ORDINALITY AS owners (owner_id, place)
    JOIN media.attachments ON attachments.owner_kind = :owner_kind AND attachments.owner_id = owners.owner_id
    JOIN media.files ON files.file_id = attachments.file_id AND files.delete_time IS NULL
    [release]
    ORDER BY owners.place, attachments.position, files.create_time, files.file_id
    """,
    release=_RELEASE,
)
_OWNERS = _query("SELECT DISTINCT owner_id FROM media.attachments WHERE file_id = :file_id")
