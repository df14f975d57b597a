"""API keys: how they look, what they may do, and when they are good."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from domain.accounts.model import Account, AccountNotFound
from domain.accounts.sessions import SessionStore, demand_fresh_proof
from domain.kernel import Begin, FailedPrecondition, InvalidArgument, NotFound, Role, Unauthenticated, Viewer, new_id
from domain.permissions import ROLE_PERMISSIONS, demand

# Known by these to those who look for secrets where none should be.
KEY_PREFIX, SECRET_PREFIX = "ani_key_", "ani_sign_"
DIGITS = string.digits + string.ascii_letters
# Of 62 digits: 190 bits to guess, and 32 that tell a typo.
RANDOM_DIGITS, CHECK_DIGITS = 32, 6
KEY_LENGTH = len(KEY_PREFIX) + RANDOM_DIGITS + CHECK_DIGITS
HINT_LENGTH = len(KEY_PREFIX) + 4
LONGEST_LIFE = timedelta(days=366)
MOST_KEYS = 20
# How long those that are over are still listed.
REMEMBERED = timedelta(days=90)


class ApiKeyMalformed(Unauthenticated):
    """Raised when what is sent for an API key cannot be one: it was mistyped or cut off."""

    text = "This is no API key: it was mistyped, or not copied whole."


class ApiKeyUnknown(Unauthenticated):
    """Raised when there is no such API key."""

    text = "There is no such API key."


class ApiKeyRevoked(Unauthenticated):
    """Raised when an API key was revoked, or its creator may not use the platform any more."""

    text = "The API key was revoked."


class ApiKeyExpired(Unauthenticated):
    """Raised when an API key was good once."""

    text = "The API key has expired."


class ApiKeyNotFound(NotFound):
    """Raised when the caller has no such API key."""

    text = "There is no API key {key}."


class TooManyApiKeys(FailedPrecondition):
    """Raised when an account has as many good keys as it may have."""

    text = "An account has at most {most} API keys: revoke one first."


class ApiKeyLifeWrong(InvalidArgument):
    """Raised when a key is to expire in the past, or later than a year from now."""

    text = "An API key expires at a time to come, at most {days} days from now."


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as it is kept: nobody can make the key itself from it."""

    key_id: str
    account_id: str
    name: str
    hint: str
    key_hash: bytes = field(repr=False)
    scopes: frozenset[str]
    # What its calls are signed with, sealed; None for a key whose calls need not be.
    sealed_secret: str | None = field(default=None, repr=False)
    create_time: datetime
    expire_time: datetime
    use_time: datetime | None = None
    revoke_time: datetime | None = None

    def demand_good(self, owner: Account, *, at: datetime) -> None:
        """Raises ApiKeyRevoked and ApiKeyExpired."""
        banned = owner.ban is not None and (owner.ban.expire_time is None or owner.ban.expire_time > at)
        if self.revoke_time is not None or banned or owner.delete_time is not None:
            raise ApiKeyRevoked
        if self.expire_time <= at:
            raise ApiKeyExpired

    def permissions(self, owner: Account) -> frozenset[str]:
        """Return what it may do: never more than its creator may by now."""
        return self.scopes & ROLE_PERMISSIONS[owner.role]


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever shows an API key: the account that created it, as far as the key reaches."""

    key_id: str
    # With no role: methods for a role are for people.
    viewer: Viewer
    # The role of the account.
    rank: Role
    expires: datetime
    # What calls must be signed with; empty where they need not be.
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown once."""

    key: str = field(repr=False)
    signing_secret: str = field(default="", repr=False)


class ApiKeyStore(SessionStore, Protocol):
    """API keys within one unit of work."""

    async def account_to_change(self, account_id: str) -> Account | None: ...

    async def good_keys(self, account_id: str, *, at: datetime) -> int: ...

    async def add_key(self, key: ApiKey) -> None: ...

    async def keys(self, account_id: str, *, since: datetime) -> list[ApiKey]:
        """Return the keys of an account that were good since then, the latest created first."""

    async def revoke_key(self, account_id: str, key_id: str, *, at: datetime) -> bool:
        """Revoke a key, everywhere within a second; False when the account has no such key."""


class ShownKeyStore(Protocol):
    """API keys that callers show, within one unit of work."""

    async def use_key(self, key_hash: bytes, *, at: datetime) -> tuple[ApiKey, Account] | None:
        """Return a key with the account that created it, and note that it was used, if that was not just done."""


class Doorkeeper:
    """Tells who holds an API key."""

    def __init__(self, *, begin: Begin[ShownKeyStore], unseal: Callable[[str], str]) -> None:
        self._begin = begin
        self._unseal = unseal

    async def recognise(self, key: str, *, at: datetime) -> Holder:
        """Raises ApiKeyMalformed, ApiKeyUnknown, ApiKeyRevoked and ApiKeyExpired."""
        check_form(key)
        async with self._begin() as store:
            found = await store.use_key(hashed(key), at=at)
        if found is None:
            raise ApiKeyUnknown
        kept, owner = found
        kept.demand_good(owner, at=at)
        viewer = Viewer(account_id=owner.account_id, permissions=kept.permissions(owner), session_id=kept.key_id)
        secret = self._unseal(kept.sealed_secret) if kept.sealed_secret is not None else ""
        return Holder(kept.key_id, viewer, owner.role, kept.expire_time, secret)


class ApiKeys:
    """One method for each RPC."""

    def __init__(self, *, begin: Begin[ApiKeyStore], read: Begin[ApiKeyStore], seal: Callable[[str], str]) -> None:
        self._begin = begin
        self._read = read
        self._seal = seal

    async def create_api_key(
        self, name: str, scopes: frozenset[str], expires: datetime, *, signed: bool, viewer: Viewer, at: datetime
    ) -> tuple[ApiKey, Shown]:
        """Raises PermissionMissing, ApiKeyLifeWrong, ProofTooOld and TooManyApiKeys."""
        if not at < expires <= at + LONGEST_LIFE:
            raise ApiKeyLifeWrong(days=LONGEST_LIFE.days, field="api_key.expire_time")
        for scope in sorted(scopes):
            demand(viewer, scope)
        shown = Shown(fresh_key(), fresh_secret() if signed else "")
        key = ApiKey(
            key_id=new_id(at=at),
            account_id=viewer.account_id,
            name=name,
            hint=shown.key[:HINT_LENGTH],
            key_hash=hashed(shown.key),
            scopes=scopes,
            sealed_secret=self._seal(shown.signing_secret) if signed else None,
            create_time=at,
            expire_time=expires,
        )
        async with self._begin() as store:
            if await store.account_to_change(viewer.account_id) is None:
                raise AccountNotFound
            await demand_fresh_proof(store, viewer, at=at)
            if await store.good_keys(viewer.account_id, at=at) >= MOST_KEYS:
                raise TooManyApiKeys(most=MOST_KEYS)
            await store.add_key(key)
        return key, shown

    async def list_api_keys(self, *, viewer: Viewer, at: datetime) -> list[ApiKey]:
        async with self._read() as store:
            return await store.keys(viewer.account_id, since=at - REMEMBERED)

    async def revoke_api_key(self, key_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Raises ApiKeyNotFound."""
        async with self._begin() as store:
            if not await store.revoke_key(viewer.account_id, key_id, at=at):
                raise ApiKeyNotFound(key=key_id)


def fresh_key() -> str:
    """Return a key that nobody can guess."""
    rest = KEY_PREFIX + "".join(secrets.choice(DIGITS) for _ in range(RANDOM_DIGITS))
    return rest + _check_digits(rest)


def fresh_secret() -> str:
    """Return what calls are signed with."""
    return SECRET_PREFIX + "".join(secrets.choice(DIGITS) for _ in range(RANDOM_DIGITS))


def check_form(key: str) -> None:
    """Tell typos from keys without asking anyone. Raises ApiKeyMalformed."""
    if len(key) != KEY_LENGTH or not key.isascii() or _check_digits(key[:-CHECK_DIGITS]) != key[-CHECK_DIGITS:]:
        raise ApiKeyMalformed


def hashed(key: str) -> bytes:
    """Return what is kept of a key. It is random enough that nobody tries them all, so one plain hash is as good as a slow one."""
    return hashlib.sha256(key.encode()).digest()


def _check_digits(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_DIGITS):
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits
