"""The catalog's statements, compiled once."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Integer,
    SmallInteger,
    Text,
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

from adapters.postgres.catalog.tables import (
    changes,
    episodes,
    external_ids,
    franchise_members,
    franchises,
    genres,
    release_genres,
    release_tags,
    releases,
    tags,
)
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
_tagged = (
    select(
        func.coalesce(
            func.jsonb_agg(aggregate_order_by(func.jsonb_build_array(tags.c.tag_id, tags.c.name), tags.c.name)),
            literal_column("'[]'::jsonb"),
        )
    )
    .select_from(release_tags.join(tags))
    .where(release_tags.c.release_id == releases.c.release_id)
    .scalar_subquery()
    .label("tags")
)
_episodes = (
    select(func.count())
    .select_from(episodes)
    .where(episodes.c.release_id == releases.c.release_id, episodes.c.delete_time.is_(None))
    .scalar_subquery()
    .label("episode_count")
)
_written = [c for c in releases.c if c.computed is None and c.name != "delete_time"]
# Looked for, but not read: they follow from what is.
_derived = {"voice_teams", "held_countries"}
_columns = (
    *(c for c in _written if c.name not in _derived),
    _carried,
    _tagged,
    _episodes,
    franchises.c.franchise_id,
    franchises.c.name.label("franchise_name"),
    franchise_members.c.position,
)
_present = releases.outerjoin(franchise_members).outerjoin(
    franchises, (franchises.c.franchise_id == franchise_members.c.franchise_id) & franchises.c.delete_time.is_(None)
)
WHOLE = select(*_columns).select_from(_present).where(releases.c.delete_time.is_(None))

BY_ID = Statement(WHOLE.where(releases.c.release_id == bindparam("release_id", type_=Id)))
BY_ALIAS = Statement(WHOLE.where(releases.c.alias == bindparam("alias", type_=Text)))
BY_IDS = Statement(WHOLE.where(releases.c.release_id == any_(bindparam("release_ids", type_=ARRAY(Id)))))
LOCK = Statement(
    select(releases.c.release_id)
    .where(releases.c.release_id == bindparam("release_id", type_=Id), releases.c.delete_time.is_(None))
    .with_for_update()
)
# Without naming what may be in the way: where several send the same at once, PostgreSQL fails some of them for any other that is.
ADD = Statement(
    insert(releases)
    .values({c.name: bindparam(c.name, type_=c.type) for c in _written})
    .on_conflict_do_nothing()
    .returning(releases.c.release_id)
)
IS_THERE = Statement(select(releases.c.release_id).where(releases.c.release_id == bindparam("release_id", type_=Id)))
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
CLEAR_TAGS = Statement(delete(release_tags).where(release_tags.c.release_id == bindparam("release_id", type_=Id)))
ADD_TAGS = Statement(
    insert(release_tags)
    .from_select(
        ["release_id", "tag_id"],
        select(cast(bindparam("release_id", type_=Id), Id), tags.c.tag_id)
        .where(tags.c.tag_id == any_(bindparam("tag_ids", type_=ARRAY(Text))), tags.c.delete_time.is_(None))
        .order_by(tags.c.tag_id)
        .with_for_update(read=True, key_share=True),
    )
    .returning(release_tags.c.tag_id)
)
CLEAR_EXTERNAL_IDS = Statement(delete(external_ids).where(external_ids.c.release_id == bindparam("release_id", type_=Id)))
ADD_EXTERNAL_ID = Statement(
    insert(external_ids)
    .values({c.name: bindparam(c.name, type_=c.type) for c in external_ids.c})
    .on_conflict_do_nothing()
    .returning(external_ids.c.release_id)
)
BY_EXTERNAL_ID = Statement(
    WHOLE.where(
        releases.c.release_id
        == select(external_ids.c.release_id)
        .where(
            external_ids.c.provider == bindparam("provider", type_=SmallInteger),
            external_ids.c.external_id == bindparam("external_id", type_=Text),
        )
        .scalar_subquery()
    )
)
_named = func.unnest(bindparam("providers", type_=ARRAY(SmallInteger)), bindparam("external_ids", type_=ARRAY(Text)))
NAMED = select(_named.table_valued("provider", "external_id").render_derived())
BY_EXTERNAL_IDS = Statement(
    WHOLE.where(
        releases.c.release_id.in_(
            select(external_ids.c.release_id).where(tuple_(external_ids.c.provider, external_ids.c.external_id).in_(NAMED))
        )
    )
)
CLEAR_GENRES = Statement(delete(release_genres).where(release_genres.c.release_id == bindparam("release_id", type_=Id)))
ADD_GENRES = Statement(
    insert(release_genres)
    .from_select(
        ["release_id", "genre_id"],
        select(cast(bindparam("release_id", type_=Id), Id), genres.c.genre_id)
        .where(genres.c.genre_id == any_(bindparam("genre_ids", type_=ARRAY(Text))), genres.c.delete_time.is_(None))
        .order_by(genres.c.genre_id)
        .with_for_update(read=True, key_share=True),
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
    .where(genres.c.delete_time.is_(None))
    .group_by(genres.c.genre_id, genres.c.name)
    .order_by(genres.c.name)
)
TAGS = Statement(
    select(tags.c.tag_id, tags.c.name, func.count(releases.c.release_id).label("release_count"))
    .select_from(
        tags.outerjoin(release_tags).outerjoin(
            releases,
            (releases.c.release_id == release_tags.c.release_id)
            & releases.c.delete_time.is_(None)
            & (releases.c.publication == literal_column(str(Publication.PUBLISHED.value))),
        )
    )
    .where(tags.c.delete_time.is_(None))
    .group_by(tags.c.tag_id, tags.c.name)
    .order_by(tags.c.name)
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
# Kept already, but not to be told of before what began earlier has ended.
HELD_BACK = Statement(select(select(changes.c.change_id).where(~_settled).exists()))
_once = releases.alias("once")
# Asked of a release that is deleted, and so is not there to tell.
_was_published = (
    select(_once.c.publish_time.is_not(None))
    .where(_once.c.release_id == changes.c.release_id)
    .scalar_subquery()
    .label("was_published")
)
CHANGES = Statement(
    select(
        cast(changes.c.xid, Text).label("transaction"),
        changes.c.change_id,
        changes.c.release_id.label("changed_id"),
        changes.c.change_time,
        _was_published,
        *_columns,
    )
    .select_from(changes.outerjoin(_present, (releases.c.release_id == changes.c.release_id) & releases.c.delete_time.is_(None)))
    .where(
        tuple_(changes.c.xid, changes.c.change_id)
        > tuple_(cast(bindparam("transaction", type_=Text), TransactionId()), bindparam("number", type_=BigInteger)),
        _settled,
    )
    .order_by(changes.c.xid, changes.c.change_id)
    .limit(bindparam("limit", type_=Integer))
)
