"""ProfilesService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from ani.accounts.v1 import profile_pb2
from ani.accounts.v1 import profiles_service_pb2 as pb
from domain.accounts.allowed_hours import AllowedHours
from domain.accounts.profile_service import Profiles
from domain.accounts.profiles import ADULT, AVATARS, KIDS_CEILING, Profile, ProfileFieldUnknown
from domain.accounts.title_requests import TitleRequest, TitleRequests, TitleRequestState
from domain.kernel import Page, Viewer, new_id
from server.pipeline.call import Call


class ProfilesServicer:
    """Serves the viewers of an account."""

    def __init__(self, profiles: Profiles, requests: TitleRequests) -> None:
        self._profiles = profiles
        self._requests = requests

    async def ListProfiles(self, request: pb.ListProfilesRequest, call: Call) -> pb.ListProfilesResponse:
        profiles = await self._profiles.list_profiles(viewer=call.viewer, at=call.now)
        return pb.ListProfilesResponse(profiles=map(_to_pb, profiles), avatars=AVATARS, current_profile_id=call.viewer.profile_id)

    async def GetProfile(self, request: pb.GetProfileRequest, call: Call) -> pb.GetProfileResponse:
        profile = await self._profiles.get_profile(request.profile_id, viewer=call.viewer)
        return pb.GetProfileResponse(profile=_to_pb(profile))

    async def CreateProfile(self, request: pb.CreateProfileRequest, call: Call) -> pb.CreateProfileResponse:
        wanted = _from_pb(request.profile, viewer=call.viewer, at=call.now)
        profile = await self._profiles.create_profile(wanted, request.profile.pin, viewer=call.viewer, at=call.now)
        return pb.CreateProfileResponse(profile=_to_pb(profile))

    async def UpdateProfile(self, request: pb.UpdateProfileRequest, call: Call) -> pb.UpdateProfileResponse:
        profile, voided = await self._profiles.update_profile(
            request.profile.profile_id,
            _changes(request.profile, request.update_mask),
            version=request.profile.version,
            owner_pin=request.owner_pin,
            viewer=call.viewer,
            at=call.now,
        )
        return pb.UpdateProfileResponse(profile=_to_pb(profile), refresh_needed=voided)

    async def DeleteProfile(self, request: pb.DeleteProfileRequest, call: Call) -> pb.DeleteProfileResponse:
        await self._profiles.delete_profile(request.profile_id, viewer=call.viewer, at=call.now)
        return pb.DeleteProfileResponse()

    async def SwitchProfile(self, request: pb.SwitchProfileRequest, call: Call) -> pb.SwitchProfileResponse:
        profile, voided = await self._profiles.switch_profile(request.profile_id, request.pin, viewer=call.viewer, at=call.now)
        return pb.SwitchProfileResponse(profile=_to_pb(profile), refresh_needed=voided)

    async def RequestTitle(self, request: pb.RequestTitleRequest, call: Call) -> pb.RequestTitleResponse:
        wanted = request.title_request
        made = await self._requests.request_title(
            wanted.release_id,
            wanted.note,
            title_request_id=wanted.title_request_id or new_id(at=call.now),
            viewer=call.viewer,
            at=call.now,
        )
        return pb.RequestTitleResponse(title_request=_request_to_pb(made))

    async def ListTitleRequests(self, request: pb.ListTitleRequestsRequest, call: Call) -> pb.ListTitleRequestsResponse:
        state = TitleRequestState(request.state) if request.state else None
        page = Page(request.page_size, request.page_token)
        found, following = await self._requests.list_title_requests(state, page, viewer=call.viewer, at=call.now)
        return pb.ListTitleRequestsResponse(title_requests=map(_request_to_pb, found), next_page_token=following)

    async def DecideTitleRequest(self, request: pb.DecideTitleRequestRequest, call: Call) -> pb.DecideTitleRequestResponse:
        decided = await self._requests.decide_title_request(
            request.title_request_id, grant=request.grant, owner_pin=request.owner_pin, viewer=call.viewer, at=call.now
        )
        return pb.DecideTitleRequestResponse(title_request=_request_to_pb(decided))


def _from_pb(message: profile_pb2.Profile, *, viewer: Viewer, at: datetime) -> Profile:
    """Read a profile that is to be created."""
    usual = KIDS_CEILING if message.kids else ADULT
    return Profile(
        profile_id=message.profile_id or new_id(at=at),
        account_id=viewer.account_id,
        name=message.name,
        avatar=message.avatar or AVATARS[0],
        avatar_file_id=message.avatar_file_id or None,
        language=message.language,
        time_zone=message.time_zone or "UTC",
        region=message.region,
        maturity=message.maturity_limit if message.HasField("maturity_limit") else usual,
        kids=message.kids,
        allowed_hours=_hours(message),
        private_session=message.private_session,
        public_statistics=message.public_statistics,
        create_time=at,
        update_time=at,
    )


def _hours(message: profile_pb2.Profile) -> tuple[AllowedHours, ...]:
    return tuple(AllowedHours(one.weekday, one.start_minute, one.end_minute) for one in message.allowed_hours)


def _plain(name: str) -> Callable[[profile_pb2.Profile], Any]:
    return lambda message: getattr(message, name)


# By the field's name: what it is called in the domain, and how it is read.
_READERS: dict[str, tuple[str, Callable[[profile_pb2.Profile], Any]]] = {
    "maturity_limit": ("maturity", lambda m: m.maturity_limit if m.HasField("maturity_limit") else ADULT),
    "avatar": ("avatar", lambda m: m.avatar or AVATARS[0]),
    "avatar_file_id": ("avatar_file_id", lambda m: m.avatar_file_id or None),
    "time_zone": ("time_zone", lambda m: m.time_zone or "UTC"),
    "allowed_hours": ("allowed_hours", _hours),
    **{
        name: (name, _plain(name)) for name in ("name", "language", "region", "kids", "pin", "private_session", "public_statistics")
    },
}


def _changes(message: profile_pb2.Profile, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises ProfileFieldUnknown."""
    for path in mask.paths:
        if path not in _READERS:
            raise ProfileFieldUnknown(path=path, field="update_mask")
    return {name: read(message) for name, read in (_READERS[path] for path in mask.paths)}


def _to_pb(profile: Profile) -> profile_pb2.Profile:
    plain = (
        "profile_id", "name", "avatar", "language", "time_zone", "region", "kids", "private_session", "public_statistics",
        "version",
    )  # fmt: skip
    message = profile_pb2.Profile(
        **{name: getattr(profile, name) for name in plain},
        avatar_file_id=profile.avatar_file_id or "",
        maturity_limit=profile.maturity,
        has_pin=profile.pin_hash is not None,
        allowed_hours=[
            profile_pb2.AllowedHours(weekday=one.weekday, start_minute=one.start_minute, end_minute=one.end_minute)
            for one in profile.allowed_hours
        ],
    )
    message.create_time.FromDatetime(profile.create_time)
    message.update_time.FromDatetime(profile.update_time)
    return message


def _request_to_pb(request: TitleRequest) -> profile_pb2.TitleRequest:
    message = profile_pb2.TitleRequest(
        title_request_id=request.title_request_id,
        profile_id=request.profile_id,
        release_id=request.release_id,
        note=request.note,
        state=request.state.value,  # type: ignore[arg-type]
    )
    message.create_time.FromDatetime(request.create_time)
    if request.decide_time is not None:
        message.decide_time.FromDatetime(request.decide_time)
    if request.expire_time is not None:
        message.expire_time.FromDatetime(request.expire_time)
    return message
