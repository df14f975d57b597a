"""How many streams are open, in all and by caller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from domain.kernel import Exhausted

STREAMS = 1000
STREAMS_OF_ONE_CALLER = 20


class TooManyStreams(Exhausted):
    """Raised when a caller, or the server, has as many streams open as it may."""

    text = "Too many streams are open: close one, or try again later."


class OpenStreams:
    """The streams that are open in one process: each holds memory for as long as it lives, so there is a bound."""

    def __init__(self) -> None:
        self._by_caller: Counter[str] = Counter()

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """Hold a place for a stream. Raises TooManyStreams."""
        if self._by_caller.total() >= STREAMS or self._by_caller[caller] >= STREAMS_OF_ONE_CALLER:
            raise TooManyStreams(retry_after=5)
        self._by_caller[caller] += 1
        try:
            yield
        finally:
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]
