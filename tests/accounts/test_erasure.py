"""Erasing an account in every context, and telling its owner before what was kept in each."""

from __future__ import annotations

import random
import re

import pytest

from adapters.postgres import Database
from adapters.postgres.audit import PostgresAudit
from adapters.postgres.everything import TABLES
from adapters.postgres.own_data import Fate
from adapters.secret_keys import Mark
from ani.accounts.v1 import own_data_service_pb2 as pb
from ani.accounts.v1 import sign_in_pb2
from domain import audit
from domain.accounts.own_data import GRACE
from domain.accounts.packing import CONTENTS, Packer
from domain.operations.model import State
from server.settings import Settings
from server.wiring.own_data import KEPT
from tests.accounts.own import NAME, WHOSE, Worker, fill, let_pass, run, scan, unpacked
from tests.accounts.people import People, bearer
from tests.builders import NOON
from tests.serving import Served

EXPORT_ID = "0191d7a0-0000-7000-8000-0000000000e1"
ADDRESS = "zorblax@example.org"
# Tables that hold nothing of any account. A new one belongs here, or among what its context keeps of accounts: see KEPT.
NOBODYS = {
    "accounts.teams", "accounts.team_roles",
    # By addresses; whatever names an account in it goes with it all the same.
    "accounts.throttles",
    "catalog.changes", "catalog.episode_redirects", "catalog.episodes", "catalog.external_ids", "catalog.franchise_members",
    "catalog.franchises", "catalog.genres", "catalog.import_facts", "catalog.release_genres", "catalog.release_tags",
    "catalog.releases", "catalog.schedule_changes", "catalog.schedule_entries", "catalog.schedule_versions", "catalog.tags",
    "media.attachments", "media.promo_counts", "media.promo_events", "media.promos", "media.video_sources",
    "operations.problems",
    # What is on its way through these is scrubbed.
    "platform.dead_letters", "platform.deliveries", "platform.events",
    "platform.ticks",
}  # fmt: skip
NAMES_ACCOUNTS = re.compile(r"(^|_)(account|author|reviewer|inviter|user|owner_account|viewer|member)_id$")
SECRET = re.compile(r"hash|secret|sealed|seed|digest|mark|_key$|password_hash")
# Why they stay stands beside them.
STAYING = {kept.table.fullname for context in KEPT.values() for kept in context if kept.fate is Fate.STAYS}


@pytest.fixture
def worker(settings: Settings, database: Database) -> Worker:
    return Worker(settings, database)


@pytest.fixture
async def zorblax(people: People, database: Database) -> sign_in_pb2.Tokens:
    """Somebody of whom something is kept in every table."""
    tokens = await people.register(NAME.replace(" ", "-"), email=ADDRESS)
    await fill(database, tokens.account_id)
    await run(database, "UPDATE accounts.accounts SET name = $2 WHERE account_id = $1", tokens.account_id, NAME)
    await run(database, "INSERT INTO accounts.throttles SELECT $1, 1, now(), now()", f"account:{ADDRESS}")
    profile = await run(database, "SELECT profile_id FROM accounts.profiles WHERE account_id = $1", tokens.account_id)
    await run(database, "INSERT INTO accounts.throttles SELECT $1, 1, now(), now()", f"pin:{profile[0]['profile_id']}")
    return tokens


async def delete(served: Served, database: Database, tokens: sign_in_pb2.Tokens) -> None:
    """Have an account deleted, and let the time for second thoughts pass."""
    await served.own_data.RequestDeletion(pb.RequestDeletionRequest(), metadata=bearer(tokens))
    await let_pass(database, tokens.account_id, seconds=GRACE.total_seconds())


async def erase(served: Served, worker: Worker, database: Database, tokens: sign_in_pb2.Tokens) -> None:
    await delete(served, database, tokens)
    # Those who are signed in to the last are signed out first.
    await worker.tick("erase-accounts")
    await worker.tick("erase-accounts")
    await worker.settle()


class TestEveryTable:
    def test_is_known_to_hold_something_of_accounts_or_nothing(self) -> None:
        """A18: a new table fails here until it is said what becomes of it."""
        tables = {table.fullname for table in TABLES}

        assert tables <= WHOSE.keys() | NOBODYS
        assert not WHOSE.keys() & NOBODYS

    def test_says_so_of_every_column_that_names_an_account(self) -> None:
        named = {
            (table.fullname, column.name)
            for table in TABLES
            for column in table.c
            if NAMES_ACCOUNTS.search(column.name) or any(key.column.table.name == "accounts" for key in column.foreign_keys)
        }  # fmt: skip

        assert named <= {(table, column) for table, columns in WHOSE.items() for column in columns}

    def test_is_told_or_says_why_not(self) -> None:
        kept = [one for context in KEPT.values() for one in context]

        assert all(one.about or one.why for one in kept)
        assert all(one.why for one in kept if one.fate is Fate.STAYS)
        assert not [(one.file, column.name) for one in kept if one.about for column in one.told if SECRET.search(column.name)]

    def test_that_goes_with_the_account_refers_to_it(self) -> None:
        for one in (one for context in KEPT.values() for one in context if one.fate is Fate.GOES):
            keys = one.table.c[one.column].foreign_keys
            assert one.table.name == "accounts" or ["CASCADE"] == [key.ondelete for key in keys]


class TestExport:
    async def test_holds_what_every_table_keeps(
        self, served: Served, worker: Worker, database: Database, zorblax: sign_in_pb2.Tokens
    ) -> None:
        """A18: generated from the tables, so a new one is in it or fails the tests above."""
        await served.own_data.StartExport(pb.StartExportRequest(export_id=EXPORT_ID), metadata=bearer(zorblax))
        await worker.make_exports()
        request = pb.DownloadExportRequest(export_id=EXPORT_ID, part=1)
        files = unpacked([(await served.own_data.DownloadExport(request, metadata=bearer(zorblax))).content.data])

        told = {one.file for context in KEPT.values() for one in context if one.about}
        assert {f"{name}.json" for name in told} | {CONTENTS} == files.keys()
        assert told == files[CONTENTS]["contents"].keys()
        assert all(files[f"{name}.json"] for name in told)

    async def test_holds_nothing_of_others(
        self, served: Served, worker: Worker, people: People, zorblax: sign_in_pb2.Tokens
    ) -> None:
        rin = await people.register("Rin")
        await served.own_data.StartExport(pb.StartExportRequest(export_id=EXPORT_ID), metadata=bearer(rin))
        await worker.make_exports()
        request = pb.DownloadExportRequest(export_id=EXPORT_ID, part=1)
        files = unpacked([(await served.own_data.DownloadExport(request, metadata=bearer(rin))).content.data])

        assert {"accounts/accounts.json", "accounts/sessions.json", "accounts/exports.json", "operations/operations.json"} == (
            files.keys() - {CONTENTS}
        )
        assert zorblax.account_id not in str(files)


class TestPacker:
    def test_makes_parts_that_any_client_takes(self) -> None:
        packer = Packer("me", at=NOON)
        noise = random.Random(1)
        records = [{"number": number, "noise": noise.randbytes(200).hex()} for number in range(20_000)]

        parts = [part for some in range(0, 20_000, 500) for part in packer.add("a/b", "Numbers.", records[some : some + 500])]
        parts.append(packer.finish())
        files = unpacked(parts)

        assert len(parts) > 1
        assert max(map(len, parts)) < 3 * 1024 * 1024
        assert records == [one for file in files[CONTENTS]["contents"]["a/b"]["files"] for one in files[file]]
        assert 20_000 == packer.record_count == files[CONTENTS]["contents"]["a/b"]["records"]


class TestErasure:
    async def test_leaves_nothing_anywhere_but_what_says_why(
        self, served: Served, worker: Worker, database: Database, zorblax: sign_in_pb2.Tokens
    ) -> None:
        """A18: every table of every schema is looked through for the account's id, address and names."""
        needles = (zorblax.account_id, ADDRESS, *NAME.split())
        before = await scan(database, needles)

        await erase(served, worker, database, zorblax)
        after = await scan(database, needles)
        events = await run(database, "SELECT name FROM platform.events WHERE strpos(payload::text, $1) > 0", zorblax.account_id)

        assert WHOSE.keys() - {"accounts.revocations"} <= before.keys()
        assert {name: {zorblax.account_id} for name in STAYING | {"platform.events"}} == after
        assert ["AccountDeleted"] == [row["name"] for row in events]
        assert not await run(database, "SELECT FROM accounts.throttles WHERE key NOT LIKE 'address:%'")

    async def test_keeps_what_others_need_under_one_id_that_is_nobodys(
        self, served: Served, worker: Worker, database: Database, zorblax: sign_in_pb2.Tokens
    ) -> None:
        await erase(served, worker, database, zorblax)

        (told,) = await run(database, "SELECT payload FROM platform.events WHERE name = 'AccountDeleted'")
        left = await run(
            database,
            "SELECT account_id FROM editing.revisions UNION SELECT author_id FROM editing.change_sets "
            "UNION SELECT reviewer_id FROM editing.change_sets UNION SELECT account_id FROM media.files "
            "UNION SELECT account_id FROM operations.operations",
        )
        assert [told["payload"]["stand_in_id"]] == [row["account_id"] for row in left]

    async def test_leaves_the_chain_of_the_audit_log_whole(
        self, served: Served, worker: Worker, database: Database, settings: Settings, zorblax: sign_in_pb2.Tokens
    ) -> None:
        mark, log = Mark(settings.key_folder, audit.PURPOSE).of, PostgresAudit(database)
        await log.seal(mark, limit=100)

        await erase(served, worker, database, zorblax)

        head, chained = audit.Head(), [one async for some in log.chained() for one in some]
        assert chained
        for kept in chained:
            assert audit.broken(head, kept, mark=mark) is None
            head = audit.follow(head, kept, mark=mark)

    async def test_frees_the_address_and_the_name(self, served: Served, worker: Worker, database: Database, people: People) -> None:
        mio = await people.register("Mio")
        await erase(served, worker, database, mio)

        assert mio.account_id != (await people.register("Mio")).account_id

    async def test_waits_for_second_thoughts(self, served: Served, worker: Worker, database: Database, people: People) -> None:
        mio = await people.register("Mio")
        await served.own_data.RequestDeletion(pb.RequestDeletionRequest(), metadata=bearer(mio))
        await let_pass(database, mio.account_id, days=13, hours=23)

        await worker.tick("erase-accounts")
        await worker.tick("erase-accounts")

        assert await run(database, "SELECT FROM accounts.accounts")
        assert await run(database, "SELECT FROM accounts.sessions WHERE end_time IS NULL")

    async def test_signs_out_first_so_that_nothing_is_written_for_who_is_gone(
        self, served: Served, worker: Worker, database: Database, people: People
    ) -> None:
        mio = await people.register("Mio")
        await delete(served, database, mio)

        await worker.tick("erase-accounts")
        there = await run(database, "SELECT FROM accounts.accounts")
        signed_in = await run(database, "SELECT FROM accounts.sessions WHERE end_time IS NULL")
        await worker.tick("erase-accounts")

        assert there
        assert not signed_in
        assert not await run(database, "SELECT FROM accounts.accounts")

    async def test_deletes_the_parts_of_exports(
        self, served: Served, worker: Worker, database: Database, settings: Settings, people: People
    ) -> None:
        mio = await people.register("Mio")
        await served.own_data.StartExport(pb.StartExportRequest(export_id=EXPORT_ID), metadata=bearer(mio))
        await worker.make_exports()
        stored = [path for path in (settings.data / "exports").glob("??/*") if path.is_file()]

        await erase(served, worker, database, mio)

        assert stored
        assert not any(path.exists() for path in stored)

    async def test_leaves_nothing_of_an_export_that_was_being_prepared(
        self, served: Served, worker: Worker, database: Database, settings: Settings, people: People
    ) -> None:
        mio = await people.register("Mio")
        await served.own_data.StartExport(pb.StartExportRequest(export_id=EXPORT_ID), metadata=bearer(mio))
        await erase(served, worker, database, mio)

        await worker.make_exports()

        assert [State.FAILED] == [row["state"] for row in await run(database, "SELECT state FROM operations.operations")]
        assert not [path for path in (settings.data / "exports").glob("??/*") if path.is_file()]
