"""Links to exports: good for whoever follows them, for some minutes, while the session that made them lasts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from domain.accounts.model import Account, AccountBanned, Session
from domain.accounts.setups import Sealing
from domain.kernel import FailedPrecondition, PermissionDenied

LIFETIME = timedelta(minutes=10)


class ExportLinkInvalid(PermissionDenied):
    """Raised when a link to an export was not made here, or was changed since."""

    text = "This link is not valid."


class ExportLinkVoid(PermissionDenied):
    """Raised when a link to an export is followed whose session has ended, or whose account is banned or gone."""

    text = "This link is good no more: whoever made it is signed out."


class ExportLinkExpired(FailedPrecondition):
    """Raised when a link to an export was good once."""

    text = "This link has expired: ask for a fresh one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Which part of which export may be had, in whose name, until when."""

    export_id: str
    part: int
    account_id: str
    session_id: str
    expires: int


class LinkStore(Protocol):
    """Sessions within one unit of work, as far as a link needs them."""

    async def session(self, session_id: str) -> tuple[Session, Account] | None: ...


class ExportLinks:
    """Seals links, so that nothing can be read in them and nobody else can make them."""

    def __init__(self, seal: Sealing) -> None:
        self._seal = seal

    def url(self, link: Link) -> str:
        # What fills it up would be escaped by whoever puts addresses together.
        grant = self._seal.close(json.dumps(asdict(link), separators=(",", ":"))).rstrip("=")
        return f"/v1/export-files/{grant}"

    def read(self, grant: str, *, at: datetime) -> Link:
        """Raises ExportLinkInvalid and ExportLinkExpired."""
        try:
            filled = grant + "=" * (-len(grant.partition(".")[2]) % 4)
            link = Link(**json.loads(self._seal.open(filled)))
        except (ValueError, TypeError) as fault:
            raise ExportLinkInvalid from fault
        if at.timestamp() >= link.expires:
            raise ExportLinkExpired
        return link


def expiry(*, at: datetime, over: datetime | None) -> datetime:
    """Return when links made now expire to whatever is over by itself, in whole seconds."""
    return min(at + LIFETIME, over or at + LIFETIME).astimezone(UTC).replace(microsecond=0)


async def demand_standing(store: LinkStore, link: Link, *, at: datetime) -> None:
    """Raises ExportLinkVoid unless the session that made a link is open, and its account good."""
    found = await store.session(link.session_id)
    if found is None or found[0].account_id != link.account_id or not found[0].is_open(at=at):
        raise ExportLinkVoid
    try:
        found[1].demand_unbanned(at=at)
    except AccountBanned as fault:
        # Why it is banned is for its owner, not for whoever has the link.
        raise ExportLinkVoid from fault
