"""Households: an account with profiles, and sessions on some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.postgres import Database, bare
from ani.accounts.v1 import profile_pb2, session_service_pb2, sign_in_pb2
from ani.accounts.v1 import profiles_service_pb2 as pb
from domain.accounts.profiles import Profile
from domain.kernel import Role, Viewer, new_id
from tests.accounts.people import People, bearer
from tests.builders import NOON
from tests.serving import Metadata, Served

LONG_AGO = timedelta(hours=5)
_ACCOUNT = """
    INSERT INTO accounts.accounts (
        account_id, email, email_key, name, name_key, role, language, version, create_time, update_time
    ) VALUES ($1, $2, $2, $3, $2, 1, 'ja', 1, $4, $4)
"""
_SESSION = """
    INSERT INTO accounts.sessions (
        session_id, account_id, profile_id, kind, client, device_id, device_name, address, country, create_time, use_time,
        proof_time, expire_time, generation, refresh_hash, rotate_time
    ) VALUES ($1, $2, $3, 1, '', '', '', '', '', $4, $4, $5, $6, 0, '', $4)
"""


def a_profile(**over: Any) -> Profile:
    facts: dict[str, Any] = {
        "profile_id": new_id(at=NOON),
        "account_id": new_id(at=NOON),
        "name": "Mio",
        "create_time": NOON,
        "update_time": NOON,
    }
    return Profile(**facts | over)


async def an_account(database: Database, name: str = "Akiyama") -> str:
    """Put an account into the database."""
    account_id = new_id(at=NOON)
    async with database.begins(bare)() as connection:
        await connection.execute(_ACCOUNT, account_id, f"{account_id}@example.org", name, NOON)
    return account_id


async def a_session(
    database: Database, account_id: str, profile_id: str = "", *, at: datetime, proven: timedelta = LONG_AGO
) -> str:
    """Sign an account in, on a profile, and with a proof so old."""
    session_id = new_id(at=at)
    async with database.begins(bare)() as connection:
        ends = at + timedelta(days=60)
        await connection.execute(_SESSION, session_id, account_id, profile_id, at - LONG_AGO, at - proven, ends)
    return session_id


def as_viewer(account_id: str, profile: Profile | None = None, session_id: str = "", **over: Any) -> Viewer:
    """Return what a token says of somebody on a profile."""
    limits = {"profile_id": profile.profile_id, "maturity": profile.maturity} if profile else {}
    facts: dict[str, Any] = {"account_id": account_id, "role": Role.USER, "session_id": session_id, "country": "JP"}
    return Viewer(**facts | limits | over)


@dataclass(frozen=True, slots=True)
class Household:
    """A household at a server."""

    served: Served
    token: Callable[..., Metadata]
    database: Database
    account_id: str

    def on(self, profile: profile_pb2.Profile | None = None, session_id: str = "", **claims: Any) -> Metadata:
        """Return what somebody calls with who is on a profile; it is made anew each time, since changes make old ones void."""
        limits = {"profile": profile.profile_id, "maturity": profile.maturity_limit} if profile else {}
        return self.token(account_id=self.account_id, sid=session_id, **limits | claims)

    async def session(self, profile: profile_pb2.Profile | None = None, *, proven: timedelta = LONG_AGO) -> str:
        at = datetime.now(UTC)
        return await a_session(self.database, self.account_id, profile.profile_id if profile else "", at=at, proven=proven)

    async def add(self, name: str, **facts: Any) -> profile_pb2.Profile:
        request = pb.CreateProfileRequest(profile=profile_pb2.Profile(name=name, **facts))
        return (await self.served.profiles.CreateProfile(request, metadata=self.on())).profile

    async def profiles(self) -> list[profile_pb2.Profile]:
        return list((await self.served.profiles.ListProfiles(pb.ListProfilesRequest(), metadata=self.on())).profiles)


@dataclass(slots=True)
class Family:
    """A household that really signed in: a device, with a parent's profile behind a PIN and a child's."""

    people: People
    tokens: sign_in_pb2.Tokens
    parent: profile_pb2.Profile
    kid: profile_pb2.Profile

    @classmethod
    async def of(cls, people: People) -> Family:
        nobody = profile_pb2.Profile()
        family = cls(people, await people.register("Mio"), nobody, nobody)
        family.parent = await family.add("Parent", pin="4321")
        family.kid = await family.add("Yui", kids=True)
        return family

    async def elsewhere(self) -> Family:
        """Sign in on another device."""
        step = await self.people.sign_in("mio@example.org")
        return Family(self.people, step.tokens, self.parent, self.kid)

    async def add(self, name: str, **facts: Any) -> profile_pb2.Profile:
        request = pb.CreateProfileRequest(profile=profile_pb2.Profile(name=name, **facts))
        return (await self.people.served.profiles.CreateProfile(request, metadata=bearer(self.tokens))).profile

    async def refresh(self) -> Metadata:
        request = session_service_pb2.RefreshTokensRequest(refresh_token=self.tokens.refresh_token)
        self.tokens = (await self.people.served.sessions.RefreshTokens(request)).tokens
        return bearer(self.tokens)

    async def switch(self, profile: profile_pb2.Profile, pin: str = "") -> Metadata:
        request = pb.SwitchProfileRequest(profile_id=profile.profile_id, pin=pin)
        await self.people.served.profiles.SwitchProfile(request, metadata=bearer(self.tokens))
        return await self.refresh()
