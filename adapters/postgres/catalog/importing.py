"""Where imports write: whole batches at once, each table in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import ARRAY, Text, any_, bindparam, func, literal_column, select, text

from adapters.postgres import ConcurrentChange, Connection, outbox
from adapters.postgres.catalog.groups import NAMING_ALONE
from adapters.postgres.catalog.import_tables import import_facts
from adapters.postgres.catalog.statements import CHANNEL
from adapters.postgres.catalog.store import PostgresCatalog, release_row
from adapters.postgres.catalog.tables import releases
from adapters.postgres.payload import from_payload, to_payload
from adapters.postgres.schema import Id
from adapters.postgres.statement import Statement
from domain.catalog.importing import Facts, Kept, Told, Writing
from domain.catalog.model import ExternalId, Provider, Release
from domain.kernel import Event


class PostgresImports:
    """The catalog as an import sees it, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def alone(self) -> None:
        await ALONE.execute(self._connection)

    async def told(self, source: str, keys: Sequence[str]) -> dict[str, Told]:
        rows = await TOLD.fetch(self._connection, source=source, keys=list(keys))
        return {row["key"]: Told(row["release_id"], row["digest"]) for row in rows}

    async def facts(self, source: str, keys: Sequence[str]) -> dict[str, Facts]:
        rows = await FACTS.fetch(self._connection, source=source, keys=list(keys))
        return {row["key"]: from_payload(Facts, row["facts"]) for row in rows}

    async def owners(self, ids: Sequence[ExternalId]) -> dict[ExternalId, str]:
        providers, external_ids = [one.provider.value for one in ids], [one.external_id for one in ids]
        rows = await OWNERS.fetch(self._connection, providers=providers, external_ids=external_ids)
        return {ExternalId(Provider(row["provider"]), row["external_id"]): row["release_id"] for row in rows}

    async def aliases(self, aliases: Sequence[str]) -> dict[str, str]:
        return {row["alias"]: row["release_id"] for row in await ALIASES.fetch(self._connection, aliases=list(aliases))}

    async def releases_to_change(self, release_ids: Sequence[str]) -> dict[str, Release]:
        if not release_ids:
            return {}
        # The locks are taken first: rows that are read in the same statement may be those from before the wait for them.
        await LOCK.fetch(self._connection, release_ids=list(release_ids))
        found = await PostgresCatalog(self._connection).releases(release_ids)
        return {release.release_id: release for release in found}

    async def genre_ids(self, names: Mapping[str, str], *, at: datetime) -> dict[str, str]:
        return await self._group_ids(GENRES, names, at)

    async def tag_ids(self, names: Mapping[str, str], *, at: datetime) -> dict[str, str]:
        return await self._group_ids(TAGS, names, at)

    async def _group_ids(self, groups: _Groups, names: Mapping[str, str], at: datetime) -> dict[str, str]:
        if not names:
            return {}
        wanted = {"names": list(names), "ids": list(names.values())}
        rows = await groups.found.fetch(self._connection, **wanted)
        if len(rows) < len(names):
            # Only now: an import goes on for long, and editors would wait for it to give a name to anything.
            await NAMING_ALONE.execute(self._connection)
            rows = await groups.made.fetch(self._connection, **wanted, at=at)
        return {row["name"]: row["id"] for row in rows if row["delete_time"] is None}

    async def write(self, source: str, writing: Writing) -> None:
        """Raises ConcurrentChange when somebody took an alias or an id elsewhere since they were looked up."""
        try:
            await self._write(source, writing)
        except asyncpg.IntegrityConstraintViolationError as fault:
            raise ConcurrentChange from fault

    async def _write(self, source: str, writing: Writing) -> None:
        if writing.added:
            await ADD.execute(self._connection, rows=list(map(_row, writing.added)))
        if writing.changed:
            await SAVE.execute(self._connection, rows=list(map(_row, writing.changed)))
            await CLEAR.execute(self._connection, release_ids=[one.release_id for one in writing.changed])
        if touched := [*writing.added, *writing.changed]:
            await CARRY.execute(self._connection, **_carried(touched))
            await NOTE_CHANGES.execute(self._connection, release_ids=[one.release_id for one in touched], at=touched[0].update_time)
        if writing.kept:
            await KEEP.execute(self._connection, source=source, **_kept(writing.kept))

    async def look_over(self) -> None:
        # Otherwise the planner takes tables that were empty for empty, until autovacuum comes round.
        await LOOK_OVER.execute(self._connection)

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)


def _row(release: Release) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in release_row(release).items()}


def _carried(touched: Iterable[Release]) -> dict[str, Any]:
    """Return what releases carry as columns of the tables that hold it."""
    genres = [(one.release_id, genre.genre_id) for one in touched for genre in one.genres]
    tags = [(one.release_id, tag.tag_id) for one in touched for tag in one.tags]
    ids = [(one.release_id, known.provider.value, known.external_id) for one in touched for known in one.external_ids]
    return {
        "genre_releases": [row[0] for row in genres],
        "genre_ids": [row[1] for row in genres],
        "tag_releases": [row[0] for row in tags],
        "tag_ids": [row[1] for row in tags],
        "id_releases": [row[0] for row in ids],
        "providers": [row[1] for row in ids],
        "external_ids": [row[2] for row in ids],
    }


def _kept(kept: Sequence[Kept]) -> dict[str, Any]:
    return {
        "keys": [one.row.facts.key for one in kept],
        "release_ids": [one.release_id for one in kept],
        "digests": [one.row.digest for one in kept],
        "facts": [_told_facts(one.row.facts) for one in kept],
    }


def _told_facts(facts: Facts) -> dict[str, Any]:
    """Return facts as JSON, without what was not told."""
    return {name: value for name, value in to_payload(facts).items() if value not in (None, "", 0, [])}


_WRITTEN = tuple(c.name for c in releases.c if c.computed is None and c.name != "delete_time")
_GIVEN = ", ".join(f"given.{name}" for name in _WRITTEN)
_KEYS = bindparam("keys", type_=ARRAY(Text))
_SOURCE = bindparam("source", type_=Text)

ALONE = Statement(select(func.pg_advisory_xact_lock(literal_column("7305"))))
TOLD = Statement(
    select(import_facts.c.key, import_facts.c.release_id, import_facts.c.digest).where(
        import_facts.c.source == _SOURCE, import_facts.c.key == any_(_KEYS)
    )
)
FACTS = Statement(
    select(import_facts.c.key, import_facts.c.facts).where(import_facts.c.source == _SOURCE, import_facts.c.key == any_(_KEYS))
)
ALIASES = Statement(
    select(releases.c.alias, releases.c.release_id).where(releases.c.alias == any_(bindparam("aliases", type_=ARRAY(Text))))
)
LOCK = Statement(
    select(releases.c.release_id)
    .where(releases.c.release_id == any_(bindparam("release_ids", type_=ARRAY(Id))))
    .order_by(releases.c.release_id)
    .with_for_update()
)
OWNERS = Statement(
    text("""
    SELECT provider, external_id, release_id
    FROM catalog.external_ids
    JOIN unnest(CAST(:providers AS smallint[]), CAST(:external_ids AS text[])) AS wanted (provider, external_id)
        USING (provider, external_id)
    """)
)
ADD = Statement(
    text(f"""
    INSERT INTO catalog.releases ({", ".join(_WRITTEN)})
    SELECT {_GIVEN} FROM jsonb_populate_recordset(CAST(NULL AS catalog.releases), CAST(:rows AS jsonb)) AS given
    """)  # noqa: S608
)
SAVE = Statement(
    text(f"""
    UPDATE catalog.releases SET ({", ".join(_WRITTEN)}) = ROW ({_GIVEN})
    FROM jsonb_populate_recordset(CAST(NULL AS catalog.releases), CAST(:rows AS jsonb)) AS given
    WHERE releases.release_id = given.release_id
    """)  # noqa: S608
)
CLEAR = Statement(
    text("""
    WITH gone AS (SELECT unnest(CAST(:release_ids AS uuid[])) AS release_id),
    genres AS (DELETE FROM catalog.release_genres USING gone WHERE release_genres.release_id = gone.release_id),
    tags AS (DELETE FROM catalog.release_tags USING gone WHERE release_tags.release_id = gone.release_id)
    DELETE FROM catalog.external_ids USING gone WHERE external_ids.release_id = gone.release_id
    """)
)
CARRY = Statement(
    text("""
    WITH genres AS (
        INSERT INTO catalog.release_genres (release_id, genre_id)
        SELECT * FROM unnest(CAST(:genre_releases AS uuid[]), CAST(:genre_ids AS text[]))
    ), tags AS (
        INSERT INTO catalog.release_tags (release_id, tag_id)
        SELECT * FROM unnest(CAST(:tag_releases AS uuid[]), CAST(:tag_ids AS text[]))
    )
    INSERT INTO catalog.external_ids (release_id, provider, external_id)
    SELECT * FROM unnest(CAST(:id_releases AS uuid[]), CAST(:providers AS smallint[]), CAST(:external_ids AS text[]))
    """)
)
NOTE_CHANGES = Statement(
    text(f"""
    WITH noted AS (
        INSERT INTO catalog.changes (release_id, deleted, change_time)
        SELECT release_id, false, CAST(:at AS timestamptz) FROM unnest(CAST(:release_ids AS uuid[])) AS release_id
        RETURNING 1
    )
    SELECT pg_notify('{CHANNEL}', '') FROM noted LIMIT 1
    """)  # noqa: S608
)
KEEP = Statement(
    text("""
    INSERT INTO catalog.import_facts (source, key, release_id, digest, facts)
    SELECT CAST(:source AS text), given.*
    FROM unnest(CAST(:keys AS text[]), CAST(:release_ids AS uuid[]), CAST(:digests AS bytea[]), CAST(:facts AS jsonb[])) AS given
    ON CONFLICT (source, key) DO UPDATE
        SET release_id = excluded.release_id, digest = excluded.digest, facts = excluded.facts
    """)
)

LOOK_OVER = Statement(
    text("ANALYZE catalog.releases, catalog.release_genres, catalog.release_tags, catalog.external_ids, catalog.episodes")
)


_WANTED = "unnest(CAST(:names AS text[]), CAST(:ids AS text[])) AS wanted (name, id)"


@dataclass(frozen=True)
class _Groups:
    """Genres or tags by name, whatever its case, or by id: those there are, or with missing ones made; deleted ones are told."""

    found: Statement
    made: Statement

    @classmethod
    def of(cls, table: str, key: str) -> _Groups:
        # Whoever deletes one meanwhile is waited for, and waits until the import is over.
        there = f"""
        SELECT wanted.name, found.{key} AS id, found.delete_time
        FROM {_WANTED} JOIN LATERAL (
            SELECT {key}, delete_time FROM catalog.{table}
            WHERE {key} = wanted.id OR lower({table}.name) = lower(wanted.name)
            ORDER BY delete_time IS NOT NULL, {key} = wanted.id DESC LIMIT 1 FOR KEY SHARE
        ) AS found ON true
        """  # noqa: S608
        made = f"""
        WITH there AS ({there}), made AS (
            INSERT INTO catalog.{table} ({key}, name, create_time, update_time)
            SELECT DISTINCT ON (id) id, left(name, 64), CAST(:at AS timestamptz), CAST(:at AS timestamptz)
            FROM {_WANTED}
            WHERE NOT EXISTS (SELECT FROM there WHERE there.name = wanted.name)
            ORDER BY id, name
            ON CONFLICT ({key}) DO NOTHING RETURNING {key}
        )
        SELECT name, id, delete_time FROM there
        UNION ALL
        SELECT wanted.name, wanted.id, NULL
        FROM {_WANTED} JOIN made ON made.{key} = wanted.id
        """  # noqa: S608
        return cls(Statement(text(there)), Statement(text(made)))


GENRES = _Groups.of("genres", "genre_id")
TAGS = _Groups.of("tags", "tag_id")
