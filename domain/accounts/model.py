"""Accounts, sessions, what they hold, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from domain.kernel import Event, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Role

# A session ends when nobody used it for so long, and however much it is used, after so long.
IDLE = timedelta(days=60)
LONGEST = timedelta(days=365)
LEAST_PASSWORD, MOST_PASSWORD = 8, 256


class SessionKind(IntEnum):
    """How a session came to be."""

    USER = 1
    DEVICE = 2
    GUEST_PASS = 3


class EndReason(IntEnum):
    """Why a session ended."""

    SIGNED_OUT = 1
    REVOKED = 2
    TOKEN_REUSED = 3
    PASSWORD_CHANGED = 4
    BANNED = 5
    ACCOUNT_DELETED = 6


class AccountNotFound(NotFound):
    """Raised when there is no such account."""

    text = "There is no such account."


class SessionNotFound(NotFound):
    """Raised when there is no such session of the caller's, or no more."""

    text = "There is no session {session}."


class AccountBanned(PermissionDenied):
    """Raised when an account may not be used for a time, or ever again; says why and until when."""

    text = "This account is banned until {until}: {reason}"


class PasswordTooCommon(InvalidArgument):
    """Raised when a password is among those that are tried first."""

    text = "This password is among those that are tried first: choose another one."


class PasswordLengthWrong(InvalidArgument):
    """Raised when a password is too short or too long."""

    text = "A password has {least} to {most} characters."


class PasswordWrong(PermissionDenied):
    """Raised when the present password is not the one that was given."""

    text = "The present password is another one."


class PasswordMissing(FailedPrecondition):
    """Raised when an account that has no password is to change it: it sets one by a reset."""

    text = "This account has no password yet: set one by a password reset."


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """An account that may not be used; without an end, for ever."""

    reason: str
    time: datetime
    expire_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person or household."""

    account_id: str
    email: str
    name: str
    role: Role = Role.USER
    language: str = "en"
    email_verify_time: datetime | None = None
    password_hash: str | None = None
    password_time: datetime | None = None
    ban: Ban | None = None
    version: int = 1
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None = None

    def demand_unbanned(self, *, at: datetime) -> None:
        """Raises AccountBanned."""
        if self.ban is not None and (self.ban.expire_time is None or self.ban.expire_time > at):
            until = self.ban.expire_time.isoformat() if self.ban.expire_time else "further notice"
            raise AccountBanned(until=until, reason=self.ban.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where somebody signs in from."""

    client: str = ""
    device_id: str = ""
    device_name: str = ""
    address: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An account signed in on a device."""

    session_id: str
    account_id: str
    profile_id: str
    kind: SessionKind
    device: Device
    create_time: datetime
    use_time: datetime
    proof_time: datetime
    expire_time: datetime
    end_time: datetime | None = None
    end_reason: EndReason | None = None
    generation: int = 0
    refresh_hash: bytes = b""
    rotate_time: datetime

    def is_open(self, *, at: datetime) -> bool:
        return self.end_time is None and self.expire_time > at and self.use_time + IDLE > at


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a token says of the profile that it is for."""

    maturity: int = 18
    # When access ends for now, whatever the token's lifetime.
    until: datetime | None = None
    grants: tuple[str, ...] = ()
    # Whether nothing may be played at this hour.
    asleep: bool = False
    # Whether it may see or play less than the account: then it holds neither its role, beyond that of a user, nor its permissions.
    is_limited: bool = False


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client holds to be let in: the one for calls, and the one to get the next of these with."""

    access_token: str
    access_expire_time: datetime
    refresh_token: str
    refresh_expire_time: datetime
    account_id: str
    session_id: str
    # Shown at the next sign-in on the same device, it keeps others' wrong guesses from standing in the way.
    device_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered(Event):
    """Somebody opened an account, whose address is known to be theirs."""

    account_id: str
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailVerified(Event):
    """An account's owner proved to read what is sent to its address."""

    account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLoggedIn(Event):
    """An account was signed in."""

    account_id: str
    session_id: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLoggedOut(Event):
    """Somebody signed out."""

    account_id: str
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordChanged(Event):
    """An account has another password."""

    account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRevoked(Event):
    """A session was ended from elsewhere."""

    account_id: str
    session_id: str
    reason: str


def check_length(password: str) -> None:
    """Raises PasswordLengthWrong."""
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise PasswordLengthWrong(least=LEAST_PASSWORD, most=MOST_PASSWORD, field="password")
