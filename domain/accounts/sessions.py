"""Sessions: opened once, kept alive by refresh tokens that are good for one use, ended for everybody at once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from domain.accounts.model import (
    IDLE,
    LONGEST,
    Account,
    Device,
    EndReason,
    Limits,
    Session,
    SessionKind,
    SessionNotFound,
    SessionRevoked,
    Tokens,
    UserLoggedIn,
    UserLoggedOut,
)
from domain.audit import AuditLog, note
from domain.kernel import Begin, Event, FailedPrecondition, Unauthenticated, Viewer, new_id

# A client whose answer was lost asks again with the same token, and gets the same answer.
GRACE = timedelta(seconds=10)
# How old a proof may be for what only an account's owner may do.
FRESH = timedelta(minutes=10)
# Of more tokens than a session ever has, one that is long gone is not told from one that never was.
LONGEST_CHAIN = 100_000
SECRET_BYTES = 32
LAST_GENERATION = 2**31 - 2
TOKEN = struct.Struct(f">16sI{SECRET_BYTES}s")


class RefreshTokenInvalid(Unauthenticated):
    """Raised when a refresh token was not given out here, or is of no use any more."""

    text = "The refresh token is not valid: sign in again."


class RefreshTokenReused(Unauthenticated):
    """Raised when a refresh token is used that was exchanged before: two hold it, so its session has ended."""

    text = "The refresh token had been used before: its session has ended."


class SessionEnded(Unauthenticated):
    """Raised when a session was ended, was not used for too long, or has reached its end."""

    text = "The session has ended: sign in again."


class ProofTooOld(FailedPrecondition):
    """Raised when what is asked needs a proof of who asks that is not older than a few minutes."""

    text = "Prove first that it is you: this needs a proof not older than {minutes} minutes."


class KnownSessions(Protocol):
    """Sessions, as far as they are looked up."""

    async def session(self, session_id: str) -> tuple[Session, Account] | None: ...


class SessionStore(KnownSessions, AuditLog, Protocol):
    """Sessions within one unit of work."""

    async def add_session(self, session: Session) -> None: ...

    async def rotate(self, session: Session, *, presented: tuple[int, bytes], at: datetime) -> tuple[Session, Account] | None:
        """Put the next refresh token in the place of the one presented, if it is the present one of an open session.

        Of the session given, the id, the next generation and hash, and where it is used from count.
        """

    async def knows_device(self, account_id: str, device_id: str) -> bool:
        """Tell whether the account was signed in on a device of this id before."""

    async def sessions(self, account_id: str, *, at: datetime) -> list[Session]:
        """Return the open sessions of an account, the last used first."""

    async def end_sessions(self, account_id: str, session_id: str, *, but: str, reason: EndReason, at: datetime) -> list[str]:
        """End a session of an account, or all where none is named, and make their access tokens void; return which ended."""

    async def end_sign_ins(self, account_id: str, *, at: datetime) -> None:
        """End whatever sign-ins of an account are on their way, whoever began them."""

    async def prove(self, session_id: str, *, at: datetime) -> None:
        """Note that whoever holds a session proved again who they are."""

    async def limits(self, account_id: str, profile_id: str, *, at: datetime) -> Limits:
        """Return what a token is to say of a profile, or of the account where none is named."""

    async def record(self, event: Event) -> None: ...


class Issue(Protocol):
    """Issues access tokens."""

    def __call__(self, account: Account, session: Session, limits: Limits, *, at: datetime) -> tuple[str, datetime]:
        """Return a token, and when it expires."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """What is in a refresh token: its session, which one in turn it is, and its secret."""

    session_id: str
    generation: int
    secret: bytes

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.secret).digest()

    def text(self) -> str:
        raw = TOKEN.pack(bytes.fromhex(self.session_id.replace("-", "")), self.generation, self.secret)
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def parse(token: str) -> Refresh:
    """Raises RefreshTokenInvalid."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        session, generation, secret = TOKEN.unpack(raw)
    except (binascii.Error, struct.error, ValueError) as fault:
        raise RefreshTokenInvalid from fault
    if generation > LAST_GENERATION:
        raise RefreshTokenInvalid
    digits = session.hex()
    return Refresh("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])), generation, secret)


class Sessions:
    """Opens sessions and keeps them, one method for each RPC and more for those who open them.

    Each refresh token is made from the one before by a key that only the platform has. So the next one need not be kept to be
    given out again when an answer was lost, and one that is long gone can be told from one that never was.
    """

    def __init__(
        self, *, begin: Begin[SessionStore], read: Begin[SessionStore], issue: Issue, mark: Callable[[bytes], bytes]
    ) -> None:
        self._begin = begin
        self._read = read
        self._issue = issue
        self._mark = mark

    async def open(
        self,
        store: SessionStore,
        account: Account,
        *,
        kind: SessionKind = SessionKind.USER,
        device: Device,
        profile_id: str = "",
        lifetime: timedelta = LONGEST,
        at: datetime,
    ) -> Tokens:
        """Sign an account in on a device, in the caller's unit of work. Raises AccountBanned."""
        account.demand_unbanned(at=at)
        first = Refresh(new_id(at=at), 0, secrets.token_bytes(SECRET_BYTES))
        session = Session(
            session_id=first.session_id,
            account_id=account.account_id,
            profile_id=profile_id,
            kind=kind,
            device=device,
            create_time=at,
            use_time=at,
            # Whoever is let in by somebody else has proven nothing of themselves.
            proof_time=at if kind is SessionKind.USER else at - 2 * FRESH,
            expire_time=at + lifetime,
            refresh_hash=first.hash,
            rotate_time=at,
        )
        await store.add_session(session)
        await store.record(
            UserLoggedIn(time=at, account_id=account.account_id, session_id=session.session_id, client=device.client)
        )
        limits = await store.limits(account.account_id, profile_id, at=at)
        return self._tokens(account, session, first, limits, at=at)

    async def refresh(self, token: str, *, device: Device, at: datetime) -> Tokens:
        """Exchange a refresh token for the next one and an access token.

        Raises RefreshTokenInvalid, RefreshTokenReused, SessionEnded and AccountBanned.
        """
        presented = parse(token)
        following = self._next(presented)
        next_session = _bare(following, device=device, at=at)
        async with self._read() as store:
            found = await store.rotate(next_session, presented=(presented.generation, presented.hash), at=at)
            if found is not None:
                session, account = found
                limits = await store.limits(session.account_id, session.profile_id, at=at)
                return self._tokens(account, session, following, limits, at=at)
        return await self._refuse_or_repeat(presented, following, at=at)

    async def _refuse_or_repeat(self, presented: Refresh, following: Refresh, *, at: datetime) -> Tokens:
        async with self._read() as store:
            found = await store.session(presented.session_id)
            if found is None:
                raise RefreshTokenInvalid
            session, account = found
            if not self._was_given_out(presented, session):
                raise RefreshTokenInvalid
            account.demand_unbanned(at=at)
            if not session.is_open(at=at):
                raise SessionEnded
            repeated = presented.generation + 1 == session.generation and session.rotate_time + GRACE > at
            if repeated:
                limits = await store.limits(session.account_id, session.profile_id, at=at)
                return self._tokens(account, session, following, limits, at=at)
        async with self._begin() as store:
            await self._end(store, session.account_id, session.session_id, reason=EndReason.TOKEN_REUSED, at=at)
            await note(store, "RefreshTokenReused", session.account_id, after={"ended_session": session.session_id}, at=at)
        raise RefreshTokenReused

    def _was_given_out(self, presented: Refresh, session: Session) -> bool:
        """Tell whether a refresh token is an earlier one of a session: then those after it lead to the present one."""
        ahead = session.generation - presented.generation
        if not 0 <= ahead <= LONGEST_CHAIN:
            return False
        reached = presented
        for _ in range(ahead):
            reached = self._next(reached)
        return secrets.compare_digest(reached.hash, session.refresh_hash)

    def _next(self, refresh: Refresh) -> Refresh:
        generation = refresh.generation + 1
        secret = self._mark(TOKEN.pack(bytes.fromhex(refresh.session_id.replace("-", "")), generation, refresh.secret))
        return Refresh(refresh.session_id, generation, secret)

    def _tokens(self, account: Account, session: Session, refresh: Refresh, limits: Limits, *, at: datetime) -> Tokens:
        access, expires = self._issue(account, session, limits, at=at)
        return Tokens(
            access_token=access,
            access_expire_time=expires,
            refresh_token=refresh.text(),
            refresh_expire_time=min(session.expire_time, at + IDLE),
            account_id=account.account_id,
            session_id=session.session_id,
            device_token=self.device_token(account.account_id, session.device.device_id),
        )

    def device_token(self, account_id: str, device_id: str) -> str:
        """Return what shows that a device was signed in before; nothing for one without an id."""
        if not device_id:
            return ""
        mark = self._mark(f"device {account_id} {device_id}".encode())
        return base64.urlsafe_b64encode(mark).rstrip(b"=").decode()

    async def sign_out(self, *, viewer: Viewer, at: datetime) -> None:
        """End the caller's own session; a token without one has nothing to end."""
        if not viewer.session_id:
            return
        async with self._begin() as store:
            if await store.end_sessions(viewer.account_id, viewer.session_id, but="", reason=EndReason.SIGNED_OUT, at=at):
                await store.record(UserLoggedOut(time=at, account_id=viewer.account_id, session_id=viewer.session_id))

    async def list_sessions(self, *, viewer: Viewer, at: datetime) -> list[Session]:
        async with self._read() as store:
            return await store.sessions(viewer.account_id, at=at)

    async def revoke_session(self, session_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Raises SessionNotFound."""
        async with self._begin() as store:
            if not await self._end(store, viewer.account_id, session_id, reason=EndReason.REVOKED, at=at):
                raise SessionNotFound(session=session_id)

    async def revoke_sessions(self, *, keep_this: bool, viewer: Viewer, at: datetime) -> int:
        """End all sessions of the caller, or all others; return how many ended."""
        async with self._begin() as store:
            return await self.end_all(
                store, viewer.account_id, but=viewer.session_id if keep_this else "", reason=EndReason.REVOKED, at=at
            )

    async def end_all(self, store: SessionStore, account_id: str, *, but: str = "", reason: EndReason, at: datetime) -> int:
        """End all sessions of an account but one, in the caller's unit of work; return how many ended.

        So do the sign-ins that are on their way: whoever is to be kept out may be half way in.
        """
        await store.end_sign_ins(account_id, at=at)
        return await self._end(store, account_id, "", but=but, reason=reason, at=at)

    async def _end(
        self, store: SessionStore, account_id: str, session_id: str, *, but: str = "", reason: EndReason, at: datetime
    ) -> int:
        ended = await store.end_sessions(account_id, session_id, but=but, reason=reason, at=at)
        for one in ended:
            await store.record(SessionRevoked(time=at, account_id=account_id, session_id=one, reason=reason.name))
        return len(ended)


async def was_thrown_out(store: KnownSessions, session_id: str | None) -> bool:
    """Tell whether a session was ended from elsewhere: whoever held it lets nobody in after, by what they did before."""
    if not session_id:
        return False
    found = await store.session(session_id)
    return found is None or found[0].end_reason not in {None, EndReason.SIGNED_OUT}


async def demand_fresh_proof(store: KnownSessions, viewer: Viewer, *, at: datetime) -> None:
    """Raises ProofTooOld unless the caller proved a few minutes ago who they are, and was not signed out since."""
    found = await store.session(viewer.session_id) if viewer.session_id else None
    if found is None or found[0].account_id != viewer.account_id or found[0].end_time or found[0].proof_time + FRESH < at:
        raise ProofTooOld(minutes=FRESH // timedelta(minutes=1))


def _bare(refresh: Refresh, *, device: Device, at: datetime) -> Session:
    """Return what of a session a refresh changes, with the rest left blank."""
    blank = Session(
        session_id=refresh.session_id,
        account_id="",
        profile_id="",
        kind=SessionKind.USER,
        device=device,
        create_time=at,
        use_time=at,
        proof_time=at,
        expire_time=at,
        rotate_time=at,
    )
    return replace(blank, generation=refresh.generation, refresh_hash=refresh.hash)
