"""Own data over a real server: exports that are handed out to their owners alone, and accounts that are to go."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import grpc
import pytest

from adapters.postgres import Database
from ani.accounts.v1 import own_account_service_pb2 as account_pb
from ani.accounts.v1 import own_data_pb2, sign_in_pb2
from ani.accounts.v1 import own_data_service_pb2 as pb
from ani.operations.v1 import operation_pb2
from domain.kernel import Role
from server.settings import Settings
from tests.accounts.own import Worker, run, unpacked
from tests.accounts.people import People, PostOffice, bearer
from tests.serving import Metadata, Served, refusal, taken_apart
from tests.waiting import until

EXPORT_ID = "0191d7a0-0000-7000-8000-0000000000e1"
OTHER_ID = "0191d7a0-0000-7000-8000-0000000000e2"
MIO = "mio@example.org"


@pytest.fixture
def worker(settings: Settings, database: Database) -> Worker:
    return Worker(settings, database)


@pytest.fixture
async def mio(people: People) -> sign_in_pb2.Tokens:
    return await people.register("Mio")


async def started(served: Served, tokens: sign_in_pb2.Tokens, export_id: str = EXPORT_ID) -> operation_pb2.Operation:
    request = pb.StartExportRequest(export_id=export_id)
    return (await served.own_data.StartExport(request, metadata=bearer(tokens))).operation


async def export(served: Served, tokens: sign_in_pb2.Tokens, export_id: str = EXPORT_ID) -> own_data_pb2.Export:
    return (await served.own_data.GetExport(pb.GetExportRequest(export_id=export_id), metadata=bearer(tokens))).export


def download(part: int = 1, export_id: str = EXPORT_ID) -> pb.DownloadExportRequest:
    return pb.DownloadExportRequest(export_id=export_id, part=part)


async def grow_old(database: Database) -> None:
    """Let time pass since everybody proved who they are."""
    await run(database, "UPDATE accounts.sessions SET proof_time = proof_time - interval '11 minutes'")


async def delete_time(served: Served, tokens: sign_in_pb2.Tokens) -> bool:
    found = await served.own_account.GetAccount(account_pb.GetAccountRequest(), metadata=bearer(tokens))
    return found.account.HasField("delete_time")


class TestStartExport:
    async def test_ends_in_a_letter_and_everything_that_is_kept(
        self, served: Served, worker: Worker, post: PostOffice, mio: sign_in_pb2.Tokens
    ) -> None:
        operation = await started(served, mio)
        before = await export(served, mio)

        await worker.make_exports()
        after = await export(served, mio)
        content = (await served.own_data.DownloadExport(download(), metadata=bearer(mio))).content

        assert (EXPORT_ID, operation_pb2.OPERATION_STATE_QUEUED) == (operation.operation_id, operation.state)
        assert (own_data_pb2.EXPORT_STATE_PREPARING, 0) == (before.state, before.part_count)
        assert (own_data_pb2.EXPORT_STATE_READY, 1, len(content.data)) == (after.state, after.part_count, after.size)
        assert 7 * 86400 == after.expire_time.seconds - after.ready_time.seconds
        assert "export_ready" == (await post.last(MIO)).kind
        assert "application/zip" == content.content_type
        (account,) = unpacked([content.data])["accounts/accounts.json"]
        assert (MIO, "Mio", "USER") == (account["email"], account["name"], account["role"])

    async def test_with_the_same_id_gives_the_same_operation(self, served: Served, mio: sign_in_pb2.Tokens) -> None:
        first = await started(served, mio)

        assert first == await started(served, mio)

    async def test_refuses_while_another_one_is_prepared(self, served: Served, worker: Worker, mio: sign_in_pb2.Tokens) -> None:
        await started(served, mio)

        refused = await refusal(started(served, mio, OTHER_ID))
        await worker.make_exports()
        later = await started(served, mio, OTHER_ID)

        assert (grpc.StatusCode.FAILED_PRECONDITION, "EXPORT_UNDER_WAY") == (refused.code, refused.reason)
        assert OTHER_ID == later.operation_id

    async def test_starts_one_of_many_that_are_asked_for_at_once(self, served: Served, mio: sign_in_pb2.Tokens) -> None:
        ids = [f"0191d7a0-0000-7000-8000-{number:012d}" for number in range(8)]

        found = await asyncio.gather(*(started(served, mio, one) for one in ids), return_exceptions=True)

        assert 1 == len([one for one in found if isinstance(one, operation_pb2.Operation)])
        refused = [taken_apart(one) for one in found if isinstance(one, grpc.aio.AioRpcError)]
        assert ["EXPORT_UNDER_WAY"] * 7 == [one.reason for one in refused]

    async def test_refuses_an_id_that_is_somebody_elses(self, served: Served, people: People, mio: sign_in_pb2.Tokens) -> None:
        await started(served, mio)

        refused = await refusal(started(served, await people.register("Rin")))

        assert "EXPORT_ID_REUSED" == refused.reason

    async def test_needs_a_fresh_proof(self, served: Served, database: Database, mio: sign_in_pb2.Tokens) -> None:
        await grow_old(database)

        assert "PROOF_TOO_OLD" == (await refusal(started(served, mio))).reason

    async def test_that_was_cancelled_may_be_followed_by_another(
        self, served: Served, database: Database, mio: sign_in_pb2.Tokens
    ) -> None:
        await started(served, mio)
        await run(database, "UPDATE operations.operations SET state = 5, end_time = now()")

        assert own_data_pb2.EXPORT_STATE_FAILED == (await export(served, mio)).state
        assert OTHER_ID == (await started(served, mio, OTHER_ID)).operation_id


class TestGetExport:
    async def test_knows_nothing_of_others(self, served: Served, people: People, mio: sign_in_pb2.Tokens) -> None:
        await started(served, mio)
        rin = await people.register("Rin")

        listed = await served.own_data.ListExports(pb.ListExportsRequest(), metadata=bearer(rin))

        assert "EXPORT_NOT_FOUND" == (await refusal(export(served, rin))).reason
        assert not listed.exports


class TestListExports:
    async def test_shows_the_latest_alone_once_it_is_ready(self, served: Served, worker: Worker, mio: sign_in_pb2.Tokens) -> None:
        await started(served, mio)
        await worker.make_exports()
        await started(served, mio, OTHER_ID)
        both = await served.own_data.ListExports(pb.ListExportsRequest(), metadata=bearer(mio))
        await worker.make_exports()
        last = await served.own_data.ListExports(pb.ListExportsRequest(), metadata=bearer(mio))

        assert [OTHER_ID, EXPORT_ID] == [one.export_id for one in both.exports]
        assert [OTHER_ID] == [one.export_id for one in last.exports]


class TestDownloadExport:
    async def test_refuses_what_is_not_there(self, served: Served, worker: Worker, people: People, mio: sign_in_pb2.Tokens) -> None:
        await started(served, mio)
        early = await refusal(served.own_data.DownloadExport(download(), metadata=bearer(mio)))
        await worker.make_exports()
        beyond = await refusal(served.own_data.DownloadExport(download(part=2), metadata=bearer(mio)))
        others = await refusal(served.own_data.DownloadExport(download(), metadata=bearer(await people.register("Rin"))))

        assert ["EXPORT_NOT_READY", "EXPORT_PART_NOT_FOUND", "EXPORT_NOT_FOUND"] == [
            one.reason for one in (early, beyond, others)
        ]  # fmt: skip

    async def test_needs_a_fresh_proof(self, served: Served, worker: Worker, database: Database, mio: sign_in_pb2.Tokens) -> None:
        await started(served, mio)
        await worker.make_exports()
        await grow_old(database)

        assert "PROOF_TOO_OLD" == (await refusal(served.own_data.DownloadExport(download(), metadata=bearer(mio)))).reason

    async def test_is_over_after_its_days(
        self, served: Served, worker: Worker, database: Database, settings: Settings, mio: sign_in_pb2.Tokens
    ) -> None:
        await started(served, mio)
        await worker.make_exports()
        stored = [path for path in (settings.data / "exports").glob("??/*") if path.is_file()]
        await run(database, "UPDATE accounts.exports SET expire_time = now()")

        refused = await refusal(served.own_data.DownloadExport(download(), metadata=bearer(mio)))
        await worker.tick("sweep-exports")

        assert "EXPORT_NOT_FOUND" == refused.reason
        assert 1 == len(stored)
        assert not stored[0].exists()
        assert not await run(database, "SELECT FROM accounts.exports")


class TestSweep:
    async def test_deletes_what_broken_off_exports_left_over(
        self, served: Served, worker: Worker, settings: Settings, mio: sign_in_pb2.Tokens
    ) -> None:
        await started(served, mio)
        await worker.make_exports()
        (kept,) = [path for path in (settings.data / "exports").glob("??/*") if path.is_file()]
        left_over = kept.with_name(f"{OTHER_ID[:-2]}{kept.name[-2:]}")
        left_over.write_bytes(b"half")
        for path in (kept, left_over):
            os.utime(path, (0, 0))

        await worker.tick("sweep-exports")

        assert kept.exists()
        assert not left_over.exists()


class TestRequestDeletion:
    async def test_ends_all_other_sessions_and_tells_the_owner(
        self, served: Served, people: People, post: PostOffice, mio: sign_in_pb2.Tokens
    ) -> None:
        other = (await people.sign_in(MIO)).tokens

        answer = await served.own_data.RequestDeletion(pb.RequestDeletionRequest(), metadata=bearer(mio))
        again = await served.own_data.RequestDeletion(pb.RequestDeletionRequest(), metadata=bearer(mio))

        async def ended() -> bool:
            account = served.own_account.GetAccount(account_pb.GetAccountRequest(), metadata=bearer(other))
            try:
                await account
            except grpc.aio.AioRpcError as fault:
                return fault.code() is grpc.StatusCode.UNAUTHENTICATED
            return False

        assert await until(ended, seconds=2)
        assert await delete_time(served, mio)
        assert answer == again
        letters = [one for one in await post.letters(MIO) if one.kind == "account_deletion"]
        assert [answer.erase_time.ToDatetime().isoformat()[:19]] == [one.facts["time"][:19] for one in letters]

    async def test_needs_a_fresh_proof(self, served: Served, database: Database, mio: sign_in_pb2.Tokens) -> None:
        await grow_old(database)

        refused = await refusal(served.own_data.RequestDeletion(pb.RequestDeletionRequest(), metadata=bearer(mio)))

        assert "PROOF_TOO_OLD" == refused.reason
        assert not await delete_time(served, mio)

    async def test_needs_a_session(self, served: Served, token: Callable[..., Metadata]) -> None:
        refused = await refusal(served.own_data.RequestDeletion(pb.RequestDeletionRequest(), metadata=token(Role.USER)))

        assert "PROOF_TOO_OLD" == refused.reason

    async def test_refuses_the_last_administrator(self, served: Served, database: Database, mio: sign_in_pb2.Tokens) -> None:
        await run(database, "UPDATE accounts.accounts SET role = 4")

        refused = await refusal(served.own_data.RequestDeletion(pb.RequestDeletionRequest(), metadata=bearer(mio)))

        assert "LAST_ADMINISTRATOR" == refused.reason


class TestCancelDeletion:
    async def test_brings_the_account_back_whoever_signed_in_anew(
        self, served: Served, people: People, worker: Worker, database: Database, mio: sign_in_pb2.Tokens
    ) -> None:
        await served.own_data.RequestDeletion(pb.RequestDeletionRequest(), metadata=bearer(mio))
        anew = (await people.sign_in(MIO)).tokens
        pending = await delete_time(served, anew)

        await served.own_data.CancelDeletion(pb.CancelDeletionRequest(), metadata=bearer(anew))
        await served.own_data.CancelDeletion(pb.CancelDeletionRequest(), metadata=bearer(anew))
        await run(database, "UPDATE accounts.sessions SET end_time = now()")
        await worker.tick("erase-accounts")

        assert pending
        assert await run(database, "SELECT FROM accounts.accounts WHERE delete_time IS NULL")
