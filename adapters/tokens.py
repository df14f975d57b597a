"""Access tokens: EdDSA JWTs, signed and verified with the Ed25519 keys of one folder."""

from __future__ import annotations

import base64
import json
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import jwt
from jwt.types import Options

from adapters.token_keys import TokenKeys
from domain.kernel import Role, Unauthenticated, Viewer

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
NEEDED = ["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "role"]
# Times are compared here, by the clock that whoever remembers a verified token goes by.
OPTIONS: Options = {"require": NEEDED, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
LONGEST_TOKEN = 4096
LONGEST_PROFILE = 64
# What a token says only where it is so.
FLAGS = {"asleep": "asleep", "guest_pass": "guest", "limited": "limited"}
NOBODY = Viewer()
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
            key = self._keys.public(_kid(token.partition(".")[0]))
            if key is None:
                raise TokenInvalid
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], issuer=self._issuer, audience=self._audience, options=OPTIONS)
            identity = _identity(claims)
            begins = max(_moment(claims["nbf"]), float(int(identity.issued)))
        # A token may be anything: one nested too deeply ends in a RecursionError.
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as fault:
            raise TokenInvalid from fault
        now = self._clock()
        if identity.expires <= now:
            raise TokenExpired
        if begins > now:
            raise TokenInvalid
        return identity


# All tokens of a key begin alike. The library would take the whole token apart to tell, and does so again when it verifies it.
@lru_cache(maxsize=64)
def _kid(header: str) -> str:
    """Return which key a token says it was signed with. Raises TokenInvalid, and ValueError for what cannot be read."""
    told = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    if not isinstance(told, dict) or told.get("typ") != TYPE or told.get("alg") != ALGORITHM:
        raise TokenInvalid
    return str(told.get("kid"))


def _identity(claims: dict[str, Any]) -> Identity:
    """Raises KeyError, TypeError and ValueError for claims that are not as we issue them."""
    permissions, maturity = claims.get("permissions", []), claims.get("maturity", NOBODY.maturity)
    profile, granted = _text(claims.get("profile", "")), claims.get("granted", [])
    flags = {name: claims[claim] for name, claim in FLAGS.items() if claim in claims}
    if not isinstance(permissions, list) or len(profile) > LONGEST_PROFILE or type(maturity) is not int or not claims["sub"]:
        raise TypeError
    if not isinstance(granted, list) or any(type(flag) is not bool for flag in flags.values()):
        raise TypeError
    viewer = Viewer(
        account_id=claims["sub"],
        role=ROLES[claims["role"]],
        permissions=frozenset(map(_text, permissions)),
        maturity=maturity,
        profile_id=profile,
        session_id=_text(claims.get("sid", "")),
        granted=frozenset(map(_text, granted)),
        **flags,
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
