"""People with roles, who look after others and let tools call for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from adapters.postgres import Database
from adapters.postgres.accounts.store import PostgresAccounts
from ani.accounts.v1 import api_key_pb2
from ani.accounts.v1 import api_keys_service_pb2 as keys_pb
from domain.accounts.model import Account
from domain.kernel import Role, new_id
from tests.accounts.households import a_session
from tests.serving import Metadata, Served

NOW_PROVEN = timedelta(0)


def moment(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


@dataclass(frozen=True, slots=True)
class Person:
    """An account, and what makes tokens for it."""

    office: Office
    account_id: str
    role: Role
    session_id: str

    @property
    def metadata(self) -> Metadata:
        """What they call with now, as if they had just refreshed it."""
        return self.office.token(self.role, account_id=self.account_id, sid=self.session_id)

    async def account(self) -> Account:
        async with self.office.database.reads(PostgresAccounts)() as store:
            found = await store.account(self.account_id)
        assert found is not None
        return found

    async def create_key(self, *scopes: str, **facts: Any) -> keys_pb.CreateApiKeyResponse:
        expires = facts.pop("expires", datetime.now(UTC) + timedelta(days=30))
        key = api_key_pb2.ApiKey(name=facts.pop("name", "importer"), scopes=scopes, expire_time=moment(expires), **facts)
        return await self.office.served.api_keys.CreateApiKey(keys_pb.CreateApiKeyRequest(api_key=key), metadata=self.metadata)


@dataclass(frozen=True, slots=True)
class Office:
    """Where people get their roles."""

    served: Served
    database: Database
    token: Callable[..., Metadata]

    async def hire(self, role: Role = Role.USER, name: str = "", *, proven: timedelta = NOW_PROVEN) -> Person:
        at = datetime.now(UTC)
        account_id = new_id(at=at)
        account = Account(
            account_id=account_id,
            email=f"{name or account_id}@example.org".lower(),
            name=name or account_id[-12:],
            role=role,
            create_time=at,
            update_time=at,
        )
        async with self.database.begins(PostgresAccounts)() as store:
            assert await store.add_account(account)
        return Person(self, account_id, role, await a_session(self.database, account_id, at=at, proven=proven))
