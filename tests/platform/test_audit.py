"""The audit log's store."""

from __future__ import annotations

from adapters.postgres import Database, bare
from adapters.postgres.audit import PostgresAudit
from domain.audit import Entry
from tests.builders import NOON


class TestRecord:
    async def test_keeps_an_entry_with_all_it_says(self, database: Database) -> None:
        entry = Entry(
            time=NOON,
            request_id="0af7651916cd43dd8448eb21",
            method="/ani.catalog.v1.CatalogAdminService/UpdateRelease",
            account_id="0191d7a0-0000-7000-8000-000000000001",
            role="EDITOR",
            address="192.0.2.1",
            request={"release": {"synopsis": "風"}, "fields": ["synopsis"]},
            code="ABORTED",
            reason="ITEM_CHANGED_MEANWHILE",
            duration_seconds=0.0125,
            key_id="0191d7a0-0000-7000-8000-000000000002",
            subject="0191d7a0-0000-7000-8000-000000000003",
            changes={"release": {"version": 3}},
        )

        await PostgresAudit(database).record(entry)

        async with database.reads(bare)() as connection:
            (row,) = await connection.fetch("SELECT * FROM platform.audit_log")
        chain = {"entry_id", "chain_number", "previous_hash", "hash"}
        kept = {name: value for name, value in row.items() if name not in chain}
        assert kept == {name: getattr(entry, name) for name in kept}
        assert set(Entry.__slots__) == set(kept)

    async def test_keeps_a_request_with_what_postgresql_cannot_keep(self, database: Database) -> None:
        request = {"release": {"synopsis": "wind\0", "titles": [{"text": "\0"}]}}
        entry = Entry(
            time=NOON,
            request_id="0af7651916cd43dd8448eb22",
            method="/ani.catalog.v1.CatalogAdminService/CreateRelease",
            account_id="0191d7a0-0000-7000-8000-000000000001",
            role="EDITOR",
            address="192.0.2.1",
            request=request,
            code="INVALID_ARGUMENT",
            reason="REQUEST_INVALID",
            duration_seconds=0.0125,
        )

        await PostgresAudit(database).record(entry)

        async with database.reads(bare)() as connection:
            (row,) = await connection.fetch("SELECT request FROM platform.audit_log")
        assert row["request"] == {"release": {"synopsis": "wind\u2400", "titles": [{"text": "\u2400"}]}}
