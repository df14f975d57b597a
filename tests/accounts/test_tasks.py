"""What Accounts does by the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg

from adapters.postgres import Database
from adapters.postgres.accounts.store import PostgresAccounts
from server.accounts.tasks import pruning
from server.settings import Settings
from tests.accounts.people import People

COUNTS = """SELECT (SELECT count(*) FROM accounts.sessions) AS sessions, (SELECT count(*) FROM accounts.sign_ins) AS sign_ins,
(SELECT count(*) FROM accounts.throttles) AS throttles, (SELECT count(*) FROM accounts.revocations) AS revocations"""


class TestPruning:
    async def test_deletes_what_is_over_and_nothing_else(self, people: People, database: Database, settings: Settings) -> None:
        await people.register("Mio")
        await people.begin("mio@example.org")
        connection = await asyncpg.connect(settings.database_url)
        await connection.execute("INSERT INTO accounts.revocations (account_id, session_id, time) VALUES ('a', '', now())")
        before = await connection.fetchrow(COUNTS)

        await pruning(database.begins(PostgresAccounts)).act(datetime.now(UTC))
        same = await connection.fetchrow(COUNTS)
        await pruning(database.begins(PostgresAccounts)).act(datetime.now(UTC) + timedelta(days=366))
        after = await connection.fetchrow(COUNTS)
        await connection.close()

        assert before is not None
        assert before == same
        assert {"sessions": 1, "sign_ins": 2} == {name: before[name] for name in ("sessions", "sign_ins")}
        assert after is not None
        assert {0} == set(after.values())
