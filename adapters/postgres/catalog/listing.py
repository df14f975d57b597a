"""Lists of releases: one statement for each shape that a filter can have, compiled when it is first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
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
    union_all,
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
# As few as are soon sorted. A genre or tag that more releases carry fills a page before long wherever a list begins.
FEW = 400
FEW_OF_THEM: ColumnElement[int] = literal_column(str(FEW), Integer)
# Of how many genres and tags it is seen whether few releases carry them.
LOOKED_AT = 3
LIMIT = bindparam("limit", type_=Integer)


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


# Clients choose among more shapes than there is memory for.
@lru_cache(maxsize=512)
def _listing(
    genre_count: int, tag_count: int, narrowed: tuple[str, ...], order: Order, *, viewer_sees_drafts: bool, goes_on: bool
) -> Statement:
    key, kind = KEYS[order.key]
    conditions = [*visible(viewer_sees_drafts=viewer_sees_drafts), *(NARROWING[name] for name in narrowed)]
    if goes_on:
        place = tuple_(bindparam("after_key", type_=kind), bindparam("after_id", type_=Id))
        here = tuple_(key, releases.c.release_id)
        conditions.append(here < place if order.descending else here > place)
    ordered = [side.desc() if order.descending else side.asc() for side in (key, releases.c.release_id)]
    query = (WHOLE.add_columns(key) if key.computed is not None else WHOLE).order_by(*ordered)
    carrying = [_carrying("tag", number) for number in range(tag_count)]
    carrying += [_carrying("genre", number) for number in range(genre_count)]
    if not carrying:
        return Statement(query.where(*conditions).limit(LIMIT))
    return Statement(query.where(releases.c.release_id.in_(_carried(carrying, conditions, ordered))))


def _carried(
    carrying: Sequence[Select[Any]], conditions: Sequence[ColumnElement[bool]], ordered: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    """Find the page of releases that carry all that is wanted.

    Where few releases carry one of these, it begins with them; where all are common, it goes along the list's order, along
    which a page is soon full. PostgreSQL cannot choose so by itself, since it plans for all values at once; what the counts
    rule out is not carried out.
    """
    some = [one.limit(literal_column(str(FEW + 1))).cte(f"some_{number}") for number, one in enumerate(carrying[:LOOKED_AT])]
    counts = [select(func.count()).select_from(one).scalar_subquery() for one in some]
    few, many = [count <= FEW_OF_THEM for count in counts], [count > FEW_OF_THEM for count in counts]
    present = [releases.c.delete_time.is_(None), *conditions]
    here = [one.where(one.selected_columns[0] == releases.c.release_id).exists() for one in carrying]
    roads = [
        select(releases.c.release_id)
        .select_from(one.join(releases, releases.c.release_id == one.c.release_id))
        .where(*many[:number], few[number], *present, *here[:number], *here[number + 1 :])
        for number, one in enumerate(some)
    ]
    roads.append(select(releases.c.release_id).where(*many, *present, *here))
    pages = [road.order_by(*ordered).limit(LIMIT).subquery(f"page_{number}") for number, road in enumerate(roads)]
    return select(union_all(*(select(page.c.release_id) for page in pages)).subquery("found").c.release_id)


def _carrying(what: str, number: int) -> Select[Any]:
    """Find the releases that carry a genre or tag, which is named by its id, or by its name in lower case."""
    named, carriers, column = {
        "genre": (genres, release_genres, "genre_id"),
        "tag": (tags, release_tags, "tag_id"),
    }[what]
    name = bindparam(f"{what}_{number}", type_=Text)
    found = select(named.c[column]).where(or_(named.c[column] == name, func.lower(named.c.name) == name))
    return select(carriers.c.release_id).where(carriers.c[column] == found.limit(literal_column("1")).scalar_subquery())
