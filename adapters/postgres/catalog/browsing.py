"""What viewers browse by: the values of filters with their counts, and a release at random."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Text, any_, bindparam, cast, func, literal_column, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY

from adapters.postgres.catalog.listing import visible
from adapters.postgres.catalog.statements import WHOLE
from adapters.postgres.catalog.tables import episodes, genres, release_genres, release_tags, releases, tags
from adapters.postgres.schema import Id
from adapters.postgres.statement import Statement

SECONDS = Statement(
    select(func.coalesce(func.sum(episodes.c.duration_seconds), literal_column("0"))).where(
        episodes.c.release_id == any_(bindparam("release_ids", type_=ARRAY(Id))), episodes.c.delete_time.is_(None)
    )
)


@cache
def random_release(*, viewer_sees_drafts: bool) -> Statement:
    """Return the statement that finds any release, each as likely as another."""
    chosen = (
        select(releases.c.release_id)
        .where(releases.c.delete_time.is_(None), *visible(viewer_sees_drafts=viewer_sees_drafts))
        .order_by(func.random())
        .limit(literal_column("1"))
    )
    return Statement(WHOLE.where(releases.c.release_id == chosen.scalar_subquery()))


@cache
def filter_values(*, viewer_sees_drafts: bool) -> Statement:
    """Return the statement that counts the releases of every value of every filter."""
    seen = (
        select(
            releases.c.release_id,
            releases.c.kind,
            releases.c.status,
            releases.c.season,
            releases.c.year,
            releases.c.age_rating,
            releases.c.studios,
            releases.c.voice_teams,
        )
        .where(releases.c.delete_time.is_(None), *visible(viewer_sees_drafts=viewer_sees_drafts))
        .cte("seen")
    )
    plain = [
        _counted(name, seen.c[name], cast(seen.c[name], Text), seen) for name in ("kind", "status", "season", "year", "age_rating")
    ]
    with_genres = seen.join(release_genres, release_genres.c.release_id == seen.c.release_id).join(genres)
    with_tags = seen.join(release_tags, release_tags.c.release_id == seen.c.release_id).join(tags)
    carried = [
        _counted("genre", genres.c.genre_id, genres.c.name, with_genres),
        _counted("tag", tags.c.tag_id, tags.c.name, with_tags),
    ]
    listed = [_each(f"{name}", seen.c[f"{name}s"], seen) for name in ("studio", "voice_team")]
    return Statement(union_all(*carried, *plain, *listed))


def _counted(field: str, value: ColumnElement[Any], label: ColumnElement[Any], source: FromClause) -> Select[Any]:
    return (
        select(
            literal_column(f"'{field}'").label("field"),
            cast(value, Text).label("value"),
            label.label("label"),
            func.count().label("release_count"),
        )
        .select_from(source)
        .where(value.is_not(None))
        .group_by(value, label)
        .order_by(func.count().desc(), value)
    )


def _each(field: str, values: ColumnElement[Any], source: FromClause) -> Select[Any]:
    """Count what stands in arrays."""
    one = select(func.unnest(values).label("value")).select_from(source).subquery()
    return _counted(field, one.c.value, one.c.value, one)
