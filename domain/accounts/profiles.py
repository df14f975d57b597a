"""Profiles: the viewers of an account, their limits, and who may change what of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from domain.accounts import allowed_hours
from domain.accounts.allowed_hours import AllowedHours
from domain.accounts.model import Limits
from domain.accounts.naming import name_key, tidy_name
from domain.kernel import Conflict, Event, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, new_id
from domain.zones import zone

MOST_PROFILES = 8
ADULT = 18
# Up to which rating a kids' profile may be let.
KIDS_CEILING = 12
AVATARS = (
    "fox", "cat", "rabbit", "owl", "bear", "panda", "wolf", "crane", "koi", "turtle", "frog", "tanuki", "dragon", "oni",
    "robot", "ninja", "witch", "samurai", "star", "moon", "sun", "wave", "maple", "cherry-blossom",
)  # fmt: skip


class ProfileNotFound(NotFound):
    """Raised when the account has no such profile."""

    text = "There is no profile {profile}."


class ProfilesFull(FailedPrecondition):
    """Raised when an account has as many profiles as it may."""

    text = "An account has at most {most} profiles: delete one first."


class LastProfile(FailedPrecondition):
    """Raised when the last profile of an account is to be deleted."""

    text = "This is the account's last profile: it stays."


class ProfileNameTaken(InvalidArgument):
    """Raised when another profile of the account has a name that looks the same."""

    text = "Another profile of this account is called {name}."


class ProfileIdReused(InvalidArgument):
    """Raised when an id is used for another profile than before."""

    text = "The id {profile} belongs to another profile: choose another one."


class ProfileFieldUnknown(InvalidArgument):
    """Raised when an update mask names what is no field of a profile, or none that may be changed."""

    text = "The field {path} cannot be changed."


class ProfileChanged(Conflict):
    """Raised when a profile has another version by now."""

    text = "The profile has version {version} by now: read it again."


class AvatarUnknown(InvalidArgument):
    """Raised when an avatar is not one of those to choose from."""

    text = "There is no avatar {avatar}."


class AvatarFileUnknown(InvalidArgument):
    """Raised when an avatar's file is no image, or none that the viewer may see."""

    text = "There is no image {file}."


class KidsLimitTooHigh(InvalidArgument):
    """Raised when a kids' profile is to see more than it may."""

    text = "A kids' profile has a maturity limit of at most {most}."


class KidsStatisticsPublic(InvalidArgument):
    """Raised when the statistics of a kids' profile are to be public."""

    text = "The statistics of a kids' profile are never public."


class PinNeeded(FailedPrecondition):
    """Raised when a profile has a PIN and none was given."""

    text = "This profile needs its PIN."


class PinWrong(PermissionDenied):
    """Raised when a PIN is not the profile's."""

    text = "The PIN is another one."


class SessionMissing(FailedPrecondition):
    """Raised when the caller's token belongs to no session that goes on, so there is nothing to put on a profile."""

    text = "The access token belongs to no session: sign in."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileCreated(Event):
    """An account has one more viewer."""

    account_id: str
    profile_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileUpdated(Event):
    """A profile was changed."""

    account_id: str
    profile_id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDeleted(Event):
    """A profile is gone; what others keep of it is to go too."""

    account_id: str
    profile_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One of the viewers of an account."""

    profile_id: str
    account_id: str
    name: str
    avatar: str = AVATARS[0]
    avatar_file_id: str | None = None
    # Empty for the account's.
    language: str = ""
    time_zone: str = "UTC"
    region: str = ""
    maturity: int = ADULT
    kids: bool = False
    pin_hash: str | None = None
    allowed_hours: tuple[AllowedHours, ...] = ()
    private_session: bool = False
    public_statistics: bool = False
    # Of what its creator decided, to tell a repeated creation from another one.
    create_digest: bytes = b""
    version: int = 1
    create_time: datetime
    update_time: datetime

    @property
    def is_limited(self) -> bool:
        return self.kids or self.maturity < ADULT or bool(self.allowed_hours)

    @property
    def name_key(self) -> str:
        return name_key(self.name)

    def tidied(self) -> Profile:
        """Return it as it is kept.

        Raises NameUnreadable, NameMixesScripts, AvatarUnknown, ZoneUnknown, KidsLimitTooHigh, KidsStatisticsPublic.
        """
        if self.avatar not in AVATARS:
            raise AvatarUnknown(avatar=self.avatar, field="profile.avatar")
        zone(self.time_zone, field="profile.time_zone")
        if self.kids and self.maturity > KIDS_CEILING:
            raise KidsLimitTooHigh(most=KIDS_CEILING, field="profile.maturity_limit")
        if self.kids and self.public_statistics:
            raise KidsStatisticsPublic(field="profile.public_statistics")
        return replace(self, name=tidy_name(self.name, field="profile.name"), allowed_hours=tuple(sorted(set(self.allowed_hours))))

    def changed(self, changes: dict[str, Any]) -> Profile:
        """Return it with some fields changed. A profile that becomes a child's comes within a child's limits by itself."""
        becomes = changes.get("kids", False) and not self.kids
        usual = {"maturity": min(self.maturity, KIDS_CEILING), "public_statistics": False} if becomes else {}
        return replace(self, **usual | changes).tidied()

    def limits(self, granted: Iterable[tuple[str, datetime]], *, at: datetime) -> Limits:
        """Return what a token says of it, with the releases that it was granted, each until its time."""
        hours = allowed_hours.now(self.allowed_hours, zone(self.time_zone, field="time_zone"), at=at)
        grants = dict(granted)
        return Limits(
            maturity=self.maturity,
            until=min((moment for moment in (hours.until, *grants.values()) if moment is not None), default=None),
            grants=tuple(sorted(grants)),
            asleep=not hours.open,
            is_limited=self.is_limited,
        )


# What a token says of a profile that is gone: nothing is shown or played until another one is chosen.
CLOSED = Limits(maturity=0, asleep=True, is_limited=True)
LIMITS = frozenset({"maturity", "kids", "allowed_hours"})
# What a child may change of its own profile, and anybody else.
HARMLESS_TO_KIDS = frozenset({"name", "avatar", "avatar_file_id", "language"})
HARMLESS = HARMLESS_TO_KIDS | {"time_zone", "region", "private_session", "public_statistics"}
WRITABLE = HARMLESS | LIMITS | {"pin_hash"}


def nobody(account_id: str, profile_id: str, *, at: datetime) -> Profile:
    """Stand in for no profile at all: the account itself, or, once a profile was deleted, a viewer who may nothing."""
    gone = bool(profile_id)
    limits: dict[str, Any] = {"kids": True, "maturity": 0} if gone else {}
    return Profile(profile_id=profile_id, account_id=account_id, name="", create_time=at, update_time=at, **limits)


def first_profile(account_id: str, name: str, *, at: datetime) -> Profile:
    """Return the profile that every account begins with; it comes first, even if the call that makes it makes another one."""
    before = at - timedelta(microseconds=1)
    return Profile(profile_id=new_id(at=at), account_id=account_id, name=name, create_time=before, update_time=at)


def differing(before: Profile, after: Profile) -> tuple[str, ...]:
    return tuple(sorted(name for name in WRITABLE if getattr(before, name) != getattr(after, name)))


def changes_limits(before: Profile, after: Profile) -> bool:
    """Tell whether tokens say something that holds no more."""
    fields = set(differing(before, after))
    return bool(fields & LIMITS) or ("time_zone" in fields and bool(before.allowed_hours))


def sees_more(after: Profile, before: Profile) -> bool:
    """Tell whether somebody may see or play more as one profile than as another; in doubt about hours, yes."""
    hours = [(one.allowed_hours, one.time_zone) for one in (before, after)]
    return (
        after.maturity > before.maturity
        or (before.kids and not after.kids)
        or (bool(before.allowed_hours) and hours[0] != hours[1])
    )


def demands_proof(caller: Profile, before: Profile | None, after: Profile | None) -> bool:
    """Tell whether a change takes the owner's proof; without `before` a profile is created, without `after` deleted."""
    own = before is not None and before.profile_id == caller.profile_id
    guarded = before is not None and before.pin_hash is not None
    if before is None or after is None:
        return caller.is_limited or (guarded and not own)
    fields = frozenset(differing(before, after))
    if sees_more(after, before) or (guarded and "pin_hash" in fields):
        return True
    if caller.is_limited:
        return not (own and fields <= (HARMLESS_TO_KIDS if caller.kids else HARMLESS))
    return guarded and not own


def digest(profile: Profile) -> bytes:
    """Return a digest of what a profile's creator decides, but for the PIN, which has to stay unguessable."""
    decided = [getattr(profile, name) for name in sorted(WRITABLE - {"pin_hash"})]
    return hashlib.sha256(repr(decided).encode()).digest()
