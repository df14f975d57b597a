"""One call as servicers see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.kernel import Viewer
from server.pipeline.quotas import Standing


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, when, and under which request id; everything of a call that is not in its message."""

    viewer: Viewer
    now: datetime
    clock: Callable[[], datetime]
    request_id: str
    standings: Callable[[], tuple[Standing, ...]]
    # Where the call comes from, and what counts as one place; not known of an answer that others will share.
    address: str = ""
    network: str = ""
    # What the audit log is to say of the call beyond its request; None where it is not kept there.
    changes: dict[str, Any] | None = None
    # The metadata that the answer will carry; what is added is lost where answers are kept and used again.
    headers: list[tuple[str, str | bytes]] = field(default_factory=list)

    def changed(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Have the audit log say what was before and after, if the call is kept there."""
        if self.changes is not None:
            self.changes.update(before=dict(before), after=dict(after))

    def saved_as(self, name: str) -> None:
        """Have browsers save an answer that is a file, under this name, which needs no quoting."""
        self.headers.append(("content-disposition", f'attachment; filename="{name}"'))
