"""Passkeys: added by their owner, a first proof that is worth two, or a second one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from domain.accounts.letters import Letters
from domain.accounts.model import Account
from domain.accounts.second_factors import (
    Passkey,
    SecondFactorStore,
    changed_by_owner,
    concluded_by_owner,
    forget_useless_codes,
    tell,
)
from domain.accounts.setups import Setups
from domain.kernel import AlreadyExists, Begin, FailedPrecondition, InvalidArgument, NotFound, Viewer, new_id

MOST_PASSKEYS = 20
WRITABLE = frozenset({"name", "required"})


class CredentialWrong(InvalidArgument):
    """Raised when what came back was not made from the options that were given out, or cannot be read."""

    text = "The credential was not made from these options."


class CredentialTaken(AlreadyExists):
    """Raised when another account has the passkey."""

    text = "This passkey belongs to another account."


class PasskeyNotFound(NotFound):
    """Raised when the caller has no such passkey."""

    text = "There is no passkey {passkey}."


class PasskeysTooMany(FailedPrecondition):
    """Raised when an account has as many passkeys as it may."""

    text = "An account has at most {most} passkeys."


class PasskeyNameMissing(InvalidArgument):
    """Raised when a passkey is to be called nothing."""

    text = "A passkey has a name."


class PasskeyFieldNotWritable(InvalidArgument):
    """Raised when an update mask names what cannot be changed."""

    text = "The field {path} of a passkey cannot be changed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What a credential that was just made says of itself."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...] = ()
    model: str = ""
    synced: bool = False


class Ceremonies(Protocol):
    """Makes what devices answer, and checks their answers, as the Web Authentication standard says."""

    def begin_registration(self, account: Account, known: Sequence[Passkey]) -> tuple[str, bytes]:
        """Return the options as JSON, and the challenge that is in them."""

    def registered(self, credential: str, challenge: bytes) -> Registered | None:
        """Return what was made, or None when it does not fit."""

    def begin_assertion(self, known: Sequence[Passkey], *, verified: bool) -> tuple[str, bytes]:
        """Return the options as JSON, and the challenge; without known passkeys, whichever the device has may answer."""

    def credential_id(self, credential: str) -> bytes:
        """Return which credential answers; empty for what cannot be read."""

    def asserted(self, credential: str, challenge: bytes, passkey: Passkey, *, verified: bool) -> int | None:
        """Return how often the passkey was used by its own count, or None when the answer is not right.

        `verified` asks for a passkey that its holder unlocked, and that says itself whose it is.
        """


class Passkeys:
    """Adding and keeping passkeys, one method for each RPC."""

    def __init__(self, *, begin: Begin[SecondFactorStore], ceremonies: Ceremonies, setups: Setups, letters: Letters) -> None:
        self._begin = begin
        self._ceremonies = ceremonies
        self._setups = setups
        self._letters = letters

    async def begin_passkey(self, *, viewer: Viewer, at: datetime) -> tuple[str, str]:
        """Return what stands for the setup, and the options. Raises ProofTooOld and PasskeysTooMany."""
        async with self._begin() as store:
            account = await changed_by_owner(store, viewer, at=at)
            known = (await store.second_factors(account.account_id)).passkeys
        if len(known) >= MOST_PASSKEYS:
            raise PasskeysTooMany(most=MOST_PASSKEYS)
        options, challenge = self._ceremonies.begin_registration(account, known)
        return self._setups.close("passkey", {"challenge": encoded(challenge)}, viewer=viewer, at=at), options

    async def create_passkey(
        self, setup: str, credential: str, *, name: str, required: bool, viewer: Viewer, at: datetime
    ) -> Passkey:
        """Raises SetupOver, CredentialWrong, CredentialTaken and PasskeysTooMany."""
        challenge = decoded(self._setups.open(setup, "passkey", viewer=viewer, at=at)["challenge"])
        made = self._ceremonies.registered(credential, challenge)
        if made is None:
            raise CredentialWrong(field="credential")
        async with self._begin() as store:
            account = await concluded_by_owner(store, viewer)
            known = (await store.second_factors(account.account_id)).passkeys
            for passkey in known:
                if passkey.credential_id == made.credential_id:
                    return passkey
            if len(known) >= MOST_PASSKEYS:
                raise PasskeysTooMany(most=MOST_PASSKEYS)
            passkey = Passkey(
                passkey_id=new_id(at=at),
                account_id=account.account_id,
                credential_id=made.credential_id,
                public_key=made.public_key,
                sign_count=made.sign_count,
                name=name,
                required=required,
                transports=made.transports,
                model=made.model,
                synced=made.synced,
                create_time=at,
            )
            if not await store.add_passkey(passkey):
                raise CredentialTaken
            await tell(self._letters, store, account, "passkey_added", at=at)
        return passkey

    async def update_passkey(self, passkey_id: str, changes: dict[str, Any], *, viewer: Viewer, at: datetime) -> Passkey:
        """Change some of WRITABLE. Raises ProofTooOld, PasskeyNotFound and PasskeyNameMissing."""
        if not changes.get("name", "-"):
            raise PasskeyNameMissing(field="passkey.name")
        async with self._begin() as store:
            account = await changed_by_owner(store, viewer, at=at)
            known = (await store.second_factors(account.account_id)).passkeys
            before = next((passkey for passkey in known if passkey.passkey_id == passkey_id), None)
            if before is None:
                raise PasskeyNotFound(passkey=passkey_id)
            after = replace(before, **changes)
            await store.save_passkey(after)
            if after.required != before.required:
                await forget_useless_codes(store, account.account_id, at=at)
                await tell(self._letters, store, account, "passkey_required" if after.required else "passkey_optional", at=at)
        return after

    async def delete_passkey(self, passkey_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Raises ProofTooOld and PasskeyNotFound."""
        async with self._begin() as store:
            account = await changed_by_owner(store, viewer, at=at)
            if not await store.delete_passkey(account.account_id, passkey_id):
                raise PasskeyNotFound(passkey=passkey_id)
            await forget_useless_codes(store, account.account_id, at=at)
            await tell(self._letters, store, account, "passkey_removed", at=at)


def encoded(challenge: bytes) -> str:
    return base64.urlsafe_b64encode(challenge).decode()


def decoded(challenge: str) -> bytes:
    """Return a challenge, nothing for what is none."""
    try:
        return base64.b64decode(challenge, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
