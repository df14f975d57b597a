"""The store of accounts, sign-ins and sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import and_, bindparam, func, literal_column, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres import Connection, audit, outbox
from adapters.postgres.accounts.profile_limits import limits
from adapters.postgres.accounts.revocations import prune_revocations, revoke, revoke_keys
from adapters.postgres.accounts.tables import accounts, sessions, sign_ins, throttles
from adapters.postgres.payload import from_payload, to_payload
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.accounts.model import IDLE, Account, Ban, Device, EndReason, Limits, Session, SessionKind
from domain.accounts.naming import email_key, name_key
from domain.accounts.steps import Progress, Purpose, SignIn
from domain.audit import Entry
from domain.kernel import Event, Role

MOST_SESSIONS = 100

_at = bindparam("at", type_=Moment)
_account_id = bindparam("account_id", type_=Id)
_session_id = bindparam("session_id", type_=Id)
_ACCOUNT_NAMES = [column.name for column in accounts.c]
_SESSION_NAMES = [column.name for column in sessions.c]
_BOTH = [*(column.label(f"s_{column.name}") for column in sessions.c), *accounts.c]

_ACCOUNT = select(accounts)
_BY_ID = Statement(_ACCOUNT.where(accounts.c.account_id == _account_id))
_TO_CHANGE = Statement(_ACCOUNT.where(accounts.c.account_id == _account_id).with_for_update())
_BY_EMAIL = Statement(_ACCOUNT.where(accounts.c.email_key == bindparam("key")))
_BY_NAME = Statement(_ACCOUNT.where(accounts.c.name_key == bindparam("key")))
_ADD_ACCOUNT = Statement(insert(accounts).values({name: bindparam(name) for name in _ACCOUNT_NAMES}).on_conflict_do_nothing())
_SAVE_ACCOUNT = Statement(
    update(accounts)
    .where(accounts.c.account_id == _account_id)
    .values({name: bindparam(name) for name in _ACCOUNT_NAMES if name not in {"account_id", "create_time"}})
)
_REPLACE_HASH = Statement(
    update(accounts)
    .where(accounts.c.account_id == _account_id, accounts.c.password_hash == bindparam("before"))
    .values(password_hash=bindparam("after"))
)

_ADD_SESSION = Statement(sessions.insert().values({name: bindparam(name) for name in _SESSION_NAMES}))
_UNUSED_SINCE = bindparam("unused_since", type_=Moment)
_IS_OPEN = and_(sessions.c.end_time.is_(None), sessions.c.expire_time > _at, sessions.c.use_time > _UNUSED_SINCE)
_UNBANNED = or_(accounts.c.ban_time.is_(None), accounts.c.ban_expire_time <= _at)
_ROTATE = Statement(
    update(sessions)
    .where(
        sessions.c.session_id == _session_id,
        sessions.c.generation == bindparam("presented"),
        sessions.c.refresh_hash == bindparam("presented_hash"),
        sessions.c.account_id == accounts.c.account_id,
        _IS_OPEN,
        _UNBANNED,
    )
    .values(
        generation=bindparam("next_generation"),
        refresh_hash=bindparam("next_hash"),
        rotate_time=_at,
        use_time=_at,
        address=bindparam("next_address"),
        country=bindparam("next_country"),
        client=func.coalesce(func.nullif(bindparam("next_client"), ""), sessions.c.client),
        device_name=func.coalesce(func.nullif(bindparam("next_device_name"), ""), sessions.c.device_name),
    )
    .returning(*_BOTH)
)
_SESSION = Statement(
    select(*_BOTH).join(accounts, sessions.c.account_id == accounts.c.account_id).where(sessions.c.session_id == _session_id)
)
_KNOWS_DEVICE = Statement(
    select(literal_column("1"))
    .select_from(sessions)
    .where(sessions.c.account_id == _account_id, sessions.c.device_id == bindparam("device_id"))
    .limit(1)
)
_SESSIONS = Statement(
    select(sessions)
    .where(sessions.c.account_id == _account_id, _IS_OPEN)
    .order_by(sessions.c.use_time.desc())
    .limit(bindparam("limit"))
)
_END = {"end_time": _at, "end_reason": bindparam("reason")}
_END_ONE = Statement(
    update(sessions)
    .where(sessions.c.session_id == _session_id, sessions.c.account_id == _account_id, sessions.c.end_time.is_(None))
    .values(_END)
    .returning(sessions.c.session_id)
)
_END_ALL = Statement(
    update(sessions)
    .where(
        sessions.c.account_id == _account_id,
        sessions.c.end_time.is_(None),
        sessions.c.session_id.is_distinct_from(bindparam("but", type_=Id)),
    )
    .values(_END)
    .returning(sessions.c.session_id)
)
_PROVE = Statement(update(sessions).where(sessions.c.session_id == _session_id).values(proof_time=_at))
# What nobody can look at or use any more; those that ended stay for a while, to know their devices by.
_PRUNE_SESSIONS = Statement(sessions.delete().where(or_(sessions.c.expire_time < _at, sessions.c.use_time < _UNUSED_SINCE)))

_SIGN_IN_NAMES = [column.name for column in sign_ins.c]
_sign_in_id = bindparam("sign_in_id", type_=Id)
_ADD_SIGN_IN = Statement(sign_ins.insert().values({name: bindparam(name) for name in _SIGN_IN_NAMES}))
_SIGN_IN = Statement(select(sign_ins).where(sign_ins.c.sign_in_id == _sign_in_id))
_SIGN_IN_TO_CHANGE = Statement(select(sign_ins).where(sign_ins.c.sign_in_id == _sign_in_id).with_for_update())
_SAVE_SIGN_IN = Statement(
    update(sign_ins)
    .where(sign_ins.c.sign_in_id == _sign_in_id)
    .values({name: bindparam(name) for name in ("account_id", "state", "tries", "end_time")})
)
_TRY = Statement(
    update(sign_ins)
    .where(sign_ins.c.sign_in_id == _sign_in_id, sign_ins.c.tries < bindparam("most"), sign_ins.c.end_time.is_(None))
    .values(tries=sign_ins.c.tries + 1)
)
# One that is being answered waits for the account, and sees for itself what became of it.
_ON_THEIR_WAY = (
    select(sign_ins.c.sign_in_id)
    .where(sign_ins.c.account_id == _account_id, sign_ins.c.end_time.is_(None))
    .with_for_update(skip_locked=True)
)
_END_SIGN_INS = Statement(update(sign_ins).where(sign_ins.c.sign_in_id.in_(_ON_THEIR_WAY)).values(end_time=_at))
_PRUNE_SIGN_INS = Statement(sign_ins.delete().where(sign_ins.c.expire_time < _at))

# Nothing is counted for a key that is not to be heard yet, so that whoever keeps trying does not keep its owner out. A new key is
# open from long ago: of two tries at once, the one that comes second may be the earlier.
_COUNT = Statement(
    text("""
    INSERT INTO accounts.throttles AS t (key, failures, last_time, open_time)
    SELECT key, 1, :at, :forgotten FROM unnest(CAST(:keys AS text[])) AS key ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
        failures = CASE
            WHEN t.open_time > :at THEN t.failures
            WHEN t.last_time < :forgotten THEN 1
            ELSE t.failures + 1
        END,
        last_time = CASE WHEN t.open_time > :at THEN t.last_time ELSE :at END
    RETURNING key, failures, open_time
    """).bindparams(bindparam("at", type_=Moment), bindparam("forgotten", type_=Moment))
)
_CLOSE = Statement(
    update(throttles).where(throttles.c.key == bindparam("throttled")).values(open_time=bindparam("until", type_=Moment))
)
_FORGET = Statement(text("DELETE FROM accounts.throttles WHERE key = ANY (CAST(:keys AS text[]))"))
_TAKE_BACK = Statement(
    text("UPDATE accounts.throttles SET failures = greatest(failures - 1, 0) WHERE key = ANY (CAST(:keys AS text[]))")
)
_PRUNE_THROTTLES = Statement(throttles.delete().where(throttles.c.last_time < _at))


class PostgresAccounts:
    """Accounts on one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def account(self, account_id: str) -> Account | None:
        return account_from_row(await _BY_ID.fetchrow(self.connection, account_id=account_id))

    async def account_to_change(self, account_id: str) -> Account | None:
        return account_from_row(await _TO_CHANGE.fetchrow(self.connection, account_id=account_id))

    async def account_by_email(self, key: str) -> Account | None:
        return account_from_row(await _BY_EMAIL.fetchrow(self.connection, key=key))

    async def account_by_name(self, key: str) -> Account | None:
        return account_from_row(await _BY_NAME.fetchrow(self.connection, key=key))

    async def add_account(self, account: Account) -> bool:
        return await _ADD_ACCOUNT.execute(self.connection, **_account_row(account)) == "INSERT 0 1"

    async def save_account(self, account: Account) -> bool:
        row = {name: value for name, value in _account_row(account).items() if name != "create_time"}
        await self.connection.execute("SAVEPOINT save_account")
        try:
            await _SAVE_ACCOUNT.execute(self.connection, **row)
        except asyncpg.UniqueViolationError:
            await self.connection.execute("ROLLBACK TO SAVEPOINT save_account")
            return False
        await self.connection.execute("RELEASE SAVEPOINT save_account")
        return True

    async def replace_password_hash(self, account_id: str, before: str, after: str) -> None:
        await _REPLACE_HASH.execute(self.connection, account_id=account_id, before=before, after=after)

    async def add_session(self, session: Session) -> None:
        await _ADD_SESSION.execute(self.connection, **_session_row(session))

    async def rotate(self, session: Session, *, presented: tuple[int, bytes], at: datetime) -> tuple[Session, Account] | None:
        row = await _ROTATE.fetchrow(
            self.connection,
            session_id=session.session_id,
            presented=presented[0],
            presented_hash=presented[1],
            next_generation=session.generation,
            next_hash=session.refresh_hash,
            next_address=session.device.address,
            next_country=session.device.country,
            next_client=session.device.client,
            next_device_name=session.device.device_name,
            at=at,
            unused_since=at - IDLE,
        )
        return _both(row)

    async def session(self, session_id: str) -> tuple[Session, Account] | None:
        return _both(await _SESSION.fetchrow(self.connection, session_id=session_id))

    async def knows_device(self, account_id: str, device_id: str) -> bool:
        return await _KNOWS_DEVICE.fetchval(self.connection, account_id=account_id, device_id=device_id) is not None

    async def sessions(self, account_id: str, *, at: datetime) -> list[Session]:
        rows = await _SESSIONS.fetch(self.connection, account_id=account_id, at=at, unused_since=at - IDLE, limit=MOST_SESSIONS)
        return [_session(row) for row in rows]

    async def end_sessions(self, account_id: str, session_id: str, *, but: str, reason: EndReason, at: datetime) -> list[str]:
        values = {"account_id": account_id, "reason": reason.value, "at": at}
        if session_id:
            rows = await _END_ONE.fetch(self.connection, session_id=session_id, **values)
        else:
            rows = await _END_ALL.fetch(self.connection, but=but or None, **values)
        ended = [str(row["session_id"]) for row in rows]
        for one in ended:
            await revoke(self.connection, account_id, one, at=at)
        return ended

    async def revoke_keys(self, account_id: str, *, at: datetime) -> int:
        return await revoke_keys(self.connection, account_id, at=at)

    async def prove(self, session_id: str, *, at: datetime) -> None:
        await _PROVE.execute(self.connection, session_id=session_id, at=at)

    async def limits(self, account_id: str, profile_id: str, *, at: datetime) -> Limits:
        return await limits(self.connection, account_id, profile_id, at=at)

    async def add_sign_in(self, sign_in: SignIn) -> None:
        await _ADD_SIGN_IN.execute(self.connection, **_sign_in_row(sign_in))

    async def sign_in(self, sign_in_id: str) -> SignIn | None:
        return _sign_in(await _SIGN_IN.fetchrow(self.connection, sign_in_id=sign_in_id))

    async def sign_in_to_change(self, sign_in_id: str) -> SignIn | None:
        return _sign_in(await _SIGN_IN_TO_CHANGE.fetchrow(self.connection, sign_in_id=sign_in_id))

    async def save_sign_in(self, sign_in: SignIn) -> None:
        row = _sign_in_row(sign_in)
        kept = {name: row[name] for name in ("sign_in_id", "account_id", "state", "tries", "end_time")}
        await _SAVE_SIGN_IN.execute(self.connection, **kept)

    async def end_sign_ins(self, account_id: str, *, at: datetime) -> None:
        await _END_SIGN_INS.execute(self.connection, account_id=account_id, at=at)

    async def try_sign_in(self, sign_in_id: str, *, most: int) -> bool:
        return await _TRY.execute(self.connection, sign_in_id=sign_in_id, most=most) == "UPDATE 1"

    async def count_try(self, keys: Sequence[str], *, at: datetime, forgotten: timedelta) -> Mapping[str, tuple[int, datetime]]:
        rows = await _COUNT.fetch(self.connection, keys=list(keys), at=at, forgotten=at - forgotten)
        return {row["key"]: (row["failures"], row["open_time"]) for row in rows}

    async def close_until(self, key: str, until: datetime) -> None:
        await _CLOSE.execute(self.connection, throttled=key, until=until)

    async def forget_tries(self, keys: Sequence[str]) -> None:
        await _FORGET.execute(self.connection, keys=list(keys))

    async def take_back_try(self, keys: Sequence[str]) -> None:
        await _TAKE_BACK.execute(self.connection, keys=list(keys))

    async def record(self, event: Event) -> None:
        await outbox.record(self.connection, event)

    async def note(self, entry: Entry) -> None:
        await audit.record(self.connection, entry)

    async def prune(self, *, at: datetime, forgotten: timedelta) -> None:
        """Delete what is over: sessions, sign-ins, tries that are forgotten, and what was revoked long ago."""
        await _PRUNE_SESSIONS.execute(self.connection, at=at, unused_since=at - IDLE)
        await _PRUNE_SIGN_INS.execute(self.connection, at=at)
        await _PRUNE_THROTTLES.execute(self.connection, at=at - forgotten)
        await prune_revocations(self.connection, at=at)


def _account_row(account: Account) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(account, name) for name in _ACCOUNT_NAMES if hasattr(account, name)}
    ban = account.ban
    return row | {
        "email_key": email_key(account.email),
        "name_key": name_key(account.name),
        "role": account.role.value,
        "ban_reason": ban.reason if ban else None,
        "ban_expire_time": ban.expire_time if ban else None,
        "ban_time": ban.time if ban else None,
    }


def account_from_row(row: Any) -> Account | None:
    if row is None:
        return None
    plain = ("account_id", "email", "name", "language", "email_verify_time", "password_hash", "password_time", "version")
    times = ("create_time", "update_time", "delete_time")
    ban = Ban(reason=row["ban_reason"], time=row["ban_time"], expire_time=row["ban_expire_time"]) if row["ban_time"] else None
    return Account(**{name: row[name] for name in (*plain, *times)}, role=Role(row["role"]), ban=ban)


def _session_row(session: Session) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: getattr(session.device if hasattr(session.device, name) else session, name) for name in _SESSION_NAMES
    }
    return row | {"kind": session.kind.value, "end_reason": session.end_reason.value if session.end_reason else None}


def _session(row: Any, prefix: str = "") -> Session:
    found = {name: row[prefix + name] for name in _SESSION_NAMES}
    device = Device(**{name: found.pop(name) for name in ("client", "device_id", "device_name", "address", "country")})
    reason = found.pop("end_reason")
    return Session(
        **found | {"kind": SessionKind(found["kind"])}, device=device, end_reason=EndReason(reason) if reason is not None else None
    )


def _both(row: Any) -> tuple[Session, Account] | None:
    account = account_from_row(row)
    return (_session(row, "s_"), account) if account is not None else None


def _sign_in_row(sign_in: SignIn) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(sign_in, name) for name in _SIGN_IN_NAMES if name not in {"state", "purpose"}}
    progress = to_payload(sign_in.progress)
    return row | {"purpose": sign_in.purpose.value, "state": progress}


def _sign_in(row: Any) -> SignIn | None:
    if row is None:
        return None
    found = {name: row[name] for name in _SIGN_IN_NAMES if name not in {"state", "purpose"}}
    return SignIn(**found, purpose=Purpose(row["purpose"]), progress=from_payload(Progress, row["state"]))
