"""The store of what accounts prove themselves with: authenticators, recovery codes, passkeys, and accounts at other issuers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, LargeBinary, bindparam, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from adapters.postgres.accounts.proof_tables import issuer_links, passkeys, recovery_codes, totps
from adapters.postgres.accounts.store import PostgresAccounts
from adapters.postgres.schema import Id, Moment
from adapters.postgres.statement import Statement
from domain.accounts.issuers import IssuerLink
from domain.accounts.second_factors import Passkey, SecondFactors, Totp

_account_id = bindparam("account_id", type_=Id)
_at = bindparam("at", type_=Moment)
_PASSKEY_NAMES = [column.name for column in passkeys.c]
_LINK_NAMES = [column.name for column in issuer_links.c]

_TOTP = Statement(select(totps).where(totps.c.account_id == _account_id))
_SAVE_TOTP = Statement(
    insert(totps)
    .values({column.name: bindparam(column.name) for column in totps.c})
    .on_conflict_do_update(
        index_elements=[totps.c.account_id],
        set_={name: insert(totps).excluded[name] for name in ("sealed_seed", "last_step", "create_time")},
    )
)
_TAKE_STEP = Statement(
    update(totps)
    .where(totps.c.account_id == _account_id, totps.c.last_step < bindparam("step"))
    .values(last_step=bindparam("step"))
)
_DELETE_TOTP = Statement(totps.delete().where(totps.c.account_id == _account_id))

_CODES = Statement(
    text("""
    SELECT count(*) FILTER (WHERE use_time IS NULL) AS codes_left, max(create_time) AS codes_time
    FROM accounts.recovery_codes WHERE account_id = :account_id
    """)
)
_DELETE_CODES = Statement(recovery_codes.delete().where(recovery_codes.c.account_id == _account_id))
_ADD_CODES = Statement(
    text("""
    INSERT INTO accounts.recovery_codes (account_id, code_hash, create_time)
    SELECT :account_id, code_hash, :at FROM unnest(:hashes) AS code_hash
    """).bindparams(_account_id, _at, bindparam("hashes", type_=ARRAY(LargeBinary)))
)
_USE_CODE = Statement(
    update(recovery_codes)
    .where(
        recovery_codes.c.account_id == _account_id,
        recovery_codes.c.code_hash == bindparam("hashed"),
        recovery_codes.c.use_time.is_(None),
    )
    .values(use_time=_at)
)

_PASSKEYS = Statement(select(passkeys).where(passkeys.c.account_id == _account_id).order_by(passkeys.c.passkey_id))
_BY_CREDENTIAL = Statement(select(passkeys).where(passkeys.c.credential_id == bindparam("credential")))
_ADD_PASSKEY = Statement(insert(passkeys).values({name: bindparam(name) for name in _PASSKEY_NAMES}).on_conflict_do_nothing())
_SAVE_PASSKEY = Statement(
    update(passkeys)
    .where(passkeys.c.passkey_id == bindparam("kept_id", type_=Id))
    .values(name=bindparam("name"), required=bindparam("required"))
)
_DELETE_PASSKEY = Statement(
    passkeys.delete().where(passkeys.c.account_id == _account_id, passkeys.c.passkey_id == bindparam("passkey_id", type_=Id))
)
# A passkey that keeps no count says zero for ever.
_USE_PASSKEY = Statement(
    update(passkeys)
    .where(
        passkeys.c.passkey_id == bindparam("kept_id", type_=Id),
        or_(passkeys.c.sign_count < bindparam("count"), passkeys.c.sign_count + bindparam("count") == 0),
    )
    .values(sign_count=bindparam("count"), use_time=_at)
)

_LINKS = Statement(
    select(issuer_links).where(issuer_links.c.account_id == _account_id).order_by(issuer_links.c.create_time, issuer_links.c.issuer)
)
_USE_LINK = Statement(
    update(issuer_links)
    .where(issuer_links.c.issuer == bindparam("named"), issuer_links.c.subject == bindparam("known_as"))
    .values(use_time=_at)
    .returning(issuer_links)
)
_ADD_LINK = Statement(insert(issuer_links).values({name: bindparam(name) for name in _LINK_NAMES}).on_conflict_do_nothing())
_DELETE_LINK = Statement(
    issuer_links.delete().where(issuer_links.c.account_id == _account_id, issuer_links.c.issuer == bindparam("named"))
)


class PostgresProofs(PostgresAccounts):
    """What accounts prove themselves with, on one connection."""

    async def second_factors(self, account_id: str) -> SecondFactors:
        totp = await _TOTP.fetchrow(self.connection, account_id=account_id)
        codes = await _CODES.fetchrow(self.connection, account_id=account_id)
        kept = await _PASSKEYS.fetch(self.connection, account_id=account_id)
        return SecondFactors(
            totp=Totp(**{name: totp[name] for name in ("sealed_seed", "last_step", "create_time")}) if totp else None,
            codes_left=codes["codes_left"] if codes else 0,
            codes_time=codes["codes_time"] if codes else None,
            passkeys=tuple(_passkey(row) for row in kept),
        )

    async def save_totp(self, account_id: str, totp: Totp) -> None:
        values = {name: getattr(totp, name) for name in ("sealed_seed", "last_step", "create_time")}
        await _SAVE_TOTP.execute(self.connection, account_id=account_id, **values)

    async def take_step(self, account_id: str, step: int) -> bool:
        return await _TAKE_STEP.execute(self.connection, account_id=account_id, step=step) == "UPDATE 1"

    async def delete_totp(self, account_id: str) -> bool:
        return await _DELETE_TOTP.execute(self.connection, account_id=account_id) == "DELETE 1"

    async def replace_recovery_codes(self, account_id: str, hashes: Sequence[bytes], *, at: datetime) -> None:
        await _DELETE_CODES.execute(self.connection, account_id=account_id)
        await _ADD_CODES.execute(self.connection, account_id=account_id, hashes=list(hashes), at=at)

    async def use_recovery_code(self, account_id: str, hashed: bytes, *, at: datetime) -> bool:
        return await _USE_CODE.execute(self.connection, account_id=account_id, hashed=hashed, at=at) == "UPDATE 1"

    async def add_passkey(self, passkey: Passkey) -> bool:
        values = {name: getattr(passkey, name) for name in _PASSKEY_NAMES} | {"transports": list(passkey.transports)}
        return await _ADD_PASSKEY.execute(self.connection, **values) == "INSERT 0 1"

    async def save_passkey(self, passkey: Passkey) -> None:
        await _SAVE_PASSKEY.execute(self.connection, kept_id=passkey.passkey_id, name=passkey.name, required=passkey.required)

    async def delete_passkey(self, account_id: str, passkey_id: str) -> bool:
        return await _DELETE_PASSKEY.execute(self.connection, account_id=account_id, passkey_id=passkey_id) == "DELETE 1"

    async def passkey_by_credential(self, credential_id: bytes) -> Passkey | None:
        row = await _BY_CREDENTIAL.fetchrow(self.connection, credential=credential_id)
        return _passkey(row) if row else None

    async def use_passkey(self, passkey: Passkey, sign_count: int, *, at: datetime) -> bool:
        used = await _USE_PASSKEY.execute(self.connection, kept_id=passkey.passkey_id, count=sign_count, at=at)
        return used == "UPDATE 1"

    async def issuer_links(self, account_id: str) -> list[IssuerLink]:
        return [_link(row) for row in await _LINKS.fetch(self.connection, account_id=account_id)]

    async def use_issuer_link(self, issuer: str, subject: str, *, at: datetime) -> IssuerLink | None:
        row = await _USE_LINK.fetchrow(self.connection, named=issuer, known_as=subject, at=at)
        return _link(row) if row else None

    async def add_issuer_link(self, link: IssuerLink) -> bool:
        values = {name: getattr(link, name) for name in _LINK_NAMES}
        return await _ADD_LINK.execute(self.connection, **values) == "INSERT 0 1"

    async def delete_issuer_link(self, account_id: str, issuer: str) -> bool:
        return await _DELETE_LINK.execute(self.connection, account_id=account_id, named=issuer) == "DELETE 1"


def _passkey(row: Any) -> Passkey:
    return Passkey(**{name: row[name] for name in _PASSKEY_NAMES} | {"transports": tuple(row["transports"])})


def _link(row: Any) -> IssuerLink:
    return IssuerLink(**{name: row[name] for name in _LINK_NAMES})
