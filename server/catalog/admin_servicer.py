"""CatalogAdminService: reads the request, has the edit made, renders the answer."""

from __future__ import annotations

from ani.catalog.v1 import catalog_admin_service_pb2 as pb
from domain.catalog.kinds import RELEASE
from domain.editing.model import Author
from domain.editing.service import Editing
from server.catalog.mapping import changes_from_pb, draft_from_pb, mask_to_pb, release_for_editors
from server.pipeline.call import Call


class CatalogAdminServicer:
    """Serves editors of the catalog."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def CreateRelease(self, request: pb.CreateReleaseRequest, call: Call) -> pb.CreateReleaseResponse:
        draft = draft_from_pb(request.release, at=call.now)
        author = Author(call.viewer.account_id, request.note)
        release, effects = await self._editing.create(RELEASE, draft, author=author, validate_only=request.validate_only)
        return pb.CreateReleaseResponse(release=release_for_editors(release), side_effects=effects)

    async def UpdateRelease(self, request: pb.UpdateReleaseRequest, call: Call) -> pb.UpdateReleaseResponse:
        release, fields, effects = await self._editing.update(
            RELEASE,
            request.release.release_id,
            changes_from_pb(request.release, request.update_mask),
            version=request.release.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.UpdateReleaseResponse(
            release=release_for_editors(release), changed_fields=mask_to_pb(fields), side_effects=effects
        )

    async def DeleteRelease(self, request: pb.DeleteReleaseRequest, call: Call) -> pb.DeleteReleaseResponse:
        effects = await self._editing.delete(
            RELEASE,
            request.release_id,
            version=request.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.DeleteReleaseResponse(side_effects=effects)
