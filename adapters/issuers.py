"""Other issuers, asked by OpenID Connect: the authorization code flow with PKCE."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import jwt

from domain.accounts.issuers import Errand, IssuerUnavailable, IssuerUnknown, Person

log = logging.getLogger("ani.issuers")

PATIENCE_SECONDS = 5.0
MOST_BYTES = 256 * 1024
MOST_AT_ONCE = 20
# What an issuer says of itself is asked again after so long, and its keys early when one is unknown, but not at every token.
KEPT_SECONDS = 3600.0
ASKED_AGAIN_SECONDS = 60.0
# Clocks differ.
LEEWAY_SECONDS = 60
LONGEST_SUBJECT = 255
LONGEST_NAME = 64
# Each with a key that only the issuer has: a signature with a shared secret, or none, is never one.
ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
NEEDED = ["iss", "sub", "aud", "exp", "iat", "nonce"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """The platform as a client of one issuer."""

    name: str
    issuer: str
    client_id: str
    # Where people come back to: exactly as it is registered there.
    redirect_uri: str
    client_secret: str = ""
    scopes: Sequence[str] = ("openid", "email", "profile")
    # Where the issuer's other addresses may be, besides at its own host.
    hosts: Sequence[str] = ()

    def allows(self, url: str) -> bool:
        """Tell whether a request may go to an address: at the issuer's hosts, and as safe as the issuer itself."""
        parts, own = urlsplit(url), urlsplit(self.issuer)
        return parts.scheme == own.scheme and not parts.username and parts.hostname in {own.hostname, *self.hosts}


class _Answer(Exception):
    """Raised with a status that says no."""

    def __init__(self, status: int, data: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {data.get('error', '')}")
        self.status = status
        self.data = data


class OpenIdIssuers:
    """The issuers that the platform is registered with."""

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self._client = httpx.AsyncClient(
            timeout=PATIENCE_SECONDS, follow_redirects=False, trust_env=False, limits=httpx.Limits(max_connections=MOST_AT_ONCE)
        )
        self._issuers = {registration.name: _Issuer(registration, self._client) for registration in registrations}

    @property
    def names(self) -> Sequence[str]:
        return list(self._issuers)

    async def send(self, issuer: str) -> Errand:
        if issuer not in self._issuers:
            raise IssuerUnknown(issuer=issuer, field="issuer")
        return await self._issuers[issuer].send()

    async def person(self, code: str, kept: dict[str, str]) -> Person | None:
        issuer = self._issuers.get(kept["issuer"])
        return await issuer.person(code, kept) if issuer else None

    async def close(self) -> None:
        await self._client.aclose()


class _Issuer:
    """One issuer, and what it says of itself."""

    def __init__(self, registration: Registration, client: httpx.AsyncClient) -> None:
        self._registration = registration
        self._client = client
        self._alone = asyncio.Lock()
        self._about: dict[str, Any] = {}
        self._about_time = -KEPT_SECONDS
        self._keys: list[dict[str, Any]] = []
        self._keys_time = -KEPT_SECONDS

    async def send(self) -> Errand:
        about = await self._itself()
        verifier, nonce, state = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self._registration.client_id,
            "redirect_uri": self._registration.redirect_uri,
            "scope": " ".join(self._registration.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = about["authorization_endpoint"]
        url = f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"
        return Errand(url, state, {"issuer": self._registration.name, "nonce": nonce, "verifier": verifier})

    async def person(self, code: str, kept: Mapping[str, str]) -> Person | None:
        about = await self._itself()
        try:
            granted = await self._asked("POST", about["token_endpoint"], **self._exchange(about, code, kept["verifier"]))
        except _Answer as answer:
            if answer.data.get("error") == "invalid_grant":
                return None
            log.warning("the issuer %s exchanges no code: %s", self._registration.name, answer)
            raise self._unavailable() from answer
        token = granted.get("id_token")
        claims = await self._claims(about, token, kept["nonce"]) if isinstance(token, str) else None
        if claims is None:
            return None
        if "email" not in claims and isinstance(about.get("userinfo_endpoint"), str):
            claims = await self._more(about["userinfo_endpoint"], granted, claims)
        verified = claims.get("email_verified") in (True, "true")
        return Person(
            issuer=self._registration.name,
            subject=claims["sub"],
            email=str(claims.get("email", "")) if verified else "",
            name=str(claims.get("name") or claims.get("preferred_username") or "")[:LONGEST_NAME],
        )

    def _exchange(self, about: Mapping[str, Any], code: str, verifier: str) -> dict[str, Any]:
        """Return what a code is exchanged with: it is of no use to anybody without the verifier."""
        own = self._registration
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": own.redirect_uri,
            "code_verifier": verifier,
            "client_id": own.client_id,
        }
        if not own.client_secret:
            return {"data": form}
        if "client_secret_basic" in about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            return {"data": form, "auth": (quote(own.client_id, safe=""), quote(own.client_secret, safe=""))}
        return {"data": form | {"client_secret": own.client_secret}}

    async def _more(self, endpoint: str, granted: Mapping[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
        """Return what else the issuer says of the same person."""
        try:
            told = await self._asked("GET", endpoint, headers={"authorization": f"Bearer {granted.get('access_token')}"})
        except _Answer as answer:
            log.warning("the issuer %s says no more of a person: %s", self._registration.name, answer)
            return claims
        return {**told, **claims} if told.get("sub") == claims["sub"] else claims

    async def _claims(self, about: Mapping[str, Any], token: str, nonce: str) -> dict[str, Any] | None:
        """Return what an ID token says, or None for one that is not good, or not for this errand."""
        own = self._registration
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg", "")
            if algorithm not in ALGORITHMS or algorithm not in about.get("id_token_signing_alg_values_supported", ["RS256"]):
                raise jwt.InvalidAlgorithmError(algorithm)
            key = await self._key(about, header.get("kid"), ALGORITHMS[algorithm])
            claims: dict[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(key, algorithm).key,
                algorithms=[algorithm],
                audience=own.client_id,
                issuer=about["issuer"],
                leeway=LEEWAY_SECONDS,
                options={"require": NEEDED},
            )
        except jwt.PyJWTError as fault:
            log.warning("the issuer %s gave a token that is not good: %s", own.name, type(fault).__name__)
            return None
        audience, subject = claims["aud"], claims["sub"]
        parties = claims.get("azp", own.client_id if isinstance(audience, str) or len(audience) == 1 else None)
        right = parties == own.client_id and secrets.compare_digest(str(claims["nonce"]).encode(), nonce.encode())
        return claims if right and 0 < len(subject) <= LONGEST_SUBJECT else None

    async def _key(self, about: Mapping[str, Any], name: Any, family: str) -> dict[str, Any]:
        """Return the issuer's own key of a name, whatever a token says of keys. Raises PyJWKSetError."""
        for patience in (KEPT_SECONDS, ASKED_AGAIN_SECONDS):
            async with self._alone:
                if time.monotonic() - self._keys_time >= patience:
                    found = (await self._well(about["jwks_uri"])).get("keys")
                    self._keys = [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []
                    self._keys_time = time.monotonic()
            good = [key for key in self._keys if key.get("kty") == family and key.get("use", "sig") == "sig"]
            named = [key for key in good if key.get("kid") == name] if name is not None else good
            if len(named) == 1:
                return named[0]
        raise jwt.PyJWKSetError("no key of this name")

    async def _itself(self) -> dict[str, Any]:
        """Return what the issuer says of itself."""
        async with self._alone:
            if time.monotonic() - self._about_time >= KEPT_SECONDS:
                about = await self._well(f"{self._registration.issuer.rstrip('/')}/.well-known/openid-configuration")
                places = [about.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
                if about.get("issuer") != self._registration.issuer or not all(isinstance(place, str) for place in places):
                    log.warning("what answers for the issuer %s says that it is another one", self._registration.name)
                    raise self._unavailable()
                self._about, self._about_time = about, time.monotonic()
            return self._about

    async def _well(self, url: str) -> dict[str, Any]:
        try:
            return await self._asked("GET", url)
        except _Answer as answer:
            log.warning("the issuer %s says nothing of itself: %s", self._registration.name, answer)
            raise self._unavailable() from answer

    async def _asked(self, method: str, url: str, **given: Any) -> dict[str, Any]:
        """Return an answer in JSON, of no more than fits. Raises _Answer and IssuerUnavailable."""
        if not self._registration.allows(url):
            log.warning("the issuer %s leads to a host that is not named in its registration", self._registration.name)
            raise self._unavailable()
        data = b""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._client.stream(method, url, **given) as response:
                async for piece in response.aiter_bytes():
                    data += piece
                    if len(data) > MOST_BYTES:
                        raise ValueError("more than fits")
            told = json.loads(data or b"{}")
        except (httpx.HTTPError, OSError, TimeoutError, ValueError, RecursionError) as fault:
            log.warning("the issuer %s does not answer: %s", self._registration.name, type(fault).__name__)
            raise self._unavailable() from fault
        told = told if isinstance(told, dict) else {}
        if response.status_code != httpx.codes.OK:
            raise _Answer(response.status_code, told)
        return told

    def _unavailable(self) -> IssuerUnavailable:
        return IssuerUnavailable(issuer=self._registration.name, retry_after=5)
