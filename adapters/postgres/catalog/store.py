"""The catalog's store, and where its rows and dataclasses meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import asyncpg

from adapters.postgres import Connection, outbox
from adapters.postgres.catalog import statements as sql
from domain.catalog.model import (
    UUID_SHAPE,
    AliasTaken,
    Change,
    Cursor,
    Filter,
    Genre,
    GenreUnknown,
    Kind,
    Membership,
    Release,
    Season,
    Status,
    Title,
    WeeklySlot,
)
from domain.kernel import Event, Viewer
from domain.visibility import Publication

LAST_NUMBER = 2**63 - 1


class PostgresCatalog:
    """The catalog on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def release(self, key: str) -> Release | None:
        by_id = UUID_SHAPE.match(key)
        row = await (
            sql.BY_ID.fetchrow(self._connection, release_id=key) if by_id else sql.BY_ALIAS.fetchrow(self._connection, alias=key)
        )
        return _release(row) if row else None

    async def release_to_change(self, release_id: str) -> Release | None:
        # The lock is taken first: a row that is read in the same statement may be the one from before the wait for it.
        if await sql.LOCK.fetchrow(self._connection, release_id=release_id) is None:
            return None
        return await self.release(release_id)

    async def was_deleted(self, release_id: str) -> bool:
        row = await sql.ORIGIN.fetchrow(self._connection, release_id=release_id)
        return bool(row and row["delete_time"])

    async def creation_digest(self, release_id: str) -> bytes | None:
        row = await sql.ORIGIN.fetchrow(self._connection, release_id=release_id)
        return row["creation_digest"] if row else None

    async def releases(self, release_ids: Sequence[str]) -> list[Release]:
        return [_release(row) for row in await sql.BY_IDS.fetch(self._connection, release_ids=list(release_ids))]

    async def list_releases(
        self, wanted: Filter, viewer: Viewer, *, after: tuple[datetime, str] | None, limit: int
    ) -> list[Release]:
        narrowed = {name: getattr(wanted, name) for name in sql.NARROWING if getattr(wanted, name) is not None}
        values: dict[str, Any] = {**narrowed, "limit": limit}
        if wanted.genres:
            values["genres"] = list(wanted.genres)
        if not viewer.sees_drafts:
            values |= {"maturity": viewer.maturity, "country": viewer.country}
        if after:
            values["after_time"], values["after_id"] = after
        statement = sql.listing(len(wanted.genres), *narrowed, viewer_sees_drafts=viewer.sees_drafts, goes_on=after is not None)
        return [_release(row) for row in await statement.fetch(self._connection, **values)]

    async def add_release(self, release: Release) -> bool:
        try:
            added = await sql.ADD.fetchrow(self._connection, **_row(release), creation_digest=release.digest)
        except asyncpg.UniqueViolationError as fault:
            raise AliasTaken(alias=release.alias, field="release.alias") from fault
        if added is None:
            return False
        await self._carry_genres(release)
        await self._note_change(release.release_id, release.create_time)
        return True

    async def save_release(self, release: Release) -> None:
        row = _row(release)
        del row["create_time"]
        try:
            await sql.SAVE.execute(self._connection, **row)
        except asyncpg.UniqueViolationError as fault:
            raise AliasTaken(alias=release.alias, field="release.alias") from fault
        await sql.CLEAR_GENRES.execute(self._connection, release_id=release.release_id)
        await self._carry_genres(release)
        await self._note_change(release.release_id, release.update_time)

    async def delete_release(self, release_id: str, *, at: datetime) -> None:
        await sql.DELETE.execute(self._connection, release_id=release_id, at=at)
        await self._note_change(release_id, at, deleted=True)

    async def genres(self) -> list[Genre]:
        return [Genre(*row) for row in await sql.GENRES.fetch(self._connection)]

    async def present(self) -> Cursor:
        rows = await sql.PRESENT.fetch(self._connection)
        return Cursor(int(rows[0][0]) - 1, LAST_NUMBER)

    async def changes(self, after: Cursor, *, limit: int) -> list[Change]:
        rows = await sql.CHANGES.fetch(self._connection, transaction=str(after.transaction), number=after.number, limit=limit)
        return [_change(row) for row in rows]

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)

    async def _carry_genres(self, release: Release) -> None:
        wanted = [genre.genre_id for genre in release.genres]
        rows = await sql.ADD_GENRES.fetch(self._connection, release_id=release.release_id, genre_ids=wanted)
        if missing := sorted(set(wanted) - {row["genre_id"] for row in rows}):
            raise GenreUnknown(genres=", ".join(missing), field="release.genres")

    async def _note_change(self, release_id: str, at: datetime, *, deleted: bool = False) -> None:
        await sql.NOTE_CHANGE.execute(self._connection, release_id=release_id, deleted=deleted, at=at)


def _row(release: Release) -> dict[str, Any]:
    slot = release.weekly_slot
    return {
        "release_id": release.release_id,
        "alias": release.alias,
        "titles": [asdict(title) for title in release.titles],
        "synopsis": release.synopsis,
        "kind": release.kind,
        "status": release.status,
        "season": release.season,
        "year": release.year,
        "age_rating": release.age_rating,
        "planned_episode_count": release.planned_episode_count,
        "weekday": slot.weekday if slot else None,
        "minute": slot.minute if slot else None,
        "zone": slot.zone if slot else None,
        "blocked_countries": list(release.blocked_countries),
        "publication": release.publication,
        "version": release.version,
        "create_time": release.create_time,
        "update_time": release.update_time,
        "publish_time": release.publish_time,
    }


def _release(row: asyncpg.Record) -> Release:
    member = row["franchise_id"]
    return Release(
        release_id=row["release_id"],
        alias=row["alias"],
        titles=tuple(Title(title["language"], title["text"]) for title in row["titles"]),
        synopsis=row["synopsis"],
        kind=Kind(row["kind"]),
        status=Status(row["status"]),
        season=Season(row["season"]) if row["season"] else None,
        year=row["year"],
        age_rating=row["age_rating"],
        genres=tuple(Genre(genre_id, name) for genre_id, name in row["genres"]),
        franchise=Membership(member, row["franchise_name"], row["position"]) if member else None,
        planned_episode_count=row["planned_episode_count"],
        episode_count=row["episode_count"],
        weekly_slot=WeeklySlot(row["weekday"], row["minute"], row["zone"]) if row["zone"] else None,
        blocked_countries=tuple(row["blocked_countries"]),
        publication=Publication(row["publication"]),
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        publish_time=row["publish_time"],
    )


def _change(row: asyncpg.Record) -> Change:
    cursor = Cursor(int(row["transaction"]), row["change_id"])
    return Change(cursor, row["changed_id"], row["change_time"], _release(row) if row["release_id"] else None)
