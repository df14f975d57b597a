"""What accounts need of the world outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.kernel import Exhausted


class PasswordsBusy(Exhausted):
    """Raised when as many passwords wait to be hashed as may wait."""

    text = "Too many people sign in at once: try again in a moment."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of comparing a password with a hash."""

    right: bool
    # Whether the hash is weaker than one would be made today.
    outdated: bool = False


class Passwords(Protocol):
    """Hashes passwords, a few at a time; more than can wait end in a refusal of kind Exhausted."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, password: str, hashed: str | None) -> Verdict:
        """Compare, exactly as received; without a hash it takes as long, and is never right."""

    def is_common(self, password: str, *, context: Sequence[str] = ()) -> bool:
        """Tell whether it is one of those tried first, or made of words that belong to its owner or the platform."""
