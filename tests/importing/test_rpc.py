"""What only the wire shows of ImportService, with a worker that does what it starts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from adapters.postgres import Database
from adapters.postgres.listen import Bell
from ani.catalog.v1 import import_service_pb2 as pb
from ani.catalog.v1 import release_list_pb2
from ani.operations.v1 import operation_pb2
from ani.operations.v1 import operation_service_pb2 as operations_pb
from domain.kernel import Role, new_id
from domain.media.sources import Origins
from server import imports
from server.settings import Settings
from tests.builders import NOON
from tests.importing.conftest import Imported
from tests.importing.test_import import a_file, a_table, an_item
from tests.serving import Metadata, Served, refusal

Token = Callable[..., Metadata]
BANGUMI = pb.ImportFile(name="items.jsonl", format=pb.IMPORT_FORMAT_BANGUMI)


@pytest.fixture
def file(settings: Settings) -> None:
    folder = settings.data / "import"
    folder.mkdir()
    (folder / "items.jsonl").write_text(json.dumps(an_item()) + "\n")


class TestImportCatalog:
    async def test_answers_at_once_and_is_done_by_a_worker(
        self, served: Served, token: Token, database: Database, file: None
    ) -> None:
        editor = token(Role.EDITOR)
        answer = await served.imports.ImportCatalog(pb.ImportCatalogRequest(file=BANGUMI), metadata=editor)
        assert answer.operation.state == operation_pb2.OPERATION_STATE_QUEUED
        assert answer.operation.title == "bangumi items.jsonl"
        worker = imports.runner(database, imports.jobs(database, kodik_url="", kodik_token="", origins=Origins()), Bell())
        working = asyncio.create_task(worker.run_forever())
        watched = operations_pb.WatchOperationRequest(operation_id=answer.operation.operation_id)
        async with asyncio.timeout(20):
            seen = [message.operation async for message in served.operations.WatchOperation(watched, metadata=editor)]
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert seen[-1].state == operation_pb2.OPERATION_STATE_SUCCEEDED
        assert seen[-1].counts["added"] == 1

    async def test_makes_titles_that_lists_find(self, served: Served, imported: Imported, tmp_path: Path) -> None:
        await imported("bangumi", a_file(tmp_path, an_item(1), an_item(2), an_item(3, begin="2009-01-04T15:30:00Z")))
        lines = ('101,One,"Drama, Action",TV,12,7.5,9', "102,Two,Drama,TV,12,8.5,9", "103,Old,Drama,TV,12,9,9")
        await imported("mal-genres", a_table(tmp_path, *lines))
        request = release_list_pb2.ListReleasesRequest(genres=["Drama"], year_from=2010, order_by="rating", page_size=5)
        answer = await served.catalog.ListReleases(request)
        assert [release.titles[0].text for release in answer.releases] == ["Two", "One"]

    async def test_starts_nothing_twice(self, served: Served, token: Token, file: None) -> None:
        request = pb.ImportCatalogRequest(file=BANGUMI, operation_id=new_id(at=NOON))
        first = await served.imports.ImportCatalog(request, metadata=token(Role.EDITOR))
        assert (await served.imports.ImportCatalog(request, metadata=token(Role.EDITOR))) == first
        request.as_drafts = True
        refused = await refusal(served.imports.ImportCatalog(request, metadata=token(Role.EDITOR)))
        assert refused.reason == "OPERATION_ID_REUSED"

    async def test_refuses_a_file_that_is_not_there(self, served: Served, token: Token) -> None:
        refused = await refusal(served.imports.ImportCatalog(pb.ImportCatalogRequest(file=BANGUMI), metadata=token(Role.EDITOR)))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "IMPORT_FILE_UNKNOWN")

    @pytest.mark.parametrize("name", ["../keys/private.pem", "/etc/passwd", "..", ".hidden", "a\\b", ""])
    async def test_refuses_names_that_lead_out_of_the_folder(self, served: Served, token: Token, name: str) -> None:
        request = pb.ImportCatalogRequest(file=pb.ImportFile(name=name, format=pb.IMPORT_FORMAT_BANGUMI))
        refused = await refusal(served.imports.ImportCatalog(request, metadata=token(Role.EDITOR)))
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
        assert list(refused.fields) == ["file.name"]

    async def test_refuses_kodik_where_it_is_not_set_up(self, served: Served, token: Token) -> None:
        request = pb.ImportCatalogRequest(kodik=pb.ImportKodik())
        refused = await refusal(served.imports.ImportCatalog(request, metadata=token(Role.EDITOR)))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SOURCE_NOT_CONFIGURED")

    async def test_refuses_no_source_and_those_who_are_no_editors(self, served: Served, token: Token) -> None:
        empty = pb.ImportCatalogRequest()
        assert (await refusal(served.imports.ImportCatalog(empty, metadata=token(Role.EDITOR)))).code.name == "INVALID_ARGUMENT"
        assert (await refusal(served.imports.ImportCatalog(empty, metadata=token(Role.USER)))).code.name == "PERMISSION_DENIED"
