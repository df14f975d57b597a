"""The catalog's statements, compiled once."""

from __future__ import annotations

from functools import cache

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    SmallInteger,
    Text,
    all_,
    any_,
    bindparam,
    cast,
    delete,
    func,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, insert

from adapters.postgres.catalog.tables import changes, episodes, franchise_members, franchises, genres, release_genres, releases
from adapters.postgres.schema import Id, Moment, TransactionId
from adapters.postgres.statement import Statement
from domain.visibility import Publication

CHANNEL = "catalog_changes"

_carried = (
    select(
        func.coalesce(
            func.jsonb_agg(aggregate_order_by(func.jsonb_build_array(genres.c.genre_id, genres.c.name), genres.c.name)),
            literal_column("'[]'::jsonb"),
        )
    )
    .select_from(release_genres.join(genres))
    .where(release_genres.c.release_id == releases.c.release_id)
    .scalar_subquery()
    .label("genres")
)
_episodes = (
    select(func.count())
    .select_from(episodes)
    .where(episodes.c.release_id == releases.c.release_id)
    .scalar_subquery()
    .label("episode_count")
)
_written = [c for c in releases.c if c.name not in {"list_time", "creation_digest", "delete_time"}]
_columns = (
    *_written,
    _carried,
    _episodes,
    franchises.c.franchise_id,
    franchises.c.name.label("franchise_name"),
    franchise_members.c.position,
)
_present = releases.outerjoin(franchise_members).outerjoin(franchises)
_whole = select(*_columns).select_from(_present).where(releases.c.delete_time.is_(None))

BY_ID = Statement(_whole.where(releases.c.release_id == bindparam("release_id", type_=Id)))
BY_ALIAS = Statement(_whole.where(releases.c.alias == bindparam("alias", type_=Text)))
BY_IDS = Statement(_whole.where(releases.c.release_id == any_(bindparam("release_ids", type_=ARRAY(Id)))))
LOCK = Statement(
    select(releases.c.release_id)
    .where(releases.c.release_id == bindparam("release_id", type_=Id), releases.c.delete_time.is_(None))
    .with_for_update()
)
ORIGIN = Statement(
    select(releases.c.creation_digest, releases.c.delete_time).where(releases.c.release_id == bindparam("release_id", type_=Id))
)
ADD = Statement(
    insert(releases)
    .values({c.name: bindparam(c.name, type_=c.type) for c in [*_written, releases.c.creation_digest]})
    .on_conflict_do_nothing(index_elements=[releases.c.release_id])
    .returning(releases.c.release_id)
)
SAVE = Statement(
    update(releases)
    .where(releases.c.release_id == bindparam("release_id", type_=Id))
    .values({c.name: bindparam(c.name, type_=c.type) for c in _written if c.name not in {"release_id", "create_time"}})
)
DELETE = Statement(
    update(releases)
    .where(releases.c.release_id == bindparam("release_id", type_=Id))
    .values(delete_time=bindparam("at", type_=Moment), update_time=bindparam("at", type_=Moment), version=releases.c.version + 1)
)
CLEAR_GENRES = Statement(delete(release_genres).where(release_genres.c.release_id == bindparam("release_id", type_=Id)))
ADD_GENRES = Statement(
    insert(release_genres)
    .from_select(
        ["release_id", "genre_id"],
        select(cast(bindparam("release_id", type_=Id), Id), genres.c.genre_id).where(
            genres.c.genre_id == any_(bindparam("genre_ids", type_=ARRAY(Text)))
        ),
    )
    .returning(release_genres.c.genre_id)
)
GENRES = Statement(
    select(
        genres.c.genre_id,
        genres.c.name,
        func.count(releases.c.release_id).label("release_count"),
    )
    .select_from(
        genres.outerjoin(release_genres).outerjoin(
            releases,
            (releases.c.release_id == release_genres.c.release_id)
            & releases.c.delete_time.is_(None)
            & (releases.c.publication == literal_column(str(Publication.PUBLISHED.value))),
        )
    )
    .group_by(genres.c.genre_id, genres.c.name)
    .order_by(genres.c.name)
)
NOTE_CHANGE = Statement(
    insert(changes)
    .values(
        release_id=bindparam("release_id", type_=Id),
        deleted=bindparam("deleted", type_=Boolean),
        change_time=bindparam("at", type_=Moment),
    )
    .returning(func.pg_notify(literal_column(f"'{CHANNEL}'"), literal_column("''")))
)
PRESENT = Statement(select(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text)))
_settled = changes.c.xid < func.pg_snapshot_xmin(func.pg_current_snapshot(), type_=TransactionId())
CHANGES = Statement(
    select(
        cast(changes.c.xid, Text).label("transaction"),
        changes.c.change_id,
        changes.c.release_id.label("changed_id"),
        changes.c.change_time,
        *_columns,
    )
    .select_from(changes.outerjoin(_present, (releases.c.release_id == changes.c.release_id) & releases.c.delete_time.is_(None)))
    .where(
        tuple_(changes.c.xid, changes.c.change_id)
        > tuple_(cast(bindparam("transaction", type_=Text), TransactionId()), bindparam("number", type_=BigInteger)),
        changes.c.xid < func.pg_snapshot_xmin(func.pg_current_snapshot(), type_=TransactionId()),
    )
    .order_by(changes.c.xid, changes.c.change_id)
    .limit(bindparam("limit", type_=Integer))
)


@cache
def listing(genre_count: int, *narrowed: str, viewer_sees_drafts: bool, goes_on: bool) -> Statement:
    """Return the statement of a list; one for each shape that a filter can have."""
    query = _whole.order_by(releases.c.list_time.desc(), releases.c.release_id.desc()).limit(bindparam("limit", type_=Integer))
    if not viewer_sees_drafts:
        query = query.where(
            releases.c.publication == literal_column(str(Publication.PUBLISHED.value)),
            releases.c.age_rating <= bindparam("maturity", type_=SmallInteger),
            bindparam("country", type_=Text) != all_(releases.c.blocked_countries),
        )
    if genre_count:
        carrying = select(release_genres.c.release_id).where(
            release_genres.c.genre_id == any_(bindparam("genres", type_=ARRAY(Text)))
        )
        carrying = carrying.group_by(release_genres.c.release_id).having(func.count() == literal_column(str(genre_count)))
        query = query.where(releases.c.release_id.in_(carrying))
    query = query.where(*(NARROWING[name] for name in narrowed))
    if goes_on:
        place = tuple_(bindparam("after_time", type_=Moment), bindparam("after_id", type_=Id))
        query = query.where(tuple_(releases.c.list_time, releases.c.release_id) < place)
    return Statement(query)


NARROWING: dict[str, ColumnElement[bool]] = {
    "kind": releases.c.kind == bindparam("kind", type_=SmallInteger),
    "status": releases.c.status == bindparam("status", type_=SmallInteger),
    "year_from": releases.c.year >= bindparam("year_from", type_=SmallInteger),
    "year_to": releases.c.year <= bindparam("year_to", type_=SmallInteger),
}
