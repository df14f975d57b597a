"""AccountsAdminService: read the request, ask the domain, render the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from google.protobuf.message import Message

from ani.accounts.v1 import accounts_admin_service_pb2 as pb
from ani.accounts.v1 import administration_pb2
from domain.accounts.administration import Administration, Wanted, told
from domain.accounts.model import Account
from domain.audit import Filter, Kept
from domain.kernel import Page, Role
from domain.paging import EPOCH, PageTokenInvalid, place_token, place_values
from server.accounts.mapping import account_to_pb
from server.pipeline.call import Call

MOST_FACTS = 200
LONGEST_FACT = 1000


class AuditReader(Protocol):
    """Reads the audit log."""

    async def entries(self, wanted: Filter, *, after: tuple[datetime, int] | None, limit: int) -> list[Kept]:
        """Return the entries that are wanted, the newest first."""


class AccountsAdminServicer:
    """Serves those who keep order among accounts."""

    def __init__(self, administration: Administration, log: AuditReader) -> None:
        self._administration = administration
        self._log = log

    async def ListAccounts(self, request: pb.ListAccountsRequest, call: Call) -> pb.ListAccountsResponse:
        role = Role(request.role) if request.role else None
        wanted = Wanted(query=request.query, role=role, only_banned=request.only_banned)
        page = Page(request.page_size, request.page_token)
        found, token = await self._administration.list_accounts(wanted, page, at=call.now)
        return pb.ListAccountsResponse(accounts=map(_account_to_pb, found), next_page_token=token)

    async def GetAdministeredAccount(
        self, request: pb.GetAdministeredAccountRequest, call: Call
    ) -> pb.GetAdministeredAccountResponse:
        found = await self._administration.get_account(request.account_id)
        return pb.GetAdministeredAccountResponse(account=_account_to_pb(found))

    async def ChangeAccountRole(self, request: pb.ChangeAccountRoleRequest, call: Call) -> pb.ChangeAccountRoleResponse:
        changed = await self._administration.change_role(request.account_id, Role(request.role), viewer=call.viewer, at=call.now)
        return pb.ChangeAccountRoleResponse(account=_changed(changed, call))

    async def BanAccount(self, request: pb.BanAccountRequest, call: Call) -> pb.BanAccountResponse:
        changed = await self._administration.ban(
            request.account_id, request.reason, _moment(request, "expire_time"), viewer=call.viewer, at=call.now
        )
        return pb.BanAccountResponse(account=_changed(changed, call))

    async def UnbanAccount(self, request: pb.UnbanAccountRequest, call: Call) -> pb.UnbanAccountResponse:
        changed = await self._administration.unban(request.account_id, viewer=call.viewer, at=call.now)
        return pb.UnbanAccountResponse(account=_changed(changed, call))

    async def EndAccountSessions(self, request: pb.EndAccountSessionsRequest, call: Call) -> pb.EndAccountSessionsResponse:
        ended, revoked = await self._administration.end_sessions(
            request.account_id, keys=request.revoke_api_keys, viewer=call.viewer, at=call.now
        )
        call.changed({}, {"ended_sessions": ended, "revoked_keys": revoked})
        return pb.EndAccountSessionsResponse(ended_count=ended, revoked_key_count=revoked)

    async def ListAuditEntries(self, request: pb.ListAuditEntriesRequest, call: Call) -> pb.ListAuditEntriesResponse:
        wanted = Filter(
            account_id=request.account_id,
            subject=request.subject_account_id,
            method=request.method,
            code=request.code,
            request_id=request.request_id,
            since=_moment(request, "start_time"),
            until=_moment(request, "end_time"),
        )
        page, binding = Page(request.page_size, request.page_token), f"audit {wanted}"
        found = await self._log.entries(wanted, after=_place(page.token, binding), limit=page.size + 1)
        shown = found[: page.size]
        token = _token(shown[-1], binding) if len(found) > page.size else ""
        return pb.ListAuditEntriesResponse(entries=map(_entry_to_pb, shown), next_page_token=token)


def _changed(changed: tuple[Account, Account], call: Call) -> administration_pb2.AdministeredAccount:
    before, after = changed
    call.changed(told(before), told(after))
    return _account_to_pb(after)


def _account_to_pb(account: Account) -> administration_pb2.AdministeredAccount:
    message = administration_pb2.AdministeredAccount(account=account_to_pb(account))
    if (ban := account.ban) is not None:
        message.ban.reason = ban.reason
        message.ban.ban_time.FromDatetime(ban.time)
        if ban.expire_time is not None:
            message.ban.expire_time.FromDatetime(ban.expire_time)
    return message


def _entry_to_pb(kept: Kept) -> administration_pb2.AuditEntry:
    entry = kept.entry
    message = administration_pb2.AuditEntry(
        entry_id=kept.entry_id,
        method=entry.method,
        request_id=entry.request_id,
        account_id=entry.account_id,
        role=entry.role,
        key_id=entry.key_id,
        address=entry.address,
        subject_account_id=entry.subject,
        request=_facts(entry.request),
        changes=_facts(entry.changes),
        code=entry.code,
        reason=entry.reason,
        chain_number=kept.number or 0,
        hash=kept.hash.hex(),
    )
    message.entry_time.FromDatetime(entry.time)
    return message


def _facts(values: Mapping[str, Any]) -> list[administration_pb2.AuditFact]:
    found = [administration_pb2.AuditFact(path=path, value=value[:LONGEST_FACT]) for path, value in _flat(values, "")]
    return found[:MOST_FACTS]


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _flat(one, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _flat(one, f"{path}[{number}]")
    else:
        yield path, "" if value is None else str(value)


def _moment(request: Message, name: str) -> datetime | None:
    if not request.HasField(name):
        return None
    moment: datetime = getattr(request, name).ToDatetime(UTC)
    return moment


def _token(kept: Kept, binding: str) -> str:
    return place_token((kept.entry.time - EPOCH) // timedelta(microseconds=1), kept.entry_id, binding=binding)


def _place(token: str, binding: str) -> tuple[datetime, int] | None:
    """Raises PageTokenInvalid."""
    values = place_values(token, binding=binding)
    if values is None:
        return None
    try:
        microseconds, entry_id = values
        if type(entry_id) is not int or not 0 <= entry_id < 2**63:
            raise TypeError
        return EPOCH + timedelta(microseconds=microseconds), entry_id
    except (ValueError, TypeError, OverflowError) as fault:
        raise PageTokenInvalid(field="page_token") from fault
