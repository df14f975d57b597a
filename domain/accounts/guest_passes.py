"""Guest passes: somebody's friend watches for some hours, and nothing is left of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol

from domain.accounts import typed_codes
from domain.accounts.model import (
    Account,
    AccountBanned,
    AccountNotFound,
    Device,
    EndReason,
    SessionKind,
    SessionRevoked,
    Tokens,
)
from domain.accounts.owners import OwnerStore, caller_of
from domain.accounts.profiles import ProfileDeleted
from domain.accounts.sessions import Sessions, SessionStore, was_thrown_out
from domain.accounts.throttle import Throttle
from domain.kernel import Begin, FailedPrecondition, NotFound, PermissionDenied, Viewer, new_id

LIFETIME = timedelta(hours=4)
MOST_PASSES = 3
# Long enough to be guessed by nobody who may try some thirty times before each further try has to wait.
CODE_LENGTH = 12
# By then every server knows that the guest's tokens are void, so that nothing is kept after it was erased.
SETTLED = timedelta(seconds=30)


class GuestPassState(IntEnum):
    """Where a guest pass stands."""

    UNUSED = 1
    IN_USE = 2


class GuestPassNotFound(NotFound):
    """Raised when the account has no such guest pass, or no more."""

    text = "There is no guest pass {guest_pass}."


class GuestPassInvalid(NotFound):
    """Raised when a guest pass is redeemed that is unknown, expired, used or ended."""

    text = "This guest pass is not good, or not any more."


class GuestPassesFull(FailedPrecondition):
    """Raised when an account has as many guest passes as it may."""

    text = "An account has at most {most} guest passes at a time: end one first."


class GuestsNotLet(PermissionDenied):
    """Raised when a limited profile is to let guests in."""

    text = "A limited profile lets no guests in."


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPass:
    """What lets a guest in. Its id is also the guest's profile, under which is kept what a guest keeps."""

    guest_pass_id: str
    account_id: str
    code_mark: bytes
    maturity: int
    # Of whoever made it; that of the guest follows once there is one.
    host_session_id: str | None = None
    device_name: str = ""
    session_id: str | None = None
    create_time: datetime
    redeem_time: datetime | None = None
    expire_time: datetime
    end_time: datetime | None = None

    @property
    def state(self) -> GuestPassState:
        return GuestPassState.UNUSED if self.redeem_time is None else GuestPassState.IN_USE


class GuestPassStore(SessionStore, OwnerStore, Protocol):
    """Guest passes within one unit of work."""

    async def account_to_change(self, account_id: str) -> Account | None: ...

    async def add_guest_pass(self, guest_pass: GuestPass) -> bool:
        """Keep a new one; False when its code is another's."""

    async def guest_passes(self, account_id: str, *, at: datetime) -> list[GuestPass]:
        """Return those of an account that have not ended, the newest first."""

    async def end_guest_pass(self, account_id: str, guest_pass_id: str, *, at: datetime) -> GuestPass | None:
        """End one of an account's that has not ended; None when there is none."""

    async def redeem_guest_pass(self, mark: bytes, *, device_name: str, expire_time: datetime, at: datetime) -> GuestPass | None:
        """Take the one with a code, if it can be redeemed, so that nobody else does."""

    async def sign_guest_in(self, guest_pass_id: str, session_id: str) -> None:
        """Note by which session a guest is signed in."""

    async def end_guest_passes(self, *, at: datetime) -> list[GuestPass]:
        """End those whose time is over, or whose guest was signed out; return them."""

    async def take_ended_guest_passes(self, *, before: datetime) -> list[GuestPass]:
        """Delete those that ended before a time, with their sessions; return them."""


class GuestPasses:
    """Guest passes, one method for each RPC."""

    def __init__(
        self,
        *,
        begin: Begin[GuestPassStore],
        read: Begin[GuestPassStore],
        sessions: Sessions,
        throttle: Throttle,
        mark: Callable[[bytes], bytes],
        site: str,
    ) -> None:
        self._begin = begin
        self._read = read
        self._sessions = sessions
        self._throttle = throttle
        self._mark = mark
        self._site = site

    async def create(self, maturity: int | None, *, viewer: Viewer, at: datetime) -> tuple[GuestPass, str]:
        """Return a new pass and its code as it is shown. Raises AccountNotFound, GuestsNotLet, GuestPassesFull."""
        async with self._begin() as store:
            # Whoever counts an account's passes does it alone.
            if await store.account_to_change(viewer.account_id) is None:
                raise AccountNotFound
            if (await caller_of(store, viewer, at=at)).is_limited:
                raise GuestsNotLet
            if len(await store.guest_passes(viewer.account_id, at=at)) >= MOST_PASSES:
                raise GuestPassesFull(most=MOST_PASSES)
            while True:
                code = typed_codes.fresh(CODE_LENGTH)
                guest_pass = GuestPass(
                    guest_pass_id=new_id(at=at),
                    account_id=viewer.account_id,
                    code_mark=self._marked(code),
                    host_session_id=viewer.session_id or None,
                    maturity=min(viewer.maturity if maturity is None else maturity, viewer.maturity),
                    create_time=at,
                    expire_time=at + LIFETIME,
                )
                if await store.add_guest_pass(guest_pass):
                    return guest_pass, typed_codes.shown(code)

    def link(self, code: str) -> str:
        """Return the address at which a guest finds the way in with a code."""
        # What stands behind # reaches no server, and so no log.
        return f"{self._site}/guest#code={code}"

    async def list_passes(self, *, viewer: Viewer, at: datetime) -> list[GuestPass]:
        async with self._read() as store:
            return await store.guest_passes(viewer.account_id, at=at)

    async def end(self, guest_pass_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Raises GuestPassNotFound."""
        async with self._begin() as store:
            ended = await store.end_guest_pass(viewer.account_id, guest_pass_id, at=at)
            if ended is None:
                raise GuestPassNotFound(guest_pass=guest_pass_id)
            await _sign_out(store, ended, at=at)

    async def redeem(self, code: str, device: Device, *, at: datetime) -> Tokens:
        """Raises GuestPassInvalid and TooManyTries."""
        keys = [f"address:{device.address}"]
        await self._throttle.begin(keys, at=at)
        mark = self._marked(typed_codes.read(code, length=CODE_LENGTH) or "")
        async with self._begin() as store:
            taken = await store.redeem_guest_pass(mark, device_name=device.device_name, expire_time=at + LIFETIME, at=at)
            account = await store.account_to_change(taken.account_id) if taken else None
            if taken is None or account is None or await was_thrown_out(store, taken.host_session_id):
                raise GuestPassInvalid
            # Without its id: a guest's device is none that the host is known by.
            unnamed = replace(device, device_id="")
            try:
                tokens = await self._sessions.open(
                    store,
                    account,
                    kind=SessionKind.GUEST_PASS,
                    device=unnamed,
                    profile_id=taken.guest_pass_id,
                    lifetime=LIFETIME,
                    at=at,
                )
            except AccountBanned:
                # Why the host may not sign in is nothing to a guest.
                raise GuestPassInvalid from None
            await store.sign_guest_in(taken.guest_pass_id, tokens.session_id)
        await self._throttle.take_back(keys)
        return tokens

    def _marked(self, code: str) -> bytes:
        return self._mark(b"guest pass " + code.encode())


class Departures:
    """What is done by the clock about guests who have gone."""

    def __init__(self, *, begin: Begin[GuestPassStore]) -> None:
        self._begin = begin

    async def look_after(self, *, at: datetime) -> Sequence[GuestPass]:
        """End the passes whose time is over, and have everything erased that was kept for those that ended; return the latter."""
        async with self._begin() as store:
            for guest_pass in await store.end_guest_passes(at=at):
                await _sign_out(store, guest_pass, at=at)
            gone = await store.take_ended_guest_passes(before=at - SETTLED)
            for guest_pass in gone:
                # To every context a guest is a profile like any other.
                who = {"account_id": guest_pass.account_id, "profile_id": guest_pass.guest_pass_id}
                await store.record(ProfileDeleted(time=at, **who))
        return gone


async def _sign_out(store: GuestPassStore, guest_pass: GuestPass, *, at: datetime) -> None:
    if guest_pass.session_id is None:
        return
    account_id, reason = guest_pass.account_id, EndReason.REVOKED
    for session_id in await store.end_sessions(account_id, guest_pass.session_id, but="", reason=reason, at=at):
        await store.record(SessionRevoked(time=at, account_id=account_id, session_id=session_id, reason=reason.name))
