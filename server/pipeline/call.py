"""One call as servicers see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

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
