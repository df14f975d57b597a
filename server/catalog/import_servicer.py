"""ImportService: read the request, start the operation, render it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

from ani.catalog.v1 import import_service_pb2 as pb
from ani.operations.v1 import operation_pb2
from domain.kernel import NotFound, new_id
from domain.operations.model import Operation
from domain.operations.service import Operations
from server.catalog.import_jobs import KIND, SourceNotConfigured
from server.pipeline.call import Call

Render = Callable[[Operation], operation_pb2.Operation]
FORMATS = {
    pb.IMPORT_FORMAT_BANGUMI: "bangumi",
    pb.IMPORT_FORMAT_MAL_GENRES: "mal-genres",
    pb.IMPORT_FORMAT_OFFLINE_DATABASE: "offline-database",
}


class ImportFileUnknown(NotFound):
    """Raised when the import folder holds no file of this name."""

    text = "There is no file {name} in the import folder."


class ImportServicer:
    """Serves editors who fill the catalog from elsewhere."""

    def __init__(self, operations: Operations, folder: Path, *, kodik: bool, render: Render) -> None:
        """Take the folder of files, whether Kodik is set up, and what renders an operation."""
        self._operations = operations
        self._folder = folder
        self._kodik = kodik
        self._render = render

    async def ImportCatalog(self, request: pb.ImportCatalogRequest, call: Call) -> pb.ImportCatalogResponse:
        parameters = self._parameters(request)
        asked = Operation(
            operation_id=request.operation_id or new_id(at=call.now),
            kind=KIND,
            title=" ".join(str(parameters[name]) for name in ("source", "name") if name in parameters),
            parameters=parameters,
            account_id=call.viewer.account_id,
            create_time=call.now,
        )
        return pb.ImportCatalogResponse(operation=self._render(await self._operations.start(asked)))

    def _parameters(self, request: pb.ImportCatalogRequest) -> dict[str, Any]:
        """Return what is to be done. Raises SourceNotConfigured and ImportFileUnknown."""
        asked: dict[str, Any] = {"publish": not request.as_drafts}
        if request.WhichOneof("source") == "kodik":
            if not self._kodik:
                raise SourceNotConfigured(source="kodik")
            since = request.kodik.since.ToDatetime(tzinfo=UTC).isoformat() if request.kodik.HasField("since") else ""
            return asked | {"source": "kodik"} | ({"since": since} if since else {})
        # A name without a path, as the contract demands: it cannot lead out of the folder.
        file = self._folder / request.file.name
        if not file.is_file():
            raise ImportFileUnknown(name=request.file.name)
        return asked | {"source": FORMATS[request.file.format], "name": request.file.name, "file": str(file.resolve())}
