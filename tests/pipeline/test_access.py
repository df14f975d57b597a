"""Who may call what: by role, by permission, and nobody what was not opened."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from ani.options.v1 import policy_pb2
from domain.kernel import Role
from server.wiring import SERVICES
from tests.pipeline.conftest import Probe, Token
from tests.serving import Served, refusal

METHODS = [method for service in SERVICES for method in service.methods]


def _needed(method: MethodDescriptor) -> Role:
    return Role(method.GetOptions().Extensions[policy_pb2.policy].access.role)


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
