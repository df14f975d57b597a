"""Accounts at other issuers: trusted to say who somebody is, once they are linked to an account here."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.accounts.letters import Letters
from domain.accounts.second_factors import OwnerStore, changed_by_owner, concluded_by_owner, tell
from domain.accounts.setups import Setups
from domain.kernel import AlreadyExists, Begin, FailedPrecondition, InvalidArgument, NotFound, Unavailable, Viewer


class IssuerUnknown(InvalidArgument):
    """Raised when an issuer is named that the platform does not know."""

    text = "There is no issuer {issuer} here."


class IssuerUnavailable(Unavailable):
    """Raised when an issuer does not answer, or not as the standard says."""

    text = "The issuer {issuer} does not answer for now."


class IssuerAnswerWrong(InvalidArgument):
    """Raised when what somebody came back with was not given to them for this setup."""

    text = "The issuer did not vouch for that."


class IssuerAlreadyLinked(FailedPrecondition):
    """Raised when an account at the issuer is linked already: it has to be unlinked first."""

    text = "An account at {issuer} is linked already: unlink it first."


class IssuerAccountTaken(AlreadyExists):
    """Raised when the account at the issuer is linked to another account here."""

    text = "The account at {issuer} is linked to another account here."


class IssuerLinkNotFound(NotFound):
    """Raised when the caller's account is not linked to an issuer."""

    text = "No account at {issuer} is linked."


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerLink:
    """An account at an issuer that is good for signing in to one here."""

    account_id: str
    issuer: str
    # What the issuer knows it by: never another one's, whatever its address.
    subject: str
    email: str = ""
    create_time: datetime
    use_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody whom an issuer vouches for."""

    issuer: str
    subject: str
    # Only one that the issuer has verified.
    email: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Errand:
    """Somebody sent to an issuer: where to, and what is kept to know them by when they are back."""

    authorization_url: str
    state: str
    kept: dict[str, str]


class Issuers(Protocol):
    """Sends people to issuers, and asks there whom a code is for."""

    @property
    def names(self) -> Sequence[str]: ...

    async def send(self, issuer: str) -> Errand:
        """Raises IssuerUnknown and IssuerUnavailable."""

    async def person(self, code: str, kept: dict[str, str]) -> Person | None:
        """Return for whom a code is, or None for one that is not good, or not for this errand. Raises IssuerUnavailable."""


class IssuerStore(OwnerStore, Protocol):
    """Links to issuers within one unit of work."""

    async def issuer_links(self, account_id: str) -> list[IssuerLink]:
        """Return the links of an account, the oldest first."""

    async def use_issuer_link(self, issuer: str, subject: str, *, at: datetime) -> IssuerLink | None:
        """Return the link of an account at an issuer, and note that it was used."""

    async def add_issuer_link(self, link: IssuerLink) -> bool:
        """Keep a new link; False when either account is linked already."""

    async def delete_issuer_link(self, account_id: str, issuer: str) -> bool: ...


class IssuerLinks:
    """Linking accounts, one method for each RPC."""

    def __init__(
        self, *, begin: Begin[IssuerStore], read: Begin[IssuerStore], issuers: Issuers, setups: Setups, letters: Letters
    ) -> None:
        self._begin = begin
        self._read = read
        self._issuers = issuers
        self._setups = setups
        self._letters = letters

    def list_issuers(self) -> Sequence[str]:
        return self._issuers.names

    async def list_issuer_links(self, *, viewer: Viewer) -> list[IssuerLink]:
        async with self._read() as store:
            return await store.issuer_links(viewer.account_id)

    async def begin_issuer_link(self, issuer: str, *, viewer: Viewer, at: datetime) -> tuple[str, str]:
        """Return what stands for the setup, and where to send the person.

        Raises ProofTooOld, IssuerUnknown and IssuerUnavailable.
        """
        async with self._begin() as store:
            await changed_by_owner(store, viewer, at=at)
        errand = await self._issuers.send(issuer)
        setup = self._setups.close("issuer", {"state": errand.state} | errand.kept, viewer=viewer, at=at)
        return setup, errand.authorization_url

    async def create_issuer_link(self, setup: str, answer: str, *, viewer: Viewer, at: datetime) -> IssuerLink:
        """Raises SetupOver, IssuerAnswerWrong, IssuerUnavailable, IssuerAlreadyLinked and IssuerAccountTaken."""
        kept = self._setups.open(setup, "issuer", viewer=viewer, at=at)
        code = came_back(answer, state=kept["state"])
        person = await self._issuers.person(code, kept) if code else None
        if person is None:
            raise IssuerAnswerWrong(field="answer")
        link = IssuerLink(
            account_id=viewer.account_id, issuer=person.issuer, subject=person.subject, email=person.email, create_time=at
        )
        async with self._begin() as store:
            account = await concluded_by_owner(store, viewer)
            if any(known.issuer == link.issuer for known in await store.issuer_links(account.account_id)):
                raise IssuerAlreadyLinked(issuer=link.issuer)
            if not await store.add_issuer_link(link):
                raise IssuerAccountTaken(issuer=link.issuer)
            await tell(self._letters, store, account, "issuer_linked", at=at)
        return link

    async def delete_issuer_link(self, issuer: str, *, viewer: Viewer, at: datetime) -> None:
        """Raises ProofTooOld and IssuerLinkNotFound."""
        async with self._begin() as store:
            account = await changed_by_owner(store, viewer, at=at)
            if not await store.delete_issuer_link(account.account_id, issuer):
                raise IssuerLinkNotFound(issuer=issuer)
            await tell(self._letters, store, account, "issuer_unlinked", at=at)


def came_back(answer: str, *, state: str) -> str:
    """Return the code that somebody came back with, nothing where it is not for the errand with this state."""
    try:
        told = json.loads(answer)
        code, returned = told["code"], told["state"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    if not isinstance(code, str) or not isinstance(returned, str):
        return ""
    return code if secrets.compare_digest(returned.encode("utf-8", "replace"), state.encode()) else ""
