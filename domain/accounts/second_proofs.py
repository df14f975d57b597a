"""What a sign-in is proven with besides passwords and letters: codes, passkeys, and the word of issuers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from domain.accounts.factors import Begun, ChallengeKind, Introduced
from domain.accounts.issuers import IssuerAccountTaken, IssuerLink, Issuers, IssuerStore, Person, came_back
from domain.accounts.letters import Letters
from domain.accounts.naming import check_email
from domain.accounts.passkeys import Ceremonies, decoded, encoded
from domain.accounts.second_factors import OneTimeCodes, SecondFactorStore, recovery_hash, step_of, tell
from domain.accounts.setups import Sealing
from domain.kernel import Begin, InvalidArgument

LONGEST_EMAIL = 254
# Makes a store of the connection that somebody's unit of work is on.
Kept = Callable[[Any], SecondFactorStore]


class TotpFactor:
    """The code that an authenticator shows, each good once."""

    kind = ChallengeKind.TOTP

    def __init__(self, kept: Kept, *, codes: OneTimeCodes, seal: Sealing) -> None:
        self._kept = kept
        self._codes = codes
        self._seal = seal

    async def offered(self, store: Any, account_id: str) -> bool:
        return (await self._kept(store.connection).second_factors(account_id)).totp is not None

    async def begin(self, store: Any, account_id: str, *, at: datetime) -> Begun:
        return Begun()

    async def check(self, store: Any, account_id: str, answer: str, keep: dict[str, str], *, at: datetime) -> bool:
        own = self._kept(store.connection)
        # In the order in which whoever changes second factors locks them.
        await own.account_to_change(account_id)
        totp = (await own.second_factors(account_id)).totp
        if totp is None:
            return False
        holder, _, seed = self._seal.open(totp.sealed_seed).partition(" ")
        step = step_of(self._codes, seed, answer, at=at) if holder == account_id else None
        return step is not None and await own.take_step(account_id, step)


class RecoveryFactor:
    """One of the codes that were kept for when everything else is lost. Its use is told to the owner."""

    kind = ChallengeKind.RECOVERY_CODE

    def __init__(self, kept: Kept, *, letters: Letters, mark: Callable[[bytes], bytes]) -> None:
        self._kept = kept
        self._letters = letters
        self._mark = mark

    async def offered(self, store: Any, account_id: str) -> bool:
        factors = await self._kept(store.connection).second_factors(account_id)
        return factors.required and factors.codes_left > 0

    async def begin(self, store: Any, account_id: str, *, at: datetime) -> Begun:
        return Begun()

    async def check(self, store: Any, account_id: str, answer: str, keep: dict[str, str], *, at: datetime) -> bool:
        own = self._kept(store.connection)
        account = await own.account_to_change(account_id)
        if account is None or not await own.use_recovery_code(account_id, recovery_hash(self._mark, account_id, answer), at=at):
            return False
        await tell(self._letters, own, account, "recovery_code_used", at=at)
        return True


class PasskeyFactor:
    """A passkey, which says by itself whose it is, or stands as the second proof."""

    kind = ChallengeKind.PASSKEY

    def __init__(self, kept: Kept, *, begin: Begin[SecondFactorStore], ceremonies: Ceremonies) -> None:
        self._kept = kept
        self._begin = begin
        self._ceremonies = ceremonies

    async def offered(self, store: Any, account_id: str) -> bool:
        factors = await self._kept(store.connection).second_factors(account_id)
        return factors.required and bool(factors.passkeys)

    async def begin(self, store: Any, account_id: str, *, at: datetime) -> Begun:
        known = (await self._kept(store.connection).second_factors(account_id)).passkeys
        return _begun(*self._ceremonies.begin_assertion(known, verified=False))

    async def check(self, store: Any, account_id: str, answer: str, keep: dict[str, str], *, at: datetime) -> bool:
        own = self._kept(store.connection)
        # In the order in which whoever changes second factors locks them.
        await own.account_to_change(account_id)
        passkey = await own.passkey_by_credential(self._ceremonies.credential_id(answer))
        if passkey is None or passkey.account_id != account_id:
            return False
        count = self._ceremonies.asserted(answer, decoded(keep.get("challenge", "")), passkey, verified=False)
        return count is not None and await own.use_passkey(passkey, count, at=at)

    async def begin_introduction(self, hint: str, *, at: datetime) -> Begun:
        return _begun(*self._ceremonies.begin_assertion((), verified=True))

    async def introduce(self, answer: str, keep: dict[str, str], *, at: datetime) -> Introduced | None:
        async with self._begin() as store:
            passkey = await store.passkey_by_credential(self._ceremonies.credential_id(answer))
            if passkey is None:
                return None
            count = self._ceremonies.asserted(answer, decoded(keep.get("challenge", "")), passkey, verified=True)
            if count is None or not await store.use_passkey(passkey, count, at=at):
                return None
        return Introduced(account_id=passkey.account_id, strong=True)

    async def link(self, store: Any, account_id: str, link: dict[str, str], *, at: datetime) -> None:
        """Nothing: no account is made of a passkey."""


def _begun(options: str, challenge: bytes) -> Begun:
    return Begun(show={"passkey_options": options}, keep={"challenge": encoded(challenge)})


class IssuerFactor:
    """An issuer's word, as the first proof of a sign-in. It is worth one: whether they asked for two, nobody knows."""

    kind = ChallengeKind.OIDC

    def __init__(self, kept: Callable[[Any], IssuerStore], *, begin: Begin[IssuerStore], issuers: Issuers, seal: Sealing) -> None:
        self._kept = kept
        self._begin = begin
        self._issuers = issuers
        self._seal = seal

    async def begin_introduction(self, hint: str, *, at: datetime) -> Begun:
        """Raises IssuerUnknown and IssuerUnavailable."""
        errand = await self._issuers.send(hint)
        sealed = self._seal.close(json.dumps({"state": errand.state} | errand.kept))
        return Begun(show={"authorization_url": errand.authorization_url}, keep={"sealed": sealed})

    async def introduce(self, answer: str, keep: dict[str, str], *, at: datetime) -> Introduced | None:
        """Raises IssuerUnavailable."""
        kept = json.loads(self._seal.open(keep["sealed"]))
        code = came_back(answer, state=kept["state"])
        person = await self._issuers.person(code, kept) if code else None
        if person is None:
            return None
        async with self._begin() as store:
            link = await store.use_issuer_link(person.issuer, person.subject, at=at)
        if link is not None:
            return Introduced(account_id=link.account_id)
        return Introduced(
            email=_good_email(person),
            name=person.name,
            link={"issuer": person.issuer, "subject": person.subject, "email": person.email},
        )

    async def link(self, store: Any, account_id: str, link: dict[str, str], *, at: datetime) -> None:
        """Raises IssuerAccountTaken."""
        if not await self._kept(store.connection).add_issuer_link(_link_of(account_id, link, at=at)):
            raise IssuerAccountTaken(issuer=link["issuer"])


def _link_of(account_id: str, link: dict[str, str], *, at: datetime) -> IssuerLink:
    return IssuerLink(account_id=account_id, issuer=link["issuer"], subject=link["subject"], email=link["email"], create_time=at)


def _good_email(person: Person) -> str:
    """Return the address that an account may be made of, if it is one."""
    name, _, host = person.email.rpartition("@")
    try:
        check_email(person.email)
    except InvalidArgument:
        return ""
    return person.email if name and host and len(person.email) <= LONGEST_EMAIL else ""
