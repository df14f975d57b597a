"""OwnDataService: read the request, ask the domain, render the answer."""

from __future__ import annotations

from collections.abc import Callable

from google.api import httpbody_pb2

from ani.accounts.v1 import own_data_pb2
from ani.accounts.v1 import own_data_service_pb2 as pb
from ani.operations.v1 import operation_pb2
from domain.accounts.export import Export, Exports, Part
from domain.accounts.own_data import Deletions
from domain.kernel import new_id
from domain.operations.model import Operation
from domain.operations.service import Operations
from server.accounts.mapping import stamped
from server.pipeline.call import Call

Render = Callable[[Operation], operation_pb2.Operation]


class OwnDataServicer:
    """Serves those who take their data away, or themselves."""

    def __init__(self, exports: Exports, deletions: Deletions, operations: Operations, render: Render) -> None:
        """Take what renders an operation besides."""
        self._exports = exports
        self._deletions = deletions
        self._operations = operations
        self._render = render

    async def StartExport(self, request: pb.StartExportRequest, call: Call) -> pb.StartExportResponse:
        export_id = request.export_id or new_id(at=call.now)
        await self._exports.start_export(export_id, viewer=call.viewer, at=call.now)
        return pb.StartExportResponse(operation=self._render(await self._operations.get_operation(export_id, viewer=call.viewer)))

    async def GetExport(self, request: pb.GetExportRequest, call: Call) -> pb.GetExportResponse:
        found = await self._exports.get_export(request.export_id, viewer=call.viewer, at=call.now)
        return pb.GetExportResponse(export=_export_to_pb(found))

    async def ListExports(self, _request: pb.ListExportsRequest, call: Call) -> pb.ListExportsResponse:
        found = await self._exports.list_exports(viewer=call.viewer, at=call.now)
        return pb.ListExportsResponse(exports=map(_export_to_pb, found))

    async def DownloadExport(self, request: pb.DownloadExportRequest, call: Call) -> pb.DownloadExportResponse:
        part = await self._exports.download_export(request.export_id, request.part, viewer=call.viewer, at=call.now)
        return pb.DownloadExportResponse(content=_part_to_pb(part, call))

    async def GetExportLinks(self, request: pb.GetExportLinksRequest, call: Call) -> pb.GetExportLinksResponse:
        urls, expire_time = await self._exports.get_export_links(request.export_id, viewer=call.viewer, at=call.now)
        return pb.GetExportLinksResponse(urls=urls, expire_time=expire_time)  # type: ignore[arg-type]

    async def GetExportFile(self, request: pb.GetExportFileRequest, call: Call) -> pb.GetExportFileResponse:
        return pb.GetExportFileResponse(content=_part_to_pb(await self._exports.get_export_file(request.grant, at=call.now), call))

    async def RequestDeletion(self, _request: pb.RequestDeletionRequest, call: Call) -> pb.RequestDeletionResponse:
        erase_time = await self._deletions.request_deletion(viewer=call.viewer, at=call.now)
        return pb.RequestDeletionResponse(erase_time=erase_time)  # type: ignore[arg-type]

    async def CancelDeletion(self, _request: pb.CancelDeletionRequest, call: Call) -> pb.CancelDeletionResponse:
        await self._deletions.cancel_deletion(viewer=call.viewer, at=call.now)
        return pb.CancelDeletionResponse()


def _export_to_pb(export: Export) -> own_data_pb2.Export:
    message = own_data_pb2.Export(
        export_id=export.export_id,
        state=export.state.value,  # type: ignore[arg-type]
        part_count=len(export.keys),
        size=export.size,
        record_count=export.record_count,
    )
    return stamped(message, export, "create_time", "ready_time", "expire_time")


def _part_to_pb(part: Part, call: Call) -> httpbody_pb2.HttpBody:
    call.saved_as(part.file_name)
    return httpbody_pb2.HttpBody(content_type=part.content_type, data=part.data)
