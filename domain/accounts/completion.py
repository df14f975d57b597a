"""What a sign-in ends in: an account, a session, another password, or a proof."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from domain.accounts.factors import Introduced, Introducer
from domain.accounts.letters import Letters
from domain.accounts.model import (
    Account,
    AccountNotFound,
    Device,
    EmailVerified,
    EndReason,
    PasswordChanged,
    PasswordTooCommon,
    Tokens,
    UserRegistered,
    check_length,
)
from domain.accounts.naming import email_key, masked, name_key
from domain.accounts.ports import Passwords
from domain.accounts.sessions import Sessions, SessionStore, was_thrown_out
from domain.accounts.steps import Purpose, SignIn, SignInOver
from domain.audit import AuditLog, note
from domain.kernel import AlreadyExists, FailedPrecondition, InvalidArgument, new_id


class EmailTaken(AlreadyExists):
    """Raised when an address belongs to another account by now, to somebody who showed that it is theirs."""

    text = "There is an account with this e-mail address: sign in to it."


class AccountNameTaken(AlreadyExists):
    """Raised when somebody goes by a name that is the same, or cannot be told from it."""

    text = "The name is taken, or looks like one that is: begin again with another."


class AccountNotLinked(FailedPrecondition):
    """Raised when who vouches for somebody is not known for the account with their address: its owner has to link them."""

    text = "There is an account with this e-mail address: sign in to it and link the other one there."


class AddressNotVouchedFor(FailedPrecondition):
    """Raised when an account would have to be made of an address that nobody has verified."""

    text = "No account can be made of this sign-in: it comes without a verified e-mail address."


class UnlockTokenInvalid(InvalidArgument):
    """Raised when an unlock token was not given out here, or has expired."""

    text = "The link is not valid, or has expired."


class CompletionStore(SessionStore, AuditLog, Protocol):
    """What the end of a sign-in changes within one unit of work."""

    async def account(self, account_id: str) -> Account | None: ...

    async def account_to_change(self, account_id: str) -> Account | None: ...

    async def account_by_email(self, key: str) -> Account | None: ...

    async def account_by_name(self, key: str) -> Account | None: ...

    async def add_account(self, account: Account) -> bool:
        """Keep a new account; False when its address or name is taken."""

    async def save_account(self, account: Account) -> bool:
        """Keep a changed account; False when its address or name is taken."""

    async def revoke_keys(self, account_id: str, *, at: datetime) -> int:
        """Revoke all API keys of an account; return how many there were."""

    async def replace_password_hash(self, account_id: str, before: str, after: str) -> None:
        """Put a stronger hash of the same password in its place."""


class Completion:
    """Ends sign-ins, one way for each purpose."""

    def __init__(self, *, sessions: Sessions, passwords: Passwords, letters: Letters, mark: Callable[[bytes], bytes]) -> None:
        self._sessions = sessions
        self._passwords = passwords
        self._letters = letters
        self._mark = mark

    def check_password(self, password: str, *, email: str, name: str = "") -> None:
        """Raises PasswordLengthWrong and PasswordTooCommon."""
        check_length(password)
        if self._passwords.is_common(password, context=(email, name)):
            raise PasswordTooCommon(field="password")

    def knows(self, device_token: str, account_id: str, device_id: str) -> bool:
        """Tell whether a device was given this token when it signed in to the account."""
        given = self._sessions.device_token(account_id, device_id)
        return bool(given) and secrets.compare_digest(device_token.encode(), given.encode())

    async def complete(self, store: CompletionStore, sign_in: SignIn, answer: str, *, at: datetime) -> Tokens | None:
        """Do what a sign-in was for. The last answer is the new password where one was asked for."""
        device = sign_in.progress.device
        if sign_in.purpose is Purpose.REGISTRATION:
            return await self._sessions.open(store, await self._register(store, sign_in, at=at), device=device, at=at)
        if sign_in.account_id is None:
            raise SignInOver
        if sign_in.purpose is Purpose.PROOF:
            await store.prove(sign_in.progress.session_id, at=at)
            return None
        account = await store.account_to_change(sign_in.account_id)
        if account is None:
            raise AccountNotFound
        # Who began with an old password may not be who has the new one.
        if account.password_time is not None and account.password_time > sign_in.create_time:
            raise SignInOver
        if sign_in.purpose is Purpose.EMAIL_CHANGE:
            if await was_thrown_out(store, sign_in.progress.session_id):
                raise SignInOver
            await self._change_email(store, account, sign_in.email, at=at)
            return None
        if sign_in.purpose is Purpose.PASSWORD_RESET:
            account = await self.change_password(store, account, answer, but="", at=at)
        else:
            await self._tell_of_new_device(store, account, device, at=at)
        return await self._sessions.open(store, account, device=device, at=at)

    async def change_password(self, store: CompletionStore, account: Account, hashed: str, *, but: str, at: datetime) -> Account:
        """Give an account another password, end its sessions but one and its API keys, and tell its owner."""
        before = {"password_time": account.password_time.isoformat() if account.password_time else ""}
        account = replace(account, password_hash=hashed, password_time=at, update_time=at, version=account.version + 1)
        await store.save_account(account)
        after = {"password_time": at.isoformat()}
        await note(store, "PasswordChanged", account.account_id, before=before, after=after, at=at)
        await self._sessions.end_all(store, account.account_id, but=but, reason=EndReason.PASSWORD_CHANGED, at=at)
        await store.revoke_keys(account.account_id, at=at)
        await store.record(PasswordChanged(time=at, account_id=account.account_id))
        await self._letters.write(store, account, "password_changed", at=at)
        return account

    async def introduce(self, store: CompletionStore, introducer: Introducer, found: Introduced, *, at: datetime) -> str:
        """Make an account for somebody who was vouched for. Raises AddressNotVouchedFor and AccountNotLinked."""
        if not found.email:
            raise AddressNotVouchedFor
        if await store.account_by_email(email_key(found.email)) is not None:
            raise AccountNotLinked
        while True:
            name = await self._free_name(store, found.name or found.email.partition("@")[0])
            account = Account(
                account_id=new_id(at=at), email=found.email, name=name, email_verify_time=at, create_time=at, update_time=at
            )
            # Somebody else may have taken the name since it was looked for; it was not chosen, so another one is as good.
            with suppress(AccountNameTaken):
                await self._open_account(store, account, at=at)
                break
        await introducer.link(store, account.account_id, found.link, at=at)
        return account.account_id

    async def _register(self, store: CompletionStore, sign_in: SignIn, *, at: datetime) -> Account:
        registration = sign_in.progress.registration
        if registration is None:
            raise SignInOver
        account = Account(
            account_id=new_id(at=at),
            email=sign_in.email,
            name=registration.name,
            language=registration.language,
            password_hash=registration.password_hash,
            password_time=at,
            email_verify_time=at,
            create_time=at,
            update_time=at,
        )
        await self._open_account(store, account, at=at)
        return account

    async def _open_account(self, store: CompletionStore, account: Account, *, at: datetime) -> None:
        """Raises EmailTaken and AccountNameTaken."""
        if not await store.add_account(account):
            if await store.account_by_email(email_key(account.email)) is not None:
                raise EmailTaken
            raise AccountNameTaken(field="name")
        await store.record(UserRegistered(time=at, account_id=account.account_id, language=account.language))
        await store.record(EmailVerified(time=at, account_id=account.account_id))

    async def _free_name(self, store: CompletionStore, wanted: str) -> str:
        """Return a name that nobody goes by, as near to the wanted one as can be."""
        plain = "".join(letter for letter in wanted if letter.isalnum() or letter in " _-.")[:32].strip()
        base = plain if len(plain) >= 2 else "viewer"
        name = base
        while await store.account_by_name(name_key(name)) is not None:
            name = f"{base}-{secrets.randbelow(10**6):06}"
        return name

    async def _change_email(self, store: CompletionStore, account: Account, email: str, *, at: datetime) -> None:
        """Raises EmailTaken. The old address is written to, since its owner may know nothing of it."""
        changed = replace(account, email=email, email_verify_time=at, update_time=at, version=account.version + 1)
        if not await store.save_account(changed):
            raise EmailTaken
        shown = [{"email": masked(one.email)} for one in (account, changed)]
        await note(store, "EmailChanged", account.account_id, before=shown[0], after=shown[1], at=at)
        await self._letters.write(store, account, "email_changed", {"new_address": email}, at=at)
        await store.record(EmailVerified(time=at, account_id=account.account_id))

    async def _tell_of_new_device(self, store: CompletionStore, account: Account, device: Device, *, at: datetime) -> None:
        if device.device_id and await store.knows_device(account.account_id, device.device_id):
            return
        facts = {"device": device.device_name or device.client or "?", "country": device.country or "?", "time": at.isoformat()}
        await self._letters.write(store, account, "new_sign_in", facts, at=at)

    def unlock_token(self, key: str, *, at: datetime) -> str:
        """Return what the wrong tries that are held against a key may be forgotten with, until then."""
        body = json.dumps([key, int(at.timestamp())]).encode()
        return base64.urlsafe_b64encode(self._mark(b"unlock " + body) + body).decode()

    def unlocked(self, token: str, *, at: datetime) -> str:
        """Return what an unlock token is for. Raises UnlockTokenInvalid."""
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
            mark, body = raw[:32], raw[32:]
            if not secrets.compare_digest(mark, self._mark(b"unlock " + body)):
                raise UnlockTokenInvalid(field="unlock_token")
            key, until = json.loads(body)
        except (binascii.Error, ValueError) as fault:
            raise UnlockTokenInvalid(field="unlock_token") from fault
        if until <= at.timestamp():
            raise UnlockTokenInvalid(field="unlock_token")
        return str(key)
