"""What is kept of accounts beside all contexts: the audit log, and events on their way."""

from __future__ import annotations

from sqlalchemy import text

from adapters.postgres import Database, bare
from adapters.postgres.own_data import Fate, Kept
from adapters.postgres.platform import audit_log
from adapters.postgres.statement import Statement
from domain.accounts.own_data import AccountDeleted

_LAW = (
    "The log is only ever added to, and every entry is part of the chain. It has no name and no mail address of those whom it is "
    "about: once an account is erased, nothing leads from its id to anybody."
)
_LINKS = frozenset({"chain_number"})

KEPT = (
    Kept(
        table=audit_log,
        fate=Fate.STAYS,
        name="done_by_it",
        about="What the account did as one of the staff.",
        withheld=_LINKS,
        why=_LAW,
    ),
    Kept(
        table=audit_log,
        column="subject",
        fate=Fate.STAYS,
        name="done_to_it",
        about="What the staff did to the account.",
        # Who did it is told to nobody but those who look after the staff.
        withheld=_LINKS | {"account_id", "address", "key_id", "request_id"},
        why=_LAW,
    ),
)

# An event that is still to be delivered is so without the account's id, and one that was given up stays without it. The one
# that tells of the erasure needs it until all have heard; it goes with the others, days after it was delivered.
_SCRUB_EVENTS = Statement(
    text("""
    UPDATE platform.events
    SET payload = CAST(replace(CAST(payload AS text), CAST(:account_id AS text), CAST(:stand_in_id AS text)) AS jsonb)
    WHERE name <> CAST(:telling AS text) AND strpos(CAST(payload AS text), CAST(:account_id AS text)) > 0
    """)
)
_SCRUB_FAULTS = (
    Statement(
        text("""
        UPDATE platform.deliveries SET fault = replace(fault, CAST(:account_id AS text), CAST(:stand_in_id AS text))
        WHERE strpos(fault, CAST(:account_id AS text)) > 0
        """)
    ),
    Statement(
        text("""
        UPDATE platform.dead_letters SET fault = replace(fault, CAST(:account_id AS text), CAST(:stand_in_id AS text))
        WHERE strpos(fault, CAST(:account_id AS text)) > 0
        """)
    ),
)


class PassingEvents:
    """Events and their deliveries, as far as they name an account."""

    def __init__(self, database: Database) -> None:
        self._begin = database.begins(bare)

    async def forget(self, account_id: str, stand_in_id: str) -> None:
        """Put the id that is nobody's in the place of an account's."""
        ids = {"account_id": account_id, "stand_in_id": stand_in_id}
        async with self._begin() as connection:
            await _SCRUB_EVENTS.execute(connection, telling=AccountDeleted.__name__, **ids)
            for statement in _SCRUB_FAULTS:
                await statement.execute(connection, **ids)
