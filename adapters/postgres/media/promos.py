"""The store of promos and of what was counted of them, and where its rows and dataclasses meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import asyncpg
from sqlalchemy import bindparam, text, update
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres import Connection
from adapters.postgres.editing.store import Kept
from adapters.postgres.media.upload_tables import promos
from adapters.postgres.schema import Id
from adapters.postgres.statement import Statement
from domain.media.files import FileKind
from domain.media.promos import (
    Promo,
    PromoAction,
    PromoCount,
    PromoFormat,
    PromoImageRefused,
    PromoOccurrence,
    PromoPlacement,
    Running,
)
from domain.visibility import Publication, Terms


class PostgresPromos:
    """Promos on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def running(
        self,
        format: PromoFormat,  # noqa: A002 - as the field is called
        placement: PromoPlacement,
        country: str,
        *,
        at: datetime,
    ) -> list[Running]:
        rows = await _RUNNING.fetch(self._connection, format=format, placement=placement, country=country, at=at)
        return [Running(_promo(row), _terms(row)) for row in rows]

    async def promo(self, promo_id: str) -> Promo | None:
        return await Keeper().find(self._connection, promo_id)

    async def promos(self, *, after: tuple[datetime, str] | None, limit: int) -> list[Promo]:
        time, promo_id = after or (None, None)
        rows = await _LIST.fetch(self._connection, after_time=time, after_id=promo_id, limit=limit)
        return [_promo(row) for row in rows]

    async def count(self, occurrences: Sequence[PromoOccurrence]) -> dict[str, bool]:
        rows = await _COUNT.fetch(
            self._connection,
            event_ids=[one.event_id for one in occurrences],
            promo_ids=[one.promo_id for one in occurrences],
            actions=[int(one.action) for one in occurrences],
            countries=[one.country for one in occurrences],
            days=[one.day for one in occurrences],
        )
        return {row["event_id"]: row["is_new"] for row in rows}

    async def counts(self, promo_id: str, *, first: date, last: date) -> list[PromoCount]:
        rows = await _COUNTS.fetch(self._connection, promo_id=promo_id, first=first, last=last)
        return [PromoCount(row["day"], row["country"], PromoAction(row["action"]), row["count"]) for row in rows]

    async def forget_occurrences(self, *, before: datetime) -> int:
        return int((await _FORGET.execute(self._connection, before=before)).rpartition(" ")[2])


class Keeper:
    """Where editors keep promos."""

    async def find(self, connection: Connection, item_id: str) -> Promo | None:
        row = await _BY_ID.fetchrow(connection, promo_id=item_id)
        return _promo(row) if row else None

    async def lock(self, connection: Connection, item_id: str) -> Promo | None:
        row = await _LOCK.fetchrow(connection, promo_id=item_id)
        return _promo(row) if row else None

    async def add(self, connection: Connection, item: Promo) -> bool:
        await _check_image(connection, item)
        return await _ADD.fetchval(connection, **_row(item)) is not None

    async def save(self, connection: Connection, item: Promo) -> None:
        await _check_image(connection, item)
        row = _row(item)
        del row["create_time"]
        await _SAVE.execute(connection, **row)

    async def delete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await _DELETE.execute(connection, promo_id=item_id, at=at)

    async def undelete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await _UNDELETE.execute(connection, promo_id=item_id, at=at)


async def _check_image(connection: Connection, promo: Promo) -> None:
    """Keep others from deleting a promo's picture until the unit of work ends. Raises PromoImageRefused."""
    if promo.image_file_id is None:
        return
    if await _IMAGE.fetchval(connection, file_id=promo.image_file_id, kinds=[FileKind.POSTER, FileKind.BANNER]) is None:
        raise PromoImageRefused(file_id=promo.image_file_id, field="promo.image_file_id")


def _row(promo: Promo) -> dict[str, Any]:
    return {name: getattr(promo, name) for name in _COLUMNS} | {"regions": list(promo.regions)}


def _promo(row: asyncpg.Record) -> Promo:
    return Promo(
        promo_id=row["promo_id"],
        format=PromoFormat(row["format"]),
        placement=PromoPlacement(row["placement"]),
        title=row["title"],
        text=row["text"],
        image_file_id=row["image_file_id"],
        release_id=row["release_id"],
        url=row["url"],
        regions=tuple(row["regions"]),
        start_time=row["start_time"],
        end_time=row["end_time"],
        overlay=row["overlay"],
        priority=row["priority"],
        erid=row["erid"],
        enabled=row["enabled"],
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def _terms(row: asyncpg.Record) -> Terms | None:
    if row["publication"] is None:
        return None
    return Terms(
        Publication(row["publication"]),
        row["age_rating"],
        frozenset(row["blocked_countries"]),
        frozenset(row["held_countries"]),
        row["release_id"],
    )


_COLUMNS = tuple(column.name for column in promos.c if column.name != "delete_time")
_NAMES = ", ".join(f"promos.{name}" for name in _COLUMNS)
_VALUES = {name: bindparam(name, type_=promos.c[name].type) for name in _COLUMNS}
_WHICH = promos.c.promo_id == bindparam("promo_id", type_=Id)

_BY_ID = Statement(text(f"SELECT {_NAMES} FROM media.promos WHERE promo_id = :promo_id AND delete_time IS NULL"))  # noqa: S608 - columns
_LOCK = Statement(
    text(f"SELECT {_NAMES} FROM media.promos WHERE promo_id = :promo_id AND delete_time IS NULL FOR UPDATE")  # noqa: S608 - columns
)
_ADD = Statement(
    insert(promos).values(_VALUES).on_conflict_do_nothing(index_elements=[promos.c.promo_id]).returning(promos.c.promo_id)
)
_SAVE = Statement(
    update(promos).where(_WHICH).values({name: value for name, value in _VALUES.items() if name not in {"promo_id", "create_time"}})
)
_DELETE = Statement(
    text("UPDATE media.promos SET delete_time = :at, update_time = :at, version = version + 1 WHERE promo_id = :promo_id")
)
_UNDELETE = Statement(text("UPDATE media.promos SET delete_time = NULL, update_time = :at WHERE promo_id = :promo_id"))
_IMAGE = Statement(
    text(
        """
        SELECT file_id FROM media.files
        WHERE file_id = :file_id AND delete_time IS NULL AND kind = ANY(CAST(:kinds AS smallint[])) FOR SHARE
        """
    )
)
_RUNNING = Statement(
    text(
        f"""
        SELECT {_NAMES}, releases.publication, releases.age_rating, releases.blocked_countries,
            releases.held_countries
        FROM media.promos
        LEFT JOIN catalog.releases ON releases.release_id = promos.release_id AND releases.delete_time IS NULL
        WHERE promos.delete_time IS NULL AND promos.enabled
        AND promos.placement = :placement AND promos.format = :format
        AND coalesce(promos.start_time <= :at, TRUE) AND coalesce(promos.end_time > :at, TRUE)
        AND (cardinality(promos.regions) = 0 OR CAST(:country AS text) = ANY(promos.regions))
        ORDER BY promos.priority DESC, promos.promo_id LIMIT 200
        """  # noqa: S608 - columns
    )
)
_LIST = Statement(
    text(
        f"""
        SELECT {_NAMES} FROM media.promos
        WHERE delete_time IS NULL
        AND (CAST(:after_time AS timestamptz) IS NULL OR (create_time, promo_id) < (:after_time, CAST(:after_id AS uuid)))
        ORDER BY create_time DESC, promo_id DESC LIMIT :limit
        """  # noqa: S608 - columns
    )
)
# Rows are locked in one order by whoever counts, ids of events first, so that no two wait for each other.
_COUNT = Statement(
    text(
        """
        WITH known AS (
            SELECT DISTINCT ON (event_id) event_id, promo_id, action, country, day
            FROM unnest(
                CAST(:event_ids AS uuid[]), CAST(:promo_ids AS uuid[]), CAST(:actions AS smallint[]), CAST(:countries AS text[]),
                CAST(:days AS date[])
            ) AS given (event_id, promo_id, action, country, day)
            JOIN media.promos USING (promo_id)
            WHERE promos.delete_time IS NULL ORDER BY event_id
        ), fresh AS (
            INSERT INTO media.promo_events (event_id) SELECT event_id FROM known ORDER BY event_id
            ON CONFLICT DO NOTHING RETURNING event_id
        ), counted AS (
            INSERT INTO media.promo_counts AS counts (promo_id, day, country, action, count)
            SELECT promo_id, day, country, action, count(*) FROM known JOIN fresh USING (event_id)
            GROUP BY promo_id, day, country, action ORDER BY promo_id, day, country, action
            ON CONFLICT (promo_id, day, country, action) DO UPDATE SET count = counts.count + EXCLUDED.count
        )
        SELECT event_id, fresh.event_id IS NOT NULL AS is_new FROM known LEFT JOIN fresh USING (event_id)
        """
    )
)
_COUNTS = Statement(
    text(
        """
        SELECT day, country, action, count FROM media.promo_counts
        WHERE promo_id = :promo_id AND day BETWEEN :first AND :last ORDER BY day, country, action
        """
    )
)
_FORGET = Statement(
    text(
        """
        DELETE FROM media.promo_events WHERE event_id IN (
            SELECT event_id FROM media.promo_events WHERE record_time < :before ORDER BY record_time LIMIT 100000
        )
        """
    )
)

ITEMS = {"promo": Kept(Promo, Keeper())}
