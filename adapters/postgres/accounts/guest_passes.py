"""The store of guest passes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres.accounts.device_tables import guest_passes
from adapters.postgres.accounts.profile_limits import profile
from adapters.postgres.accounts.store import PostgresAccounts
from adapters.postgres.accounts.tables import sessions
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.accounts.guest_passes import GuestPass
from domain.accounts.profiles import Profile

_NAMES = [column.name for column in guest_passes.c]
_at = bindparam("at", type_=Moment)
_account_id = bindparam("account_id", type_=Id)
_is_open = and_(guest_passes.c.end_time.is_(None), guest_passes.c.expire_time > _at)
_signed_out = (
    select(sessions.c.session_id)
    .where(sessions.c.session_id == guest_passes.c.session_id, sessions.c.end_time.is_not(None))
    .exists()
)

_ADD = Statement(insert(guest_passes).values({name: bindparam(name) for name in _NAMES}).on_conflict_do_nothing())
_LIST = Statement(
    select(guest_passes)
    .where(guest_passes.c.account_id == _account_id, _is_open, ~_signed_out)
    .order_by(guest_passes.c.guest_pass_id.desc())
)
_END = Statement(
    update(guest_passes)
    .where(
        guest_passes.c.account_id == _account_id,
        guest_passes.c.guest_pass_id == bindparam("guest_pass_id", type_=Id),
        guest_passes.c.end_time.is_(None),
    )
    .values(end_time=_at)
    .returning(guest_passes)
)
_REDEEM = Statement(
    update(guest_passes)
    .where(guest_passes.c.code_mark == bindparam("mark"), guest_passes.c.redeem_time.is_(None), _is_open)
    .values(redeem_time=_at, expire_time=bindparam("expires", type_=Moment), device_name=bindparam("named"))
    .returning(guest_passes)
)
_SIGN_IN = Statement(
    update(guest_passes)
    .where(guest_passes.c.guest_pass_id == bindparam("signed_in", type_=Id))
    .values(session_id=bindparam("session", type_=Id))
)
_END_ALL = Statement(
    update(guest_passes)
    .where(guest_passes.c.end_time.is_(None), or_(guest_passes.c.expire_time <= _at, _signed_out))
    .values(end_time=_at)
    .returning(guest_passes)
)
_TAKE_ENDED = Statement(
    text(
        """
        WITH gone AS (DELETE FROM accounts.guest_passes WHERE end_time <= :before RETURNING *),
        left_over AS (DELETE FROM accounts.sessions USING gone WHERE sessions.session_id = gone.session_id)
        SELECT * FROM gone ORDER BY guest_pass_id
        """
    ).bindparams(bindparam("before", type_=Moment))
)


class PostgresGuestPasses(PostgresAccounts):
    """Guest passes, besides the accounts of their hosts, on one connection."""

    async def profile(self, account_id: str, profile_id: str) -> Profile | None:
        return await profile(self.connection, account_id, profile_id)

    async def add_guest_pass(self, guest_pass: GuestPass) -> bool:
        row = {name: getattr(guest_pass, name) for name in _NAMES}
        return await _ADD.execute(self.connection, **row) == "INSERT 0 1"

    async def guest_passes(self, account_id: str, *, at: datetime) -> list[GuestPass]:
        return [_pass(row) for row in await _LIST.fetch(self.connection, account_id=account_id, at=at)]

    async def end_guest_pass(self, account_id: str, guest_pass_id: str, *, at: datetime) -> GuestPass | None:
        who = {"account_id": account_id, "guest_pass_id": guest_pass_id}
        row = await _END.fetchrow(self.connection, at=at, **who)
        return _pass(row) if row else None

    async def redeem_guest_pass(self, mark: bytes, *, device_name: str, expire_time: datetime, at: datetime) -> GuestPass | None:
        row = await _REDEEM.fetchrow(self.connection, mark=mark, named=device_name, expires=expire_time, at=at)
        return _pass(row) if row else None

    async def sign_guest_in(self, guest_pass_id: str, session_id: str) -> None:
        await _SIGN_IN.execute(self.connection, signed_in=guest_pass_id, session=session_id)

    async def end_guest_passes(self, *, at: datetime) -> list[GuestPass]:
        return [_pass(row) for row in await _END_ALL.fetch(self.connection, at=at)]

    async def take_ended_guest_passes(self, *, before: datetime) -> list[GuestPass]:
        return [_pass(row) for row in await _TAKE_ENDED.fetch(self.connection, before=before)]


def _pass(row: Any) -> GuestPass:
    return GuestPass(**{name: row[name] for name in _NAMES})
