"""Composition of what accounts prove themselves with: authenticators, recovery codes, passkeys, and other issuers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from adapters.issuers import OpenIdIssuers, Registration
from adapters.one_time_codes import Authenticators
from adapters.passkeys import WebAuthn
from adapters.postgres.accounts.proofs import PostgresProofs
from adapters.secret_keys import Mark, Seal
from ani.accounts.v1 import issuer_links_service_pb2, second_factors_service_pb2
from domain.accounts.factors import Factor, Introducer
from domain.accounts.issuers import IssuerLinks
from domain.accounts.passkeys import Passkeys
from domain.accounts.second_factors import SettingUp
from domain.accounts.second_proofs import IssuerFactor, PasskeyFactor, RecoveryFactor, TotpFactor
from domain.accounts.setups import Setups
from server.accounts.issuer_links_servicer import IssuerLinksServicer
from server.accounts.second_factors_servicer import SecondFactorsServicer
from server.settings import Settings
from server.wiring.accounts import Desk

# One service stands in each of these files.
CONTRACTS = (second_factors_service_pb2, issuer_links_service_pb2)


@dataclass(frozen=True, slots=True)
class Proofs:
    """What sign-ins are proven with, and the servicers that set it up by the names of their services."""

    factors: Sequence[Factor]
    introducers: Sequence[Introducer]
    servicers: dict[str, object]


def proofs(settings: Settings, desk: Desk, stack: AsyncExitStack) -> Proofs:
    """Put together what accounts prove themselves with."""
    begin, read = desk.database.begins(PostgresProofs), desk.database.reads(PostgresProofs)
    folder, letters = settings.key_folder, desk.letters
    codes, seeds = Authenticators(), Seal(folder, "totp")
    mark = Mark(folder, "recovery codes").of
    setups = Setups(Seal(folder, "setups"))
    ceremonies = _ceremonies(settings)
    issuers = OpenIdIssuers(registrations(settings))
    stack.push_async_callback(issuers.close)
    passkey = PasskeyFactor(PostgresProofs, begin=begin, ceremonies=ceremonies)
    setting_up = SettingUp(begin=begin, read=read, codes=codes, seal=seeds, setups=setups, letters=letters, mark=mark)
    passkeys = Passkeys(begin=begin, ceremonies=ceremonies, setups=setups, letters=letters)
    links = IssuerLinks(begin=begin, read=read, issuers=issuers, setups=setups, letters=letters)
    return Proofs(
        factors=[
            TotpFactor(PostgresProofs, codes=codes, seal=seeds),
            RecoveryFactor(PostgresProofs, letters=letters, mark=mark),
            passkey,
        ],
        introducers=[
            passkey,
            IssuerFactor(PostgresProofs, begin=begin, issuers=issuers, seal=Seal(folder, "issuers")),
        ],
        servicers={
            "SecondFactorsService": SecondFactorsServicer(setting_up, passkeys),
            "IssuerLinksService": IssuerLinksServicer(links),
        },
    )


def _ceremonies(settings: Settings) -> WebAuthn:
    site = urlsplit(settings.site_url)
    domain = settings.passkey_domain or site.hostname or ""
    return WebAuthn(domain=domain, origins=settings.passkey_origins or (f"{site.scheme}://{site.netloc}",))


def registrations(settings: Settings) -> list[Registration]:
    """Return the platform's registrations with other issuers."""
    client_secrets = dict(settings.issuer_secrets)
    return [
        Registration(
            name=issuer.name,
            issuer=issuer.issuer,
            client_id=issuer.client_id,
            redirect_uri=issuer.redirect_uri,
            client_secret=client_secrets.get(issuer.name, ""),
            scopes=issuer.scopes,
            hosts=issuer.hosts,
        )
        for issuer in settings.issuers
    ]
