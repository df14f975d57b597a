"""GuestPassService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from ani.accounts.v1 import guest_pass_pb2
from ani.accounts.v1 import guest_pass_service_pb2 as pb
from domain.accounts.guest_passes import GuestPass, GuestPasses
from server.accounts.mapping import device_from_pb, stamped, tokens_to_pb
from server.pipeline.call import Call


class GuestPassServicer:
    """Serves hosts and their guests."""

    def __init__(self, passes: GuestPasses) -> None:
        self._passes = passes

    async def CreateGuestPass(self, request: pb.CreateGuestPassRequest, call: Call) -> pb.CreateGuestPassResponse:
        maturity = request.maturity_limit if request.HasField("maturity_limit") else None
        made, code = await self._passes.create(maturity, viewer=call.viewer, at=call.now)
        return pb.CreateGuestPassResponse(guest_pass=_to_pb(made), code=code, qr_payload=self._passes.link(code))

    async def ListGuestPasses(self, _request: pb.ListGuestPassesRequest, call: Call) -> pb.ListGuestPassesResponse:
        return pb.ListGuestPassesResponse(guest_passes=map(_to_pb, await self._passes.list_passes(viewer=call.viewer, at=call.now)))

    async def EndGuestPass(self, request: pb.EndGuestPassRequest, call: Call) -> pb.EndGuestPassResponse:
        await self._passes.end(request.guest_pass_id, viewer=call.viewer, at=call.now)
        return pb.EndGuestPassResponse()

    async def RedeemGuestPass(self, request: pb.RedeemGuestPassRequest, call: Call) -> pb.RedeemGuestPassResponse:
        tokens = await self._passes.redeem(request.code, device_from_pb(request.device, call), at=call.now)
        return pb.RedeemGuestPassResponse(tokens=tokens_to_pb(tokens))


def _to_pb(guest_pass: GuestPass) -> guest_pass_pb2.GuestPass:
    message = guest_pass_pb2.GuestPass(
        guest_pass_id=guest_pass.guest_pass_id,
        state=guest_pass.state.value,  # type: ignore[arg-type]
        maturity_limit=guest_pass.maturity,
        device_name=guest_pass.device_name,
    )
    return stamped(message, guest_pass, "create_time", "redeem_time", "expire_time")
