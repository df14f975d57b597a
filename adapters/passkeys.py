"""Passkeys as the Web Authentication standard has them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from uuid import UUID

import webauthn
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from domain.accounts.model import Account
from domain.accounts.passkeys import Registered
from domain.accounts.second_factors import Passkey

log = logging.getLogger("ani.passkeys")

PATIENCE_MILLISECONDS = 300_000
LONGEST_CREDENTIAL_ID = 1023
TRANSPORTS = {transport.value for transport in AuthenticatorTransport}


class WebAuthn:
    """Ceremonies for one domain, and the origins below it that may ask for its passkeys."""

    def __init__(self, *, domain: str, origins: Sequence[str], name: str = "Ani") -> None:
        self._domain = domain
        self._origins = list(origins)
        self._name = name

    def begin_registration(self, account: Account, known: Sequence[Passkey]) -> tuple[str, bytes]:
        options = webauthn.generate_registration_options(
            rp_id=self._domain,
            rp_name=self._name,
            user_id=UUID(account.account_id).bytes,
            user_name=account.email,
            user_display_name=account.name,
            timeout=PATIENCE_MILLISECONDS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.PREFERRED
            ),
            exclude_credentials=[_descriptor(passkey) for passkey in known],
        )
        return webauthn.options_to_json(options), options.challenge

    def registered(self, credential: str, challenge: bytes) -> Registered | None:
        try:
            made = webauthn.verify_registration_response(
                credential=credential, expected_challenge=challenge, expected_rp_id=self._domain, expected_origin=self._origins
            )
            told = json.loads(credential)["response"].get("transports") or []
        except Exception as fault:  # noqa: BLE001 - what strangers send is taken apart in there: CBOR, keys, certificates
            log.info("a passkey was not taken: %s", type(fault).__name__)
            return None
        if not made.credential_id or len(made.credential_id) > LONGEST_CREDENTIAL_ID:
            return None
        return Registered(
            credential_id=made.credential_id,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            transports=tuple(sorted({transport for transport in TRANSPORTS if transport in told})),
            model=made.aaguid,
            synced=made.credential_backed_up and made.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        )

    def begin_assertion(self, known: Sequence[Passkey], *, verified: bool) -> tuple[str, bytes]:
        options = webauthn.generate_authentication_options(
            rp_id=self._domain,
            timeout=PATIENCE_MILLISECONDS,
            allow_credentials=[_descriptor(passkey) for passkey in known],
            user_verification=UserVerificationRequirement.REQUIRED if verified else UserVerificationRequirement.PREFERRED,
        )
        return webauthn.options_to_json(options), options.challenge

    def credential_id(self, credential: str) -> bytes:
        try:
            return base64url_to_bytes(json.loads(credential)["id"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return b""

    def asserted(self, credential: str, challenge: bytes, passkey: Passkey, *, verified: bool) -> int | None:
        try:
            answer = webauthn.verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._domain,
                expected_origin=self._origins,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=verified,
            )
            holder = json.loads(credential)["response"].get("userHandle")
            told = base64url_to_bytes(holder) if holder else b""
        except Exception as fault:  # noqa: BLE001 - what strangers send is taken apart in there
            log.info("a passkey's answer was not taken: %s", type(fault).__name__)
            return None
        owner = UUID(passkey.account_id).bytes
        is_owners = told == owner or not (told or verified)
        if not challenge or answer.credential_id != passkey.credential_id or not is_owners:
            return None
        return answer.new_sign_count


def _descriptor(passkey: Passkey) -> PublicKeyCredentialDescriptor:
    transports = [AuthenticatorTransport(transport) for transport in passkey.transports if transport in TRANSPORTS]
    return PublicKeyCredentialDescriptor(id=passkey.credential_id, transports=transports or None)
