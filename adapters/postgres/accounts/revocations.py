"""Making access tokens void before they expire, on every server at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, text

from adapters.postgres import Connection
from adapters.postgres.accounts.tables import revocations
from adapters.postgres.schema import Moment
from adapters.postgres.statement import Statement

CHANNEL = "revocations"
# Longer than any access token lives.
KEPT = timedelta(hours=25)

# It began before it got here: a token that was given out meanwhile is as void as those before.
_REVOKE = Statement(
    text("""
    WITH revoked AS (
        INSERT INTO accounts.revocations (account_id, session_id, time)
        SELECT CAST(:account_id AS text), CAST(:session_id AS text), greatest(CAST(:time AS timestamptz), (
            SELECT max(rotate_time) FROM accounts.sessions
            WHERE sessions.account_id = CAST(CAST(:account_id AS text) AS uuid)
            AND CAST(:session_id AS text) IN ('', CAST(sessions.session_id AS text))
        ))
        RETURNING 1
    )
    SELECT pg_notify('revocations', '') FROM revoked
    """)
)
_REVOKE_KEYS = Statement(
    text("""
    WITH keys AS (
        UPDATE accounts.api_keys SET revoke_time = CAST(:at AS timestamptz)
        WHERE account_id = CAST(:account_id AS uuid) AND revoke_time IS NULL AND expire_time > CAST(:at AS timestamptz)
        RETURNING CAST(account_id AS text) AS account_id, CAST(key_id AS text) AS key_id
    ), revoked AS (
        INSERT INTO accounts.revocations (account_id, session_id, time)
        SELECT account_id, key_id, CAST(:at AS timestamptz) FROM keys RETURNING 1
    )
    SELECT pg_notify('revocations', '') FROM revoked
    """)
)
_SINCE = Statement(
    revocations.select().where(revocations.c.time > bindparam("since", type_=Moment)).order_by(revocations.c.revocation_id)
)
_PRUNE = Statement(revocations.delete().where(revocations.c.time < bindparam("before", type_=Moment)))


class Revocation(NamedTuple):
    """Access tokens that are void: those of a session, or all that an account was given until then."""

    number: int
    account_id: str
    session_id: str
    time: datetime


async def revoke(connection: Connection, account_id: str, session_id: str = "", *, at: datetime) -> None:
    """Make void the tokens of a session, or all that the account was given by now; if the transaction is kept, at once."""
    await _REVOKE.fetchval(connection, account_id=account_id, session_id=session_id, time=at)


async def revoke_keys(connection: Connection, account_id: str, *, at: datetime) -> int:
    """Revoke the good API keys of an account, on every server at once; return how many there were."""
    return len(await _REVOKE_KEYS.fetch(connection, account_id=account_id, at=at))


async def revocations_since(connection: Connection, since: datetime) -> list[Revocation]:
    rows = await _SINCE.fetch(connection, since=since)
    return [Revocation(row["revocation_id"], row["account_id"], row["session_id"], row["time"]) for row in rows]


async def prune_revocations(connection: Connection, *, at: datetime) -> None:
    await _PRUNE.execute(connection, before=at - KEPT)
