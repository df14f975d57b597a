"""Composition of Accounts: which adapter stands behind which of its ports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from adapters.envelopes import SealedEnvelopes
from adapters.passwords import Argon2Passwords
from adapters.postgres import Database, bare
from adapters.postgres.accounts.profiles import PostgresProfiles
from adapters.postgres.accounts.revocations import Revocation, revocations_since
from adapters.postgres.accounts.store import PostgresAccounts
from adapters.secret_keys import Mark
from adapters.tokens import TokenIssuer
from ani.accounts.v1 import accounts_service_pb2, own_account_service_pb2, profiles_service_pb2, session_service_pb2
from domain.accounts.completion import Completion
from domain.accounts.factors import Factor, Introducer
from domain.accounts.letters import Letters
from domain.accounts.model import Account, Limits, Session, SessionKind
from domain.accounts.owners import Pins
from domain.accounts.profile_service import Profiles
from domain.accounts.service import Accounts
from domain.accounts.sessions import Sessions
from domain.accounts.signing_in import SigningIn
from domain.accounts.throttle import Throttle
from domain.accounts.title_requests import TitleRequests
from domain.kernel import Role
from server.accounts.accounts_servicer import AccountsServicer, OwnAccountServicer
from server.accounts.profiles_servicer import ProfilesServicer
from server.accounts.session_servicer import SessionServicer
from server.settings import Settings
from server.wiring import teams

# One service stands in each of these files.
CONTRACTS = (
    accounts_service_pb2,
    own_account_service_pb2,
    session_service_pb2,
    profiles_service_pb2,
    *teams.CONTRACTS,
)
ACCESS_LIFETIME = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the parts of Accounts share."""

    database: Database
    sessions: Sessions
    throttle: Throttle
    passwords: Argon2Passwords
    letters: Letters
    mark: Callable[[bytes], bytes]


def desk(
    settings: Settings,
    database: Database,
    issuer: TokenIssuer,
    stack: AsyncExitStack,
    *,
    aside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Desk:
    """Put together what the parts of Accounts share. `aside` is entered by calls that wait for a password to be hashed."""
    begin, read = database.begins(PostgresAccounts), database.reads(PostgresAccounts)
    mark = Mark(settings.key_folder, "accounts").of
    passwords = Argon2Passwords(aside=aside)
    stack.callback(passwords.close)
    return Desk(
        database=database,
        sessions=Sessions(begin=begin, read=read, issue=issuing(issuer), mark=mark),
        throttle=Throttle(begin=begin),
        passwords=passwords,
        letters=Letters(SealedEnvelopes(settings.key_folder)),
        mark=mark,
    )


def servicers(desk: Desk, *, factors: Sequence[Factor] = (), introducers: Sequence[Introducer] = ()) -> dict[str, object]:
    """Return the servicers by the names of their services."""
    begin, read = desk.database.begins(PostgresAccounts), desk.database.reads(PostgresAccounts)
    passwords, letters = desk.passwords, desk.letters
    completion = Completion(sessions=desk.sessions, passwords=passwords, letters=letters, mark=desk.mark)
    signing_in = SigningIn(
        begin=begin,
        read=read,
        completion=completion,
        throttle=desk.throttle,
        passwords=passwords,
        letters=letters,
        mark=desk.mark,
        factors=factors,
        introducers=introducers,
    )
    accounts = Accounts(
        begin=begin,
        read=read,
        signing_in=signing_in,
        completion=completion,
        throttle=desk.throttle,
        passwords=passwords,
        letters=letters,
    )
    return {
        "AccountsService": AccountsServicer(accounts, signing_in),
        "OwnAccountService": OwnAccountServicer(accounts),
        "SessionService": SessionServicer(desk.sessions),
        "ProfilesService": _profiles(desk),
        **teams.servicers(desk.database),
    }


def _profiles(desk: Desk) -> ProfilesServicer:
    begin, read = desk.database.begins(PostgresProfiles), desk.database.reads(PostgresProfiles)
    pins = Pins(desk.passwords, desk.throttle)
    return ProfilesServicer(Profiles(begin=begin, read=read, pins=pins), TitleRequests(begin=begin, read=read, pins=pins))


def issuing(issuer: TokenIssuer) -> Callable[..., tuple[str, datetime]]:
    """Return what issues the access tokens of sessions."""

    def issue(account: Account, session: Session, limits: Limits, *, at: datetime) -> tuple[str, datetime]:
        expires = min(at + ACCESS_LIFETIME, session.expire_time, *filter(None, [limits.until]))
        # A television or a guest is let in without a proof of who sits before it, and for long.
        is_user = limits.is_limited or session.kind is not SessionKind.USER
        role = min(account.role, Role.USER) if is_user else account.role
        claims: dict[str, Any] = {"sid": session.session_id, "profile": session.profile_id, "maturity": limits.maturity}
        if limits.grants:
            claims["granted"] = limits.grants
        if limits.is_limited:
            claims["limited"] = True
        if limits.asleep:
            claims["asleep"] = True
        if session.kind is SessionKind.GUEST_PASS:
            claims["guest"] = True
        return issuer.issue(account.account_id, role, at=at, lifetime=expires - at, **claims), expires

    return issue


def revocations(database: Database) -> Callable[[datetime], Awaitable[Iterable[Revocation]]]:
    """Return what loads the revocations since a time."""
    read = database.reads(bare)

    async def load(since: datetime) -> list[Revocation]:
        async with read() as connection:
            return await revocations_since(connection, since)

    return load
