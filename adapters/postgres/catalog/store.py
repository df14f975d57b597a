"""The catalog's store, and where its rows and dataclasses meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from adapters.postgres import Connection, outbox
from adapters.postgres.catalog import statements as sql
from adapters.postgres.catalog.browsing import SECONDS, filter_values, random_release
from adapters.postgres.catalog.episodes import rights_blocks
from adapters.postgres.catalog.groups import Franchises
from adapters.postgres.catalog.listing import KEYS, listing, values, viewing
from adapters.postgres.catalog.redirects import PostgresRedirects
from adapters.postgres.payload import plain
from domain.catalog.filters import Filter, Key, Value
from domain.catalog.franchises import Franchise
from domain.catalog.model import (
    UUID_SHAPE,
    AliasTaken,
    Change,
    Credit,
    Cursor,
    ExternalId,
    ExternalIdTaken,
    Genre,
    GenreUnknown,
    Kind,
    Membership,
    Provider,
    Release,
    Role,
    Season,
    Status,
    Tag,
    TagUnknown,
    ThemePlace,
    ThemeSong,
    Title,
    Trailer,
    WeeklySlot,
)
from domain.catalog.ports import Listed
from domain.catalog.redirects import Redirect
from domain.kernel import Event, Viewer
from domain.visibility import Publication

LAST_NUMBER = 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Orders by time, whose places in a list are written as microseconds.
TIMES = {Key.PUBLISHED, Key.PREMIERE}
TIMED = {KEYS[key][0].name for key in TIMES}


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

    async def releases(self, release_ids: Sequence[str]) -> list[Release]:
        return [_release(row) for row in await sql.BY_IDS.fetch(self._connection, release_ids=list(release_ids))]

    async def release_by_external_id(self, provider: Provider, external_id: str) -> Release | None:
        row = await sql.BY_EXTERNAL_ID.fetchrow(self._connection, provider=provider, external_id=external_id)
        return _release(row) if row else None

    async def releases_by_external_ids(self, ids: Sequence[ExternalId]) -> list[Release]:
        named = {"providers": [one.provider for one in ids], "external_ids": [one.external_id for one in ids]}
        return [_release(row) for row in await sql.BY_EXTERNAL_IDS.fetch(self._connection, **named)]

    async def redirects(self, ids: Sequence[ExternalId], number: int) -> list[Redirect]:
        return await PostgresRedirects(self._connection).redirects(ids, number)

    async def list_releases(
        self, wanted: Filter, viewer: Viewer, *, after: tuple[str | float, str] | None, limit: int
    ) -> list[Listed]:
        known = values(wanted, viewer=viewer, limit=limit)
        if after:
            at, known["after_id"] = after
            known["after_key"] = _moment(int(at)) if wanted.order.key in TIMES else at
        rows = await listing(wanted, viewer=viewer, goes_on=after is not None).fetch(self._connection, **known)
        key = KEYS[wanted.order.key][0].name
        return [Listed(_release(row), _microseconds(row[key]) if key in TIMED else row[key]) for row in rows]

    async def add_release(self, release: Release) -> bool:
        if await sql.ADD.fetchrow(self._connection, **release_row(release)) is None:
            if await sql.IS_THERE.fetchval(self._connection, release_id=release.release_id):
                return False
            raise AliasTaken(alias=release.alias, field="release.alias")
        await self._carry(release)
        await self._note_change(release.release_id, release.create_time)
        return True

    async def save_release(self, release: Release) -> None:
        row = release_row(release)
        del row["create_time"]
        try:
            await sql.SAVE.execute(self._connection, **row)
        except asyncpg.UniqueViolationError as fault:
            raise AliasTaken(alias=release.alias, field="release.alias") from fault
        for clear in (sql.CLEAR_GENRES, sql.CLEAR_TAGS, sql.CLEAR_EXTERNAL_IDS):
            await clear.execute(self._connection, release_id=release.release_id)
        await self._carry(release)
        await self._note_change(release.release_id, release.update_time)

    async def delete_release(self, release_id: str, *, at: datetime) -> None:
        await sql.DELETE.execute(self._connection, release_id=release_id, at=at)
        await self._note_change(release_id, at, deleted=True)

    async def genres(self) -> list[Genre]:
        return [Genre(*row) for row in await sql.GENRES.fetch(self._connection)]

    async def tags(self) -> list[Tag]:
        return [Tag(*row) for row in await sql.TAGS.fetch(self._connection)]

    async def filter_values(self, viewer: Viewer) -> dict[str, list[Value]]:
        rows = await filter_values(viewer_sees_drafts=viewer.sees_drafts).fetch(self._connection, **viewing(viewer))
        found: dict[str, list[Value]] = {}
        for row in rows:
            found.setdefault(row["field"], []).append(Value(row["value"], row["label"], row["release_count"]))
        return found

    async def random_release(self, viewer: Viewer) -> Release | None:
        row = await random_release(viewer_sees_drafts=viewer.sees_drafts).fetchrow(self._connection, **viewing(viewer))
        return _release(row) if row else None

    async def franchise(self, franchise_id: str) -> Franchise | None:
        return await Franchises().find(self._connection, franchise_id)

    async def franchises(self, *, after: tuple[str, str] | None, limit: int) -> list[Franchise]:
        return await Franchises().page(self._connection, after=after, limit=limit)

    async def seconds(self, release_ids: Sequence[str]) -> int:
        return int(await SECONDS.fetchval(self._connection, release_ids=list(release_ids)))

    async def present(self) -> Cursor:
        rows = await sql.PRESENT.fetch(self._connection)
        return Cursor(int(rows[0][0]) - 1, LAST_NUMBER)

    async def changes(self, after: Cursor, *, limit: int) -> list[Change]:
        rows = await sql.CHANGES.fetch(self._connection, transaction=str(after.transaction), number=after.number, limit=limit)
        return [_change(row) for row in rows]

    async def changes_held_back(self) -> bool:
        return bool(await sql.HELD_BACK.fetchval(self._connection))

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)

    async def _carry(self, release: Release) -> None:
        """Keep what a release carries. Raises GenreUnknown, TagUnknown and ExternalIdTaken."""
        release_id = release.release_id
        if wanted := [genre.genre_id for genre in release.genres]:
            rows = await sql.ADD_GENRES.fetch(self._connection, release_id=release_id, genre_ids=wanted)
            if missing := sorted(set(wanted) - {row["genre_id"] for row in rows}):
                raise GenreUnknown(genres=", ".join(missing), field="release.genres")
        if wanted := [tag.tag_id for tag in release.tags]:
            rows = await sql.ADD_TAGS.fetch(self._connection, release_id=release_id, tag_ids=wanted)
            if missing := sorted(set(wanted) - {row["tag_id"] for row in rows}):
                raise TagUnknown(tags=", ".join(missing), field="release.tags")
        for one in release.external_ids:
            facts = {"provider": one.provider, "external_id": one.external_id, "release_id": release_id}
            if await sql.ADD_EXTERNAL_ID.fetchrow(self._connection, **facts) is None:
                raise ExternalIdTaken(provider=one.provider.name, external_id=one.external_id, field="release.external_ids")

    async def _note_change(self, release_id: str, at: datetime, *, deleted: bool = False) -> None:
        await sql.NOTE_CHANGE.execute(self._connection, release_id=release_id, deleted=deleted, at=at)


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def release_row(release: Release) -> dict[str, Any]:
    slot = release.weekly_slot
    return {
        "release_id": release.release_id,
        "alias": release.alias,
        "titles": [plain(title) for title in release.titles],
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
        "synonyms": [plain(synonym) for synonym in release.synonyms],
        "in_production": release.in_production,
        "premiere_time": release.premiere_time,
        "rating": release.rating,
        "popularity": release.popularity,
        "studios": list(release.studios),
        "credits": [plain(credit) for credit in release.credits],
        "voice_teams": list(release.voice_teams),
        "external_ids": [plain(one) for one in release.external_ids],
        "rights_blocks": [plain(block) for block in release.rights_blocks],
        "held_countries": list(release.held_countries),
        "trailers": [plain(trailer) for trailer in release.trailers],
        "theme_songs": [plain(song) for song in release.theme_songs],
        "version": release.version,
        "create_time": release.create_time,
        "update_time": release.update_time,
        "publish_time": release.publish_time,
    }


# Looked up a hundred times for a page, where asking the enumeration costs ten times as much.
KINDS = {kind.value: kind for kind in Kind}
STATUSES = {status.value: status for status in Status}
SEASONS = {season.value: season for season in Season}
PUBLICATIONS = {publication.value: publication for publication in Publication}


def _release(row: asyncpg.Record) -> Release:
    member = row["franchise_id"]
    return Release(
        release_id=row["release_id"],
        alias=row["alias"],
        titles=tuple([Title(title["language"], title["text"]) for title in row["titles"]]),
        synopsis=row["synopsis"],
        kind=KINDS[row["kind"]],
        status=STATUSES[row["status"]],
        season=SEASONS[row["season"]] if row["season"] else None,
        year=row["year"],
        age_rating=row["age_rating"],
        genres=tuple([Genre(genre_id, name) for genre_id, name in row["genres"]]),
        franchise=Membership(member, row["franchise_name"], row["position"]) if member else None,
        planned_episode_count=row["planned_episode_count"],
        episode_count=row["episode_count"],
        weekly_slot=WeeklySlot(row["weekday"], row["minute"], row["zone"]) if row["zone"] else None,
        blocked_countries=tuple(row["blocked_countries"]),
        synonyms=tuple([Title(one["language"], one["text"]) for one in row["synonyms"]]),
        tags=tuple([Tag(tag_id, name) for tag_id, name in row["tags"]]),
        studios=tuple(row["studios"]),
        credits=tuple([Credit(Role(one["role"]), one["name"], one.get("team_id", "")) for one in row["credits"]]),
        rating=row["rating"],
        popularity=row["popularity"],
        premiere_time=row["premiere_time"],
        in_production=row["in_production"],
        external_ids=tuple([ExternalId(Provider(one["provider"]), one["external_id"]) for one in row["external_ids"]]),
        rights_blocks=rights_blocks(row),
        trailers=tuple([Trailer(one["title"], one["url"]) for one in row["trailers"]]),
        theme_songs=tuple([ThemeSong(ThemePlace(one["place"]), one["title"], one["artist"]) for one in row["theme_songs"]]),
        publication=PUBLICATIONS[row["publication"]],
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        publish_time=row["publish_time"],
    )


def _change(row: asyncpg.Record) -> Change:
    cursor = Cursor(int(row["transaction"]), row["change_id"])
    release = _release(row) if row["release_id"] else None
    return Change(cursor, row["changed_id"], row["change_time"], release, row["was_published"])
