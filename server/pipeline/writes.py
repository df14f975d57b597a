"""What follows a write: cached answers that it made untrue are forgotten, and its writer can ask to see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from google.protobuf.message import Message

from domain.kernel import Refusal, Unavailable
from server.pipeline.cache import AnswerCache
from server.pipeline.errors import Overdue
from server.pipeline.front import Front, Visit

Working = Callable[[bytes, Visit], Awaitable[tuple[Message, Message]]]


class Write:
    """Work that changes something."""

    def __init__(self, front: Front, work: Working) -> None:
        self._plan = front.plan
        self._cache = front.machinery.cache
        self._revisions = front.machinery.revisions
        self._work = work
        self._telling: set[asyncio.Task[None]] = set()

    async def __call__(self, data: bytes, visit: Visit) -> tuple[Message, Message]:
        """Return the request and its answer, when this process shows the new state and the others were told."""
        try:
            request, response = await self._work(data, visit)
        except BaseException as fault:
            if not isinstance(fault, Refusal) or isinstance(fault, (Overdue, Unavailable)):
                self._doubt(data)
            raise
        if getattr(request, "validate_only", False):
            return request, response
        tags = self._plan.drops(request, response) if self._plan.drops else ()
        if self._cache is not None and tags:
            # The change is kept: a caller who leaves now must not take with him what others are to be told.
            await asyncio.shield(self._settle(self._cache, tags, visit))
        elif not self._plan.undated:
            self._date(visit, await self._revision())
        return request, response

    async def _settle(self, cache: AnswerCache, tags: tuple[str, ...], visit: Visit) -> None:
        """Forget the answers that a write made untrue, and date it."""
        cache.heard(tags, 0)  # before anything can wait: from here on this process shows the new state
        revision = await self._revision()
        await cache.drop(tags, revision)
        self._date(visit, revision)

    async def _revision(self) -> int:
        try:
            return await self._revisions.revision()
        except Refusal:
            return 0  # the write is kept, and an answer without its date beats none

    def _date(self, visit: Visit, revision: int) -> None:
        if revision:
            visit.headers.append(("x-revision", f"{revision:x}"))

    def _doubt(self, data: bytes) -> None:
        """Forget what a write may have made untrue that broke off: nobody knows whether it was kept."""
        if self._cache is None or self._plan.drops is None:
            return
        try:
            request = self._plan.parse(data)
        except Refusal:
            return
        if tags := self._plan.drops(request, self._plan.response()):
            task = asyncio.ensure_future(self._cache.drop(tags, 0))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
