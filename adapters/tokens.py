"""Access tokens: EdDSA JWTs, signed and verified with the Ed25519 keys of one folder."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.types import Options

from domain.kernel import Role, Unauthenticated, Viewer

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
NEEDED = ["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "role"]
# Times are compared here, by the clock that whoever remembers a verified token goes by.
OPTIONS: Options = {"require": NEEDED, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
LONGEST_TOKEN = 4096
LONGEST_PROFILE = 64
ROLES = {role.name.lower(): role for role in Role if role is not Role.GUEST}


class TokenInvalid(Unauthenticated):
    """Raised when an access token was not issued here, is for something else, or cannot be read."""

    text = "The access token is not valid."


class TokenExpired(Unauthenticated):
    """Raised when an access token was good once."""

    text = "The access token has expired."


@dataclass(frozen=True, slots=True)
class Identity:
    """What a token says of its holder, and until when."""

    viewer: Viewer
    token_id: str
    expires: float
    issued: float


class TokenKeys:
    """The keys of one folder: `<kid>.pem` are private ones, `<kid>.pub.pem` public ones; the last private one signs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._public: dict[str, Ed25519PublicKey] = {}
        self._private: dict[str, Ed25519PrivateKey] = {}
        for path in sorted(folder.glob("*.pem")):
            self._load(path)

    @classmethod
    def open(cls, folder: Path) -> TokenKeys:
        """Read a folder, and put a first key into it when it has none."""
        keys = cls(folder)
        return keys if keys._public else cls(_create_key(folder))

    def _load(self, path: Path) -> None:
        kid = path.name.removesuffix(".pem").removesuffix(".pub")
        if path.name.endswith(".pub.pem"):
            public = serialization.load_pem_public_key(path.read_bytes())
        else:
            private = serialization.load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(private, Ed25519PrivateKey):
                raise TypeError(f"{path} is not an Ed25519 key")
            self._private[kid] = private
            public = private.public_key()
        if not isinstance(public, Ed25519PublicKey):
            raise TypeError(f"{path} is not an Ed25519 key")
        self._public[kid] = public

    @property
    def kids(self) -> list[str]:
        return sorted(self._public)

    def public(self, kid: str) -> Ed25519PublicKey | None:
        return self._public.get(kid)

    def signing(self) -> tuple[str, Ed25519PrivateKey]:
        """Return the newest private key. Raises LookupError when the folder has none."""
        kid = max(self._private, default=None, key=lambda name: (len(name), name))  # 10 comes after 9
        if kid is None:
            raise LookupError(f"{self._folder} holds no private key")
        return kid, self._private[kid]


class TokenIssuer:
    """Issues access tokens."""

    def __init__(self, keys: TokenKeys, *, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    def issue(self, account_id: str, role: Role, *, at: datetime, lifetime: timedelta, **claims: Any) -> str:
        kid, key = self._keys.signing()
        body = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": account_id,
            "role": role.name.lower(),
            "jti": secrets.token_urlsafe(16),
            # To the microsecond: what is revoked makes void what was issued before.
            "iat": at.timestamp(),
            "nbf": at,
            "exp": at + lifetime,
            **claims,
        }
        return jwt.encode(body, key, algorithm=ALGORITHM, headers={"kid": kid, "typ": TYPE})


class TokenVerifier:
    """Verifies access tokens; keys come from the folder alone, never from what a token names."""

    def __init__(self, keys: TokenKeys, *, issuer: str, audience: str, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    def verify(self, token: str) -> Identity:
        """Raises TokenInvalid and TokenExpired."""
        if len(token) > LONGEST_TOKEN:
            raise TokenInvalid
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.public(str(header.get("kid")))
            if key is None or header.get("typ") != TYPE or header.get("alg") != ALGORITHM:
                raise TokenInvalid
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], issuer=self._issuer, audience=self._audience, options=OPTIONS)
            identity = _identity(claims)
            begins = max(_moment(claims["nbf"]), float(int(_moment(claims["iat"]))))
        # A token may be anything: one nested too deeply ends in a RecursionError.
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as fault:
            raise TokenInvalid from fault
        now = self._clock()
        if identity.expires <= now:
            raise TokenExpired
        if begins > now:
            raise TokenInvalid
        return identity


def _identity(claims: dict[str, Any]) -> Identity:
    """Raises KeyError, TypeError and ValueError for claims that are not as we issue them."""
    permissions, maturity = claims.get("permissions", []), claims.get("maturity", Viewer().maturity)
    profile, granted, asleep = _text(claims.get("profile", "")), claims.get("granted", []), claims.get("asleep", False)
    guest = claims.get("guest", False)
    if not isinstance(permissions, list) or len(profile) > LONGEST_PROFILE or type(maturity) is not int or not claims["sub"]:
        raise TypeError
    if not isinstance(granted, list) or type(asleep) is not bool or type(guest) is not bool:
        raise TypeError
    viewer = Viewer(
        account_id=claims["sub"],
        role=ROLES[claims["role"]],
        permissions=frozenset(map(_text, permissions)),
        maturity=maturity,
        profile_id=profile,
        session_id=_text(claims.get("sid", "")),
        granted=frozenset(map(_text, granted)),
        asleep=asleep,
        guest_pass=guest,
    )
    return Identity(viewer, claims["jti"], _moment(claims["exp"]), _moment(claims["iat"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _moment(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _create_key(folder: Path) -> Path:
    """Write a private key, readable by its owner alone. Two starts at once both end with the key of the first."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fresh = folder / f".{secrets.token_hex(4)}"
    fresh.touch(mode=0o600)
    fresh.write_bytes(pem)
    try:
        os.link(fresh, folder / "1.pem")
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return folder
