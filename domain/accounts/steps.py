"""A sign-in on its way: what was proven so far, what is asked next, and the token that stands for it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

from domain.accounts.factors import ChallengeKind
from domain.accounts.model import Device, Tokens
from domain.kernel import FailedPrecondition, Unauthenticated, new_id

# Long enough to read a letter, and no longer than a code in it may be good.
LIFETIME = timedelta(minutes=10)
MOST_TRIES = 5
SECRET_BYTES = 32
ID_BYTES = 16
# Which prove by themselves whose account it is; what of these needs nothing to be sent first can be answered unasked.
FIRST = frozenset({
    ChallengeKind.PASSWORD, ChallengeKind.EMAIL_CODE, ChallengeKind.MAGIC_LINK, ChallengeKind.PASSKEY, ChallengeKind.OIDC,
})  # fmt: skip
SECOND = (ChallengeKind.TOTP, ChallengeKind.PASSKEY, ChallengeKind.RECOVERY_CODE)
UNASKED = frozenset({ChallengeKind.PASSWORD, ChallengeKind.TOTP, ChallengeKind.RECOVERY_CODE, ChallengeKind.NEW_PASSWORD})


class Purpose(IntEnum):
    """What somebody proves for who they are."""

    SIGN_IN = 1
    REGISTRATION = 2
    PASSWORD_RESET = 3
    PROOF = 4
    EMAIL_CHANGE = 5


class SignInOver(FailedPrecondition):
    """Raised when a sign-in has ended, took too long or had too many wrong answers, or never was."""

    text = "This sign-in is over: begin again."


class ChallengeNotOffered(FailedPrecondition):
    """Raised when a challenge is answered or chosen that the sign-in does not offer now."""

    text = "This sign-in does not offer that now: it offers {offered}."


class AnswerWrong(Unauthenticated):
    """Raised when the answer to a challenge is not right, whoever is asked."""

    text = "That is not right."


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """An account that is to be, once its address is known to be its owner's."""

    name: str
    language: str
    password_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a sign-in is."""

    device: Device
    device_token: str = ""
    offered: tuple[ChallengeKind, ...] = ()
    # What the answer is checked with, and since when an address cannot be sent to again.
    keep: dict[str, str] = field(default_factory=dict)
    proofs: tuple[ChallengeKind, ...] = ()
    # Whether one proof is worth two.
    strong: bool = False
    registration: Registration | None = None
    # What is linked to the account that is made.
    introducer: ChallengeKind | None = None
    link: dict[str, str] = field(default_factory=dict)
    # Whose proof it is, of those who are signed in already.
    session_id: str = ""
    letters: int = 0

    @property
    def kind(self) -> ChallengeKind:
        """The challenge that was put."""
        return self.offered[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Proving in steps who one is."""

    sign_in_id: str
    secret_hash: bytes
    purpose: Purpose
    account_id: str | None
    email: str
    address: str
    tries: int = 0
    create_time: datetime
    expire_time: datetime
    end_time: datetime | None = None
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What is asked next."""

    kind: ChallengeKind
    alternatives: tuple[ChallengeKind, ...]
    show: Mapping[str, str]
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """What an answer led to: another challenge, tokens, or nothing more to be said."""

    token: str = ""
    challenge: Challenge | None = None
    tokens: Tokens | None = None


def following(
    purpose: Purpose, proofs: Collection[ChallengeKind], *, strong: bool, seconds: Collection[ChallengeKind]
) -> tuple[ChallengeKind, ...]:
    """Return what may be asked next, the usual one first; nothing when all is proven.

    No way to sign in goes around the second factor of an account that has one.
    """
    if purpose in {Purpose.REGISTRATION, Purpose.EMAIL_CHANGE}:
        return () if ChallengeKind.EMAIL_CODE in proofs else (ChallengeKind.EMAIL_CODE,)
    if not FIRST.intersection(proofs):
        return _FIRST_ASKED[purpose]
    wanting = () if strong or set(seconds).intersection(proofs) else tuple(kind for kind in SECOND if kind in seconds)
    if wanting:
        return wanting
    if purpose is Purpose.PASSWORD_RESET and ChallengeKind.NEW_PASSWORD not in proofs:
        return (ChallengeKind.NEW_PASSWORD,)
    return ()


_FIRST_ASKED = {
    Purpose.SIGN_IN: (ChallengeKind.PASSWORD, ChallengeKind.EMAIL_CODE, ChallengeKind.MAGIC_LINK),
    Purpose.PASSWORD_RESET: (ChallengeKind.EMAIL_CODE,),
    Purpose.PROOF: (ChallengeKind.PASSWORD, ChallengeKind.EMAIL_CODE),
}


@dataclass(frozen=True, slots=True)
class Handle:
    """What stands for a sign-in on the wire: its id and its secret."""

    sign_in_id: str
    secret: bytes

    @classmethod
    def fresh(cls, *, at: datetime) -> Handle:
        return cls(new_id(at=at), secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, token: str) -> Handle:
        """Raises SignInOver."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as fault:
            raise SignInOver from fault
        if len(raw) != ID_BYTES + SECRET_BYTES:
            raise SignInOver
        digits = raw[:ID_BYTES].hex()
        sign_in_id = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        return cls(sign_in_id, raw[ID_BYTES:])

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.secret).digest()

    def text(self) -> str:
        raw = bytes.fromhex(self.sign_in_id.replace("-", "")) + self.secret
        return base64.urlsafe_b64encode(raw).decode()
