"""The audit log's chain: whatever is changed, removed or put between shows, whoever writes it and however many do."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres import Database
from adapters.postgres import audit as audit_store
from adapters.postgres.audit import PostgresAudit
from adapters.secret_keys import Mark
from domain.audit import PURPOSE, Entry, Head, Kept, broken, canonical, follow
from server.commands import audit as audit_command
from server.events.sealing import Sealer
from server.settings import Settings
from tests.builders import NOON

TEXTS = ["method", "account_id", "role", "address", "subject", "code", "reason", "request_id", "key_id"]


def mark(data: bytes) -> bytes:
    return hashlib.sha256(b"key" + data).digest()


def an_entry(number: int = 0, **facts: object) -> Entry:
    request = {"release": {"synopsis": f"Words {number}, 風."}, "amount": 0.1 + number}
    return replace(Entry(time=NOON + timedelta(seconds=number), method="/a/B", request=request, code="OK"), **facts)  # type: ignore[arg-type]


def chained(count: int) -> list[Kept]:
    head, found = Head(), list[Kept]()
    for number in range(count):
        kept = Kept(entry_id=number + 10, entry=an_entry(number))
        after = follow(head, kept, mark=mark)
        found.append(replace(kept, number=after.number, previous=head.hash, hash=after.hash))
        head = after
    return found


def first_break(entries: list[Kept]) -> int | None:
    head = Head()
    for kept in entries:
        if (fault := broken(head, kept, mark=mark)) is not None:
            return fault.number
        head = Head(kept.number or 0, kept.hash)
    return None


@pytest.fixture
async def raw(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who may do whatever PostgreSQL lets its owner do."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def sealer(database: Database, settings: Settings) -> Sealer:
    return Sealer(PostgresAudit(database), Mark(settings.key_folder, PURPOSE).of)


async def written(database: Database, count: int) -> None:
    for number in range(count):
        await PostgresAudit(database).record(an_entry(number))


def verified(settings: Settings, capsys: pytest.CaptureFixture[str], expected: Head | None = None) -> tuple[int, str]:
    status = audit_command.verify(settings, expected=expected)
    return status, capsys.readouterr().out


class TestChain:
    def test_holds_as_it_was_made(self) -> None:
        assert first_break(chained(20)) is None

    @given(
        st.integers(0, 9), st.sampled_from(["method", "account_id", "role", "address", "subject", "code", "reason", "request_id"])
    )
    def test_breaks_at_the_entry_that_was_changed(self, place: int, name: str) -> None:
        entries = chained(10)
        changed = an_entry(place, **{name: "another"})
        entries[place] = replace(entries[place], entry=changed)

        assert place + 1 == first_break(entries)

    @given(st.integers(0, 8))
    def test_breaks_where_an_entry_was_removed(self, place: int) -> None:
        entries = chained(10)
        del entries[place]

        assert place + 1 == first_break(entries)

    @given(st.integers(0, 9))
    def test_breaks_where_an_entry_was_put_between(self, place: int) -> None:
        entries = chained(10)
        fresh = replace(entries[place], entry_id=99, entry=an_entry(99))
        entries.insert(place, fresh)

        assert place + 1 == first_break(entries)

    @given(st.integers(0, 8))
    def test_breaks_where_two_entries_changed_places(self, place: int) -> None:
        entries = chained(10)
        entries[place : place + 2] = reversed(entries[place : place + 2])

        assert place + 1 == first_break(entries)

    def test_says_everything_of_an_entry(self) -> None:
        """A field that a hash leaves out could be changed unseen."""
        said = canonical(1, b"", Kept(entry_id=1, entry=an_entry())).decode()

        assert all(f'"{name}":' in said for name in Entry.__slots__)


class TestTable:
    async def test_refuses_to_be_changed_emptied_or_filled_in_between(
        self, database: Database, sealer: Sealer, raw: asyncpg.Connection
    ) -> None:
        await written(database, 2)
        await sealer.seal()
        await written(database, 1)
        tries = [
            "UPDATE platform.audit_log SET account_id = 'x' WHERE chain_number = 1",
            "UPDATE platform.audit_log SET hash = 'x' WHERE chain_number = 1",
            "UPDATE platform.audit_log SET chain_number = NULL, hash = NULL, previous_hash = NULL",
            "UPDATE platform.audit_log SET chain_number = 9, hash = 'x', previous_hash = 'x', role = 'x' WHERE hash IS NULL",
            "UPDATE platform.audit_log SET chain_number = 9 WHERE hash IS NULL",
            "DELETE FROM platform.audit_log",
            "DELETE FROM platform.audit_log WHERE hash IS NULL",
            "TRUNCATE platform.audit_log",
            """INSERT INTO platform.audit_log
            (time, request_id, method, account_id, role, address, request, code, reason, duration_seconds, chain_number)
            VALUES (now(), '', '', '', '', '', '{}', '', '', 0, 9)""",
        ]
        for one in tries:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only ever added to"):
                await raw.execute(one)

        assert 3 == await raw.fetchval("SELECT count(*) FROM platform.audit_log")


class TestSeal:
    async def test_makes_one_chain_of_what_many_write(self, database: Database, sealer: Sealer, settings: Settings) -> None:
        """Transactions that began earlier may end later: nothing is waited for, and nothing is left out."""
        other = Sealer(PostgresAudit(database), Mark(settings.key_folder, PURPOSE).of)

        async def write(number: int) -> None:
            async with database.begins(lambda connection: connection)() as connection:
                await audit_store.record(connection, an_entry(number))
                await asyncio.sleep(0.001 * (number % 7))

        async def seal_on(one: Sealer) -> None:
            for _ in range(30):
                await one.seal()

        await asyncio.gather(*(write(number) for number in range(60)), seal_on(sealer), seal_on(other))
        await sealer.seal()

        entries = [kept async for some in PostgresAudit(database).chained() for kept in some]
        assert list(range(1, 61)) == [kept.number for kept in entries]
        assert {f"Words {number}, 風." for number in range(60)} == {kept.entry.request["release"]["synopsis"] for kept in entries}

    async def test_leaves_out_what_was_rolled_back(self, database: Database, sealer: Sealer) -> None:
        async with database.begins(lambda connection: connection)(rehearse=True) as connection:
            await audit_store.record(connection, an_entry())
        await written(database, 1)

        assert 1 == await sealer.seal()

    async def test_tells_of_a_chain_that_became_shorter(
        self, database: Database, sealer: Sealer, raw: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        await written(database, 3)
        await sealer.seal()
        await raw.execute("SET session_replication_role = replica; DELETE FROM platform.audit_log WHERE chain_number = 3")

        with caplog.at_level(logging.ERROR, "ani.audit"):
            await sealer.seal()

        assert "missing at its end" in caplog.text


HARMS = [
    ("UPDATE platform.audit_log SET code = 'OK ' WHERE chain_number = 3", 3),
    ("UPDATE platform.audit_log SET request = '{}' WHERE chain_number = 1", 1),
    ("UPDATE platform.audit_log SET time = time + interval '1 microsecond' WHERE chain_number = 5", 5),
    ("DELETE FROM platform.audit_log WHERE chain_number = 2", 2),
    ("DELETE FROM platform.audit_log WHERE chain_number = 1", 1),
    (
        """UPDATE platform.audit_log SET chain_number = -1 WHERE chain_number = 2;
        UPDATE platform.audit_log SET chain_number = 2 WHERE chain_number = 4;
        UPDATE platform.audit_log SET chain_number = 4 WHERE chain_number = -1""",
        2,
    ),
    (
        """INSERT INTO platform.audit_log (time, request_id, method, account_id, role, address, request, code, reason,
        duration_seconds, chain_number, previous_hash, hash)
        SELECT time, request_id, method, account_id, role, address, request, code, reason, duration_seconds, 6, hash, hash
        FROM platform.audit_log WHERE chain_number = 5""",
        6,
    ),
]


class TestVerify:
    @pytest.fixture
    async def chain(self, database: Database, sealer: Sealer) -> Head:
        await written(database, 5)
        await sealer.seal()
        return await PostgresAudit(database).head()

    @pytest.fixture(params=HARMS)
    async def harmed(self, request: pytest.FixtureRequest, chain: Head, raw: asyncpg.Connection) -> int:
        """Where the chain was changed."""
        harm, place = request.param
        await raw.execute(f"SET session_replication_role = replica; {harm}")
        return int(place)

    async def test_proves_a_whole_chain(self, chain: Head, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
        status, said = await asyncio.to_thread(verified, settings, capsys, chain)

        assert 0 == status
        assert f"unbroken: 5 entries, head {chain}" in said

    async def test_counts_what_is_not_chained_yet(
        self, chain: Head, database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        await written(database, 2)

        status, said = await asyncio.to_thread(verified, settings, capsys)

        assert 0 == status
        assert "2 entries are not chained yet; is there a worker?" in said

    async def test_names_the_first_entry_that_does_not_hold(
        self,
        harmed: int,
        settings: Settings,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """By somebody who switched the trigger off first."""
        status, said = await asyncio.to_thread(verified, settings, capsys)

        assert 1 == status
        assert f"broken at entry {harmed} of the chain" in said

    async def test_misses_what_was_cut_off_after_a_head_that_is_known(
        self, chain: Head, raw: asyncpg.Connection, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        await raw.execute("SET session_replication_role = replica; DELETE FROM platform.audit_log WHERE chain_number = 5")

        status, said = await asyncio.to_thread(verified, settings, capsys, chain)

        assert 1 == status
        assert "missing at its end" in said

    async def test_is_not_fooled_by_hashes_made_without_the_key(
        self, chain: Head, raw: asyncpg.Connection, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whoever has only the database cannot chain it anew."""
        await raw.execute(
            """SET session_replication_role = replica;
            UPDATE platform.audit_log SET account_id = 'x', hash = sha256(hash) WHERE chain_number = 5"""
        )

        status, said = await asyncio.to_thread(verified, settings, capsys)

        assert 1 == status
        assert "broken at entry 5" in said
