"""The sealer: chains what was added to the audit log, about once a second, in whichever worker comes first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from prometheus_client import Gauge

from domain.audit import Head
from domain.kernel import Refusal

log = logging.getLogger("ani.audit")

LOOK_SECONDS = 1.0
AT_ONCE = 500

HEAD = Gauge("ani_audit_head", "Number of the audit log's last chained entry.", multiprocess_mode="livemostrecent")


class Chain(Protocol):
    """The audit log, as far as it is chained."""

    async def seal(self, mark: Callable[[bytes], bytes], *, limit: int) -> tuple[Head, int] | None:
        """Chain what is not yet; return the head and how many there were, None while another does it.

        Raises refusals of kind Unavailable and Conflict.
        """


class Sealer:
    """Chains entries, and says in the process's log how far the chain goes: what is cut off later can be told by that."""

    def __init__(self, chain: Chain, mark: Callable[[bytes], bytes]) -> None:
        self._chain = chain
        self._mark = mark
        self._last = Head()

    async def run(self) -> None:
        """Seal until cancelled."""
        while True:
            try:
                while await self.seal() == AT_ONCE:
                    pass
            except Refusal as fault:
                log.debug("the audit log cannot be chained for now: %s", fault)
            await asyncio.sleep(LOOK_SECONDS)

    async def seal(self) -> int:
        """Chain what there is, up to a bound; return how many entries that were."""
        sealed = await self._chain.seal(self._mark, limit=AT_ONCE)
        if sealed is None:
            return 0
        head, count = sealed
        if head.number - count < self._last.number:
            log.error("entries of the audit log are missing at its end: it reached %s, and now only %s", self._last, head)
        if count:
            log.info("the audit log is chained as far as %s", head)
        self._last = head
        HEAD.set(head.number)
        return count
