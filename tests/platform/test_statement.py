"""Statements: compiled once, run with exactly the values that they need."""

from __future__ import annotations

import pytest
from sqlalchemy import any_, bindparam, select, text

from adapters.postgres import Database, bare
from adapters.postgres.catalog.tables import genres
from adapters.postgres.statement import Statement

ADD = Statement(genres.insert().values(genre_id=bindparam("genre_id"), name=bindparam("name")))
SOME = Statement(
    select(genres.c.name)
    .where(genres.c.genre_id == any_(bindparam("ids")), genres.c.name != "unwanted")
    .order_by(genres.c.genre_id)
    .limit(bindparam("limit"))
)


class TestStatement:
    async def test_takes_values_by_name_and_constants_from_its_text(self, database: Database) -> None:
        async with database.begins(bare)() as connection:
            for name in ("drama", "mecha", "unwanted"):
                assert await ADD.execute(connection, name=name, genre_id=name) == "INSERT 0 1"
            rows = await SOME.fetch(connection, ids=["drama", "mecha", "unwanted", "absent"], limit=5)

        assert ["drama", "mecha"] == [row["name"] for row in rows]

    async def test_has_no_row_where_there_is_none(self, database: Database) -> None:
        async with database.reads(bare)() as connection:
            assert await SOME.fetchrow(connection, ids=[], limit=1) is None
            assert await SOME.fetchval(connection, ids=[], limit=1) is None

    @pytest.mark.parametrize("values", [{"ids": []}, {"ids": [], "limit": 1, "other": 2}, {"other": 1, "limit": 1}])
    def test_refuses_values_too_many_or_too_few(self, values: dict[str, object]) -> None:
        with pytest.raises(TypeError, match="the statement"):
            SOME.arguments(values)

    def test_refuses_a_text_that_changes_with_its_values(self) -> None:
        with pytest.raises(ValueError, match="any_"):
            Statement(select(genres.c.name).where(genres.c.genre_id.in_(bindparam("ids", expanding=True))))

    async def test_speaks_ids_and_json_as_the_domain_does(self, database: Database) -> None:
        echo = Statement(text("SELECT CAST(:id AS uuid) AS id, CAST(:ids AS uuid[]) AS ids, CAST(:json AS jsonb) AS json"))
        one, two = "0191d7a0-0000-7000-8000-000000000001", "0191d7a0-0000-7000-8000-000000000002"
        sent = {"id": one, "ids": [one, two], "json": {"title": "風の歌", "parts": [1, None, True]}}

        async with database.reads(bare)() as connection:
            row = await echo.fetchrow(connection, **sent)

        assert row is not None
        assert sent == dict(row)
