"""Composition of what keeps order among accounts: API keys, the audit log, and staff who look after others."""

from __future__ import annotations

from adapters.postgres.accounts.administration import PostgresAdministration
from adapters.postgres.accounts.api_keys import PostgresApiKeys
from adapters.postgres.audit import PostgresAudit
from adapters.secret_keys import Seal
from ani.accounts.v1 import accounts_admin_service_pb2, api_keys_service_pb2
from domain.accounts.administration import Administration
from domain.accounts.api_keys import ApiKeys
from server.accounts.admin_servicer import AccountsAdminServicer
from server.accounts.api_keys_servicer import ApiKeysServicer
from server.settings import Settings
from server.wiring.accounts import Desk

# One service stands in each of these files.
CONTRACTS = (accounts_admin_service_pb2, api_keys_service_pb2)
# The purpose of the key by which signing secrets are sealed.
SIGNING = "api key signatures"


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
