"""Where rules of episode numbers are kept: one row for each provider that knows a rule's first title."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import Integer, bindparam, delete, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres import Connection, outbox
from adapters.postgres.catalog.statements import NAMED
from adapters.postgres.catalog.tables import episode_redirects
from adapters.postgres.payload import plain
from adapters.postgres.statement import Statement
from domain.catalog.model import ExternalId, Provider
from domain.catalog.redirects import Episodes, Redirect
from domain.kernel import Event

_KEY = ("provider", "external_id", "first_number", "last_number")
_number = bindparam("number", type_=Integer)
FOUND = Statement(
    select(*episode_redirects.c)
    .where(tuple_(episode_redirects.c.provider, episode_redirects.c.external_id).in_(NAMED))
    .where(episode_redirects.c.first_number <= _number, episode_redirects.c.last_number >= _number)
)
ALL = Statement(select(*episode_redirects.c))
# Two imports at once would each take away what the other one brings.
ALONE = Statement(select(func.pg_advisory_xact_lock(literal_column("7304"))))
REMOVE = Statement(delete(episode_redirects).where(*(episode_redirects.c[n] == bindparam(f"the_{n}") for n in _KEY)))
ADD = Statement(insert(episode_redirects).values({c.name: bindparam(c.name, type_=c.type) for c in episode_redirects.c}))


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a new set of rules changed."""

    added: int
    removed: int
    kept: int


class PostgresRedirects:
    """The rules of episode numbers on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def redirects(self, ids: Sequence[ExternalId], number: int) -> list[Redirect]:
        """Return the rules that speak of an episode of a title which goes by any of these ids."""
        providers, external_ids = [one.provider for one in ids], [one.external_id for one in ids]
        rows = await FOUND.fetch(self._connection, providers=providers, external_ids=external_ids, number=number)
        return [_redirect(row) for row in rows]

    async def replace(self, redirects: Iterable[Redirect]) -> Replaced:
        """Keep these rules and no others; of two about the same episodes of a title the first one counts."""
        await ALONE.execute(self._connection)
        wanted: dict[tuple[Any, ...], Redirect] = {}
        for redirect in redirects:
            wanted.setdefault(_key(redirect), redirect)
        there = {_key(one): one for one in map(_redirect, await ALL.fetch(self._connection))}
        stale = [key for key, one in there.items() if wanted.get(key) != one]
        fresh = [one for key, one in wanted.items() if there.get(key) != one]
        removed = [REMOVE.arguments({f"the_{name}": part for name, part in zip(_KEY, key, strict=True)}) for key in stale]
        await self._connection.executemany(REMOVE.text, removed)
        await self._connection.executemany(ADD.text, [ADD.arguments(_row(one)) for one in fresh])
        return Replaced(added=len(fresh), removed=len(stale), kept=len(wanted) - len(fresh))

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)


def _key(redirect: Redirect) -> tuple[Any, ...]:
    source, episodes = redirect.source, redirect.episodes
    return int(source.provider), source.external_id, episodes.first, episodes.last


def _row(redirect: Redirect) -> dict[str, Any]:
    return {
        **dict(zip(_KEY, _key(redirect), strict=True)),
        "targets": [plain(one) for one in redirect.targets],
        "target_first_number": redirect.become.first,
        "target_last_number": redirect.become.last,
    }


def _redirect(row: asyncpg.Record) -> Redirect:
    return Redirect(
        source=ExternalId(Provider(row["provider"]), row["external_id"]),
        episodes=Episodes(row["first_number"], row["last_number"]),
        targets=tuple(ExternalId(Provider(one["provider"]), one["external_id"]) for one in row["targets"]),
        become=Episodes(row["target_first_number"], row["target_last_number"]),
    )
