"""Keeping order among accounts: who may give which role to whom, bans, and sessions that others end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from domain.accounts.letters import Letters
from domain.accounts.model import Account, AccountNotFound, Ban, EndReason
from domain.accounts.sessions import Sessions, SessionStore
from domain.kernel import Begin, Event, FailedPrecondition, InvalidArgument, Page, PermissionDenied, Role, Viewer
from domain.paging import page_place, page_token


class RankTooLow(PermissionDenied):
    """Raised when somebody acts on an account whose role is not below their own, or gives a role that is not."""

    text = "Only an administrator may do this to an account with the role {role}, or give it."


class OwnAccountRefused(PermissionDenied):
    """Raised when somebody changes their own role, or bans themselves."""

    text = "Nobody does this to their own account: ask another one of the staff."


class LastAdministrator(FailedPrecondition):
    """Raised when a change would leave the platform without an administrator."""

    text = "This is the last administrator: make somebody else one first."


class BanOver(InvalidArgument):
    """Raised when a ban is to end before it begins."""

    text = "A ban ends at a time to come."


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRoleChanged(Event):
    """An account has another role."""

    account_id: str
    role: str
    by_account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBanned(Event):
    """An account may not be used any more; without an end, for ever."""

    account_id: str
    until: datetime | None
    by_account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUnbanned(Event):
    """An account may be used again."""

    account_id: str
    by_account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which accounts are wanted; what is empty does not narrow."""

    query: str = ""
    role: Role | None = None
    only_banned: bool = False

    @property
    def binding(self) -> str:
        return f"accounts {self.query} {self.role} {self.only_banned}"


class AdministrationStore(SessionStore, Protocol):
    """Accounts within one unit of work, for those who keep order among them."""

    async def account(self, account_id: str) -> Account | None: ...

    async def account_to_change(self, account_id: str) -> Account | None: ...

    async def save_account(self, account: Account) -> bool: ...

    async def accounts(self, wanted: Wanted, *, after: tuple[datetime, str] | None, limit: int, at: datetime) -> list[Account]:
        """Return accounts, the latest opened first."""

    async def hold_administrators(self) -> None:
        """Let nobody else change who is an administrator before this unit of work ends."""

    async def administrators(self, *, at: datetime) -> list[str]:
        """Return the administrators who can act: neither banned nor about to be erased."""

    async def void_tokens(self, account_id: str, *, at: datetime) -> None:
        """Make all access tokens and keys of an account void that are known by now: what they say is looked at anew."""

    async def revoke_keys(self, account_id: str, *, at: datetime) -> int:
        """Revoke the API keys of an account; return how many were good."""


class Administration:
    """One method for each RPC."""

    def __init__(
        self,
        *,
        begin: Begin[AdministrationStore],
        read: Begin[AdministrationStore],
        sessions: Sessions,
        letters: Letters,
    ) -> None:
        self._begin = begin
        self._read = read
        self._sessions = sessions
        self._letters = letters

    async def list_accounts(self, wanted: Wanted, page: Page, *, at: datetime) -> tuple[list[Account], str]:
        """Return a page of accounts, and the token of the next. Raises PageTokenInvalid."""
        after = page_place(page.token, binding=wanted.binding)
        async with self._read() as store:
            found = await store.accounts(wanted, after=after, limit=page.size + 1, at=at)
        shown = found[: page.size]
        more = len(found) > page.size
        return shown, page_token(shown[-1].create_time, shown[-1].account_id, binding=wanted.binding) if more else ""

    async def get_account(self, account_id: str) -> Account:
        """Raises AccountNotFound."""
        async with self._read() as store:
            found = await store.account(account_id)
        if found is None:
            raise AccountNotFound
        return found

    async def change_role(self, account_id: str, role: Role, *, viewer: Viewer, at: datetime) -> tuple[Account, Account]:
        """Return the account before and after. Raises OwnAccountRefused, RankTooLow and LastAdministrator."""
        async with self._begin() as store:
            before = await self._held(store, account_id, role, viewer=viewer)
            if before.role is role:
                return before, before
            await self._keep_one(store, before, at=at)
            after = replace(before, role=role, version=before.version + 1, update_time=at)
            await store.save_account(after)
            await store.void_tokens(account_id, at=at)
            await store.record(AccountRoleChanged(time=at, account_id=account_id, role=role.name, by_account_id=viewer.account_id))
        return before, after

    async def ban(
        self, account_id: str, reason: str, until: datetime | None, *, viewer: Viewer, at: datetime
    ) -> tuple[Account, Account]:
        """Return the account before and after. Raises BanOver, OwnAccountRefused, RankTooLow and LastAdministrator."""
        if until is not None and until <= at:
            raise BanOver(field="expire_time")
        async with self._begin() as store:
            before = await self._held(store, account_id, Role.USER, viewer=viewer)
            if before.ban is not None and (before.ban.reason, before.ban.expire_time) == (reason, until):
                return before, before
            await self._keep_one(store, before, at=at)
            ban = Ban(reason=reason, time=at, expire_time=until)
            after = replace(before, ban=ban, version=before.version + 1, update_time=at)
            await store.save_account(after)
            await self._sessions.end_all(store, account_id, reason=EndReason.BANNED, at=at)
            await store.void_tokens(account_id, at=at)
            await store.record(AccountBanned(time=at, account_id=account_id, until=until, by_account_id=viewer.account_id))
            facts = {"reason": reason, "until": until.isoformat() if until else ""}
            await self._letters.write(store, after, "ban", facts, at=at)
        return before, after

    async def unban(self, account_id: str, *, viewer: Viewer, at: datetime) -> tuple[Account, Account]:
        """Return the account before and after. Raises OwnAccountRefused and RankTooLow."""
        async with self._begin() as store:
            before = await self._held(store, account_id, Role.USER, viewer=viewer)
            if before.ban is None:
                return before, before
            after = replace(before, ban=None, version=before.version + 1, update_time=at)
            await store.save_account(after)
            await store.record(AccountUnbanned(time=at, account_id=account_id, by_account_id=viewer.account_id))
        return before, after

    async def end_sessions(self, account_id: str, *, keys: bool, viewer: Viewer, at: datetime) -> tuple[int, int]:
        """Return how many sessions ended, and how many keys were revoked. Raises OwnAccountRefused and RankTooLow."""
        async with self._begin() as store:
            await self._held(store, account_id, Role.USER, viewer=viewer)
            ended = await self._sessions.end_all(store, account_id, reason=EndReason.REVOKED, at=at)
            revoked = await store.revoke_keys(account_id, at=at) if keys else 0
            await store.void_tokens(account_id, at=at)
        return ended, revoked

    async def _held(self, store: AdministrationStore, account_id: str, role: Role, *, viewer: Viewer) -> Account:
        """Return an account that the viewer may act on, and give this role to, locked until the unit of work ends."""
        if account_id == viewer.account_id:
            raise OwnAccountRefused
        await store.hold_administrators()
        acting = await store.account(viewer.account_id)
        # What the token says may be a moment old; a token that was made by hand belongs to no account.
        rank = acting.role if acting is not None else viewer.role
        found = await store.account_to_change(account_id)
        if found is None:
            raise AccountNotFound
        highest = max(found.role, role)
        if rank < Role.ADMIN and highest >= rank:
            raise RankTooLow(role=highest.name)
        return found

    async def _keep_one(self, store: AdministrationStore, account: Account, *, at: datetime) -> None:
        """Raises LastAdministrator when without this account there is none."""
        if account.role is Role.ADMIN and not set(await store.administrators(at=at)) - {account.account_id}:
            raise LastAdministrator


def told(account: Account) -> dict[str, Any]:
    """Return what the audit log says of an account."""
    ban = account.ban
    until = ban.expire_time.isoformat() if ban and ban.expire_time else "further notice"
    return {"role": account.role.name, **({"ban": {"reason": ban.reason, "until": until}} if ban else {})}
