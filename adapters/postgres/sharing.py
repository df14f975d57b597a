"""A question that many ask at once: who asks while an answer is under way, which may be too old for them, shares the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Shared(Generic[Answer]):
    """Asks for all who wait."""

    def __init__(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._waiting: list[asyncio.Future[Answer]] = []
        self._asking: asyncio.Task[None] | None = None

    async def answer(self) -> Answer:
        """Return an answer that was not begun before this call. Raises what asking raises."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(answered)
        if self._asking is None:
            self._asking = asyncio.create_task(self._run(), name="shared question")
        return await answered

    async def _run(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                await self._answer(waiting)
        finally:
            self._asking = None

    async def _answer(self, waiting: list[asyncio.Future[Answer]]) -> None:
        try:
            answer = await self._ask()
        except BaseException as fault:
            for answered in waiting:
                if not isinstance(fault, Exception):
                    answered.cancel()
                elif not answered.done():
                    answered.set_exception(fault)
            if not isinstance(fault, Exception):
                raise
            return
        for answered in waiting:
            if not answered.done():
                answered.set_result(answer)
