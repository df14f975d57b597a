"""DeviceLoginService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ani.accounts.v1 import device_login_pb2
from ani.accounts.v1 import device_login_service_pb2 as pb
from domain.accounts import typed_codes
from domain.accounts.device_login import CODE_LENGTH, INTERVAL, LIFETIME, DeviceLogin, DeviceLogins
from server.accounts.mapping import device_from_pb, stamped, tokens_to_pb
from server.pipeline.call import Call


class DeviceLoginServicer:
    """Serves devices without a keyboard, and those who let them in."""

    def __init__(self, logins: DeviceLogins) -> None:
        self._logins = logins

    async def StartDeviceLogin(self, request: pb.StartDeviceLoginRequest, call: Call) -> pb.StartDeviceLoginResponse:
        shown = await self._logins.start(device_from_pb(request.device, call), at=call.now)
        return pb.StartDeviceLoginResponse(
            device_code=shown.device_code,
            user_code=shown.user_code,
            number=shown.number,
            verification_uri=shown.verification_uri,
            verification_uri_complete=shown.verification_uri_complete,
            qr_payload=shown.verification_uri_complete,
            expires_in=int(LIFETIME.total_seconds()),
            interval=INTERVAL,
        )

    async def WatchDeviceLogin(
        self, request: pb.WatchDeviceLoginRequest, call: Call
    ) -> AsyncGenerator[pb.WatchDeviceLoginResponse, None]:
        async with aclosing(self._logins.watch(request.device_code, clock=call.clock)) as waiting:
            async for tokens in waiting:
                if tokens is not None:
                    yield pb.WatchDeviceLoginResponse(tokens=tokens_to_pb(tokens))
                else:
                    heartbeat = pb.DeviceLoginHeartbeat()
                    heartbeat.time.FromDatetime(call.clock())
                    yield pb.WatchDeviceLoginResponse(heartbeat=heartbeat)

    async def PollDeviceLogin(self, request: pb.PollDeviceLoginRequest, call: Call) -> pb.PollDeviceLoginResponse:
        return pb.PollDeviceLoginResponse(tokens=tokens_to_pb(await self._logins.poll(request.device_code, at=call.now)))

    async def GetDeviceLogin(self, request: pb.GetDeviceLoginRequest, call: Call) -> pb.GetDeviceLoginResponse:
        login = await self._logins.get(request.user_code, viewer=call.viewer, place=call.network, at=call.now)
        return pb.GetDeviceLoginResponse(device_login=_to_pb(login, request.user_code, call))

    async def ApproveDeviceLogin(self, request: pb.ApproveDeviceLoginRequest, call: Call) -> pb.ApproveDeviceLoginResponse:
        code, number, viewer = request.user_code, request.number, call.viewer
        await self._logins.approve(code, number, profile_id=request.profile_id, viewer=viewer, place=call.network, at=call.now)
        return pb.ApproveDeviceLoginResponse()

    async def DenyDeviceLogin(self, request: pb.DenyDeviceLoginRequest, call: Call) -> pb.DenyDeviceLoginResponse:
        await self._logins.deny(request.user_code, viewer=call.viewer, place=call.network, at=call.now)
        return pb.DenyDeviceLoginResponse()


def _to_pb(login: DeviceLogin, typed: str, call: Call) -> device_login_pb2.DeviceLogin:
    device = login.device
    message = device_login_pb2.DeviceLogin(
        user_code=typed_codes.shown(typed_codes.read(typed, length=CODE_LENGTH) or ""),
        state=login.state.value,  # type: ignore[arg-type]
        device_name=device.device_name,
        client=device.client,
        country=device.country,
        address=device.address,
        same_network=device.address == call.network,
    )
    return stamped(message, login, "create_time", "expire_time")
