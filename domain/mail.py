"""Letters: what is written to people, and how it is ordered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from domain.kernel import Event


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter to somebody, of a kind that there is a template for."""

    kind: str
    address: str
    language: str
    name: str = ""
    # What the template needs besides, such as a code.
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterOrdered(Event):
    """A letter is to be sent. It may hold a code, so the database keeps it sealed."""

    sealed: str


class Envelopes(Protocol):
    """Seals letters."""

    def close(self, letter: Letter) -> str:
        """Return a letter as only those can read it who send it."""
