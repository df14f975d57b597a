"""Signing in: a flow of challenges, each answer of which leads to the next one or to what was wanted.

What is answered tells nobody whether an account exists: for an address that nobody has, all goes on as if somebody had, takes
as long, and no answer is ever right.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from domain.accounts.completion import Completion, CompletionStore
from domain.accounts.factors import Begun, ChallengeKind, Factor, Introduced, Introducer
from domain.accounts.letters import Letters, code_kind
from domain.accounts.model import Account, Device
from domain.accounts.naming import email_key
from domain.accounts.ports import Passwords
from domain.accounts.steps import (
    FIRST,
    LIFETIME,
    MOST_TRIES,
    UNASKED,
    AnswerWrong,
    Challenge,
    ChallengeNotOffered,
    Handle,
    Progress,
    Purpose,
    SignIn,
    SignInOver,
    Step,
    following,
)
from domain.accounts.throttle import FREE, Throttle
from domain.audit import note
from domain.kernel import Begin, Exhausted

CODE_DIGITS = 6
MOST_LETTERS = 5
# Of the wrong tries at an account, the one after which its owner is told.
TOLD_AT = 10


class LettersUsedUp(Exhausted):
    """Raised when a sign-in has had as many letters sent as it may."""

    text = "No more letters are sent for this sign-in: begin again."


class SignInStore(CompletionStore, Protocol):
    """Sign-ins within one unit of work."""

    async def account_by_email(self, key: str) -> Account | None: ...

    async def add_sign_in(self, sign_in: SignIn) -> None: ...

    async def sign_in(self, sign_in_id: str) -> SignIn | None: ...

    async def sign_in_to_change(self, sign_in_id: str) -> SignIn | None:
        """Return it, and let nobody else answer it until the unit of work ends."""

    async def save_sign_in(self, sign_in: SignIn) -> None: ...

    async def try_sign_in(self, sign_in_id: str, *, most: int) -> bool:
        """Count a try, by itself; False when there were as many as there may be."""


class SigningIn:
    """The flow, one method for each RPC."""

    def __init__(
        self,
        *,
        begin: Begin[SignInStore],
        read: Begin[SignInStore],
        completion: Completion,
        throttle: Throttle,
        passwords: Passwords,
        letters: Letters,
        mark: Callable[[bytes], bytes],
        factors: Sequence[Factor] = (),
        introducers: Sequence[Introducer] = (),
    ) -> None:
        self._begin = begin
        self._read = read
        self._completion = completion
        self._throttle = throttle
        self._passwords = passwords
        self._letters = letters
        self._mark = mark
        self._factors = {factor.kind: factor for factor in factors}
        self._introducers = {introducer.kind: introducer for introducer in introducers}

    async def begin_with_email(self, email: str, *, device: Device, device_token: str = "", at: datetime) -> Step:
        return await self._open(Purpose.SIGN_IN, email, Progress(device=device, device_token=device_token), at=at)

    async def begin_password_reset(self, email: str, *, device: Device, at: datetime) -> Step:
        return await self._open(Purpose.PASSWORD_RESET, email, Progress(device=device), at=at)

    async def begin_proof(self, account: Account, session_id: str, *, device: Device, at: datetime) -> Step:
        """Let somebody who is signed in prove it once more."""
        return await self._open(Purpose.PROOF, account.email, Progress(device=device, session_id=session_id), at=at)

    async def begin_email_change(self, account: Account, session_id: str, email: str, *, device: Device, at: datetime) -> Step:
        """Send a code to the address that an account is to have."""
        progress = Progress(device=device, session_id=session_id)
        return await self._open(Purpose.EMAIL_CHANGE, email, progress, account_id=account.account_id, at=at)

    async def begin_registration(self, email: str, progress: Progress, *, at: datetime) -> Step:
        """Send a code to the address of an account that is to be; its holder is told when there is one."""
        return await self._open(Purpose.REGISTRATION, email, progress, at=at)

    async def begin_introduction(self, kind: ChallengeKind, hint: str, *, device: Device, at: datetime) -> Step:
        """Let a passkey, or somebody who is trusted for it, say who it is. Raises ChallengeNotOffered."""
        introducer = self._introducers.get(kind)
        if introducer is None:
            raise ChallengeNotOffered(offered=_names(self._introducers))
        begun = await introducer.begin_introduction(hint, at=at)
        progress = Progress(device=device, offered=(kind,), keep=begun.keep)
        handle, sign_in = _fresh(Purpose.SIGN_IN, "", progress, account_id=None, at=at)
        async with self._begin() as store:
            await store.add_sign_in(sign_in)
        return _step(handle, sign_in, begun)

    async def choose(self, token: str, kind: ChallengeKind, *, at: datetime) -> Step:
        """Put another of the challenges that are offered, or the same one again: its letter may be lost.

        Raises SignInOver, ChallengeNotOffered and LettersUsedUp.
        """
        handle = Handle.parse(token)
        async with self._begin() as store:
            sign_in = _alive(await store.sign_in_to_change(handle.sign_in_id), handle, at=at)
            offered = sign_in.progress.offered
            if kind not in offered or (kind in self._introducers and FIRST.isdisjoint(sign_in.progress.proofs)):
                raise ChallengeNotOffered(offered=_names(offered))
            if sign_in.progress.letters >= MOST_LETTERS:
                raise LettersUsedUp(retry_after=LIFETIME.total_seconds())
            begun = await self._put(store, handle, sign_in, kind, at=at)
            rest = tuple(one for one in offered if one is not kind)
            progress = replace(_posted(sign_in.progress, kind), offered=(kind, *rest), keep=begun.keep)
            sign_in = replace(sign_in, progress=progress)
            await store.save_sign_in(sign_in)
        return _step(handle, sign_in, begun)

    async def answer(self, token: str, kind: ChallengeKind, answer: str, *, at: datetime) -> Step:
        """Answer the challenge, or another one that is offered and needs nothing to be sent first.

        Every try is counted before it is looked at. Raises SignInOver, ChallengeNotOffered, AnswerWrong and TooManyTries.
        """
        handle = Handle.parse(token)
        async with self._read() as store:
            sign_in = _alive(await store.sign_in(handle.sign_in_id), handle, at=at)
        put = sign_in.progress
        if kind is not put.kind and not (kind in UNASKED and kind in put.offered):
            raise ChallengeNotOffered(offered=_names(put.offered))
        keys = self._keys(sign_in)
        if kind is not ChallengeKind.NEW_PASSWORD:
            await self._count(sign_in, keys, at=at)
        found = await self._look_at(sign_in, kind, answer, at=at)
        if kind is ChallengeKind.NEW_PASSWORD:
            self._completion.check_password(answer, email=sign_in.email)
            answer = await self._passwords.hash(answer)
        async with self._begin() as store:
            locked = _alive(await store.sign_in_to_change(handle.sign_in_id), handle, at=at)
            if locked.progress != put:
                # The same answer, sent twice, or another came first: the sign-in goes on with what stands now.
                raise ChallengeNotOffered(offered=_names(locked.progress.offered))
            if (factor := self._second(sign_in, kind)) and sign_in.account_id:
                found = await factor.check(store, sign_in.account_id, answer, put.keep, at=at)
            if not found:
                step = None
            else:
                locked = await self._taken(store, locked, kind, found, at=at)
                step = await self._advance(store, handle, locked, answer, at=at)
        if step is None:
            raise AnswerWrong
        if step.challenge is None:
            await self._throttle.succeeded(keys)
        return step

    async def _open(self, purpose: Purpose, email: str, progress: Progress, *, account_id: str | None = None, at: datetime) -> Step:
        offered = following(purpose, (), strong=False, seconds=())
        async with self._begin() as store:
            if purpose in {Purpose.SIGN_IN, Purpose.PASSWORD_RESET, Purpose.PROOF}:
                holder = await store.account_by_email(email_key(email))
                account_id = holder.account_id if holder else None
            progress = replace(progress, offered=offered)
            handle, sign_in = _fresh(purpose, email, progress, account_id=account_id, at=at)
            begun = await self._put(store, handle, sign_in, offered[0], at=at)
            sign_in = replace(sign_in, progress=replace(_posted(progress, offered[0]), keep=begun.keep))
            await store.add_sign_in(sign_in)
        return _step(handle, sign_in, begun)

    async def _put(self, store: SignInStore, handle: Handle, sign_in: SignIn, kind: ChallengeKind, *, at: datetime) -> Begun:
        """Make a challenge, and send what it needs."""
        if kind is ChallengeKind.EMAIL_CODE:
            code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
            await self._letters.post(store, sign_in, code_kind(sign_in.purpose), {"code": code}, at=at)
            return Begun(show={"hint": _masked(sign_in.email)}, keep={"mark": self._marked(sign_in, code)})
        if kind is ChallengeKind.MAGIC_LINK:
            secret = secrets.token_urlsafe(32)
            facts = {"link_token": f"{handle.text()}.{secret}"}
            await self._letters.post(store, sign_in, "magic_link", facts, at=at)
            return Begun(show={"hint": _masked(sign_in.email)}, keep={"mark": self._marked(sign_in, secret)})
        if (factor := self._second(sign_in, kind)) and sign_in.account_id:
            return await factor.begin(store, sign_in.account_id, at=at)
        return Begun()

    def _second(self, sign_in: SignIn, kind: ChallengeKind) -> Factor | None:
        """Return the factor that stands behind a challenge, once a first proof has been given."""
        return self._factors.get(kind) if FIRST.intersection(sign_in.progress.proofs) else None

    async def _look_at(self, sign_in: SignIn, kind: ChallengeKind, answer: str, *, at: datetime) -> bool | Introduced | None:
        """Check an answer as far as that needs no unit of work, since it may take long."""
        if kind is ChallengeKind.PASSWORD:
            return await self._is_password(sign_in, answer)
        if kind in {ChallengeKind.EMAIL_CODE, ChallengeKind.MAGIC_LINK}:
            right = secrets.compare_digest(self._marked(sign_in, answer.strip()), sign_in.progress.keep.get("mark", ""))
            return right and not self._is_for_nobody(sign_in)
        if kind is ChallengeKind.NEW_PASSWORD:
            return True
        if self._second(sign_in, kind) is None and kind in self._introducers:
            return await self._introducers[kind].introduce(answer, sign_in.progress.keep, at=at)
        return None

    async def _is_password(self, sign_in: SignIn, password: str) -> bool:
        async with self._read() as store:
            account = await store.account(sign_in.account_id) if sign_in.account_id else None
        hashed = account.password_hash if account else None
        verdict = await self._passwords.verify(password, hashed)
        if verdict.right and verdict.outdated and account is not None and hashed is not None:
            stronger = await self._passwords.hash(password)
            async with self._begin() as store:
                await store.replace_password_hash(account.account_id, hashed, stronger)
        return verdict.right

    def _is_for_nobody(self, sign_in: SignIn) -> bool:
        return sign_in.account_id is None and sign_in.progress.registration is None

    async def _count(self, sign_in: SignIn, keys: Sequence[str], *, at: datetime) -> None:
        tries = await self._throttle.begin(keys, at=at)
        async with self._begin() as store:
            if tries.get(keys[0]) == TOLD_AT:
                await self._letters.post(
                    store, sign_in, "account_locked", {"unlock_token": self.unlock_token(keys[0], at=at)}, at=at
                )
            for key, most in ((keys[0], TOLD_AT), (keys[1], FREE["address"])):
                if tries.get(key) == most:
                    failed = {"tries": most, "held_against": key.partition(":")[0]}
                    await note(store, "SignInsFailed", sign_in.account_id or "", after=failed, at=at)
            counted = await store.try_sign_in(sign_in.sign_in_id, most=MOST_TRIES)
        if not counted:
            raise SignInOver

    def _keys(self, sign_in: SignIn) -> list[str]:
        """Return what tries are held against: the account, and the place that they come from.

        A device that was signed in before is held against by itself, so that others' tries do not lock its owner out.
        """
        progress = sign_in.progress
        word = "register" if sign_in.purpose is Purpose.REGISTRATION else "account"
        held = f"{word}:{email_key(sign_in.email) if sign_in.email else sign_in.sign_in_id}"
        shown, device_id = progress.device_token, progress.device.device_id
        if shown and sign_in.account_id and self._completion.knows(shown, sign_in.account_id, device_id):
            held = f"{held}:{device_id}"
        return [held, f"address:{progress.device.address}"]

    async def _advance(self, store: SignInStore, handle: Handle, sign_in: SignIn, answer: str, *, at: datetime) -> Step:
        """Go on after a right answer: with the next challenge, or to the end."""
        progress = sign_in.progress
        seconds = await self._offered(store, sign_in.account_id)
        offered = following(sign_in.purpose, progress.proofs, strong=progress.strong, seconds=seconds)
        if offered:
            sign_in = replace(sign_in, tries=0, progress=replace(progress, offered=offered, keep={}))
            begun = await self._put(store, handle, sign_in, offered[0], at=at)
            sign_in = replace(sign_in, progress=replace(sign_in.progress, keep=begun.keep))
            await store.save_sign_in(sign_in)
            return _step(handle, sign_in, begun)
        await store.save_sign_in(replace(sign_in, end_time=at))
        return Step(tokens=await self._completion.complete(store, sign_in, answer, at=at))

    async def _taken(
        self, store: SignInStore, sign_in: SignIn, kind: ChallengeKind, found: bool | Introduced, *, at: datetime
    ) -> SignIn:
        """Return a sign-in with one more proof, and with the account that a proof said it is for."""
        progress = replace(sign_in.progress, proofs=(*sign_in.progress.proofs, kind))
        if not isinstance(found, Introduced):
            return replace(sign_in, progress=progress)
        progress = replace(progress, strong=found.strong)
        account_id = found.account_id
        if not account_id:
            account_id = await self._completion.introduce(store, self._introducers[kind], found, at=at)
        return replace(sign_in, account_id=account_id, progress=progress)

    async def _offered(self, store: SignInStore, account_id: str | None) -> Collection[ChallengeKind]:
        if account_id is None:
            return ()
        return [kind for kind, factor in self._factors.items() if await factor.offered(store, account_id)]

    def _marked(self, sign_in: SignIn, secret: str) -> str:
        """Return what is kept of a code: of no use to whoever has the database alone, nor in another sign-in."""
        return self._mark(f"code {sign_in.sign_in_id} {secret}".encode()).hex()

    def unlock_token(self, key: str, *, at: datetime) -> str:
        """Return what its owner may unlock an account with, for an hour."""
        return self._completion.unlock_token(key, at=at + timedelta(hours=1))


def _fresh(purpose: Purpose, email: str, progress: Progress, *, account_id: str | None, at: datetime) -> tuple[Handle, SignIn]:
    handle = Handle.fresh(at=at)
    return handle, SignIn(
        sign_in_id=handle.sign_in_id,
        secret_hash=handle.hash,
        purpose=purpose,
        account_id=account_id,
        email=email,
        address=progress.device.address,
        create_time=at,
        expire_time=at + LIFETIME,
        progress=progress,
    )


def _alive(sign_in: SignIn | None, handle: Handle, *, at: datetime) -> SignIn:
    """Raises SignInOver."""
    if sign_in is None or not secrets.compare_digest(sign_in.secret_hash, handle.hash):
        raise SignInOver
    if sign_in.end_time is not None or sign_in.expire_time <= at:
        raise SignInOver
    return sign_in


def _posted(progress: Progress, kind: ChallengeKind) -> Progress:
    sends = kind in {ChallengeKind.EMAIL_CODE, ChallengeKind.MAGIC_LINK}
    return replace(progress, letters=progress.letters + sends)


def _step(handle: Handle, sign_in: SignIn, begun: Begun) -> Step:
    kind, *rest = sign_in.progress.offered
    challenge = Challenge(kind=kind, alternatives=tuple(rest), show=begun.show, expire_time=sign_in.expire_time)
    return Step(token=handle.text(), challenge=challenge)


def _names(kinds: Collection[ChallengeKind] | Mapping[ChallengeKind, Any]) -> str:
    return ", ".join(kind.name for kind in kinds)


def _masked(email: str) -> str:
    """Show enough of an address to be told from one's others."""
    name, _, host = email.partition("@")
    return f"{name[:1]}•••@{host}"
