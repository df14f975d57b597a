"""What people hold: an authenticator that shows codes, and a passkey in software."""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
import time
from dataclasses import dataclass, field
from typing import Any

import cbor2
import pyotp
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

ORIGIN = "http://localhost:3000"
USER_PRESENT, USER_VERIFIED, ATTESTED = 0x01, 0x04, 0x40
BACKED_UP = 0x18


def step_now() -> int:
    return int(time.time()) // 30


def shown(seed: str, step: int) -> str:
    """What an authenticator shows at a step."""
    return pyotp.HOTP(seed).at(step)


@dataclass
class SoftPasskey:
    """A device with one passkey: answers as the Web Authentication standard says, and wrongly when it is told to."""

    origin: str = ORIGIN
    verifies: bool = True
    counts: bool = True
    flags: int = BACKED_UP
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    count: int = 0
    user: str = ""
    domain: str = "localhost"

    def make(self, options: str, **over: Any) -> str:
        """Return the credential that is made from options."""
        asked = json.loads(options)
        self.user = asked["user"]["id"]
        numbers = self.key.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)})
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + public
        statement = {"fmt": "none", "attStmt": {}, "authData": self._data(ATTESTED) + attested}
        response = {
            "clientDataJSON": self._client_data("webauthn.create", over.pop("challenge", asked["challenge"])),
            "attestationObject": bytes_to_base64url(cbor2.dumps(statement)),
            "transports": ["internal", "hybrid", "smoke signals"],
        }
        return self._answer(response | over)

    def sign(self, options: str, **over: Any) -> str:
        """Return what answers options of a sign-in."""
        asked = json.loads(options)
        if self.counts:
            self.count += 1
        client_data = over.pop("client_data", self._client_data("webauthn.get", over.pop("challenge", asked["challenge"])))
        data = self._data(0)
        signed = data + hashlib.sha256(base64url_to_bytes(client_data)).digest()
        response = {
            "clientDataJSON": client_data,
            "authenticatorData": bytes_to_base64url(data),
            "signature": bytes_to_base64url(self.key.sign(signed, ec.ECDSA(SHA256()))),
            "userHandle": self.user,
        }
        return self._answer(response | over)

    def _data(self, more: int) -> bytes:
        flags = USER_PRESENT | (USER_VERIFIED if self.verifies else 0) | self.flags | more
        return hashlib.sha256(self.domain.encode()).digest() + struct.pack(">BI", flags, self.count)

    def _client_data(self, kind: str, challenge: str) -> str:
        told = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return bytes_to_base64url(json.dumps(told).encode())

    def _answer(self, response: dict[str, Any]) -> str:
        name = bytes_to_base64url(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}})
