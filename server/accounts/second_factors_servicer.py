"""SecondFactorsService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from ani.accounts.v1 import second_factor_pb2
from ani.accounts.v1 import second_factors_service_pb2 as pb
from domain.accounts.passkeys import WRITABLE, PasskeyFieldNotWritable, Passkeys
from domain.accounts.second_factors import Passkey, SecondFactors, SettingUp
from server.accounts.mapping import stamped
from server.pipeline.call import Call


class SecondFactorsServicer:
    """Serves those who decide what their account is proven with."""

    def __init__(self, setting_up: SettingUp, passkeys: Passkeys) -> None:
        self._setting_up = setting_up
        self._passkeys = passkeys

    async def GetSecondFactors(self, request: pb.GetSecondFactorsRequest, call: Call) -> pb.GetSecondFactorsResponse:
        factors = await self._setting_up.get_second_factors(viewer=call.viewer)
        return pb.GetSecondFactorsResponse(second_factors=_factors_to_pb(factors))

    async def BeginTotp(self, request: pb.BeginTotpRequest, call: Call) -> pb.BeginTotpResponse:
        setup, secret, uri = await self._setting_up.begin_totp(viewer=call.viewer, at=call.now)
        return pb.BeginTotpResponse(setup=setup, secret=secret, uri=uri)

    async def ConfirmTotp(self, request: pb.ConfirmTotpRequest, call: Call) -> pb.ConfirmTotpResponse:
        codes = await self._setting_up.confirm_totp(request.setup, request.code, viewer=call.viewer, at=call.now)
        return pb.ConfirmTotpResponse(recovery_codes=codes)

    async def DeleteTotp(self, request: pb.DeleteTotpRequest, call: Call) -> pb.DeleteTotpResponse:
        await self._setting_up.delete_totp(viewer=call.viewer, at=call.now)
        return pb.DeleteTotpResponse()

    async def CreateRecoveryCodes(self, request: pb.CreateRecoveryCodesRequest, call: Call) -> pb.CreateRecoveryCodesResponse:
        codes = await self._setting_up.create_recovery_codes(viewer=call.viewer, at=call.now)
        return pb.CreateRecoveryCodesResponse(recovery_codes=codes)

    async def BeginPasskey(self, request: pb.BeginPasskeyRequest, call: Call) -> pb.BeginPasskeyResponse:
        setup, options = await self._passkeys.begin_passkey(viewer=call.viewer, at=call.now)
        return pb.BeginPasskeyResponse(setup=setup, options=options)

    async def CreatePasskey(self, request: pb.CreatePasskeyRequest, call: Call) -> pb.CreatePasskeyResponse:
        passkey = await self._passkeys.create_passkey(
            request.setup, request.credential, name=request.name, required=request.required, viewer=call.viewer, at=call.now
        )
        return pb.CreatePasskeyResponse(passkey=_passkey_to_pb(passkey))

    async def UpdatePasskey(self, request: pb.UpdatePasskeyRequest, call: Call) -> pb.UpdatePasskeyResponse:
        changes = _changes(request.passkey, request.update_mask)
        passkey = await self._passkeys.update_passkey(request.passkey.passkey_id, changes, viewer=call.viewer, at=call.now)
        return pb.UpdatePasskeyResponse(passkey=_passkey_to_pb(passkey))

    async def DeletePasskey(self, request: pb.DeletePasskeyRequest, call: Call) -> pb.DeletePasskeyResponse:
        await self._passkeys.delete_passkey(request.passkey_id, viewer=call.viewer, at=call.now)
        return pb.DeletePasskeyResponse()


def _changes(message: second_factor_pb2.Passkey, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises PasskeyFieldNotWritable."""
    for path in mask.paths:
        if path not in WRITABLE:
            raise PasskeyFieldNotWritable(path=path, field="update_mask")
    return {path: getattr(message, path) for path in mask.paths}


def _passkey_to_pb(passkey: Passkey) -> second_factor_pb2.Passkey:
    message = second_factor_pb2.Passkey(
        passkey_id=passkey.passkey_id,
        name=passkey.name,
        required=passkey.required,
        synced=passkey.synced,
        model=passkey.model,
    )
    return stamped(message, passkey, "create_time", "use_time")


def _factors_to_pb(factors: SecondFactors) -> second_factor_pb2.SecondFactors:
    message = second_factor_pb2.SecondFactors(
        required=factors.required,
        recovery_codes_left=factors.codes_left,
        passkeys=[_passkey_to_pb(passkey) for passkey in factors.passkeys],
    )
    if factors.totp is not None:
        message.totp_create_time.FromDatetime(factors.totp.create_time)
    if factors.codes_time is not None:
        message.recovery_codes_create_time.FromDatetime(factors.codes_time)
    return message
