"""One's own account: opening it, looking at it, changing it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from domain.accounts.completion import AccountNameTaken, Completion
from domain.accounts.letters import Letters
from domain.accounts.model import Account, AccountNotFound, Device, PasswordMissing, PasswordWrong
from domain.accounts.naming import check_email, email_key, name_key, tidy_name
from domain.accounts.ports import Passwords
from domain.accounts.sessions import demand_fresh_proof
from domain.accounts.signing_in import SigningIn, SignInStore
from domain.accounts.steps import Progress, Registration, Step
from domain.accounts.throttle import Throttle
from domain.kernel import Begin, Conflict, FailedPrecondition, InvalidArgument, Viewer


class SessionNeeded(FailedPrecondition):
    """Raised when a token that belongs to no session is used for what changes one."""

    text = "This needs a token that came from a sign-in."


class AccountFieldNotWritable(InvalidArgument):
    """Raised when an update mask names what cannot be changed this way."""

    text = "The field {path} cannot be changed this way."


class AccountChanged(Conflict):
    """Raised when an account was changed since it was read."""

    text = "The account was changed meanwhile: read it again."


class AccountStore(SignInStore, Protocol):
    """Accounts within one unit of work."""


class Accounts:
    """One method for each RPC."""

    WRITABLE = frozenset({"name", "language"})

    def __init__(
        self,
        *,
        begin: Begin[AccountStore],
        read: Begin[AccountStore],
        signing_in: SigningIn,
        completion: Completion,
        throttle: Throttle,
        passwords: Passwords,
        letters: Letters,
    ) -> None:
        self._begin = begin
        self._read = read
        self._signing_in = signing_in
        self._completion = completion
        self._throttle = throttle
        self._passwords = passwords
        self._letters = letters

    async def register(self, email: str, password: str, name: str, language: str, *, device: Device, at: datetime) -> Step:
        """Begin an account, which is there once a code sent to its address comes back.

        Whoever has an account with this address already is told so by letter, and nobody else. Raises PasswordLengthWrong,
        PasswordTooCommon, AccountNameTaken and what names and addresses are refused for.
        """
        name = tidy_name(name)
        check_email(email)
        self._completion.check_password(password, email=email, name=name)
        hashed = await self._passwords.hash(password)
        registration = Registration(name=name, language=language, password_hash=hashed)
        async with self._begin() as store:
            if await store.account_by_name(name_key(name)) is not None:
                raise AccountNameTaken(field="name")
            holder = await store.account_by_email(email_key(email))
            if holder is not None:
                await self._letters.write(store, holder, "already_registered", at=at)
        progress = Progress(device=device, registration=None if holder else registration)
        return await self._signing_in.begin_registration(email, progress, at=at)

    async def get_account(self, *, viewer: Viewer) -> Account:
        """Raises AccountNotFound."""
        async with self._read() as store:
            return _found(await store.account(viewer.account_id))

    async def update_account(self, changes: dict[str, Any], *, version: int | None, viewer: Viewer, at: datetime) -> Account:
        """Raises AccountNotFound, AccountFieldNotWritable, AccountChanged and AccountNameTaken."""
        for path in changes:
            if path not in self.WRITABLE:
                raise AccountFieldNotWritable(path=path, field="update_mask")
        if "name" in changes:
            changes = changes | {"name": tidy_name(changes["name"], field="account.name")}
        async with self._begin() as store:
            before = _found(await store.account_to_change(viewer.account_id))
            if version is not None and version != before.version:
                raise AccountChanged
            after = replace(before, **changes)
            if after != before:
                after = replace(after, version=before.version + 1, update_time=at)
                if not await store.save_account(after):
                    raise AccountNameTaken(field="account.name")
        return after

    async def change_password(self, current: str, new: str, *, network: str, viewer: Viewer, at: datetime) -> None:
        """Change the password and end all other sessions.

        Raises PasswordMissing, PasswordWrong, PasswordLengthWrong, PasswordTooCommon and TooManyTries.
        """
        async with self._read() as store:
            account = _found(await store.account(viewer.account_id))
        if account.password_hash is None:
            raise PasswordMissing
        self._completion.check_password(new, email=account.email, name=account.name)
        keys = [f"account:{email_key(account.email)}", f"address:{network}"]
        await self._throttle.begin(keys, at=at)
        if not (await self._passwords.verify(current, account.password_hash)).right:
            raise PasswordWrong(field="current_password")
        hashed = await self._passwords.hash(new)
        async with self._begin() as store:
            locked = _found(await store.account_to_change(viewer.account_id))
            if locked.password_hash != account.password_hash:
                raise AccountChanged
            await self._completion.change_password(store, locked, hashed, but=viewer.session_id, at=at)
        await self._throttle.succeeded(keys)

    async def begin_proof(self, *, network: str, viewer: Viewer, at: datetime) -> Step:
        """Let the caller prove again who they are. Raises SessionNeeded."""
        device = Device(address=network, country=viewer.country)
        if not viewer.session_id:
            raise SessionNeeded
        return await self._signing_in.begin_proof(await self.get_account(viewer=viewer), viewer.session_id, device=device, at=at)

    async def begin_email_change(self, email: str, *, network: str, viewer: Viewer, at: datetime) -> Step:
        """Send a code to another address. Raises ProofTooOld, and what addresses are refused for."""
        check_email(email)
        device = Device(address=network, country=viewer.country)
        async with self._read() as store:
            await demand_fresh_proof(store, viewer, at=at)
            account = _found(await store.account(viewer.account_id))
        return await self._signing_in.begin_email_change(account, viewer.session_id, email, device=device, at=at)

    async def unlock(self, token: str, *, at: datetime) -> None:
        """Forget the wrong tries at an account. Raises UnlockTokenInvalid."""
        await self._throttle.forget(self._completion.unlocked(token, at=at))


def _found(account: Account | None) -> Account:
    """Raises AccountNotFound."""
    if account is None:
        raise AccountNotFound
    return account
