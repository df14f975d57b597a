"""Composition of access tokens: what signs them, what verifies them, and who may see the public keys."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.token_keys import TokenKeys
from adapters.tokens import TokenIssuer, TokenVerifier
from ani.accounts.v1 import token_key_service_pb2
from server.accounts.token_key_servicer import TokenKeyServicer
from server.settings import Settings

# One service stands in each of these files.
CONTRACTS = (token_key_service_pb2,)


@dataclass(frozen=True, slots=True)
class AccessTokens:
    """What a process does with access tokens, over keys that it reads once."""

    keys: TokenKeys
    issuer: TokenIssuer
    verifier: TokenVerifier

    @classmethod
    def of(cls, settings: Settings) -> AccessTokens:
        keys, issuer, audience = TokenKeys.open(settings.key_folder), settings.token_issuer, settings.token_audience
        return cls(keys, TokenIssuer(keys, issuer=issuer, audience=audience), TokenVerifier(keys, issuer=issuer, audience=audience))

    @property
    def servicers(self) -> dict[str, object]:
        """The servicers by the names of their services."""
        return {"TokenKeyService": TokenKeyServicer(self.keys.jwks)}
