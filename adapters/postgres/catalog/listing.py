"""Lists of releases: one statement for each shape that a filter can have, compiled when it is first asked for."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Double,
    Integer,
    Select,
    SmallInteger,
    Text,
    all_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, array

from adapters.postgres.catalog.statements import WHOLE
from adapters.postgres.catalog.tables import genres, release_genres, release_tags, releases, tags
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.catalog.filters import Filter, Key, Order
from domain.kernel import Viewer
from domain.visibility import EVERYWHERE, Publication

KEYS: dict[Key, tuple[Column[Any], Any]] = {
    Key.PUBLISHED: (releases.c.list_time, Moment),
    Key.RATING: (releases.c.rating, Double),
    Key.POPULARITY: (releases.c.popularity, Integer),
    Key.PREMIERE: (releases.c.premiere_key, Moment),
    Key.TITLE: (releases.c.title_key, Text),
}
NARROWING: dict[str, ColumnElement[bool]] = {
    "kind": releases.c.kind == bindparam("kind", type_=SmallInteger),
    "status": releases.c.status == bindparam("status", type_=SmallInteger),
    "season": releases.c.season == bindparam("season", type_=SmallInteger),
    "year_from": releases.c.year >= bindparam("year_from", type_=SmallInteger),
    "year_to": releases.c.year <= bindparam("year_to", type_=SmallInteger),
    "age_rating_to": releases.c.age_rating <= bindparam("age_rating_to", type_=SmallInteger),
    "studio": releases.c.studios.contains(cast(array([bindparam("studio", type_=Text)]), ARRAY(Text))),
    "voice_team": releases.c.voice_teams.contains(cast(array([bindparam("voice_team", type_=Text)]), ARRAY(Text))),
}


def visible(*, viewer_sees_drafts: bool) -> list[ColumnElement[bool]]:
    """Return the rule of domain/visibility.py as conditions."""
    if viewer_sees_drafts:
        return []
    country = bindparam("country", type_=Text)
    return [
        releases.c.publication == literal_column(str(Publication.PUBLISHED.value)),
        releases.c.age_rating <= bindparam("maturity", type_=SmallInteger),
        country != all_(releases.c.blocked_countries),
        ~releases.c.held_countries.overlap(func.array_append(literal_column(f"ARRAY['{EVERYWHERE}']"), country, type_=ARRAY(Text))),
    ]


def viewing(viewer: Viewer) -> dict[str, Any]:
    """Return what the visibility conditions need to know."""
    return {} if viewer.sees_drafts else {"maturity": viewer.maturity, "country": viewer.country}


def listing(wanted: Filter, *, viewer: Viewer, goes_on: bool) -> Statement:
    """Return the statement of a list."""
    narrowed = tuple(name for name in NARROWING if getattr(wanted, name) is not None)
    return _listing(
        len(wanted.genres), len(wanted.tags), narrowed, wanted.order, viewer_sees_drafts=viewer.sees_drafts, goes_on=goes_on
    )


def values(wanted: Filter, *, viewer: Viewer, limit: int) -> dict[str, Any]:
    """Return the values of a list's statement, but for the place where it goes on."""
    narrowed = {name: value for name in NARROWING if (value := getattr(wanted, name)) is not None}
    genres = {f"genre_{number}": name for number, name in enumerate(wanted.genres)}
    tags = {f"tag_{number}": name for number, name in enumerate(wanted.tags)}
    return {**narrowed, **genres, **tags, **viewing(viewer), "limit": limit}


@cache
def _listing(
    genre_count: int, tag_count: int, narrowed: tuple[str, ...], order: Order, *, viewer_sees_drafts: bool, goes_on: bool
) -> Statement:
    key, kind = KEYS[order.key]
    query = WHOLE.add_columns(key) if key.computed is not None else WHOLE
    query = query.where(*visible(viewer_sees_drafts=viewer_sees_drafts), *(NARROWING[name] for name in narrowed))
    query = query.where(*(_carries_genre(number) for number in range(genre_count)))
    query = query.where(*(_carries_tag(number) for number in range(tag_count)))
    if goes_on:
        place = tuple_(bindparam("after_key", type_=kind), bindparam("after_id", type_=Id))
        here = tuple_(key, releases.c.release_id)
        query = query.where(here < place if order.descending else here > place)
    sides = (key, releases.c.release_id)
    query = query.order_by(*(side.desc() if order.descending else side.asc() for side in sides))
    return Statement(query.limit(bindparam("limit", type_=Integer)))


def _carries_genre(number: int) -> ColumnElement[bool]:
    """Tell whether a release carries a genre that is named by its id, or by its name in lower case."""
    name = bindparam(f"genre_{number}", type_=Text)
    found = select(genres.c.genre_id).where(or_(genres.c.genre_id == name, func.lower(genres.c.name) == name))
    here = select(release_genres.c.release_id).where(
        release_genres.c.release_id == releases.c.release_id, release_genres.c.genre_id == _one(found)
    )
    return here.exists()


def _carries_tag(number: int) -> ColumnElement[bool]:
    name = bindparam(f"tag_{number}", type_=Text)
    found = select(tags.c.tag_id).where(or_(tags.c.tag_id == name, func.lower(tags.c.name) == name))
    here = select(release_tags.c.release_id).where(
        release_tags.c.release_id == releases.c.release_id, release_tags.c.tag_id == _one(found)
    )
    return here.exists()


def _one(query: Select[Any]) -> Any:
    return query.limit(literal_column("1")).scalar_subquery()
