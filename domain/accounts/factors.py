"""Factors: the ways to prove who one is, each of which meets one kind of challenge."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, Protocol


class ChallengeKind(IntEnum):
    """What somebody is asked for."""

    PASSWORD = 1
    EMAIL_CODE = 2
    TOTP = 3
    RECOVERY_CODE = 4
    PASSKEY = 5
    MAGIC_LINK = 6
    OIDC = 7
    DEVICE_APPROVAL = 8
    NEW_PASSWORD = 9


@dataclass(frozen=True, slots=True)
class Begun:
    """A challenge that was made: what the client is shown of it, and what is kept to check the answer with."""

    show: dict[str, str] = field(default_factory=dict)
    keep: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Introduced:
    """Somebody of whom only the answer to a challenge tells who it is."""

    # Empty when no account is known by it.
    account_id: str = ""
    # Whether it proves as much as two factors, as a passkey does that its holder had to unlock.
    strong: bool = False
    # What to make an account of: only an address that whoever vouches for it has verified.
    email: str = ""
    name: str = ""
    # Makes whoever vouches for it known for the account, once there is one.
    link: dict[str, str] = field(default_factory=dict)


class Factor(Protocol):
    """A second proof besides the first one. `store` is the sign-in's own, with its `connection`, in its unit of work."""

    @property
    def kind(self) -> ChallengeKind: ...

    async def offered(self, store: Any, account_id: str) -> bool:
        """Tell whether the account has it."""

    async def begin(self, store: Any, account_id: str, *, at: datetime) -> Begun: ...

    async def check(self, store: Any, account_id: str, answer: str, keep: dict[str, str], *, at: datetime) -> bool:
        """Tell whether the answer is right; one that was, is never right again."""


class Introducer(Protocol):
    """A first proof that says by itself whose it is: a passkey, or somebody's word who is trusted for it.

    `begin` and `introduce` may wait for others, so they get no store; what they need of the database they open themselves.
    """

    @property
    def kind(self) -> ChallengeKind: ...

    async def begin_introduction(self, hint: str, *, at: datetime) -> Begun:
        """Make a challenge; the hint is the name of an issuer where there are several."""

    async def introduce(self, answer: str, keep: dict[str, str], *, at: datetime) -> Introduced | None:
        """Return who it is, or None for an answer that is not right."""

    async def link(self, store: Any, account_id: str, link: dict[str, str], *, at: datetime) -> None:
        """Let what vouched for an account that was just made be known for it."""
