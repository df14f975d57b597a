"""Calls that must be signed: by whoever holds the secret of an API key, for this method and message, just now, and once."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from domain.kernel import PermissionDenied, Unauthenticated

# How far the caller's clock may be off, and how long a call may be on its way.
WINDOW_SECONDS = 300
# Servers' clocks differ too: a nonce is remembered for longer than its call would be good.
SLACK_SECONDS = 60
REMEMBERED_NONCES = 50_000
SIGNATURE, TIMESTAMP, NONCE = "x-ani-signature", "x-ani-timestamp", "x-ani-nonce"
FORMS = {
    SIGNATURE: re.compile(r"[0-9a-f]{64}"),
    TIMESTAMP: re.compile(r"[0-9]{1,12}", re.ASCII),
    NONCE: re.compile(r"[A-Za-z0-9_-]{16,64}"),
}
# The gateway made the message from JSON; callers' own headers of this name do not get past it.
FROM_JSON = "x-envoy-original-path"


class SignatureMissing(Unauthenticated):
    """Raised when a call by a key that is to be signed lacks a header for it."""

    text = "Calls with this API key must be signed: the header {header} is missing."


class SignatureMalformed(Unauthenticated):
    """Raised when a header of a signed call cannot be read."""

    text = "The header {header} of a signed call is not in its form."


class SignatureOutdated(Unauthenticated):
    """Raised when a call was signed too long ago, or by a clock that is wrong."""

    text = "A signed call is good for {seconds} seconds before and after its x-ani-timestamp."


class SignatureWrong(Unauthenticated):
    """Raised when a signature was not made with the key's secret, or for another call."""

    text = "The signature does not fit the call."


class SignatureReplayed(Unauthenticated):
    """Raised when a signed call comes a second time."""

    text = "This signed call was sent before: each needs a nonce of its own."


class SigningImpossible(PermissionDenied):
    """Raised when a key that is to be signed is used where no signature can be verified: with JSON, and to send a stream."""

    text = "Calls with this API key must be signed, which needs gRPC or gRPC-Web and a method that takes one message."


class Nonces(Protocol):
    """What all servers remember of signed calls."""

    async def first(self, key_id: str, nonce: str, *, seconds: int) -> bool | None:
        """Remember a nonce; tell whether it was not known, or None when nobody can tell."""


class Signing:
    """Verifies signatures, and that no call comes twice; each server remembers by itself too, for when Valkey is away."""

    def __init__(self, nonces: Nonces, *, clock: Callable[[], float] = time.time) -> None:
        self._nonces = nonces
        self._clock = clock
        self._own: dict[tuple[str, str], float] = {}

    async def verify(
        self, method: str, message: bytes | None, metadata: Mapping[str, str | bytes], *, key_id: str, secret: str
    ) -> None:
        """Raises SigningImpossible, and refusals of kind Unauthenticated."""
        if message is None or FROM_JSON in metadata:
            raise SigningImpossible
        given, timestamp, nonce = (_read(metadata, name) for name in FORMS)
        now = self._clock()
        if abs(now - int(timestamp)) > WINDOW_SECONDS:
            raise SignatureOutdated(seconds=WINDOW_SECONDS)
        if not hmac.compare_digest(signature(secret, method, timestamp, nonce, message), given):
            raise SignatureWrong
        # Only now: nobody else is to use up nonces, nor memory for them.
        good_until = int(timestamp) + WINDOW_SECONDS + SLACK_SECONDS
        if not self._is_new((key_id, nonce), now, good_until):
            raise SignatureReplayed
        if await self._nonces.first(key_id, nonce, seconds=int(good_until - now) + 1) is False:
            raise SignatureReplayed

    def _is_new(self, call: tuple[str, str], now: float, until: float) -> bool:
        own = self._own
        while own and (len(own) >= REMEMBERED_NONCES or own[next(iter(own))] < now):
            del own[next(iter(own))]
        if own.get(call, 0.0) >= now:
            return False
        own[call] = until
        return True


def signature(secret: str, method: str, timestamp: str, nonce: str, message: bytes) -> str:
    """Return the signature of a call."""
    lines = (method, timestamp, nonce, hashlib.sha256(message).hexdigest())
    return hmac.new(secret.encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()


def _read(metadata: Mapping[str, str | bytes], name: str) -> str:
    value = metadata.get(name)
    if not value:
        raise SignatureMissing(header=name)
    if not isinstance(value, str) or not FORMS[name].fullmatch(value):
        raise SignatureMalformed(header=name)
    return value
