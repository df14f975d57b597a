"""Signing in on devices without a keyboard: RFC 8628, with a number to be read off the device besides."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol

from domain.accounts import typed_codes
from domain.accounts.decisions import Decisions
from domain.accounts.letters import Letters
from domain.accounts.model import Account, AccountNotFound, Device, SessionKind, Tokens
from domain.accounts.owners import OwnerStore, caller_of
from domain.accounts.profiles import PinNeeded, ProfileNotFound
from domain.accounts.sessions import Sessions, SessionStore, was_thrown_out
from domain.accounts.steps import Handle, SignInOver
from domain.accounts.throttle import Throttle
from domain.kernel import Begin, Exhausted, FailedPrecondition, NotFound, PermissionDenied, Viewer

LIFETIME = timedelta(minutes=10)
INTERVAL = 5
LONGEST_INTERVAL = 60
# What calls may come too early by, for the way they take.
SLACK = timedelta(seconds=1)
HEARTBEAT_SECONDS = 15.0
CODE_LENGTH = 8
NUMBERS = 100
MOST_WRONG_NUMBERS = 3


class DeviceLoginState(IntEnum):
    """Where a device's wish to be let in stands."""

    PENDING = 1
    APPROVED = 2
    DENIED = 3
    REDEEMED = 4


class AuthorizationPending(FailedPrecondition):
    """Raised when nobody has decided yet whether a device is let in: it asks again after its interval."""

    text = "Nobody has let this device in yet."


class SlowDown(Exhausted):
    """Raised when a device asks again too early: its interval is five seconds longer from now on."""

    text = "This device asks too often: leave {interval} seconds between two calls."


class AccessDenied(PermissionDenied):
    """Raised when a device was sent away."""

    text = "This device was not let in."


class ExpiredToken(FailedPrecondition):
    """Raised when a device code has expired, was used, or was never given out."""

    text = "The device code is not good any more: begin again."


class DeviceLoginNotFound(NotFound):
    """Raised when no device waits with a code: it is unknown, expired, used, or others have decided on it."""

    text = "No device waits with this code."


class DeviceLoginMismatch(NotFound):
    """Raised when a device is to be let in with a code and a number that no device shows together."""

    text = "No device shows this code and this number."


class ProfileNotOnes(PermissionDenied):
    """Raised when a limited profile is to let a device in as anybody else."""

    text = "A limited profile lets devices in as itself alone."


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLogin:
    """A device that waits to be let in."""

    device_login_id: str
    secret_hash: bytes
    user_code_mark: bytes
    number: int
    wrong_numbers: int = 0
    state: DeviceLoginState = DeviceLoginState.PENDING
    # Who decided, and by which session.
    account_id: str | None = None
    session_id: str | None = None
    profile_id: str = ""
    device: Device
    interval_seconds: int = INTERVAL
    poll_time: datetime | None = None
    create_time: datetime
    decide_time: datetime | None = None
    expire_time: datetime

    def polled(self, *, at: datetime) -> tuple[DeviceLogin, bool]:
        """Return it after a poll, and whether that came too early."""
        early = self.poll_time is not None and self.poll_time + timedelta(seconds=self.interval_seconds) - SLACK > at
        interval = min(self.interval_seconds + INTERVAL * early, LONGEST_INTERVAL)
        return replace(self, poll_time=at, interval_seconds=interval), early

    def decided(self, state: DeviceLoginState, by: Viewer, profile_id: str = "", *, at: datetime) -> DeviceLogin:
        account_id, session_id = by.account_id or None, by.session_id or None
        return replace(self, state=state, account_id=account_id, session_id=session_id, profile_id=profile_id, decide_time=at)

    def guessed(self, *, at: datetime) -> DeviceLogin:
        """Return it after a wrong number; the last that is one too many sends the device away."""
        counted = replace(self, wrong_numbers=self.wrong_numbers + 1)
        return counted.decided(DeviceLoginState.DENIED, Viewer(), at=at) if counted.wrong_numbers >= MOST_WRONG_NUMBERS else counted

    def concerns(self, account_id: str, *, at: datetime) -> bool:
        """Tell whether an account may know of it: while nobody has decided whoever has its code, then whoever did."""
        if self.expire_time <= at or self.state is DeviceLoginState.REDEEMED:
            return False
        return self.state is DeviceLoginState.PENDING or self.account_id == account_id


@dataclass(frozen=True, slots=True)
class Shown:
    """What a device is given to wait with, and to show."""

    device_code: str
    user_code: str
    number: str
    verification_uri: str

    @property
    def verification_uri_complete(self) -> str:
        # What stands behind # reaches no server, and so no log.
        return f"{self.verification_uri}#code={self.user_code}"


class DeviceLoginStore(SessionStore, OwnerStore, Protocol):
    """Devices that wait, within one unit of work."""

    async def account(self, account_id: str) -> Account | None: ...

    async def account_to_change(self, account_id: str) -> Account | None: ...

    async def add_device_login(self, login: DeviceLogin) -> bool:
        """Keep a new one; False when its user code is another's."""

    async def device_login(self, device_login_id: str) -> DeviceLogin | None: ...

    async def device_login_to_change(self, device_login_id: str) -> DeviceLogin | None: ...

    async def device_login_by_code(self, mark: bytes) -> DeviceLogin | None: ...

    async def device_login_by_code_to_change(self, mark: bytes) -> DeviceLogin | None: ...

    async def save_device_login(self, login: DeviceLogin) -> None: ...

    async def tell_of_decision(self) -> None:
        """Wake whoever waits for a decision, once the unit of work is kept."""


class DeviceLogins:
    """Devices that wait to be let in, one method for each RPC."""

    def __init__(
        self,
        *,
        begin: Begin[DeviceLoginStore],
        read: Begin[DeviceLoginStore],
        sessions: Sessions,
        throttle: Throttle,
        letters: Letters,
        decisions: Decisions,
        mark: Callable[[bytes], bytes],
        site: str,
    ) -> None:
        self._begin = begin
        self._read = read
        self._sessions = sessions
        self._throttle = throttle
        self._letters = letters
        self._decisions = decisions
        self._mark = mark
        self._site = site

    async def start(self, device: Device, *, at: datetime) -> Shown:
        while True:
            handle, code, number = Handle.fresh(at=at), typed_codes.fresh(CODE_LENGTH), secrets.randbelow(NUMBERS)
            login = DeviceLogin(
                device_login_id=handle.sign_in_id,
                secret_hash=handle.hash,
                user_code_mark=self._marked(code),
                number=number,
                device=device,
                create_time=at,
                expire_time=at + LIFETIME,
            )
            async with self._begin() as store:
                if await store.add_device_login(login):
                    return Shown(handle.text(), typed_codes.shown(code), f"{number:02}", f"{self._site}/device")

    async def poll(self, device_code: str, *, at: datetime) -> Tokens:
        """Raises AuthorizationPending, SlowDown, AccessDenied, ExpiredToken, AccountBanned."""
        handle = _handle(device_code)
        async with self._begin() as store:
            login = _alive(await store.device_login_to_change(handle.sign_in_id), handle, at=at)
            if login.state is DeviceLoginState.APPROVED:
                return await self._redeem(store, login, at=at)
            polled, early = login.polled(at=at)
            await store.save_device_login(polled)
        # Once it is kept that the device asked.
        if early:
            raise SlowDown(retry_after=polled.interval_seconds, interval=polled.interval_seconds)
        raise AuthorizationPending

    async def watch(self, device_code: str, *, clock: Callable[[], datetime]) -> AsyncGenerator[Tokens | None, None]:
        """Yield the tokens once the device is let in, and None until then, now and then.

        Raises AccessDenied, ExpiredToken, AccountBanned.
        """
        handle = _handle(device_code)
        with self._decisions.awaited(handle.sign_in_id) as decision:
            login = await self._look(handle, at=clock())
            while login.state is DeviceLoginState.PENDING:
                yield None
                left = (login.expire_time - clock()).total_seconds()
                if await decision.wait(seconds=min(HEARTBEAT_SECONDS, left)) or left <= HEARTBEAT_SECONDS:
                    login = await self._look(handle, at=clock())
        async with self._begin() as store:
            login = _alive(await store.device_login_to_change(handle.sign_in_id), handle, at=clock())
            tokens = await self._redeem(store, login, at=clock())
        yield tokens

    async def _look(self, handle: Handle, *, at: datetime) -> DeviceLogin:
        async with self._read() as store:
            return _alive(await store.device_login(handle.sign_in_id), handle, at=at)

    async def _redeem(self, store: DeviceLoginStore, login: DeviceLogin, *, at: datetime) -> Tokens:
        # Held, so that whoever is thrown out meanwhile is out before anybody is let in on their word.
        account = await store.account_to_change(login.account_id) if login.account_id else None
        if account is None or (login.profile_id and await store.profile(account.account_id, login.profile_id) is None):
            raise ExpiredToken
        account.demand_unbanned(at=at)
        if await was_thrown_out(store, login.session_id):
            raise AccessDenied
        device = login.device
        tokens = await self._sessions.open(
            store, account, kind=SessionKind.DEVICE, device=device, profile_id=login.profile_id, at=at
        )
        await store.save_device_login(replace(login, state=DeviceLoginState.REDEEMED))
        facts = {"device": device.device_name or device.client or "?", "country": device.country or "?", "time": at.isoformat()}
        await self._letters.write(store, account, "new_sign_in", facts, at=at)
        return tokens

    async def get(self, user_code: str, *, viewer: Viewer, place: str, at: datetime) -> DeviceLogin:
        """Raises DeviceLoginNotFound and TooManyTries."""
        keys = await self._count(viewer, place, at=at)
        async with self._read() as store:
            login = await store.device_login_by_code(self._read_code(user_code))
        if login is None or not login.concerns(viewer.account_id, at=at):
            raise DeviceLoginNotFound
        await self._throttle.take_back(keys)
        return login

    async def approve(self, user_code: str, number: str, *, profile_id: str = "", viewer: Viewer, place: str, at: datetime) -> None:
        """Raises DeviceLoginMismatch, ProfileNotFound, ProfileNotOnes, PinNeeded and TooManyTries."""
        # Before anything is counted: who chooses a profile that cannot be given has guessed nothing.
        async with self._read() as store:
            profile_id = await _chosen(store, profile_id, viewer, at=at)
        keys = await self._count(viewer, place, at=at)
        async with self._begin() as store:
            login = await store.device_login_by_code_to_change(self._read_code(user_code))
            if login is None or not login.concerns(viewer.account_id, at=at) or login.state is DeviceLoginState.DENIED:
                raise DeviceLoginMismatch
            right = login.number == int(number)
            if not right:
                login = login.guessed(at=at)
            elif login.state is DeviceLoginState.PENDING:
                login = login.decided(DeviceLoginState.APPROVED, viewer, profile_id, at=at)
            await self._keep(store, login)
        # Once the wrong one is counted.
        if not right:
            raise DeviceLoginMismatch
        await self._throttle.take_back(keys)

    async def deny(self, user_code: str, *, viewer: Viewer, place: str, at: datetime) -> None:
        """Send a device away, also after it was let in, while it has no tokens. Raises DeviceLoginNotFound and TooManyTries."""
        keys = await self._count(viewer, place, at=at)
        async with self._begin() as store:
            login = await store.device_login_by_code_to_change(self._read_code(user_code))
            if login is None or not login.concerns(viewer.account_id, at=at):
                raise DeviceLoginNotFound
            await self._keep(store, login.decided(DeviceLoginState.DENIED, viewer, at=at))
        await self._throttle.take_back(keys)

    async def _keep(self, store: DeviceLoginStore, login: DeviceLogin) -> None:
        """Raises AccountNotFound: a token for local use may be of no account, and such a one decides on nothing."""
        if login.account_id is not None and await store.account(login.account_id) is None:
            raise AccountNotFound
        await store.save_device_login(login)
        if login.state is not DeviceLoginState.PENDING:
            await store.tell_of_decision()

    async def _count(self, viewer: Viewer, place: str, *, at: datetime) -> list[str]:
        """Count a guess against the account and the place. Codes of one's own devices are no licence to guess others'."""
        keys = [f"device_login:{viewer.account_id}", f"address:{place}"]
        await self._throttle.begin(keys, at=at)
        return keys

    def _read_code(self, text: str) -> bytes:
        return self._marked(typed_codes.read(text, length=CODE_LENGTH) or "")

    def _marked(self, code: str) -> bytes:
        return self._mark(b"user code " + code.encode())


def _handle(device_code: str) -> Handle:
    try:
        return Handle.parse(device_code)
    except SignInOver:
        raise ExpiredToken from None


def _alive(login: DeviceLogin | None, handle: Handle, *, at: datetime) -> DeviceLogin:
    """Raises ExpiredToken and AccessDenied."""
    if login is None or not secrets.compare_digest(login.secret_hash, handle.hash):
        raise ExpiredToken
    if login.expire_time <= at or login.state is DeviceLoginState.REDEEMED:
        raise ExpiredToken
    if login.state is DeviceLoginState.DENIED:
        raise AccessDenied
    return login


async def _chosen(store: DeviceLoginStore, profile_id: str, viewer: Viewer, *, at: datetime) -> str:
    """Return the profile that a device begins with: nothing that its owner could not be on themselves without a PIN."""
    caller = await caller_of(store, viewer, at=at)
    if caller.is_limited:
        if profile_id not in {"", caller.profile_id}:
            raise ProfileNotOnes
        return caller.profile_id
    if not profile_id:
        return ""
    target = await store.profile(viewer.account_id, profile_id)
    if target is None:
        raise ProfileNotFound(profile=profile_id)
    if target.pin_hash is not None and profile_id != viewer.profile_id:
        raise PinNeeded
    return profile_id
