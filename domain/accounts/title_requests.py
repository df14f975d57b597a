"""Requests for titles: what a child wants to see although its profile may not, and what the account's owner says to that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol

from domain.accounts.owners import OwnerStore, Pins, caller_of, demand_owner
from domain.accounts.profiles import ADULT
from domain.kernel import Begin, Event, FailedPrecondition, InvalidArgument, NotFound, Page, PermissionDenied, Role, Viewer
from domain.paging import page_place, page_token
from domain.visibility import Sight, Terms, sight

GRANTED_FOR = timedelta(hours=2)
MOST_WAITING = 20
# Each of them stands in the profile's tokens.
MOST_GRANTS = 10


class TitleRequestState(IntEnum):
    """What became of a request."""

    WAITING = 1
    GRANTED = 2
    REFUSED = 3


class TitleNotFound(NotFound):
    """Raised when there is no such release, or none that anybody may see where the caller is."""

    text = "There is no release {release}."


class TitleNotAboveLimit(FailedPrecondition):
    """Raised when a title is asked for that may be seen anyway."""

    text = "This profile may see the release already."


class TitleRequestNotFound(NotFound):
    """Raised when the account has no such request, or none of the caller's profile where that is limited."""

    text = "There is no request {request}."


class TitleRequestIdReused(InvalidArgument):
    """Raised when an id is used for another request than before."""

    text = "The id {request} belongs to another request: choose another one."


class TitleRequestsFull(FailedPrecondition):
    """Raised when a profile has as many requests waiting as it may."""

    text = "{most} requests wait already."


class TitleRequestOver(FailedPrecondition):
    """Raised when a request is to be decided about whose grant has ended: the child asks again."""

    text = "The grant of this request has ended."


class GrantsFull(FailedPrecondition):
    """Raised when a profile has as many grants as it may have at once."""

    text = "A profile has at most {most} grants at once."


class ProfileIsLimited(PermissionDenied):
    """Raised when a limited profile is to decide what a limited profile may see."""

    text = "This is decided from a profile without limits."


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleRequest:
    """A child's wish to see one release."""

    title_request_id: str
    account_id: str
    profile_id: str
    release_id: str
    note: str = ""
    state: TitleRequestState = TitleRequestState.WAITING
    create_time: datetime
    decide_time: datetime | None = None
    # When its grant ends.
    expire_time: datetime | None = None

    def holds(self, *, at: datetime) -> bool:
        return self.state is TitleRequestState.GRANTED and self.expire_time is not None and self.expire_time > at

    def decided(self, *, grant: bool, at: datetime) -> TitleRequest:
        """Return it after a decision. Raises TitleRequestOver."""
        if self.state is TitleRequestState.GRANTED and not self.holds(at=at):
            raise TitleRequestOver
        if grant:
            expire_time = self.expire_time if self.holds(at=at) else at + GRANTED_FOR
            decide_time = self.decide_time if self.holds(at=at) else at
            return replace(self, state=TitleRequestState.GRANTED, decide_time=decide_time, expire_time=expire_time)
        if self.state is TitleRequestState.REFUSED:
            return self
        return replace(self, state=TitleRequestState.REFUSED, decide_time=at, expire_time=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleRequested(Event):
    """A limited profile asks for a title."""

    account_id: str
    profile_id: str
    title_request_id: str
    release_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleGranted(Event):
    """A limited profile may see a title for a time."""

    account_id: str
    profile_id: str
    title_request_id: str
    release_id: str
    expire_time: datetime


class TitleRequestStore(OwnerStore, Protocol):
    """Requests for titles within one unit of work."""

    async def take_turn(self, account_id: str) -> str | None:
        """Let nobody else decide for the account until the unit of work ends."""

    async def release_terms(self, release_id: str) -> Terms | None: ...

    async def title_request(self, account_id: str, title_request_id: str) -> TitleRequest | None: ...

    async def waiting_requests(self, profile_id: str) -> list[TitleRequest]: ...

    async def grants(self, profile_id: str, *, at: datetime) -> int:
        """Return how many grants of a profile hold."""

    async def add_title_request(self, request: TitleRequest) -> bool:
        """Keep a new request; False when its id is taken, be it by another account's."""

    async def save_title_request(self, request: TitleRequest) -> None: ...

    async def title_requests(
        self,
        account_id: str,
        *,
        profile_id: str,
        state: TitleRequestState | None,
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> Sequence[TitleRequest]:
        """Return requests of an account, of one of its profiles where one is named, the newest first."""

    async def revoke_profile(self, account_id: str, profile_id: str, *, at: datetime) -> None:
        """Make the access tokens of all sessions void that are on a profile."""

    async def record(self, event: Event) -> None: ...


class TitleRequests:
    """Requests for titles, one method for each RPC."""

    def __init__(self, *, begin: Begin[TitleRequestStore], read: Begin[TitleRequestStore], pins: Pins) -> None:
        self._begin = begin
        self._read = read
        self._pins = pins

    async def request_title(
        self, release_id: str, note: str, *, title_request_id: str, viewer: Viewer, at: datetime
    ) -> TitleRequest:
        """Raises TitleNotFound, TitleNotAboveLimit, TitleRequestIdReused, TitleRequestsFull."""
        wanted = TitleRequest(
            title_request_id=title_request_id,
            account_id=viewer.account_id,
            profile_id=viewer.profile_id,
            release_id=release_id,
            note=note,
            create_time=at,
        )
        async with self._begin() as store:
            await store.take_turn(viewer.account_id)
            if before := await store.title_request(viewer.account_id, title_request_id):
                if not _same(before, wanted):
                    raise TitleRequestIdReused(request=title_request_id, field="title_request.title_request_id")
                return before
            await self._demand_above_limit(store, release_id, viewer, at=at)
            waiting = await store.waiting_requests(viewer.profile_id)
            if found := next((one for one in waiting if one.release_id == release_id), None):
                return found
            if len(waiting) >= MOST_WAITING:
                raise TitleRequestsFull(most=MOST_WAITING)
            if not await store.add_title_request(wanted):
                raise TitleRequestIdReused(request=title_request_id, field="title_request.title_request_id")
            await store.record(TitleRequested(time=at, **_named(wanted)))
        return wanted

    async def _demand_above_limit(self, store: TitleRequestStore, release_id: str, viewer: Viewer, *, at: datetime) -> None:
        caller = await caller_of(store, viewer, at=at)
        terms = await store.release_terms(release_id)
        seen = sight(terms, viewer) if terms else None
        if terms is None or sight(terms, replace(viewer, maturity=ADULT, role=Role.USER)) is not Sight.VISIBLE:
            raise TitleNotFound(release=release_id)
        # A profile that is gone has nobody who could be granted anything.
        if seen is Sight.VISIBLE or not await store.profile(viewer.account_id, caller.profile_id):
            raise TitleNotAboveLimit

    async def list_title_requests(
        self, state: TitleRequestState | None, page: Page, *, viewer: Viewer, at: datetime
    ) -> tuple[list[TitleRequest], str]:
        """Return a page of the account's requests, or of the caller's profile where that is limited. Raises PageTokenInvalid."""
        async with self._read() as store:
            caller = await caller_of(store, viewer, at=at)
            profile_id = caller.profile_id if caller.is_limited else ""
            binding = f"title requests {viewer.account_id} {profile_id} {state}"
            after = page_place(page.token, binding=binding)
            found = list(
                await store.title_requests(viewer.account_id, profile_id=profile_id, state=state, after=after, limit=page.size + 1)
            )
        shown = found[: page.size]
        more = len(found) > page.size
        return shown, page_token(shown[-1].create_time, shown[-1].title_request_id, binding=binding) if more else ""

    async def decide_title_request(
        self, title_request_id: str, *, grant: bool, owner_pin: str, viewer: Viewer, at: datetime
    ) -> TitleRequest:
        """Raises TitleRequestNotFound, ProfileIsLimited, TitleRequestOver, GrantsFull, ProofTooOld, PinWrong, TooManyTries."""
        async with self._read() as store:
            caller = await caller_of(store, viewer, at=at)
        if caller.is_limited:
            raise ProfileIsLimited
        proven = await self._pins.prove(caller, owner_pin, at=at) if grant and owner_pin else ""
        async with self._begin() as store:
            await store.take_turn(viewer.account_id)
            before = await store.title_request(viewer.account_id, title_request_id)
            if before is None:
                raise TitleRequestNotFound(request=title_request_id)
            caller = await caller_of(store, viewer, at=at)
            if caller.is_limited:
                raise ProfileIsLimited
            if grant:
                await demand_owner(store, caller, viewer, proven=proven, at=at)
            after = before.decided(grant=grant, at=at)
            if after == before:
                return before
            if grant and await store.grants(before.profile_id, at=at) >= MOST_GRANTS:
                raise GrantsFull(most=MOST_GRANTS)
            await store.save_title_request(after)
            if grant or before.holds(at=at):
                await store.revoke_profile(viewer.account_id, before.profile_id, at=at)
            if grant and after.expire_time is not None:
                await store.record(TitleGranted(time=at, expire_time=after.expire_time, **_named(after)))
        return after


def _same(before: TitleRequest, wanted: TitleRequest) -> bool:
    return (before.profile_id, before.release_id, before.note) == (wanted.profile_id, wanted.release_id, wanted.note)


def _named(request: TitleRequest) -> dict[str, str]:
    return {
        "account_id": request.account_id,
        "profile_id": request.profile_id,
        "title_request_id": request.title_request_id,
        "release_id": request.release_id,
    }
