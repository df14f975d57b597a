"""Composition of what keeps order among accounts: API keys, the audit log, and staff who look after others."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.postgres import Database
from adapters.postgres.accounts.administration import PostgresAdministration
from adapters.postgres.accounts.api_keys import PostgresApiKeys
from adapters.postgres.audit import PostgresAudit
from adapters.secret_keys import Seal
from ani.accounts.v1 import accounts_admin_service_pb2, api_keys_service_pb2
from domain.accounts.administration import Administration
from domain.accounts.api_keys import ApiKeys, Doorkeeper, Holder
from server.accounts.admin_servicer import AccountsAdminServicer
from server.accounts.api_keys_servicer import ApiKeysServicer
from server.pipeline.keys import KnownKeys
from server.settings import Settings
from server.wiring.accounts import Desk

# One service stands in each of these files.
CONTRACTS = (accounts_admin_service_pb2, api_keys_service_pb2)
# The purpose of the key by which signing secrets are sealed.
SIGNING = "api key signatures"


def known_keys(settings: Settings, database: Database) -> KnownKeys:
    """Return what tells who holds an API key."""
    seal = Seal(settings.key_folder, SIGNING)
    doorkeeper = Doorkeeper(begin=database.begins(PostgresApiKeys), unseal=seal.open)

    async def recognise(key: str) -> Holder:
        return await doorkeeper.recognise(key, at=datetime.now(UTC))

    return KnownKeys(recognise)


def servicers(settings: Settings, desk: Desk) -> dict[str, object]:
    """Return the servicers by the names of their services."""
    database = desk.database
    administration = Administration(
        begin=database.begins(PostgresAdministration),
        read=database.reads(PostgresAdministration),
        sessions=desk.sessions,
        letters=desk.letters,
    )
    keys = ApiKeys(
        begin=database.begins(PostgresApiKeys),
        read=database.reads(PostgresApiKeys),
        seal=Seal(settings.key_folder, SIGNING).close,
    )
    return {
        "AccountsAdminService": AccountsAdminServicer(administration, PostgresAudit(database)),
        "ApiKeysService": ApiKeysServicer(keys),
    }
