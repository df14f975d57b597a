"""VideoSourceAdminService: reads the request, has the edit made, renders the answer."""

from __future__ import annotations

from google.protobuf.field_mask_pb2 import FieldMask

from ani.media.v1 import video_source_admin_service_pb2 as pb
from domain.editing.model import Author
from domain.editing.service import Editing
from domain.items import Kind
from domain.media.playback import Playback
from domain.media.sources import VideoSource
from server.media.source_mapping import source_changes_from_pb, source_from_pb, source_to_pb
from server.pipeline.call import Call


class VideoSourceAdminServicer:
    """Serves video sources to editors."""

    def __init__(self, editing: Editing, kind: Kind[VideoSource], playback: Playback) -> None:
        self._editing = editing
        self._kind = kind
        self._playback = playback

    async def CreateVideoSource(self, request: pb.CreateVideoSourceRequest, call: Call) -> pb.CreateVideoSourceResponse:
        draft = source_from_pb(request.video_source, at=call.now)
        author = Author(call.viewer.account_id, request.note)
        source, effects = await self._editing.create(self._kind, draft, author=author, validate_only=request.validate_only)
        return pb.CreateVideoSourceResponse(video_source=source_to_pb(source), side_effects=effects)

    async def GetVideoSource(self, request: pb.GetVideoSourceRequest, call: Call) -> pb.GetVideoSourceResponse:
        source = await self._playback.get_video_source(request.video_source_id)
        return pb.GetVideoSourceResponse(video_source=source_to_pb(source))

    async def UpdateVideoSource(self, request: pb.UpdateVideoSourceRequest, call: Call) -> pb.UpdateVideoSourceResponse:
        source, fields, effects = await self._editing.update(
            self._kind,
            request.video_source.video_source_id,
            source_changes_from_pb(request.video_source, request.update_mask),
            version=request.video_source.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        changed = FieldMask(paths=fields)
        return pb.UpdateVideoSourceResponse(video_source=source_to_pb(source), changed_fields=changed, side_effects=effects)

    async def DeleteVideoSource(self, request: pb.DeleteVideoSourceRequest, call: Call) -> pb.DeleteVideoSourceResponse:
        effects = await self._editing.delete(
            self._kind,
            request.video_source_id,
            version=request.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.DeleteVideoSourceResponse(side_effects=effects)
