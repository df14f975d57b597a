"""One-time codes as authenticators show them: six digits, thirty seconds, SHA-1."""

from __future__ import annotations

import pyotp

PLATFORM = "Ani"


class Authenticators:
    """What an authenticator shows for a seed."""

    def fresh_seed(self) -> str:
        """Return 160 random bits, in base32."""
        return pyotp.random_base32()

    def code(self, seed: str, step: int) -> str:
        return pyotp.HOTP(seed).at(step)

    def uri(self, seed: str, *, holder: str) -> str:
        return pyotp.TOTP(seed).provisioning_uri(name=holder, issuer_name=PLATFORM)
