"""What access tokens say of profiles, read when one is issued."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import bindparam, select, text

from adapters.postgres import Connection
from adapters.postgres.accounts.device_tables import guest_passes
from adapters.postgres.accounts.profile_tables import profiles
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.accounts.allowed_hours import AllowedHours
from domain.accounts.model import Limits
from domain.accounts.profiles import CLOSED, Profile


async def limits(connection: Connection, account_id: str, profile_id: str, *, at: datetime) -> Limits:
    """Return what a token says of a profile, or of the account where none is named; of one that is gone, that nothing is open.

    A guest's profile is their pass.
    """
    if not profile_id:
        return Limits()
    found = await profile(connection, account_id, profile_id)
    if found is None:
        return await _guest_limits(connection, account_id, profile_id, at=at) if is_id(profile_id) else CLOSED
    return found.limits(await grants(connection, profile_id, at=at) if found.is_limited else [], at=at)


async def profile(connection: Connection, account_id: str, profile_id: str) -> Profile | None:
    """Return a profile of an account."""
    row = await _PROFILE.fetchrow(connection, account_id=account_id, profile_id=profile_id) if is_id(profile_id) else None
    return profile_of_row(row) if row else None


async def grants(connection: Connection, profile_id: str, *, at: datetime) -> list[tuple[str, datetime]]:
    """Return the releases that a profile may see for now, each with the time until which it may."""
    return [(row["release_id"], row["expire_time"]) for row in await _GRANTS.fetch(connection, profile_id=profile_id, at=at)]


async def _guest_limits(connection: Connection, account_id: str, profile_id: str, *, at: datetime) -> Limits:
    row = await _GUEST.fetchrow(connection, account_id=account_id, profile_id=profile_id, at=at)
    return Limits(maturity=row["maturity"], until=row["expire_time"], is_limited=True) if row else CLOSED


def is_id(text: str) -> bool:
    """Tell whether it can be one: what a token says may be anything."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def profile_of_row(row: asyncpg.Record) -> Profile:
    left_out = {"name_key", "allowed_hours", "delete_time"}
    facts = {column.name: row[column.name] for column in profiles.c if column.name not in left_out}
    return Profile(**facts, allowed_hours=tuple(AllowedHours(*one) for one in row["allowed_hours"]))


_PROFILE = Statement(
    select(profiles).where(
        profiles.c.account_id == bindparam("account_id", type_=Id),
        profiles.c.profile_id == bindparam("profile_id", type_=Id),
        profiles.c.delete_time.is_(None),
    )
)
_GUEST = Statement(
    select(guest_passes.c.maturity, guest_passes.c.expire_time).where(
        guest_passes.c.account_id == bindparam("account_id", type_=Id),
        guest_passes.c.guest_pass_id == bindparam("profile_id", type_=Id),
        guest_passes.c.redeem_time.is_not(None),
        guest_passes.c.end_time.is_(None),
        guest_passes.c.expire_time > bindparam("at", type_=Moment),
    )
)
_GRANTS = Statement(
    text("""
    SELECT release_id, max(expire_time) AS expire_time FROM accounts.title_requests
    WHERE profile_id = :profile_id AND state = 2 AND expire_time > :at GROUP BY release_id
    """)
)
