"""Franchises, genres and tags as editors keep them, and the rules they keep by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.kernel import AlreadyExists, Event, FailedPrecondition, InvalidArgument, NotFound

GROUP_FIELDS = frozenset({"name"})
FRANCHISE_FIELDS = frozenset({"name", "parent_franchise_id", "release_ids"})
DEEPEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GenreEntry:
    """A genre as editors keep it."""

    genre_id: str
    name: str
    version: int = 1
    create_time: datetime
    update_time: datetime

    def check(self) -> None:
        """Whatever the contract takes for a genre is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagEntry:
    """A tag as editors keep it."""

    tag_id: str
    name: str
    version: int = 1
    create_time: datetime
    update_time: datetime

    def check(self) -> None:
        """Whatever the contract takes for a tag is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Franchise:
    """Releases that belong together, in the order they are to be watched; it may be part of a larger one."""

    franchise_id: str
    name: str
    parent_franchise_id: str | None = None
    release_ids: tuple[str, ...] = ()
    version: int = 1
    create_time: datetime
    update_time: datetime

    def check(self) -> None:
        """Raises ReleaseRepeated and FranchiseCyclic."""
        if len(set(self.release_ids)) != len(self.release_ids):
            raise ReleaseRepeated(field="franchise.release_ids")
        if self.parent_franchise_id == self.franchise_id:
            raise FranchiseCyclic(franchise_id=self.franchise_id, field="franchise.parent_franchise_id")


@dataclass(frozen=True, slots=True)
class Totals:
    """What a franchise's visible members come to."""

    release_count: int
    episode_count: int
    duration_seconds: int
    first_year: int | None
    last_year: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenreChanged(Event):
    """A genre was created, changed or deleted."""

    genre_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TagChanged(Event):
    """A tag was created, changed or deleted."""

    tag_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FranchiseChanged(Event):
    """A franchise was created, changed or deleted."""

    franchise_id: str
    # Of all that were members before or are now.
    release_ids: tuple[str, ...] = ()


class GenreNotFound(NotFound):
    """Raised when no genre has this id."""

    text = "There is no genre {genre}."


class TagNotFound(NotFound):
    """Raised when no tag has this id."""

    text = "There is no tag {tag}."


class NameTaken(AlreadyExists):
    """Raised when another genre, tag or franchise has this name."""

    text = "The name {name} belongs to another {kind}."


class StillCarried(FailedPrecondition):
    """Raised when a genre or tag is to be deleted that releases carry."""

    text = "{count} releases carry {id}: take it from them first."


class ReleaseRepeated(InvalidArgument):
    """Raised when a franchise names a release twice."""

    text = "A franchise holds each release once."


class MemberUnknown(InvalidArgument):
    """Raised when a franchise is to hold releases that do not exist."""

    text = "There is no release {release_ids}."


class MemberTaken(AlreadyExists):
    """Raised when a release is to join a franchise while it belongs to another one."""

    text = "The release {release_id} belongs to another franchise: take it from that one first."


class ParentUnknown(InvalidArgument):
    """Raised when a franchise is to be part of one that does not exist."""

    text = "There is no franchise {franchise_id}."


class FranchiseCyclic(InvalidArgument):
    """Raised when a franchise would be part of itself, be it through others."""

    text = "The franchise {franchise_id} cannot be part of itself."


class FranchiseTooDeep(InvalidArgument):
    """Raised when franchises would be parts of each other beyond what anyone can show."""

    text = "Franchises can be parts of each other up to 8 levels deep."


class FranchiseHasParts(FailedPrecondition):
    """Raised when a franchise is to be deleted while others are part of it."""

    text = "Other franchises are part of {franchise_id}: take them out of it first."
