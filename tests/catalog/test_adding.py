"""The same item, sent several times at once, is added once and in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.catalog.items import ITEMS
from domain.catalog.episodes import Episode
from domain.catalog.franchises import Franchise
from domain.kernel import new_id
from tests.builders import NOON, a_release, an_episode

AT_ONCE = 8
# What goes wrong here goes wrong in one round of twenty.
ROUNDS = 80
SHOWN = a_release()


def a_franchise() -> Franchise:
    franchise_id = new_id(at=NOON)
    return Franchise(franchise_id=franchise_id, name=franchise_id, create_time=NOON, update_time=NOON)


def an_episode_of_its_own() -> Episode:
    return an_episode(SHOWN, position=int(new_id(at=NOON)[-6:], 16))


async def added(database: Database, kind: str, item: object) -> bool:
    async with database.begins(bare)() as connection:
        return await ITEMS[kind].keeper.add(connection, item)


@pytest.mark.parametrize(
    ("kind", "build"), [("release", a_release), ("franchise", a_franchise), ("episode", an_episode_of_its_own)]
)
async def test_is_added_once(kind: str, build: Callable[[], Any], database: Database) -> None:
    await added(database, "release", SHOWN)
    for _ in range(ROUNDS):
        item = build()

        outcomes = await asyncio.gather(*(added(database, kind, item) for _ in range(AT_ONCE)))

        assert sorted(outcomes) == [False] * (AT_ONCE - 1) + [True]
