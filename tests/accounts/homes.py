"""A household over the real store, and what it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from adapters.passwords import Argon2Passwords
from adapters.postgres import Database, bare
from adapters.postgres.accounts.profile_limits import limits
from adapters.postgres.accounts.profiles import PostgresProfiles
from adapters.postgres.accounts.store import PostgresAccounts
from adapters.postgres.catalog.store import PostgresCatalog
from domain.accounts.model import Limits
from domain.accounts.owners import Pins
from domain.accounts.profile_service import Profiles
from domain.accounts.profiles import (
    Profile,
)
from domain.accounts.throttle import Throttle
from domain.accounts.title_requests import (
    TitleRequest,
    TitleRequests,
)
from domain.catalog.model import Release
from domain.kernel import Viewer, new_id
from tests.accounts.households import a_profile, a_session, an_account, as_viewer
from tests.builders import NOON, a_release

JUST_NOW = timedelta(minutes=1)
MINUTE = timedelta(minutes=1)


class Home:
    """A household, and what it does."""

    def __init__(self, database: Database, profiles: Profiles, requests: TitleRequests, account_id: str) -> None:
        self.database = database
        self.profiles = profiles
        self.requests = requests
        self.account_id = account_id

    def viewer(self, profile: Profile | None = None, session_id: str = "", **over: Any) -> Viewer:
        return as_viewer(self.account_id, profile, session_id, **over)

    async def session(self, profile: Profile | None = None, *, proven: timedelta = timedelta(hours=5)) -> str:
        return await a_session(self.database, self.account_id, profile.profile_id if profile else "", at=NOON, proven=proven)

    async def add(self, name: str, pin: str = "", **facts: Any) -> Profile:
        wanted = a_profile(name=name, account_id=self.account_id, **facts)
        return await self.profiles.create_profile(wanted, pin, viewer=self.viewer(), at=NOON)

    async def kid(self, name: str = "Yui", **facts: Any) -> Profile:
        return await self.add(name, **{"kids": True, "maturity": 12} | facts)

    async def update(
        self, profile: Profile, changes: dict[str, Any], *, by: Viewer, owner_pin: str = "", version: int = 0
    ) -> Profile:
        after, _ = await self.profiles.update_profile(
            profile.profile_id, changes, version=version, owner_pin=owner_pin, viewer=by, at=NOON
        )
        return after

    async def listed(self) -> list[Profile]:
        return await self.profiles.list_profiles(viewer=self.viewer(), at=NOON)

    async def release(self, **facts: Any) -> Release:
        release = a_release(**{"age_rating": 16} | facts)
        async with self.database.begins(PostgresCatalog)() as catalog:
            assert await catalog.add_release(release)
        return release

    async def poster(self, release: Release) -> str:
        """Attach a poster to a release, and return its id."""
        file_id = new_id(at=NOON)
        async with self.database.begins(bare)() as connection:
            await connection.execute(
                """
                INSERT INTO media.files (
                    file_id, kind, content_type, size, sha256, width, height, language, key, upload_digest, account_id, create_time
                ) VALUES ($1, 1, 'image/webp', 1, '', 1, 1, '', $1::uuid::text, '', '', $2)
                """,
                file_id,
                NOON,
            )
            attach = "INSERT INTO media.attachments (owner_kind, owner_id, file_id, position) VALUES (1, $1, $2, 0)"
            await connection.execute(attach, release.release_id, file_id)
        return file_id

    async def ask(self, release: Release, by: Viewer, *, title_request_id: str = "", note: str = "") -> TitleRequest:
        return await self.requests.request_title(
            release.release_id, note, title_request_id=title_request_id or new_id(at=NOON), viewer=by, at=NOON
        )

    async def decide(
        self, request: TitleRequest, by: Viewer, *, grant: bool = True, owner_pin: str = "", **later: float
    ) -> TitleRequest:
        return await self.requests.decide_title_request(
            request.title_request_id, grant=grant, owner_pin=owner_pin, viewer=by, at=NOON + timedelta(**later)
        )

    async def limits(self, profile_id: str, **later: float) -> Limits:
        async with self.database.reads(bare)() as connection:
            return await limits(connection, self.account_id, profile_id, at=NOON + timedelta(**later))

    async def events(self) -> list[str]:
        async with self.database.reads(bare)() as connection:
            return [row["name"] for row in await connection.fetch("SELECT name FROM platform.events ORDER BY number")]

    async def revoked(self) -> list[str]:
        """Return the sessions whose tokens were made void, with nothing for all of them."""
        async with self.database.reads(bare)() as connection:
            rows = await connection.fetch("SELECT session_id FROM accounts.revocations ORDER BY revocation_id")
            return [row["session_id"] for row in rows]

    async def profile_of(self, session_id: str) -> str:
        async with self.database.reads(PostgresAccounts)() as store:
            found = await store.session(session_id)
        assert found is not None
        return found[0].profile_id


@pytest.fixture
async def pins(database: Database) -> AsyncIterator[Pins]:
    passwords = Argon2Passwords(memory_kib=64, rounds=1, lanes=1)
    yield Pins(passwords, Throttle(begin=database.begins(PostgresAccounts)))
    passwords.close()


@pytest.fixture
async def home(database: Database, pins: Pins) -> Home:
    begin, read = database.begins(PostgresProfiles), database.reads(PostgresProfiles)
    profiles, requests = Profiles(begin=begin, read=read, pins=pins), TitleRequests(begin=begin, read=read, pins=pins)
    return Home(database, profiles, requests, await an_account(database))
