"""Where episodes are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import Integer, Text, any_, bindparam, literal_column, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from adapters.postgres import Connection
from adapters.postgres.catalog.tables import episodes, releases
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.catalog.episodes import Episode, EpisodePositionTaken, EpisodeReleaseUnknown, EpisodeState
from domain.catalog.model import UUID_SHAPE, RightsBlock, Title
from domain.catalog.seeing import Conditions
from domain.visibility import Publication, Terms

# What is known of a title that was stored without its language.
UNDETERMINED = "und"

DEMANDS = (
    releases.c.publication,
    releases.c.age_rating,
    releases.c.blocked_countries,
    releases.c.held_countries,
    releases.c.release_id.label("of_release"),
)
_columns = [c for c in episodes.c if c.name != "delete_time"]
_values = {c.name: bindparam(c.name, type_=c.type) for c in _columns}
_one = episodes.c.episode_id == bindparam("episode_id", type_=Id)
_present = episodes.c.delete_time.is_(None)
_release_present = releases.c.delete_time.is_(None)
_of_release = (
    select(*_columns).where(episodes.c.release_id == bindparam("release_id", type_=Id), _present).order_by(episodes.c.position)
)
_conditions = select(releases.c.rights_blocks, *DEMANDS).where(_release_present)

BY_ID = Statement(select(*_columns).where(_one, _present))
LOCK = Statement(select(*_columns).where(_one, _present).with_for_update())
BY_IDS = Statement(
    select(*_columns, *DEMANDS)
    .select_from(episodes.join(releases))
    .where(episodes.c.episode_id == any_(bindparam("episode_ids", type_=ARRAY(Id))), _present, _release_present)
)
FIRST = Statement(_of_release.limit(bindparam("limit", type_=Integer)))
FOLLOWING = Statement(
    _of_release.where(episodes.c.position > bindparam("after", type_=Integer)).limit(bindparam("limit", type_=Integer))
)
CONDITIONS_BY_ID = Statement(_conditions.where(releases.c.release_id == bindparam("key", type_=Id)))
CONDITIONS_BY_ALIAS = Statement(_conditions.where(releases.c.alias == bindparam("key", type_=Text)))
RELEASE = Statement(
    select(literal_column("1"))
    .where(releases.c.release_id == bindparam("release_id", type_=Id), _release_present)
    .with_for_update(read=True)
)
# As of releases: nothing that may be in the way is named.
ADD = Statement(insert(episodes).values(_values).on_conflict_do_nothing().returning(_columns[0]))
IS_THERE = Statement(select(_columns[0]).where(_one))
SAVE = Statement(
    update(episodes)
    .where(_one)
    .values({name: value for name, value in _values.items() if name not in {"episode_id", "release_id", "create_time"}})
)
_at = bindparam("at", type_=Moment)
DELETE = Statement(update(episodes).where(_one).values(delete_time=_at, update_time=_at, version=episodes.c.version + 1))
UNDELETE = Statement(update(episodes).where(_one).values(delete_time=None, update_time=_at))


class KeptEpisodes:
    """Episodes, for editors."""

    async def find(self, connection: Connection, item_id: str) -> Episode | None:
        row = await BY_ID.fetchrow(connection, episode_id=item_id)
        return episode_of_row(row) if row else None

    async def lock(self, connection: Connection, item_id: str) -> Episode | None:
        row = await LOCK.fetchrow(connection, episode_id=item_id)
        return episode_of_row(row) if row else None

    async def add(self, connection: Connection, item: Episode) -> bool:
        """Raises EpisodeReleaseUnknown and EpisodePositionTaken."""
        if await RELEASE.fetchrow(connection, release_id=item.release_id) is None:
            raise EpisodeReleaseUnknown(release=item.release_id, field="episode.release_id")
        if await ADD.fetchrow(connection, **row_of_episode(item)) is not None:
            return True
        if await IS_THERE.fetchval(connection, episode_id=item.episode_id):
            return False
        raise EpisodePositionTaken(position=item.position, field="episode.position")

    async def save(self, connection: Connection, item: Episode) -> None:
        """Raises EpisodePositionTaken."""
        row = row_of_episode(item)
        del row["release_id"], row["create_time"]
        try:
            await SAVE.execute(connection, **row)
        except asyncpg.UniqueViolationError as fault:
            raise EpisodePositionTaken(position=item.position, field="episode.position") from fault

    async def delete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        await DELETE.execute(connection, episode_id=item_id, at=at)

    async def undelete(self, connection: Connection, item_id: str, *, at: datetime) -> None:
        """Raises EpisodePositionTaken."""
        try:
            await UNDELETE.execute(connection, episode_id=item_id, at=at)
        except asyncpg.UniqueViolationError as fault:
            raise EpisodePositionTaken(position="of the deleted one") from fault


class PostgresEpisodes:
    """Episodes on one connection, for viewers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def conditions(self, release: str) -> Conditions | None:
        return await release_conditions(self._connection, release)

    async def episodes(self, episode_ids: Sequence[str]) -> list[tuple[Episode, Terms]]:
        rows = await BY_IDS.fetch(self._connection, episode_ids=list(episode_ids))
        return [(episode_of_row(row), demands(row)) for row in rows]

    async def list_episodes(self, release_id: str, *, after: int | None, limit: int) -> list[Episode]:
        if after is None:
            rows = await FIRST.fetch(self._connection, release_id=release_id, limit=limit)
        else:
            rows = await FOLLOWING.fetch(self._connection, release_id=release_id, after=after, limit=limit)
        return [episode_of_row(row) for row in rows]


async def release_conditions(connection: Connection, release: str) -> Conditions | None:
    """Return what the release with this id or alias demands of viewers."""
    statement = CONDITIONS_BY_ID if UUID_SHAPE.match(release) else CONDITIONS_BY_ALIAS
    row = await statement.fetchrow(connection, key=release)
    return Conditions(row["of_release"], demands(row), rights_blocks(row)) if row else None


def demands(row: asyncpg.Record) -> Terms:
    """Return what a release demands of viewers."""
    return Terms(
        Publication(row["publication"]),
        row["age_rating"],
        frozenset(row["blocked_countries"]),
        frozenset(row["held_countries"]),
        row["of_release"],
    )


def rights_blocks(row: asyncpg.Record) -> tuple[RightsBlock, ...]:
    """Return why rights holders do not let a release be shown somewhere."""
    return tuple([RightsBlock(b["holder"], b["reason"], tuple(b["countries"])) for b in row["rights_blocks"]])


def row_of_episode(episode: Episode) -> dict[str, Any]:
    row = {c.name: getattr(episode, c.name) for c in _columns if c.name not in {"title", "titles"}}
    titles = [asdict(title) for title in episode.titles]
    return row | {"title": episode.titles[0].text if episode.titles else "", "titles": titles}


def episode_of_row(row: asyncpg.Record) -> Episode:
    facts = {c.name: row[c.name] for c in _columns if c.name not in {"title", "titles", "state"}}
    titles = tuple(Title(title["language"], title["text"]) for title in row["titles"])
    if not titles and row["title"]:
        titles = (Title(UNDETERMINED, row["title"]),)
    state = EpisodeState(row["state"])
    if state is EpisodeState.RELEASED and facts["release_time"] is None:
        facts["release_time"] = row["create_time"]  # put there by a release that had no such time
    return Episode(titles=titles, state=state, **facts)
