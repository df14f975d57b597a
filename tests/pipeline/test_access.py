"""Who may call what: by role, by permission, and nobody what was not opened."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from ani.options.v1 import policy_pb2
from domain.kernel import Role, Viewer
from server.pipeline.plan import plan
from server.pipeline.viewer import Caller
from server.wiring.application import SERVICES
from tests.pipeline.conftest import Probe, Token
from tests.serving import Served, refusal

METHODS = [method for service in SERVICES for method in service.methods]
FOR_GUESTS = {
    "accounts.v1.SessionService.SignOut",
    "media.v1.MediaService.StartStream",
    "media.v1.MediaService.SendHeartbeat",
    "media.v1.MediaService.StopStream",
    "media.v1.MediaService.GetManifest",
    "media.v1.PlayerSettingsService.GetPlayerSettings",
    "media.v1.PlayerSettingsService.UpdatePlayerSettings",
    "media.v1.UploadService.GetPlaybackFile",
}


def _access(method: MethodDescriptor) -> policy_pb2.Access:
    return method.GetOptions().Extensions[policy_pb2.policy].access


def _needed(method: MethodDescriptor) -> Role:
    return Role(_access(method).role)


def _name(value: Any) -> str:
    return value.name if isinstance(value, (MethodDescriptor, Role)) else str(value)


class TestAccess:
    """B1: what the contract says of a method is what a caller meets."""

    async def test_opens_a_public_method_to_everyone(self, probe: Probe, token: Token) -> None:
        for role in Role:
            await probe("Read", metadata=token(role) if role else ())

        assert list(Role) == [call.viewer.role for _, _, call in probe.asked]

    @pytest.mark.parametrize(
        ("method", "needed"), [("ForMembers", Role.USER), ("ForModerators", Role.MODERATOR), ("ForAdmins", Role.ADMIN)]
    )
    async def test_opens_a_method_to_a_role_and_those_above(self, probe: Probe, token: Token, method: str, needed: Role) -> None:
        guest = await refusal(probe(method))

        assert (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING") == (guest.code, guest.reason)
        for role in set(Role) - {Role.GUEST}:
            if role >= needed:
                await probe(method, metadata=token(role))
            else:
                refused = await refusal(probe(method, metadata=token(role)))
                assert (grpc.StatusCode.PERMISSION_DENIED, "ROLE_TOO_LOW") == (refused.code, refused.reason)
                assert {"role": needed.name} == dict(refused.info.metadata)

    async def test_opens_a_method_to_holders_of_a_permission_whatever_their_role(self, probe: Probe, token: Token) -> None:
        guest = await refusal(probe("ForHolders"))
        without = await refusal(probe("ForHolders", metadata=token(Role.ADMIN, permissions=["probes.usedmore"])))
        await probe("ForHolders", metadata=token(Role.USER, permissions=["other", "probes.use"]))

        assert "CREDENTIALS_MISSING" == guest.reason
        assert (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING") == (without.code, without.reason)
        assert 1 == probe.count("ForHolders")

    async def test_keeps_a_method_shut_that_nobody_opened(self, probe: Probe, token: Token) -> None:
        for method in ("Undeclared", "Ruleless", "NotPublic", "ForNoRole"):
            guest = await refusal(probe(method))
            admin = await refusal(probe(method, metadata=token(Role.ADMIN, permissions=["probes.use"])))

            assert ["METHOD_UNDECLARED"] * 2 == [guest.reason, admin.reason]
            assert grpc.StatusCode.PERMISSION_DENIED is guest.code is admin.code
        assert [] == probe.asked

    async def test_is_decided_before_the_request_is_read(self, probe: Probe, token: Token) -> None:
        refused = await refusal(probe("ForModerators", b"\xff", metadata=token()))
        read = await refusal(probe("ForModerators", b"\xff", metadata=token(Role.MODERATOR)))

        assert "ROLE_TOO_LOW" == refused.reason
        assert "REQUEST_MALFORMED" == read.reason

    @pytest.mark.parametrize("method", [m for m in METHODS if _needed(m) >= Role.USER], ids=_name)
    async def test_keeps_lesser_roles_from_every_method(self, served: Served, token: Token, method: MethodDescriptor) -> None:
        """B3: generated from the contract, with an empty request: nothing but the caller decides."""
        call: Any = served.channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
        for role in (role for role in Role if role < _needed(method)):
            refused = await refusal(call(b"", metadata=token(role) if role else ()))

            assert refused.code is (grpc.StatusCode.PERMISSION_DENIED if role else grpc.StatusCode.UNAUTHENTICATED)


class TestLimitedProfile:
    """What is about the account itself is for its owner, not for a viewer on a profile that may less."""

    async def test_is_not_enough_where_the_contract_asks_for_the_owner(self, probe: Probe, token: Token) -> None:
        refused = await refusal(probe("ForOwners", metadata=token(limited=True)))
        await probe("ForMembers", metadata=token(limited=True))
        await probe("ForOwners", metadata=token(limited=False, maturity=12))

        assert (grpc.StatusCode.PERMISSION_DENIED, "LIMITED_PROFILE_INSUFFICIENT") == (refused.code, refused.reason)
        assert [True, False] == [call.viewer.limited for _, _, call in probe.asked]

    async def test_is_told_from_somebody_who_is_not_signed_in(self, probe: Probe) -> None:
        assert "CREDENTIALS_MISSING" == (await refusal(probe("ForOwners"))).reason

    @pytest.mark.parametrize("method", [m for m in METHODS if _access(m).owner], ids=_name)
    async def test_opens_no_method_for_owners(self, served: Served, token: Token, method: MethodDescriptor) -> None:
        """Generated from the contract, with a token that says the most."""
        call: Any = served.channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
        refused = await refusal(call(b"", metadata=token(Role.ADMIN, limited=True)))

        assert _access(method).WhichOneof("rule") != "public"
        assert (grpc.StatusCode.PERMISSION_DENIED, "LIMITED_PROFILE_INSUFFICIENT") == (refused.code, refused.reason)


class TestGuestPass:
    """A guest pass lets a guest watch: where the contract does not name it, it counts for nothing."""

    async def test_is_good_where_the_contract_names_it(self, probe: Probe, token: Token) -> None:
        await probe("ForGuests", metadata=token(guest=True, profile="the-pass", maturity=16))

        ((_, _, call),) = probe.asked
        assert (call.viewer.guest_pass, call.viewer.profile_id, call.viewer.maturity) == (True, "the-pass", 16)

    async def test_leaves_its_holder_unknown_to_public_methods(self, probe: Probe, token: Token) -> None:
        await probe("Read", metadata=token(guest=True, sid="a session", profile="the-pass", maturity=16))

        ((_, _, call),) = probe.asked
        assert Viewer(maturity=16) == call.viewer

    @pytest.mark.parametrize("role", set(Role) - {Role.GUEST}, ids=_name)
    async def test_is_not_enough_elsewhere_whatever_else_its_token_says(self, probe: Probe, token: Token, role: Role) -> None:
        for method in ("ForMembers", "ForHolders", "ForAdmins", "Undeclared"):
            refused = await refusal(probe(method, metadata=token(role, guest=True, permissions=["probes.use"])))

            assert (grpc.StatusCode.PERMISSION_DENIED, "GUEST_PASS_INSUFFICIENT") == (refused.code, refused.reason)
        assert [] == probe.asked

    def test_is_good_for_watching_alone(self) -> None:
        named = {method.full_name for method in METHODS if method.GetOptions().Extensions[policy_pb2.policy].access.guest_pass}

        assert FOR_GUESTS == {name.removeprefix("ani.") for name in named}

    @pytest.mark.parametrize("method", [m for m in METHODS if m.full_name.removeprefix("ani.") not in FOR_GUESTS], ids=_name)
    async def test_opens_no_other_method_of_all(self, served: Served, token: Token, method: MethodDescriptor) -> None:
        """Generated from the contract, with a token that says the most."""
        if method.GetOptions().Extensions[policy_pb2.policy].access.public:
            caller = Caller(Viewer(account_id="a", role=Role.ADMIN, session_id="s", profile_id="p", guest_pass=True), "192.0.2.1")
            assert plan(method).guest(caller).viewer.shared() == plan(method).guest(caller).viewer
            assert "192.0.2.1" == plan(method).guest(caller).key
            return
        call: Any = served.channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
        refused = await refusal(call(b"", metadata=token(Role.ADMIN, guest=True)))

        assert (grpc.StatusCode.PERMISSION_DENIED, "GUEST_PASS_INSUFFICIENT") == (refused.code, refused.reason)
