"""CatalogAdminService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from ani.catalog.v1 import catalog_admin_service_pb2 as pb
from domain.catalog.admin import CatalogAdmin
from server.catalog.mapping import changes_from_pb, draft_from_pb, mask_to_pb, release_to_pb
from server.pipeline.call import Call


class CatalogAdminServicer:
    """Serves editors of the catalog."""

    def __init__(self, admin: CatalogAdmin) -> None:
        self._admin = admin

    async def CreateRelease(self, request: pb.CreateReleaseRequest, call: Call) -> pb.CreateReleaseResponse:
        draft = draft_from_pb(request.release, at=call.now)
        release, effects = await self._admin.create_release(draft, validate_only=request.validate_only)
        return pb.CreateReleaseResponse(release=release_to_pb(release), side_effects=effects)

    async def UpdateRelease(self, request: pb.UpdateReleaseRequest, call: Call) -> pb.UpdateReleaseResponse:
        release, fields, effects = await self._admin.update_release(
            request.release.release_id,
            changes_from_pb(request.release, request.update_mask),
            version=request.release.version,
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.UpdateReleaseResponse(release=release_to_pb(release), changed_fields=mask_to_pb(fields), side_effects=effects)

    async def DeleteRelease(self, request: pb.DeleteReleaseRequest, call: Call) -> pb.DeleteReleaseResponse:
        effects = await self._admin.delete_release(
            request.release_id, version=request.version, at=call.now, validate_only=request.validate_only
        )
        return pb.DeleteReleaseResponse(side_effects=effects)
