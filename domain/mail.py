"""Letters: what is written to people, how it is ordered, and how it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol

from domain.kernel import Event, Unavailable

# A code or a link to sign in by is of no use to anyone who gets it later.
CODE_GOOD_FOR = timedelta(minutes=10)
LONGEST_FACT = 2000
# These facts are times, as ISO 8601 with a zone; an empty one stands for no end.
TIMES = frozenset({"time", "until"})
# Ordered where nobody is to be written to, so that this takes as long; it is never sent.
SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of letter, of which there is a template in every language."""

    facts: frozenset[str] = frozenset()
    # Until then it may be sent; None means for ever.
    useful: timedelta | None = None
    # Whether it may reach somebody who never asked for it, at an address that was only claimed: then it holds no words of others.
    unproven: bool = False


def _kind(*facts: str, useful: timedelta | None = None, unproven: bool = False) -> Kind:
    return Kind(frozenset(facts), useful, unproven)


KINDS: Mapping[str, Kind] = MappingProxyType({
    SILENCE: _kind(),
    "verify_email": _kind("code", useful=CODE_GOOD_FOR, unproven=True),
    "sign_in_code": _kind("code", useful=CODE_GOOD_FOR),
    "magic_link": _kind("link_token", useful=CODE_GOOD_FOR),
    "reset_password": _kind("code", useful=CODE_GOOD_FOR),
    "already_registered": _kind(),
    "password_changed": _kind(),
    # Country as a code of ISO 3166; "?" where it or the device is not known.
    "new_sign_in": _kind("device", "country", "time"),
    "account_locked": _kind("unlock_token", useful=timedelta(hours=1)),
    "email_changed": _kind("new_address"),
    # What: one of SECOND_FACTOR_CHANGES.
    "second_factor_changed": _kind("what"),
    # Time: when it will be done.
    "account_deletion": _kind("time"),
    "export_ready": _kind(),
    # Until: when it ends.
    "ban": _kind("reason", "until"),
})  # fmt: skip
SECOND_FACTOR_CHANGES = frozenset({
    "totp_added",
    "totp_removed",
    "passkey_added",
    "passkey_removed",
    "passkey_required",
    "passkey_optional",
    "recovery_codes_created",
    "recovery_code_used",
    "issuer_linked",
    "issuer_unlinked",
})  # fmt: skip


class LetterIncomplete(ValueError):
    """Raised when a letter is of no known kind, or its facts are not those that its kind needs."""


class MailUnavailable(Unavailable):
    """Raised when the mail server is out of reach, or has no time."""

    text = "The mail server does not answer for now."


class MailDeferred(Exception):
    """Raised when the mail server would not take a letter: it may do so later, or once somebody has mended something."""


class MailRefused(Exception):
    """Raised when there is no such mailbox, or none that takes letters: asking again does not help."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter to somebody. Raises LetterIncomplete where it is made, rather than where it would be sent."""

    kind: str
    address: str
    language: str
    name: str = ""
    # What the template needs besides, such as a code.
    facts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LetterIncomplete(f"there is no kind of letter called {self.kind}")
        needed = KINDS[self.kind].facts
        if needed != self.facts.keys():
            raise LetterIncomplete(f"{self.kind} needs the facts {sorted(needed)}, not {sorted(self.facts)}")
        for name, fact in self.facts.items():
            _check_fact(name, fact)


def _check_fact(name: str, fact: str) -> None:
    """Raises LetterIncomplete without naming the fact itself, which may be a secret."""
    if len(fact) > LONGEST_FACT or (not fact and name != "until"):
        raise LetterIncomplete(f"{name} must be a text of at most {LONGEST_FACT} characters")
    if name == "what" and fact not in SECOND_FACTOR_CHANGES:
        raise LetterIncomplete(f"what must be one of {sorted(SECOND_FACTOR_CHANGES)}")
    if name in TIMES and fact:
        try:
            known = datetime.fromisoformat(fact).tzinfo is not None
        except ValueError:
            known = False
        if not known:
            raise LetterIncomplete(f"{name} must be a time with its zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterOrdered(Event):
    """A letter is to be sent. It may hold a code, so the database keeps it sealed."""

    sealed: str


class Envelopes(Protocol):
    """Seals letters."""

    def close(self, letter: Letter) -> str:
        """Return a letter as only those can read it who send it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A letter, written."""

    # The same whenever the same letter is sent again.
    mail_id: str
    time: datetime
    address: str
    language: str
    subject: str
    text: str
    html: str


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: Mail) -> None:
        """Hand a mail over. Raises MailUnavailable, MailDeferred and MailRefused; none of them names the address."""
