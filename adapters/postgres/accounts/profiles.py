"""The store of profiles and of requests for titles, and where their rows and dataclasses meet."""

from __future__ import annotations

from dataclasses import astuple
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import bindparam, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres import Connection, outbox
from adapters.postgres.accounts import revocations
from adapters.postgres.accounts.profile_limits import grants, is_id, profile, profile_of_row
from adapters.postgres.accounts.profile_tables import profiles, title_requests
from adapters.postgres.accounts.store import PostgresAccounts
from adapters.postgres.catalog.episodes import release_conditions
from adapters.postgres.media.uploads import PostgresUploads
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.accounts.model import Account, Session
from domain.accounts.profiles import Profile
from domain.accounts.title_requests import TitleRequest, TitleRequestState
from domain.kernel import Event, Viewer
from domain.visibility import Terms

# How long is shown what was decided, and known what was deleted.
KEPT = timedelta(days=90)


class PostgresProfiles:
    """Profiles on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def take_turn(self, account_id: str) -> str | None:
        name: str | None = await _TAKE_TURN.fetchval(self._connection, account_id=account_id)
        return name

    async def profiles(self, account_id: str) -> list[Profile]:
        return [profile_of_row(row) for row in await _PROFILES.fetch(self._connection, account_id=account_id)]

    async def profile(self, account_id: str, profile_id: str) -> Profile | None:
        return await profile(self._connection, account_id, profile_id)

    async def add_profile(self, profile: Profile) -> bool:
        return await _ADD.fetchval(self._connection, **_row(profile)) is not None

    async def save_profile(self, profile: Profile) -> None:
        row = _row(profile)
        await _SAVE.execute(self._connection, **{name: value for name, value in row.items() if name not in _FIXED})

    async def delete_profile(self, profile: Profile, *, at: datetime) -> None:
        await _FORGET.execute(self._connection, account_id=profile.account_id, before=at - KEPT)
        await _DELETE.execute(self._connection, profile_id=profile.profile_id, at=at)

    async def was_deleted(self, account_id: str, profile_id: str) -> bool:
        return bool(await _WAS_DELETED.fetchval(self._connection, account_id=account_id, profile_id=profile_id))

    async def session(self, session_id: str) -> tuple[Session, Account] | None:
        return await PostgresAccounts(self._connection).session(session_id) if is_id(session_id) else None

    async def switch_session(self, session_id: str, profile_id: str, *, use_up_proof: bool) -> None:
        await _SWITCH.execute(self._connection, session_id=session_id, profile_id=profile_id, use_up_proof=use_up_proof)

    async def use_up_proofs(self, account_id: str, profile_id: str) -> None:
        await _USE_UP.execute(self._connection, account_id=account_id, profile_id=profile_id)

    async def leave_profile(self, account_id: str, profile_id: str) -> None:
        await _LEAVE.execute(self._connection, account_id=account_id, profile_id=profile_id)

    async def revoke(self, account_id: str, session_id: str, *, at: datetime) -> None:
        rotated = await _ROTATED.fetchval(self._connection, account_id=account_id, session_id=session_id or None)
        await revocations.revoke(self._connection, account_id, session_id, at=max(at, rotated or at))

    async def revoke_profile(self, account_id: str, profile_id: str, *, at: datetime) -> None:
        for row in await _ON_PROFILE.fetch(self._connection, account_id=account_id, profile_id=profile_id):
            await self.revoke(account_id, row["session_id"], at=at)

    async def shows_image(self, file_id: str, viewer: Viewer, *, at: datetime) -> bool:
        use = await PostgresUploads(self._connection).use(file_id, at=at)
        return use is not None and use.file.kind.is_public and use.shown_to(viewer)

    async def release_terms(self, release_id: str) -> Terms | None:
        found = await release_conditions(self._connection, release_id)
        return found.terms if found else None

    async def title_request(self, account_id: str, title_request_id: str) -> TitleRequest | None:
        row = await _REQUEST.fetchrow(self._connection, account_id=account_id, title_request_id=title_request_id)
        return _request(row) if row else None

    async def waiting_requests(self, profile_id: str) -> list[TitleRequest]:
        rows = await _WAITING.fetch(self._connection, profile_id=profile_id, state=int(TitleRequestState.WAITING))
        return [_request(row) for row in rows]

    async def grants(self, profile_id: str, *, at: datetime) -> int:
        return len(await grants(self._connection, profile_id, at=at))

    async def add_title_request(self, request: TitleRequest) -> bool:
        await _PRUNE.execute(self._connection, profile_id=request.profile_id, before=request.create_time - KEPT)
        row = {column.name: getattr(request, column.name) for column in title_requests.c}
        return await _ADD_REQUEST.fetchval(self._connection, **row) is not None

    async def save_title_request(self, request: TitleRequest) -> None:
        row = {name: getattr(request, name) for name in ("title_request_id", *_DECIDED)}
        await _SAVE_REQUEST.execute(self._connection, **row)

    async def title_requests(
        self,
        account_id: str,
        *,
        profile_id: str,
        state: TitleRequestState | None,
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> list[TitleRequest]:
        time, request_id = after or (None, None)
        of = {"account_id": account_id, "profile_id": profile_id or None, "state": int(state) if state else None}
        rows = await _REQUESTS.fetch(self._connection, **of, after_time=time, after_id=request_id, limit=limit)
        return [_request(row) for row in rows]

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)


def _row(profile: Profile) -> dict[str, Any]:
    row = {column.name: getattr(profile, column.name) for column in _written}
    return row | {"allowed_hours": [astuple(one) for one in profile.allowed_hours]}


def _request(row: asyncpg.Record) -> TitleRequest:
    facts = {column.name: row[column.name] for column in title_requests.c}
    return TitleRequest(**facts | {"state": TitleRequestState(facts["state"])})


_written = [column for column in profiles.c if column.name != "delete_time"]
_FIXED = {"account_id", "create_digest", "create_time"}
_DECIDED = ("state", "decide_time", "expire_time")
_account_id = bindparam("account_id", type_=Id)
_profile_id = bindparam("profile_id", type_=Id)
# Whoever only refers to an account need not wait for this.
_TAKE_TURN = Statement(
    text("SELECT name FROM accounts.accounts WHERE account_id = :account_id AND delete_time IS NULL FOR NO KEY UPDATE")
)
_PROFILES = Statement(
    select(profiles)
    .where(profiles.c.account_id == _account_id, profiles.c.delete_time.is_(None))
    .order_by(profiles.c.create_time, profiles.c.profile_id)
)
_ADD = Statement(
    insert(profiles)
    .values({column.name: bindparam(column.name, type_=column.type) for column in _written})
    .on_conflict_do_nothing(index_elements=[profiles.c.profile_id])
    .returning(profiles.c.profile_id)
)
_SAVE = Statement(
    update(profiles)
    .where(profiles.c.profile_id == _profile_id)
    .values(
        {
            column.name: bindparam(column.name, type_=column.type)
            for column in _written
            if column.name not in {*_FIXED, "profile_id"}
        }
    )
)
_DELETE = Statement(
    text("""
    WITH requests AS (DELETE FROM accounts.title_requests WHERE profile_id = :profile_id)
    UPDATE accounts.profiles SET
        delete_time = :at, name = '', name_key = '', avatar = '', avatar_file_id = NULL, language = '', time_zone = '', region = '',
        pin_hash = NULL, allowed_hours = '[]', create_digest = ''
    WHERE profile_id = :profile_id
    """)
)
_FORGET = Statement(
    delete(profiles).where(profiles.c.account_id == _account_id, profiles.c.delete_time < bindparam("before", type_=Moment))
)
_WAS_DELETED = Statement(
    text("SELECT delete_time IS NOT NULL FROM accounts.profiles WHERE account_id = :account_id AND profile_id = :profile_id")
)
_SWITCH = Statement(
    text("""
    UPDATE accounts.sessions SET profile_id = :profile_id,
        proof_time = CASE WHEN CAST(:use_up_proof AS boolean) THEN 'epoch' ELSE proof_time END
    WHERE session_id = :session_id
    """)
)
_USE_UP = Statement(
    text("""
    UPDATE accounts.sessions SET proof_time = 'epoch' WHERE account_id = :account_id AND profile_id = CAST(:profile_id AS text)
    """)
)
_LEAVE = Statement(
    text("UPDATE accounts.sessions SET profile_id = '' WHERE account_id = :account_id AND profile_id = CAST(:profile_id AS text)")
)
_ON_PROFILE = Statement(
    text("""
    SELECT session_id FROM accounts.sessions
    WHERE account_id = :account_id AND profile_id = CAST(:profile_id AS text) AND end_time IS NULL
    """)
)
# Behind this whoever refreshes waits, and then reads what is new; tokens of those who came before it are void too.
_ROTATED = Statement(
    text("""
    WITH turns AS (
        SELECT rotate_time FROM accounts.sessions
        WHERE account_id = :account_id AND end_time IS NULL AND session_id = coalesce(CAST(:session_id AS uuid), session_id)
        ORDER BY session_id FOR UPDATE
    )
    SELECT max(rotate_time) FROM turns
    """)
)
_REQUEST = Statement(
    select(title_requests).where(
        title_requests.c.account_id == _account_id, title_requests.c.title_request_id == bindparam("title_request_id", type_=Id)
    )
)
_WAITING = Statement(
    select(title_requests).where(title_requests.c.profile_id == _profile_id, title_requests.c.state == bindparam("state"))
)
_PRUNE = Statement(
    text("DELETE FROM accounts.title_requests WHERE profile_id = :profile_id AND state <> 1 AND create_time < :before")
)
_ADD_REQUEST = Statement(
    insert(title_requests)
    .values({column.name: bindparam(column.name, type_=column.type) for column in title_requests.c})
    .on_conflict_do_nothing(index_elements=[title_requests.c.title_request_id])
    .returning(title_requests.c.title_request_id)
)
_SAVE_REQUEST = Statement(
    update(title_requests)
    .where(title_requests.c.title_request_id == bindparam("title_request_id", type_=Id))
    .values({name: bindparam(name, type_=title_requests.c[name].type) for name in _DECIDED})
)
_REQUESTS = Statement(
    text("""
    SELECT * FROM accounts.title_requests
    WHERE account_id = :account_id
    AND (CAST(:profile_id AS uuid) IS NULL OR profile_id = :profile_id)
    AND (CAST(:state AS smallint) IS NULL OR state = :state)
    AND (CAST(:after_time AS timestamptz) IS NULL OR (create_time, title_request_id) < (:after_time, CAST(:after_id AS uuid)))
    ORDER BY create_time DESC, title_request_id DESC LIMIT :limit
    """)
)
