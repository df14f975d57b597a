"""UploadService and AttachmentService: read the request, ask the domain, render the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from google.api import httpbody_pb2

from ani.media.v1 import attachment_service_pb2 as attachment_pb
from ani.media.v1 import upload_service_pb2 as pb
from domain.kernel import Page
from domain.media.files import FileEmpty, OwnerKind
from domain.media.uploads import Uploads
from server.media.upload_mapping import attachment_to_pb, content_from_pb, file_kind_from_pb, file_to_pb, upload_from_pb
from server.pipeline.call import Call


class UploadServicer:
    """Takes files, and hands them out."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def UploadFile(self, requests: AsyncIterator[pb.UploadFileRequest], call: Call) -> pb.UploadFileResponse:
        first = await anext(requests, None)
        if first is None:
            raise FileEmpty(field="content")
        upload = upload_from_pb(first, account_id=call.viewer.account_id, at=call.now)
        async with aclosing(content_from_pb(first, requests)) as content:
            file = await self._uploads.upload_file(upload, content, at=call.now)
        return pb.UploadFileResponse(file=file_to_pb(file))

    async def GetFile(self, request: pb.GetFileRequest, call: Call) -> pb.GetFileResponse:
        file, signed_url = await self._uploads.get_file(request.file_id)
        return pb.GetFileResponse(file=file_to_pb(file, signed_url=signed_url))

    async def ListFiles(self, request: pb.ListFilesRequest, call: Call) -> pb.ListFilesResponse:
        page = Page(request.page_size, request.page_token)
        files, following = await self._uploads.list_files(file_kind_from_pb(request.kind), page)
        return pb.ListFilesResponse(files=map(file_to_pb, files), next_page_token=following)

    async def DeleteFile(self, request: pb.DeleteFileRequest, call: Call) -> pb.DeleteFileResponse:
        await self._uploads.delete_file(request.file_id, at=call.now, validate_only=request.validate_only)
        return pb.DeleteFileResponse()

    async def GetImage(self, request: pb.GetImageRequest, call: Call) -> pb.GetImageResponse:
        content_type, data = await self._uploads.get_image(request.file_id, width=request.width, viewer=call.viewer, at=call.now)
        return pb.GetImageResponse(image=httpbody_pb2.HttpBody(content_type=content_type, data=data))

    async def GetPlaybackFile(self, request: pb.GetPlaybackFileRequest, call: Call) -> pb.GetPlaybackFileResponse:
        content_type, data = await self._uploads.get_playback_file(request.file_id, viewer=call.viewer, at=call.now)
        return pb.GetPlaybackFileResponse(content=httpbody_pb2.HttpBody(content_type=content_type, data=data))


class AttachmentServicer:
    """Says which files belong to what."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def AttachFile(self, request: attachment_pb.AttachFileRequest, call: Call) -> attachment_pb.AttachFileResponse:
        attachment = await self._uploads.attach_file(
            OwnerKind(request.owner_kind),
            request.owner_id,
            request.file_id,
            position=request.position,
            validate_only=request.validate_only,
        )
        return attachment_pb.AttachFileResponse(attachment=attachment_to_pb(attachment))

    async def DetachFile(self, request: attachment_pb.DetachFileRequest, call: Call) -> attachment_pb.DetachFileResponse:
        await self._uploads.detach_file(
            OwnerKind(request.owner_kind), request.owner_id, request.file_id, validate_only=request.validate_only
        )
        return attachment_pb.DetachFileResponse()

    async def ListAttachments(
        self, request: attachment_pb.ListAttachmentsRequest, call: Call
    ) -> attachment_pb.ListAttachmentsResponse:
        attachments = await self._uploads.list_attachments(
            OwnerKind(request.owner_kind), request.owner_ids, file_kind_from_pb(request.kind), viewer=call.viewer
        )
        return attachment_pb.ListAttachmentsResponse(attachments=map(attachment_to_pb, attachments))
