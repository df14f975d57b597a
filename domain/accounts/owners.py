"""The owner's proof: what shows that whoever lifts a limit is not the one whom it limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.accounts.model import Account, Session
from domain.accounts.ports import Passwords
from domain.accounts.profiles import PinNeeded, PinWrong, Profile, nobody
from domain.accounts.sessions import demand_fresh_proof
from domain.kernel import Viewer


class OwnerStore(Protocol):
    """Profiles and sessions within one unit of work, as far as a proof needs them."""

    async def profile(self, account_id: str, profile_id: str) -> Profile | None: ...

    async def session(self, session_id: str) -> tuple[Session, Account] | None: ...


class Tries(Protocol):
    """Counts guesses."""

    async def begin(self, keys: Sequence[str], *, at: datetime) -> object:
        """Count a try as if it were wrong. Raises a refusal of kind Exhausted when it is not to be heard yet."""

    async def succeeded(self, keys: Sequence[str]) -> None: ...


class Pins:
    """Compares PINs, outside of any unit of work since that takes its time."""

    def __init__(self, passwords: Passwords, tries: Tries) -> None:
        self._passwords = passwords
        self._tries = tries

    async def hash(self, pin: str) -> str | None:
        """Return what is kept of a PIN, None for none."""
        return await self._passwords.hash(pin) if pin else None

    async def prove(self, profile: Profile | None, pin: str, *, at: datetime) -> str:
        """Return the hash that a PIN proves to know, nothing for a profile without one.

        Raises PinNeeded, PinWrong, TooManyTries.
        """
        if profile is None or profile.pin_hash is None:
            return ""
        if not pin:
            raise PinNeeded
        key = [f"pin:{profile.profile_id}"]
        await self._tries.begin(key, at=at)
        if not (await self._passwords.verify(pin, profile.pin_hash)).right:
            raise PinWrong(field="pin")
        await self._tries.succeeded(key)
        return profile.pin_hash

    async def forget_tries(self, profile_id: str) -> None:
        """Hear the next try at once, since the guesses were held against a PIN that is no more."""
        await self._tries.succeeded([f"pin:{profile_id}"])


async def caller_of(store: OwnerStore, viewer: Viewer, *, at: datetime) -> Profile:
    """Return the profile that the caller is on, or what stands for none."""
    found = await store.profile(viewer.account_id, viewer.profile_id) if viewer.profile_id else None
    return found or nobody(viewer.account_id, viewer.profile_id, at=at)


async def demand_owner(store: OwnerStore, caller: Profile, viewer: Viewer, *, proven: str, at: datetime) -> None:
    """Take the hash of the PIN that was proven, if it is that of the caller's own profile without limits, or else a fresh proof.

    Raises ProofTooOld.
    """
    if caller.is_limited or caller.pin_hash is None or proven != caller.pin_hash:
        await demand_fresh_proof(store, viewer, at=at)
