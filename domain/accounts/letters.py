"""Letters to account holders: ordered in the unit of work that they tell of."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from domain.accounts.model import Account
from domain.accounts.steps import Purpose, SignIn
from domain.kernel import Event
from domain.mail import SILENCE, Envelopes, Letter, LetterOrdered

# Nobody's id, looked for where there is no account: that takes as long too.
NOBODY = "00000000-0000-0000-0000-000000000000"

# The kind of letter that goes to an address which nobody has proven to be theirs.
TO_BE_PROVEN = "verify_email"
_CODES = {
    Purpose.SIGN_IN: "sign_in_code",
    Purpose.REGISTRATION: TO_BE_PROVEN,
    Purpose.PASSWORD_RESET: "reset_password",
    Purpose.PROOF: "sign_in_code",
    Purpose.EMAIL_CHANGE: TO_BE_PROVEN,
}


def code_kind(purpose: Purpose) -> str:
    """Return the kind of letter in which a code for this purpose is sent."""
    return _CODES[purpose]


class LetterStore(Protocol):
    """What is needed of a unit of work to order a letter in it."""

    async def account(self, account_id: str) -> Account | None: ...

    async def record(self, event: Event) -> None: ...


class Letters:
    """Orders letters."""

    def __init__(self, envelopes: Envelopes) -> None:
        self._envelopes = envelopes

    async def post(self, store: LetterStore, sign_in: SignIn, kind: str, facts: dict[str, str], *, at: datetime) -> None:
        """Write to whom a sign-in is for, or take as long where nobody is to be written to.

        Who has an account is written to at the account's own address: the one that was typed may only look like it, and be
        somebody else's. Only where an address is to be proven does the letter go to it.
        """
        account = await store.account(sign_in.account_id or NOBODY)
        registration = sign_in.progress.registration
        if account is None and registration is None:
            kind, facts = SILENCE, {}
        language = account.language if account else registration.language if registration else "en"
        name = account.name if account else registration.name if registration else ""
        address = sign_in.email if account is None or kind == TO_BE_PROVEN else account.email
        await self._order(store, Letter(kind, address, language, name, facts), at=at)

    async def write(self, store: Any, account: Account, kind: str, facts: dict[str, str] | None = None, *, at: datetime) -> None:
        """Write to an account's holder. `store` is anything with `record`."""
        await self._order(store, Letter(kind, account.email, account.language, account.name, facts or {}), at=at)

    async def _order(self, store: Any, letter: Letter, *, at: datetime) -> None:
        await store.record(LetterOrdered(time=at, sealed=self._envelopes.close(letter)))
