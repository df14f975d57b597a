"""Second factors: an authenticator's one-time codes, and recovery codes for when it is lost."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from domain.accounts.letters import Letters
from domain.accounts.model import Account, AccountNotFound, Session
from domain.accounts.sessions import demand_fresh_proof, was_thrown_out
from domain.accounts.setups import Sealing, SetupOver, Setups
from domain.audit import note
from domain.kernel import Begin, Event, FailedPrecondition, InvalidArgument, Viewer

STEP_SECONDS = 30
DIGITS = 6
# Clocks differ, and people take a moment to type.
STEPS_AROUND = (0, -1, 1)
RECOVERY_CODES = 10
# 80 bits: none is found by trying, whatever is known of the rest.
RECOVERY_LENGTH = 16
# Without letters that are taken for others.
RECOVERY_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TAKEN_FOR = str.maketrans("ILO", "110")


class TotpCodeWrong(InvalidArgument):
    """Raised when a new authenticator shows other codes than it should: it is not set up, or its clock is wrong."""

    text = "That is not the code that the authenticator should show now."


class NoSecondFactor(FailedPrecondition):
    """Raised when recovery codes are asked for that nothing would ever ask for."""

    text = "Set up an authenticator first, or require a passkey."


@dataclass(frozen=True, slots=True, kw_only=True)
class Totp:
    """An authenticator. Of its codes, none up to the last step is good any more."""

    sealed_seed: str
    last_step: int
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """The public half of a key pair on somebody's device."""

    passkey_id: str
    account_id: str
    credential_id: bytes
    public_key: bytes
    sign_count: int
    name: str
    # Whether signing in otherwise asks for a second proof.
    required: bool = False
    transports: tuple[str, ...] = ()
    model: str = ""
    synced: bool = False
    create_time: datetime
    use_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactors:
    """What an account has set up."""

    totp: Totp | None = None
    codes_left: int = 0
    codes_time: datetime | None = None
    passkeys: tuple[Passkey, ...] = ()

    @property
    def required(self) -> bool:
        """Whether a first proof needs a second one."""
        return self.totp is not None or any(passkey.required for passkey in self.passkeys)


class OneTimeCodes(Protocol):
    """Codes that follow from a seed and the time."""

    def fresh_seed(self) -> str: ...

    def code(self, seed: str, step: int) -> str: ...

    def uri(self, seed: str, *, holder: str) -> str:
        """Return what an authenticator reads from a QR code."""


class OwnerStore(Protocol):
    """Accounts within one unit of work, as far as their owners change what they prove themselves with."""

    async def account_to_change(self, account_id: str) -> Account | None:
        """Return it, and let nobody else change it until the unit of work ends."""

    async def session(self, session_id: str) -> tuple[Session, Account] | None: ...

    async def record(self, event: Event) -> None: ...


class SecondFactorStore(OwnerStore, Protocol):
    """Second factors within one unit of work."""

    async def second_factors(self, account_id: str) -> SecondFactors: ...

    async def save_totp(self, account_id: str, totp: Totp) -> None: ...

    async def take_step(self, account_id: str, step: int) -> bool:
        """Let no code up to this step be good any more; False when that was so already."""

    async def delete_totp(self, account_id: str) -> bool: ...

    async def replace_recovery_codes(self, account_id: str, hashes: Sequence[bytes], *, at: datetime) -> None: ...

    async def use_recovery_code(self, account_id: str, hashed: bytes, *, at: datetime) -> bool:
        """Use a code up; False when there is none like it, or no more."""

    async def add_passkey(self, passkey: Passkey) -> bool:
        """Keep a new passkey; False when its credential is known."""

    async def save_passkey(self, passkey: Passkey) -> None:
        """Keep what its owner changed of a passkey."""

    async def delete_passkey(self, account_id: str, passkey_id: str) -> bool: ...

    async def passkey_by_credential(self, credential_id: bytes) -> Passkey | None: ...

    async def use_passkey(self, passkey: Passkey, sign_count: int, *, at: datetime) -> bool:
        """Note a use; False when one came between that counted further."""


class SettingUp:
    """What is set up, one method for each RPC that is not about passkeys."""

    def __init__(
        self,
        *,
        begin: Begin[SecondFactorStore],
        read: Begin[SecondFactorStore],
        codes: OneTimeCodes,
        seal: Sealing,
        setups: Setups,
        letters: Letters,
        mark: Callable[[bytes], bytes],
    ) -> None:
        self._begin = begin
        self._read = read
        self._codes = codes
        self._seal = seal
        self._setups = setups
        self._letters = letters
        self._mark = mark

    async def get_second_factors(self, *, viewer: Viewer) -> SecondFactors:
        async with self._read() as store:
            return await store.second_factors(viewer.account_id)

    async def begin_totp(self, *, viewer: Viewer, at: datetime) -> tuple[str, str, str]:
        """Return what stands for the setup, the seed, and the seed as an address. Raises ProofTooOld."""
        async with self._begin() as store:
            account = await changed_by_owner(store, viewer, at=at)
        seed = self._codes.fresh_seed()
        setup = self._setups.close("totp", {"seed": seed}, viewer=viewer, at=at)
        return setup, seed, self._codes.uri(seed, holder=account.email)

    async def confirm_totp(self, setup: str, code: str, *, viewer: Viewer, at: datetime) -> list[str]:
        """Set up an authenticator; return recovery codes where there were none. Raises SetupOver and TotpCodeWrong."""
        seed = self._setups.open(setup, "totp", viewer=viewer, at=at)["seed"]
        step = step_of(self._codes, seed, code, at=at)
        if step is None:
            raise TotpCodeWrong(field="code")
        async with self._begin() as store:
            account = await concluded_by_owner(store, viewer)
            before = await store.second_factors(account.account_id)
            owned = f"{account.account_id} {seed}"
            if before.totp is not None and self._seal.open(before.totp.sealed_seed) == owned:
                # Its answer was lost, and the codes with it.
                return await self._replace_codes(store, account, at=at)
            await store.save_totp(account.account_id, Totp(sealed_seed=self._seal.close(owned), last_step=step, create_time=at))
            await tell(self._letters, store, account, "totp_added", at=at)
            return [] if before.codes_left else await self._replace_codes(store, account, at=at)

    async def delete_totp(self, *, viewer: Viewer, at: datetime) -> None:
        """Raises ProofTooOld."""
        async with self._begin() as store:
            account = await changed_by_owner(store, viewer, at=at)
            if await store.delete_totp(account.account_id):
                await forget_useless_codes(store, account.account_id, at=at)
                await tell(self._letters, store, account, "totp_removed", at=at)

    async def create_recovery_codes(self, *, viewer: Viewer, at: datetime) -> list[str]:
        """Raises ProofTooOld and NoSecondFactor."""
        async with self._begin() as store:
            account = await changed_by_owner(store, viewer, at=at)
            if not (await store.second_factors(account.account_id)).required:
                raise NoSecondFactor
            await tell(self._letters, store, account, "recovery_codes_created", at=at)
            return await self._replace_codes(store, account, at=at)

    async def _replace_codes(self, store: SecondFactorStore, account: Account, *, at: datetime) -> list[str]:
        codes = [fresh_recovery_code() for _ in range(RECOVERY_CODES)]
        hashes = [recovery_hash(self._mark, account.account_id, code) for code in codes]
        await store.replace_recovery_codes(account.account_id, hashes, at=at)
        return codes


def step_of(codes: OneTimeCodes, seed: str, code: str, *, at: datetime) -> int | None:
    """Return the step that a code is of, among those around now; None when it is of none."""
    typed = "".join(code.split())
    if len(typed) != DIGITS or not typed.isascii() or not typed.isdigit():
        return None
    now = int(at.timestamp()) // STEP_SECONDS
    found = [now + off for off in STEPS_AROUND if secrets.compare_digest(codes.code(seed, now + off), typed)]
    return found[0] if found else None


def fresh_recovery_code() -> str:
    letters = "".join(secrets.choice(RECOVERY_LETTERS) for _ in range(RECOVERY_LENGTH))
    return "-".join(letters[place : place + 4] for place in range(0, RECOVERY_LENGTH, 4))


def recovery_hash(mark: Callable[[bytes], bytes], account_id: str, code: str) -> bytes:
    """Return what is kept of a code, however its letters were typed: of no use to whoever has the database alone."""
    plain = "".join(letter for letter in code.upper() if letter.isascii() and letter.isalnum()).translate(TAKEN_FOR)
    return mark(f"recovery {account_id} {plain}".encode())


async def locked(store: OwnerStore, account_id: str) -> Account:
    """Return the account, which nobody else changes until the unit of work ends. Raises AccountNotFound."""
    account = await store.account_to_change(account_id)
    if account is None:
        raise AccountNotFound
    return account


async def changed_by_owner(store: OwnerStore, viewer: Viewer, *, at: datetime) -> Account:
    """Return the caller's account to change what it proves itself with. Raises ProofTooOld and AccountNotFound."""
    account = await locked(store, viewer.account_id)
    await demand_fresh_proof(store, viewer, at=at)
    return account


async def concluded_by_owner(store: OwnerStore, viewer: Viewer) -> Account:
    """Return the account for which the caller concludes a setup. Raises SetupOver when they were thrown out since it began."""
    account = await locked(store, viewer.account_id)
    if await was_thrown_out(store, viewer.session_id):
        raise SetupOver
    return account


async def forget_useless_codes(store: SecondFactorStore, account_id: str, *, at: datetime) -> None:
    """Forget recovery codes where nothing asks for them any more."""
    factors = await store.second_factors(account_id)
    if factors.codes_left and not factors.required:
        await store.replace_recovery_codes(account_id, [], at=at)


async def tell(letters: Letters, store: Any, account: Account, what: str, *, at: datetime) -> None:
    """Write to an account's owner that what it proves itself with was changed or used up."""
    await note(store, "SecondFactorChanged", account.account_id, after={"what": what}, at=at)
    await letters.write(store, account, "second_factor_changed", {"what": what}, at=at)
