"""PromoService and PromoAdminService: read the request, ask the domain, render the answer."""

from __future__ import annotations

from google.api import httpbody_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from ani.media.v1 import promo_admin_service_pb2 as admin_pb
from ani.media.v1 import promo_service_pb2 as pb
from domain.editing.model import Author
from domain.editing.service import Editing
from domain.items import Kind
from domain.kernel import Page
from domain.media.promos import Promo, PromoPlacement
from domain.media.promotion import Promos
from server.media.promo_mapping import (
    count_to_pb,
    moment_from_pb,
    occurrence_from_pb,
    promo_changes_from_pb,
    promo_from_pb,
    promo_to_pb,
)
from server.pipeline.call import Call

XML = "application/xml; charset=utf-8"


class PromoServicer:
    """Serves promos to viewers."""

    def __init__(self, promos: Promos) -> None:
        self._promos = promos

    async def ListPromos(self, request: pb.ListPromosRequest, call: Call) -> pb.ListPromosResponse:
        promos = await self._promos.list_promos(PromoPlacement(request.placement), viewer=call.viewer, at=call.now)
        return pb.ListPromosResponse(promos=map(promo_to_pb, promos))

    async def GetVast(self, request: pb.GetVastRequest, call: Call) -> pb.GetVastResponse:
        document = await self._promos.get_vast(PromoPlacement(request.placement), viewer=call.viewer, at=call.now)
        return pb.GetVastResponse(document=httpbody_pb2.HttpBody(content_type=XML, data=document.encode()))

    async def RecordPromoEvents(self, request: pb.RecordPromoEventsRequest, call: Call) -> pb.RecordPromoEventsResponse:
        told = [occurrence_from_pb(event, country=call.viewer.country, at=call.now) for event in request.events]
        count, missing = await self._promos.record_promo_events(told)
        return pb.RecordPromoEventsResponse(counted_count=count, missing_promo_ids=missing)


class PromoAdminServicer:
    """Serves promos to editors."""

    def __init__(self, editing: Editing, kind: Kind[Promo], promos: Promos) -> None:
        self._editing = editing
        self._kind = kind
        self._promos = promos

    async def CreatePromo(self, request: admin_pb.CreatePromoRequest, call: Call) -> admin_pb.CreatePromoResponse:
        draft = promo_from_pb(request.promo, at=call.now)
        author = Author(call.viewer.account_id, request.note)
        promo, effects = await self._editing.create(self._kind, draft, author=author, validate_only=request.validate_only)
        return admin_pb.CreatePromoResponse(promo=promo_to_pb(promo), side_effects=effects)

    async def GetPromo(self, request: admin_pb.GetPromoRequest, call: Call) -> admin_pb.GetPromoResponse:
        return admin_pb.GetPromoResponse(promo=promo_to_pb(await self._promos.get_promo(request.promo_id)))

    async def ListManagedPromos(self, request: admin_pb.ListManagedPromosRequest, call: Call) -> admin_pb.ListManagedPromosResponse:
        promos, following = await self._promos.list_managed_promos(Page(request.page_size, request.page_token))
        return admin_pb.ListManagedPromosResponse(promos=map(promo_to_pb, promos), next_page_token=following)

    async def UpdatePromo(self, request: admin_pb.UpdatePromoRequest, call: Call) -> admin_pb.UpdatePromoResponse:
        promo, fields, effects = await self._editing.update(
            self._kind,
            request.promo.promo_id,
            promo_changes_from_pb(request.promo, request.update_mask),
            version=request.promo.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return admin_pb.UpdatePromoResponse(promo=promo_to_pb(promo), changed_fields=FieldMask(paths=fields), side_effects=effects)

    async def DeletePromo(self, request: admin_pb.DeletePromoRequest, call: Call) -> admin_pb.DeletePromoResponse:
        effects = await self._editing.delete(
            self._kind,
            request.promo_id,
            version=request.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return admin_pb.DeletePromoResponse(side_effects=effects)

    async def GetPromoStatistics(
        self, request: admin_pb.GetPromoStatisticsRequest, call: Call
    ) -> admin_pb.GetPromoStatisticsResponse:
        counts = await self._promos.get_promo_statistics(
            request.promo_id,
            since=moment_from_pb(request, "from_time"),
            until=moment_from_pb(request, "until_time"),
            at=call.now,
        )
        return admin_pb.GetPromoStatisticsResponse(counts=map(count_to_pb, counts))
