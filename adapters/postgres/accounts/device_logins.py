"""The store of devices that wait to be let in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres.accounts.device_tables import device_logins
from adapters.postgres.accounts.profile_limits import profile
from adapters.postgres.accounts.store import PostgresAccounts
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.accounts.device_login import DeviceLogin, DeviceLoginState
from domain.accounts.model import Device
from domain.accounts.profiles import Profile

CHANNEL = "device_logins"
# For a while a device that comes too late is told so, and not that its code was never given out; both read alike to others.
KEPT = timedelta(hours=1)

_NAMES = [column.name for column in device_logins.c]
_OF_DEVICE = ("client", "device_id", "device_name", "address", "country")
_CHANGED = (
    "wrong_numbers", "state", "account_id", "session_id", "profile_id", "interval_seconds", "poll_time", "decide_time",
)  # fmt: skip
_by_id = device_logins.c.device_login_id == bindparam("device_login_id", type_=Id)
_by_code = device_logins.c.user_code_mark == bindparam("mark")

_ADD = Statement(insert(device_logins).values({name: bindparam(name) for name in _NAMES}).on_conflict_do_nothing())
_GET = Statement(select(device_logins).where(_by_id))
_TO_CHANGE = Statement(select(device_logins).where(_by_id).with_for_update())
_BY_CODE = Statement(select(device_logins).where(_by_code))
_BY_CODE_TO_CHANGE = Statement(select(device_logins).where(_by_code).with_for_update())
_SAVE = Statement(update(device_logins).where(_by_id).values({name: bindparam(name) for name in _CHANGED}))
_TELL = Statement(text("SELECT pg_notify('device_logins', '')"))
_DECIDED = Statement(select(device_logins.c.device_login_id).where(device_logins.c.decide_time >= bindparam("since", type_=Moment)))
_PRUNE = Statement(device_logins.delete().where(device_logins.c.expire_time < bindparam("before", type_=Moment)))


class PostgresDeviceLogins(PostgresAccounts):
    """Devices that wait, besides the accounts that they are let in to, on one connection."""

    async def profile(self, account_id: str, profile_id: str) -> Profile | None:
        return await profile(self.connection, account_id, profile_id)

    async def add_device_login(self, login: DeviceLogin) -> bool:
        return await _ADD.execute(self.connection, **_row(login)) == "INSERT 0 1"

    async def device_login(self, device_login_id: str) -> DeviceLogin | None:
        return _login(await _GET.fetchrow(self.connection, device_login_id=device_login_id))

    async def device_login_to_change(self, device_login_id: str) -> DeviceLogin | None:
        return _login(await _TO_CHANGE.fetchrow(self.connection, device_login_id=device_login_id))

    async def device_login_by_code(self, mark: bytes) -> DeviceLogin | None:
        return _login(await _BY_CODE.fetchrow(self.connection, mark=mark))

    async def device_login_by_code_to_change(self, mark: bytes) -> DeviceLogin | None:
        return _login(await _BY_CODE_TO_CHANGE.fetchrow(self.connection, mark=mark))

    async def save_device_login(self, login: DeviceLogin) -> None:
        row = _row(login)
        await _SAVE.execute(self.connection, **{name: row[name] for name in ("device_login_id", *_CHANGED)})

    async def tell_of_decision(self) -> None:
        await _TELL.fetchval(self.connection)

    async def decided_since(self, since: datetime) -> Sequence[str]:
        return [row["device_login_id"] for row in await _DECIDED.fetch(self.connection, since=since)]

    async def prune_device_logins(self, *, at: datetime) -> None:
        """Delete those whose time was over long ago."""
        await _PRUNE.execute(self.connection, before=at - KEPT)


def _row(login: DeviceLogin) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(login.device if name in _OF_DEVICE else login, name) for name in _NAMES}
    return row | {"state": login.state.value}


def _login(row: Any) -> DeviceLogin | None:
    if row is None:
        return None
    found = {name: row[name] for name in _NAMES if name not in _OF_DEVICE}
    device = Device(**{name: row[name] for name in _OF_DEVICE})
    return DeviceLogin(**found | {"state": DeviceLoginState(row["state"])}, device=device)
