"""AccountsService and OwnAccountService: read the request, ask the domain, render the answer."""

from __future__ import annotations

from typing import Any

from ani.accounts.v1 import accounts_service_pb2 as pb
from ani.accounts.v1 import own_account_service_pb2 as own_pb
from domain.accounts.factors import ChallengeKind
from domain.accounts.service import AccountFieldNotWritable, Accounts
from domain.accounts.signing_in import SigningIn
from domain.accounts.steps import Step
from server.accounts.mapping import account_to_pb, device_from_pb, step_to_pb
from server.pipeline.call import Call


class AccountsServicer:
    """Serves those who want in."""

    def __init__(self, accounts: Accounts, signing_in: SigningIn) -> None:
        self._accounts = accounts
        self._signing_in = signing_in

    async def Register(self, request: pb.RegisterRequest, call: Call) -> pb.RegisterResponse:
        device = device_from_pb(request.device, call)
        step = await self._accounts.register(
            request.email, request.password, request.name, request.language or "en", device=device, at=call.now
        )
        return pb.RegisterResponse(step=step_to_pb(step))

    async def BeginSignIn(self, request: pb.BeginSignInRequest, call: Call) -> pb.BeginSignInResponse:
        return pb.BeginSignInResponse(step=step_to_pb(await self._begin(request, call)))

    async def _begin(self, request: pb.BeginSignInRequest, call: Call) -> Step:
        device, at = device_from_pb(request.device, call), call.now
        if request.WhichOneof("how") == "email":
            shown = request.device.device_token
            return await self._signing_in.begin_with_email(request.email, device=device, device_token=shown, at=at)
        kind = ChallengeKind.PASSKEY if request.passkey else ChallengeKind.OIDC
        return await self._signing_in.begin_introduction(kind, request.issuer, device=device, at=at)

    async def ChooseChallenge(self, request: pb.ChooseChallengeRequest, call: Call) -> pb.ChooseChallengeResponse:
        step = await self._signing_in.choose(request.sign_in, ChallengeKind(request.kind), at=call.now)
        return pb.ChooseChallengeResponse(step=step_to_pb(step))

    async def ContinueSignIn(self, request: pb.ContinueSignInRequest, call: Call) -> pb.ContinueSignInResponse:
        step = await self._signing_in.answer(request.sign_in, ChallengeKind(request.kind), request.answer, at=call.now)
        return pb.ContinueSignInResponse(step=step_to_pb(step))

    async def BeginPasswordReset(self, request: pb.BeginPasswordResetRequest, call: Call) -> pb.BeginPasswordResetResponse:
        device = device_from_pb(request.device, call)
        step = await self._signing_in.begin_password_reset(request.email, device=device, at=call.now)
        return pb.BeginPasswordResetResponse(step=step_to_pb(step))

    async def UnlockAccount(self, request: pb.UnlockAccountRequest, call: Call) -> pb.UnlockAccountResponse:
        await self._accounts.unlock(request.unlock_token, at=call.now)
        return pb.UnlockAccountResponse()


class OwnAccountServicer:
    """Serves those who look after their account."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def GetAccount(self, _request: own_pb.GetAccountRequest, call: Call) -> own_pb.GetAccountResponse:
        return own_pb.GetAccountResponse(account=account_to_pb(await self._accounts.get_account(viewer=call.viewer)))

    async def UpdateAccount(self, request: own_pb.UpdateAccountRequest, call: Call) -> own_pb.UpdateAccountResponse:
        account = await self._accounts.update_account(
            _changes(request), version=request.account.version or None, viewer=call.viewer, at=call.now
        )
        return own_pb.UpdateAccountResponse(account=account_to_pb(account))

    async def ChangePassword(self, request: own_pb.ChangePasswordRequest, call: Call) -> own_pb.ChangePasswordResponse:
        await self._accounts.change_password(
            request.current_password, request.new_password, network=call.network, viewer=call.viewer, at=call.now
        )
        return own_pb.ChangePasswordResponse()

    async def BeginProof(self, _request: own_pb.BeginProofRequest, call: Call) -> own_pb.BeginProofResponse:
        step = await self._accounts.begin_proof(network=call.network, viewer=call.viewer, at=call.now)
        return own_pb.BeginProofResponse(step=step_to_pb(step))

    async def BeginEmailChange(self, request: own_pb.BeginEmailChangeRequest, call: Call) -> own_pb.BeginEmailChangeResponse:
        step = await self._accounts.begin_email_change(request.email, network=call.network, viewer=call.viewer, at=call.now)
        return own_pb.BeginEmailChangeResponse(step=step_to_pb(step))


def _changes(request: own_pb.UpdateAccountRequest) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises AccountFieldNotWritable."""
    for path in request.update_mask.paths:
        if path not in Accounts.WRITABLE:
            raise AccountFieldNotWritable(path=path, field="update_mask")
    return {path: getattr(request.account, path) for path in request.update_mask.paths}
