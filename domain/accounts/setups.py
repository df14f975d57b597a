"""Setups: what was begun by somebody who is signed in and is finished by them, with nothing kept meanwhile."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Protocol

from domain.kernel import FailedPrecondition, Viewer

LIFETIME = timedelta(minutes=10)


class SetupOver(FailedPrecondition):
    """Raised when a setup took too long, was begun by another session, or never was."""

    text = "This setup is over: begin again."


class Sealing(Protocol):
    """Keeps texts from being read or made by anybody else."""

    def close(self, text: str) -> str: ...

    def open(self, sealed: str) -> str:
        """Raises ValueError for what was not sealed here for this."""


class Setups:
    """Gives what was begun to whoever began it, sealed."""

    def __init__(self, seal: Sealing) -> None:
        self._seal = seal

    def close(self, kind: str, data: dict[str, str], *, viewer: Viewer, at: datetime) -> str:
        until = int((at + LIFETIME).timestamp())
        return self._seal.close(json.dumps([kind, viewer.account_id, viewer.session_id, until, data]))

    def open(self, setup: str, kind: str, *, viewer: Viewer, at: datetime) -> dict[str, str]:
        """Raises SetupOver."""
        try:
            *whose, until, data = json.loads(self._seal.open(setup))
        except ValueError as fault:
            raise SetupOver from fault
        if whose != [kind, viewer.account_id, viewer.session_id] or until <= at.timestamp():
            raise SetupOver
        return dict(data)
