"""Throttling of guesses: wrong tries make the next one wait, longer each time, and none is ever forgotten by a rollback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from domain.kernel import Begin, Collision, Exhausted, Unavailable

# Tries are forgotten when there was none for so long.
FORGOTTEN = timedelta(hours=24)
LONGEST_WAIT = timedelta(minutes=15)
# So many wrong tries cost nothing: people mistype. Many people share an address.
FREE = {"address": 30}
FREE_USUALLY = 5
# What a try was right for is done and kept: that it goes on to count as a wrong one is no reason to keep the answer back.
AFTERWARDS = (Collision, Unavailable)


class TooManyTries(Exhausted):
    """Raised when there were too many wrong tries: the next one is heard later."""

    text = "There were too many wrong tries: try again later."


def wait(key: str, failures: int) -> timedelta:
    """Return how long nobody is heard after so many tries: nothing at first, then twice as long each time."""
    beyond = failures - FREE.get(key.partition(":")[0], FREE_USUALLY)
    return min(timedelta(seconds=2 ** min(beyond, 20)), LONGEST_WAIT) if beyond >= 0 else timedelta()


class ThrottleStore(Protocol):
    """Counts of tries within one unit of work."""

    async def count_try(self, keys: Sequence[str], *, at: datetime, forgotten: timedelta) -> Mapping[str, tuple[int, datetime]]:
        """Count a try for each key, the same keys always in the same order; return how many there were, and from when one is heard.

        Nothing counts for keys that are not to be heard yet.
        """

    async def close_until(self, key: str, until: datetime) -> None: ...

    async def forget_tries(self, keys: Sequence[str]) -> None: ...

    async def take_back_try(self, keys: Sequence[str]) -> None: ...


class Throttle:
    """Counts tries before they are looked at, each in a unit of work of its own.

    A key is a word for what is guessed and what the guess is held against, such as `pin:PROFILE` or `address:192.0.2.1`.
    """

    def __init__(self, *, begin: Begin[ThrottleStore]) -> None:
        self._begin = begin

    async def begin(self, keys: Sequence[str], *, at: datetime) -> dict[str, int]:
        """Count a try as if it were wrong; return how many there were. Raises TooManyTries when a key is not to be heard yet."""
        async with self._begin() as store:
            counted = await store.count_try(sorted(keys), at=at, forgotten=FORGOTTEN)
            closed = [open_time for _, open_time in counted.values() if open_time > at]
            if not closed:
                for key, (failures, _) in counted.items():
                    if pause := wait(key, failures):
                        await store.close_until(key, at + pause)
        if closed:
            raise TooManyTries(retry_after=(max(closed) - at).total_seconds())
        return {key: failures for key, (failures, _) in counted.items()}

    async def take_back(self, keys: Sequence[str]) -> None:
        """Take back one try that was right, where that says nothing for the wrong ones before."""
        with suppress(*AFTERWARDS):
            async with self._begin() as store:
                await store.take_back_try(sorted(keys))

    async def forget(self, key: str) -> None:
        async with self._begin() as store:
            await store.forget_tries([key])

    async def succeeded(self, keys: Sequence[str]) -> None:
        """Forget the tries once one was right; an address only has this one taken back, since anybody has one right answer."""
        shared = [key for key in sorted(keys) if key.startswith("address:")]
        # One after the other: whoever counts a try meanwhile locks them in another order.
        with suppress(*AFTERWARDS):
            async with self._begin() as store:
                await store.forget_tries([key for key in sorted(keys) if key not in shared])
            async with self._begin() as store:
                await store.take_back_try(shared)
