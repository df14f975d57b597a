"""Grants: what a playback address carries, so that it is good for one viewer, on one device, for a short time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from domain.kernel import FailedPrecondition, PermissionDenied, Viewer

LONGEST_GRANT = 8192


class GrantInvalid(PermissionDenied):
    """Raised when a playback address was not made here, or was changed since."""

    text = "The playback address is not valid."


class GrantExpired(FailedPrecondition):
    """Raised when a playback address was good once."""

    text = "The playback address has expired: start the stream again for a fresh one."


class GrantOfAnother(PermissionDenied):
    """Raised when a playback address is used by another viewer, or on another device."""

    text = "The playback address was made for another viewer or device."


@dataclass(frozen=True, slots=True)
class Grant:
    """What may be played, by whom, on what device, until when."""

    stream_id: str
    account_id: str
    device_id: str
    expires: int
    url: str
    # What it opens: a playlist, or a licence.
    purpose: str = "playlist"


class Signer:
    """Signs grants with the newest of some keys, and reads those signed with any of them."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise ValueError("there is no key to sign with")
        self._keys = dict(keys)
        # 10 comes after 9.
        self._newest = max(self._keys, key=lambda name: (len(name), name))

    def sign(self, grant: Grant) -> str:
        body = _encoded(json.dumps(asdict(grant), separators=(",", ":")).encode())
        signed = f"{self._newest}.{body}"
        return f"{signed}.{_encoded(self._mac(self._newest, signed))}"

    def read(self, text: str, *, viewer: Viewer, device_id: str, at: datetime, purpose: str = "playlist") -> Grant:
        """Raises GrantInvalid, GrantExpired, GrantOfAnother."""
        signed, _, mac = text.rpartition(".")
        name, _, body = signed.partition(".")
        if len(text) > LONGEST_GRANT or name not in self._keys or not text.isascii():
            raise GrantInvalid
        # What is compared is the text, since several of them can stand for the same bytes.
        if not hmac.compare_digest(mac, _encoded(self._mac(name, signed))):
            raise GrantInvalid
        try:
            grant = Grant(**json.loads(_decoded(body)))
        except (ValueError, TypeError, binascii.Error) as fault:
            raise GrantInvalid from fault
        if grant.purpose != purpose:
            raise GrantInvalid
        if grant.account_id != viewer.account_id or grant.device_id != device_id:
            raise GrantOfAnother
        if at.timestamp() >= grant.expires:
            raise GrantExpired
        return grant

    def _mac(self, name: str, signed: str) -> bytes:
        return hmac.digest(self._keys[name], signed.encode(), hashlib.sha256)


def expiry(at: datetime, lifetime: timedelta) -> int:
    """Return when what is signed now is good no more."""
    return int((at + lifetime).timestamp())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
