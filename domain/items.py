"""What editors keep, whatever the context: items that have a version, and what all kinds of them have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast

from domain.kernel import Event, NotFound, Viewer


class Item(Protocol):
    """A frozen dataclass that editors create, change and delete."""

    @property
    def version(self) -> int: ...
    @property
    def create_time(self) -> datetime: ...
    @property
    def update_time(self) -> datetime: ...

    def check(self) -> None:
        """Refuse what no such item may be, whoever made it."""


T = TypeVar("T", bound=Item)


def _as_it_is(item: T, _at: datetime) -> T:
    return item


def _same(item: T) -> T:
    return item


def _hidden(_item: T, _viewer: Viewer) -> bool:
    return False


def _whole(_item: T) -> tuple[str, str] | None:
    return None


def everyone(_item: T, _viewer: Viewer) -> bool:
    """Show items of a kind to everyone."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[T]):
    """A kind of item, and its own rules."""

    name: str
    of: type[T]
    # The fields that editors decide.
    writable: frozenset[str]
    missing: type[NotFound]
    # Says what a transition tells: from nothing when it is created, to nothing when it is deleted.
    events: Callable[[T | None, T | None, datetime], list[Event]]
    # Adds what follows from a change, such as the time of the first publication.
    settled: Callable[[T, datetime], T] = _as_it_is
    # Brings what means the same into one form, so that it is no difference.
    normal: Callable[[T], T] = _same

    # Tells whether somebody who is no editor may see an item; nobody may unless a kind says so.
    shown: Callable[[T, Viewer], bool] = _hidden
    # The fields that those may decide who are no editors, but entrusted with an item, such as a team that is credited for it.
    entrusted: frozenset[str] = frozenset()
    # Names the kind and id of the item that this one is a part of, whose own rule then holds as well.
    part_of: Callable[[T], tuple[str, str] | None] = _whole

    def key(self, item: T) -> str:
        return str(getattr(item, f"{self.name}_id"))

    def changed(self, item: T, changes: dict[str, Any], *, at: datetime) -> T:
        """Return an item with some fields changed. Raises the refusals of its kind's own rules."""
        fresh = self.settled(cast(T, replace(cast(Any, item), **changes)), at)
        fresh.check()
        return fresh

    def kept(self, item: T, *, version: int, at: datetime) -> T:
        """Return an item as its next version."""
        return cast(T, replace(cast(Any, item), version=version, update_time=at))

    def decided(self, item: T) -> dict[str, Any]:
        """Return what editors decided about an item."""
        plain = self.normal(item)
        return {name: getattr(plain, name) for name in sorted(self.writable)}

    def differences(self, one: T, other: T) -> list[str]:
        """Name the fields in which two states of an item differ."""
        before, after = self.decided(one), self.decided(other)
        return [name for name, value in after.items() if before[name] != value]
