"""Accounts that go: asked for by their owners, put off for a while, and erased everywhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from domain.accounts.administration import AdministrationStore, LastAdministrator
from domain.accounts.export import Shelf
from domain.accounts.letters import Letters
from domain.accounts.model import Account, AccountNotFound, EndReason
from domain.accounts.sessions import Sessions, demand_fresh_proof
from domain.kernel import Begin, Event, Role, Viewer, new_id

# Time for second thoughts.
GRACE = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDeleted(Event):
    """An account is erased: whoever keeps anything of it forgets it, or keeps it under the id that stands in for nobody."""

    account_id: str
    # Made for this: nothing leads from it back to anybody, and what belonged together still does.
    stand_in_id: str


class DeletionStore(AdministrationStore, Protocol):
    """Accounts within one unit of work, for those that go."""

    async def due_deletions(self, *, before: datetime, limit: int) -> list[str]:
        """Return accounts whose owners had them deleted before a time, the first ones first."""

    async def export_keys(self, account_id: str) -> list[str]:
        """Return what all exports of an account are stored under."""

    async def erase_account(self, account: Account) -> None:
        """Delete an account with whatever the context keeps of it."""


class Teams(Protocol):
    """Teams, as far as an account's going matters to them."""

    async def forget_account(self, account_id: str, *, at: datetime) -> None: ...


class Deletions:
    """Deleting one's own account, one method for each RPC."""

    def __init__(self, *, begin: Begin[DeletionStore], sessions: Sessions, letters: Letters) -> None:
        self._begin = begin
        self._sessions = sessions
        self._letters = letters

    async def request_deletion(self, *, viewer: Viewer, at: datetime) -> datetime:
        """Have the caller's account erased later, and return when. Raises ProofTooOld, LastAdministrator and AccountNotFound."""
        async with self._begin() as store:
            await demand_fresh_proof(store, viewer, at=at)
            await store.hold_administrators()
            account = _found(await store.account_to_change(viewer.account_id))
            # Once more: whoever waited for the account may have been signed out by what they waited for.
            await demand_fresh_proof(store, viewer, at=at)
            if account.delete_time is not None:
                return account.delete_time + GRACE
            if account.role is Role.ADMIN and not set(await store.administrators(at=at)) - {account.account_id}:
                raise LastAdministrator
            await store.save_account(replace(account, delete_time=at, update_time=at, version=account.version + 1))
            await self._sessions.end_all(store, account.account_id, but=viewer.session_id, reason=EndReason.ACCOUNT_DELETED, at=at)
            if await store.revoke_keys(account.account_id, at=at):
                await store.void_tokens(account.account_id, at=at)
            await self._letters.write(store, account, "account_deletion", {"time": (at + GRACE).isoformat()}, at=at)
        return at + GRACE

    async def cancel_deletion(self, *, viewer: Viewer, at: datetime) -> None:
        """Raises AccountNotFound."""
        async with self._begin() as store:
            account = _found(await store.account_to_change(viewer.account_id))
            if account.delete_time is not None:
                await store.save_account(replace(account, delete_time=None, update_time=at, version=account.version + 1))


class Erasure:
    """Erases the accounts whose time is over."""

    def __init__(
        self,
        *,
        begin: Begin[DeletionStore],
        read: Begin[DeletionStore],
        together: Callable[[], AbstractAsyncContextManager[object]],
        teams: Teams,
        shelf: Shelf,
    ) -> None:
        """Take what opens a transaction that everything begun inside joins as `together`."""
        self._begin = begin
        self._read = read
        self._together = together
        self._teams = teams
        self._shelf = shelf

    async def due(self, *, limit: int, at: datetime) -> list[str]:
        """Return the accounts whose time is over."""
        async with self._read() as store:
            return await store.due_deletions(before=at - GRACE, limit=limit)

    async def erase(self, account_id: str, *, at: datetime) -> bool:
        """Erase an account; False when it is not to be erased now.

        One that is in use to the last is signed out first and erased the next time, when no token of it is good any more: so
        nothing is written for an account that is gone.
        """
        async with self._together(), self._begin() as store:
            account = await store.account_to_change(account_id)
            if account is None or account.delete_time is None or account.delete_time + GRACE > at:
                return False
            if await store.end_sessions(account_id, "", but="", reason=EndReason.ACCOUNT_DELETED, at=at):
                return False
            await self._teams.forget_account(account_id, at=at)
            # Before the rows that know of them: what is deleted twice is no matter.
            await self._shelf.delete(await store.export_keys(account_id))
            await store.erase_account(account)
            await store.record(AccountDeleted(time=at, account_id=account_id, stand_in_id=new_id(at=at)))
        return True


def _found(account: Account | None) -> Account:
    """Raises AccountNotFound."""
    if account is None:
        raise AccountNotFound
    return account
