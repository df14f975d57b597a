"""What every context shares: viewers, pages, events, ids, and the nine kinds of refusal."""

from __future__ import annotations

import secrets
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import ClassVar, Protocol, TypeVar
from uuid import UUID

Store_co = TypeVar("Store_co", covariant=True)


class Begin(Protocol[Store_co]):
    """Opens a store for one unit of work: begins on entry, commits on leaving, rolls back on an exception."""

    def __call__(self, *, rehearse: bool = False) -> AbstractAsyncContextManager[Store_co]:
        """Open a store; a rehearsal does everything and then rolls it back, for `validate_only`."""


class Role(IntEnum):
    """Roles of an account, each including the ones before it."""

    GUEST = 0
    USER = 1
    MODERATOR = 2
    EDITOR = 3
    ADMIN = 4

    @property
    def is_staff(self) -> bool:
        return self >= Role.MODERATOR


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is asking, as far as a decision may depend on it."""

    account_id: str = ""
    role: Role = Role.GUEST
    permissions: frozenset[str] = frozenset()
    country: str = ""
    maturity: int = 18
    # Which of the account's viewers it is; empty for the account itself.
    profile_id: str = ""
    # What it is signed in by; empty for guests and for tokens that were made by hand.
    session_id: str = ""
    # The releases that its profile may see for a time although they are above its maturity limit.
    granted: frozenset[str] = frozenset()
    # Whether it is outside of the hours in which its profile may play.
    asleep: bool = False
    # Whether it is a guest of the account, who may watch and nothing else.
    guest_pass: bool = False
    # Whether its profile may see or play less than the account: then what is the account's own is not its to read or change.
    limited: bool = False

    @property
    def sees_drafts(self) -> bool:
        return self.role >= Role.EDITOR

    @property
    def segment(self) -> str:
        """Name everything that an answer shared between viewers may depend on."""
        plain = f"{self.country}/{self.maturity}/{'staff' if self.sees_drafts else ''}"
        return f"{plain}/{','.join(sorted(self.granted))}" if self.granted else plain

    def shared(self) -> Viewer:
        """Return the viewer reduced to the segment, so that a shared answer cannot depend on more."""
        role = Role.EDITOR if self.sees_drafts else Role.GUEST
        return Viewer(role=role, country=self.country, maturity=self.maturity, granted=self.granted)


@dataclass(frozen=True, slots=True)
class Page:
    """How much of a list is wanted; sizes beyond the bounds are brought within them."""

    size: int = 20
    token: str = ""

    SMALLEST: ClassVar[int] = 1
    LARGEST: ClassVar[int] = 100
    USUAL: ClassVar[int] = 20

    def __post_init__(self) -> None:
        size = self.size or self.USUAL
        object.__setattr__(self, "size", max(self.SMALLEST, min(size, self.LARGEST)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact in the past tense, recorded with the state it tells of."""

    time: datetime


def new_id(*, at: datetime) -> str:
    """Return a UUIDv7: ids made later sort later, and 74 bits of it are random."""
    milliseconds = int(at.timestamp() * 1000)
    value = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62
    return str(UUID(int=value | secrets.randbits(62)))


class Refusal(Exception):
    """A request that is answered with no; the text may name only what is in its details."""

    text: ClassVar[str] = ""
    kind: ClassVar[type[Refusal]]

    def __init_subclass__(cls) -> None:
        if Refusal in cls.__bases__:
            cls.kind = cls  # one of the nine below; what derives from it inherits it

    def __init__(self, **details: object) -> None:
        self.details = {name: str(value) for name, value in details.items()}
        super().__init__(self.text.format(**details))


class NotFound(Refusal):
    """Raised when there is no such thing, or none that the viewer may know of."""


class AlreadyExists(Refusal):
    """Raised when the thing to be created is there already."""


class InvalidArgument(Refusal):
    """Raised when the request is wrong whatever the state; `field` in the details names the culprit."""


class FailedPrecondition(Refusal):
    """Raised when the state forbids it and asking again does not help."""


class Conflict(Refusal):
    """Raised when another change came between; reading again and repeating helps."""


class Collision(Conflict):
    """Raised when the store gave a unit of work up for the sake of another one; the very same again helps."""


class PermissionDenied(Refusal):
    """Raised when the viewer is known and may not do this."""


class Unauthenticated(Refusal):
    """Raised when it must be known who asks, and it is not."""


class Exhausted(Refusal):
    """Raised when an allowance is used up; `retry_after` seconds later there is more."""

    def __init__(self, *, retry_after: float, **details: object) -> None:
        self.retry_after = retry_after
        super().__init__(**details)


class Unavailable(Refusal):
    """Raised when something needed is out of reach for now; try again `retry_after` seconds later."""

    def __init__(self, *, retry_after: float = 1.0, **details: object) -> None:
        self.retry_after = retry_after
        super().__init__(**details)
