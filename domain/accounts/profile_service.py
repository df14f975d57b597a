"""What an account's viewers do with its profiles: one method for each RPC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from domain.accounts.model import AccountNotFound
from domain.accounts.owners import OwnerStore, Pins, caller_of, demand_owner
from domain.accounts.profiles import (
    MOST_PROFILES,
    AvatarFileUnknown,
    LastProfile,
    PinNeeded,
    Profile,
    ProfileChanged,
    ProfileCreated,
    ProfileDeleted,
    ProfileIdReused,
    ProfileNameTaken,
    ProfileNotFound,
    ProfilesFull,
    ProfileUpdated,
    SessionMissing,
    changes_limits,
    demands_proof,
    differing,
    digest,
    first_profile,
    sees_more,
)
from domain.kernel import Begin, Event, Viewer


class ProfileStore(OwnerStore, Protocol):
    """Profiles within one unit of work."""

    async def take_turn(self, account_id: str) -> str | None:
        """Let nobody else change the account's profiles until the unit of work ends; return its name."""

    async def profiles(self, account_id: str) -> list[Profile]:
        """Return the profiles of an account, the oldest first."""

    async def add_profile(self, profile: Profile) -> bool:
        """Keep a new profile; False when its id is taken, be it by another account's."""

    async def save_profile(self, profile: Profile) -> None: ...

    async def delete_profile(self, profile: Profile, *, at: datetime) -> None: ...

    async def was_deleted(self, account_id: str, profile_id: str) -> bool:
        """Tell whether the account had such a profile, of late."""

    async def switch_session(self, session_id: str, profile_id: str, *, use_up_proof: bool) -> None:
        """Put a session on a profile."""

    async def use_up_proofs(self, account_id: str, profile_id: str) -> None:
        """Let no proof of a session that is on a profile count any more."""

    async def leave_profile(self, account_id: str, profile_id: str) -> None:
        """Put all sessions that are on a profile on none."""

    async def revoke(self, account_id: str, session_id: str, *, at: datetime) -> None:
        """Make the access tokens of a session void, or of all the account's where none is named."""

    async def shows_image(self, file_id: str, viewer: Viewer, *, at: datetime) -> bool:
        """Tell whether a file is an image that the viewer may see."""

    async def record(self, event: Event) -> None: ...


class Profiles:
    """The viewers of an account."""

    def __init__(self, *, begin: Begin[ProfileStore], read: Begin[ProfileStore], pins: Pins) -> None:
        self._begin = begin
        self._read = read
        self._pins = pins

    async def list_profiles(self, *, viewer: Viewer, at: datetime) -> list[Profile]:
        """Return the account's profiles, of which there is always one. Raises AccountNotFound."""
        async with self._read() as store:
            found = await store.profiles(viewer.account_id)
        if found:
            return found
        async with self._begin() as store:
            return await _settled(store, viewer, at=at)

    async def get_profile(self, profile_id: str, *, viewer: Viewer) -> Profile:
        """Raises ProfileNotFound."""
        async with self._read() as store:
            return await _found(store, profile_id, viewer)

    async def create_profile(self, wanted: Profile, pin: str, *, viewer: Viewer, at: datetime) -> Profile:
        """Keep a new profile, or return the one that the same request made before.

        Raises ProfilesFull, ProfileIdReused, ProfileNameTaken, ProofTooOld, AvatarFileUnknown and what `Profile.tidied` raises.
        """
        profile = replace(wanted.tidied(), pin_hash=await self._pins.hash(pin))
        profile = replace(profile, create_digest=digest(profile))
        async with self._begin() as store:
            others = await _settled(store, viewer, at=at)
            if before := next((one for one in others if one.profile_id == profile.profile_id), None):
                if before.create_digest != profile.create_digest:
                    raise ProfileIdReused(profile=profile.profile_id, field="profile.profile_id")
                return before
            caller = await caller_of(store, viewer, at=at)
            if demands_proof(caller, None, profile):
                await demand_owner(store, caller, viewer, proven="", at=at)
            if len(others) >= MOST_PROFILES:
                raise ProfilesFull(most=MOST_PROFILES)
            await _demand_presentable(store, profile, others, viewer, at=at)
            if not await store.add_profile(profile):
                raise ProfileIdReused(profile=profile.profile_id, field="profile.profile_id")
            await store.record(ProfileCreated(time=at, account_id=profile.account_id, profile_id=profile.profile_id))
        return profile

    async def update_profile(
        self, profile_id: str, changes: dict[str, Any], *, version: int, owner_pin: str, viewer: Viewer, at: datetime
    ) -> tuple[Profile, bool]:
        """Change some fields; of a PIN, `pin` is what it is to be. Return the profile, and whether tokens are void by this.

        Raises ProfileNotFound, ProfileChanged, ProfileNameTaken, ProofTooOld, PinWrong, TooManyTries, AvatarFileUnknown and what
        `Profile.tidied` raises.
        """
        proven = await self._proven(owner_pin, viewer, at=at)
        if "pin" in changes:
            changes = {name: value for name, value in changes.items() if name != "pin"} | {
                "pin_hash": await self._pins.hash(changes["pin"])
            }
        async with self._begin() as store:
            others = await _settled(store, viewer, at=at)
            before = await _found(store, profile_id, viewer)
            if version and version != before.version:
                raise ProfileChanged(version=before.version)
            after = before.changed(changes)
            fields = differing(before, after)
            if not fields:
                return before, False
            caller = await caller_of(store, viewer, at=at)
            if demands_proof(caller, before, after):
                await demand_owner(store, caller, viewer, proven=proven, at=at)
            await _demand_presentable(store, after, others, viewer, at=at, before=before)
            after = replace(after, version=before.version + 1, update_time=at)
            await store.save_profile(after)
            voided = await _tell_tokens(store, before, after, at=at)
            told = tuple("pin" if name == "pin_hash" else name for name in fields)
            await store.record(ProfileUpdated(time=at, account_id=viewer.account_id, profile_id=profile_id, fields=told))
        if "pin_hash" in fields:
            await self._pins.forget_tries(profile_id)
        return after, voided

    async def delete_profile(self, profile_id: str, *, viewer: Viewer, at: datetime) -> None:
        """Delete a profile; one that is deleted already stays so. Raises ProfileNotFound, LastProfile, ProofTooOld."""
        async with self._begin() as store:
            others = await _settled(store, viewer, at=at)
            if await store.was_deleted(viewer.account_id, profile_id):
                return
            profile = await _found(store, profile_id, viewer)
            caller = await caller_of(store, viewer, at=at)
            if demands_proof(caller, profile, None):
                await demand_owner(store, caller, viewer, proven="", at=at)
            if len(others) == 1:
                raise LastProfile
            if not profile.is_limited:
                await store.leave_profile(viewer.account_id, profile_id)
            await store.delete_profile(profile, at=at)
            await store.revoke(viewer.account_id, "", at=at)
            await store.record(ProfileDeleted(time=at, account_id=viewer.account_id, profile_id=profile_id))

    async def switch_profile(self, profile_id: str, pin: str, *, viewer: Viewer, at: datetime) -> tuple[Profile, bool]:
        """Put the caller's session on a profile; return it, and whether the caller's token is void by this.

        Raises ProfileNotFound, SessionMissing, PinNeeded, PinWrong, TooManyTries, ProofTooOld.
        """
        async with self._read() as store:
            target = await _found(store, profile_id, viewer)
            found = await store.session(viewer.session_id) if viewer.session_id else None
        is_there = found is not None and found[0].profile_id == profile_id
        proven = "" if is_there else await self._pins.prove(target, pin, at=at)
        async with self._begin() as store:
            await store.take_turn(viewer.account_id)
            target = await _found(store, profile_id, viewer)
            found = await store.session(viewer.session_id) if viewer.session_id else None
            if found is None or found[0].account_id != viewer.account_id or not found[0].is_open(at=at):
                raise SessionMissing
            present = await caller_of(store, replace(viewer, profile_id=found[0].profile_id), at=at)
            if present.profile_id == profile_id:
                return target, False
            if target.pin_hash is not None:
                if proven != target.pin_hash:
                    raise PinNeeded
            elif present.is_limited and sees_more(target, present):
                await demand_owner(store, present, viewer, proven="", at=at)
            await store.switch_session(viewer.session_id, profile_id, use_up_proof=target.is_limited)
            await store.revoke(viewer.account_id, viewer.session_id, at=at)
        return target, True

    async def _proven(self, owner_pin: str, viewer: Viewer, *, at: datetime) -> str:
        """Return the hash that the caller proves to know of the profile they are on, nothing where they try no PIN."""
        if not owner_pin or not viewer.profile_id:
            return ""
        async with self._read() as store:
            caller = await store.profile(viewer.account_id, viewer.profile_id)
        return await self._pins.prove(caller, owner_pin, at=at)


async def _settled(store: ProfileStore, viewer: Viewer, *, at: datetime) -> list[Profile]:
    """Take the turn, and return the account's profiles, with the first one made if there was none. Raises AccountNotFound."""
    name = await store.take_turn(viewer.account_id)
    if name is None:
        raise AccountNotFound
    if found := await store.profiles(viewer.account_id):
        return found
    first = first_profile(viewer.account_id, name, at=at)
    await store.add_profile(first)
    await store.record(ProfileCreated(time=at, account_id=first.account_id, profile_id=first.profile_id))
    return [first]


async def _found(store: ProfileStore, profile_id: str, viewer: Viewer) -> Profile:
    profile = await store.profile(viewer.account_id, profile_id)
    if profile is None:
        raise ProfileNotFound(profile=profile_id)
    return profile


async def _tell_tokens(store: ProfileStore, before: Profile, after: Profile, *, at: datetime) -> bool:
    """Make tokens void if they say what holds no more, and tell whether they did.

    A proof given before a profile came to see less was not given by whom it limits now.
    """
    if not changes_limits(before, after):
        return False
    await store.revoke(after.account_id, "", at=at)
    if sees_more(before, after):
        await store.use_up_proofs(after.account_id, after.profile_id)
    return True


async def _demand_presentable(
    store: ProfileStore, profile: Profile, others: Sequence[Profile], viewer: Viewer, *, at: datetime, before: Profile | None = None
) -> None:
    """Raises ProfileNameTaken, AvatarFileUnknown."""
    if any(one.name_key == profile.name_key for one in others if one.profile_id != profile.profile_id):
        raise ProfileNameTaken(name=profile.name, field="profile.name")
    is_new = profile.avatar_file_id is not None and (before is None or before.avatar_file_id != profile.avatar_file_id)
    if is_new and not await store.shows_image(str(profile.avatar_file_id), viewer, at=at):
        raise AvatarFileUnknown(file=profile.avatar_file_id, field="profile.avatar_file_id")
