"""How often a caller may call: GCRA, counted in the process and shared out between processes over Valkey."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

log = logging.getLogger("ani.quotas")

# Callers remembered for an allowance: the latest so many for certain, and at most twice as many.
CALLERS = 20_000
EXCHANGE_SECONDS = 0.5
# A caller who spends this part of an allowance between two exchanges brings the next one forward.
HURRY = 8
SHORTEST_GAP_SECONDS = 0.02
EXCHANGED_AT_ONCE = 500
# Sums of intervals miss the window by rounding; a hundredth of a call makes up for it.
ROUNDING = 0.01


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many calls at once, growing back evenly over a window of seconds."""

    name: str
    limit: int
    window: float
    interval: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.limit < 1 or self.window <= 0:
            raise ValueError(f"{self.name}: an allowance holds at least one call and lasts some time")
        object.__setattr__(self, "interval", self.window / self.limit)


class Standing(NamedTuple):
    """How an allowance stands after a call: `retry_after` is 0 when the call is granted."""

    allowance: Allowance
    remaining: int
    reset_after: float
    retry_after: float


class SharedLedger(Protocol):
    """What all processes have spent, kept by one clock. Out of reach it answers None, at once."""

    async def add(self, allowance: Allowance, spent: Sequence[tuple[str, int, float]]) -> list[float] | None:
        """Book calls that were granted already, and return what each caller owes by now, in seconds.

        Each entry is a caller, the calls, and what this process knew the caller to owe, which the result is not below.
        """

    async def take(self, allowance: Allowance, caller: str, debt: float) -> tuple[float, float] | None:
        """Grant a call or not, in one step for all processes; the caller owes at least the given debt.

        Returns in how many seconds the allowance is whole, and in how many the next call is granted: 0 when this one was.
        """


def spend(whole_at: float, now: float, allowance: Allowance) -> tuple[float, float]:
    """Take one call from an allowance that will be whole at some time; return that time afterwards, and the wait if refused."""
    after = (whole_at if whole_at > now else now) + allowance.interval  # noqa: FURB136 - max() would cost as much as the rest
    wait = after - now - allowance.window
    if wait > allowance.interval * ROUNDING:
        return whole_at, wait
    return after, 0.0


def standing(allowance: Allowance, debt: float, retry_after: float) -> Standing:
    """Return how an allowance stands that takes so many seconds to be whole again."""
    remaining = int((allowance.window - debt) / allowance.interval + ROUNDING)
    return Standing(allowance, max(0, remaining), debt, retry_after)


class _Ledger:
    """When each caller's allowance will be whole again, and what was spent since the last exchange.

    Two generations stand for an LRU: the younger is dropped to be the older when it is full, so a hit costs one lookup.
    """

    __slots__ = ("allowance", "hurry", "old", "unsent", "usual", "young")

    def __init__(self, allowance: Allowance, *, usual: bool) -> None:
        self.allowance = allowance
        self.usual = usual
        self.hurry = max(1, allowance.limit // HURRY)
        self.young: dict[str, float] = {}
        self.old: dict[str, float] = {}
        self.unsent: dict[str, int] = {}

    def recall(self, caller: str, now: float) -> float:
        """Return when a caller's allowance will be whole, and remember the caller for longer."""
        whole_at = self.young.get(caller)
        if whole_at is None:
            whole_at = self.old.get(caller)
            if whole_at is None or whole_at <= now:
                return now
            self.keep(caller, whole_at)
        return whole_at

    def keep(self, caller: str, whole_at: float) -> None:
        self.young[caller] = whole_at
        if len(self.young) >= CALLERS:
            self.old, self.young = self.young, {}

    def learn(self, caller: str, whole_at: float) -> None:
        """Believe what others say a caller owes, unless more is known: a Valkey that was away has forgotten some."""
        if whole_at > self.recall(caller, 0.0):
            self.keep(caller, whole_at)

    def debt(self, caller: str, now: float) -> float:
        return max(0.0, self.recall(caller, now) - now)


class Quotas:
    """The allowances of one process's callers.

    Each process grants on what it knows, tells the others twice a second (sooner about callers in a hurry) and books what they
    tell. A caller who calls all N processes at once can be granted at most N times the limit before they know of each other;
    what went beyond is paid back, so over time the rate holds.
    """

    def __init__(
        self, shared: SharedLedger | None, *, usual: Iterable[Allowance] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._ledgers = {allowance.name: _Ledger(allowance, usual=True) for allowance in usual}
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.refused = 0

    def take(self, allowance: Allowance, caller: str) -> Standing:
        """Grant a call or not, on what this process knows."""
        now = self._clock()
        ledger = self._ledgers.get(allowance.name) or self._open(allowance)
        whole_at = ledger.young.get(caller)
        if whole_at is None:
            whole_at = ledger.recall(caller, now)
        whole_at, wait = spend(whole_at, now, allowance)
        if wait:
            self.refused += 1
            if self._shared is not None:
                ledger.unsent.setdefault(caller, 0)  # others may know of more that the caller owes
            return Standing(allowance, 0, whole_at - now, wait)
        ledger.keep(caller, whole_at)
        if self._shared is not None:
            unsent = ledger.unsent.get(caller, 0) + 1
            ledger.unsent[caller] = unsent
            if unsent == ledger.hurry:
                self._hurry.set()
        return standing(allowance, whole_at - now, 0.0)

    async def take_strict(self, allowance: Allowance, caller: str) -> Standing:
        """Grant a call or not, in one step for all processes; on what this process knows while Valkey is away."""
        now = self._clock()
        ledger = self._ledgers.get(allowance.name) or self._open(allowance)
        granted = await self._shared.take(allowance, caller, ledger.debt(caller, now)) if self._shared else None
        if granted is not None:
            debt, wait = granted
            ledger.learn(caller, now + debt)
            self.refused += wait > 0
            return standing(allowance, debt, wait)
        whole_at, wait = spend(ledger.recall(caller, now), now, allowance)
        ledger.keep(caller, whole_at)
        self.refused += wait > 0
        return standing(allowance, whole_at - now, wait)

    def standings(self, caller: str) -> tuple[Standing, ...]:
        """Return how a caller's usual allowances stand, and the others of which something is spent; takes nothing."""
        now = self._clock()
        debts = [(ledger, ledger.debt(caller, now)) for ledger in self._ledgers.values()]
        return tuple(standing(ledger.allowance, debt, 0.0) for ledger, debt in debts if ledger.usual or debt)

    def start(self) -> None:
        """Begin to share what is spent."""
        if self._shared is not None:
            self._task = asyncio.create_task(self._share(self._shared), name="quotas")

    async def close(self) -> None:
        """Share what is left, and end."""
        if self._task is not None and self._shared is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._exchange(self._shared)

    def _open(self, allowance: Allowance) -> _Ledger:
        ledger = self._ledgers[allowance.name] = _Ledger(allowance, usual=False)
        return ledger

    async def _share(self, shared: SharedLedger) -> None:
        while True:
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(EXCHANGE_SECONDS):
                        await self._hurry.wait()
                self._hurry.clear()
                await self._exchange(shared)
            except Exception:
                log.exception("what was spent could not be shared")
            await asyncio.sleep(SHORTEST_GAP_SECONDS)

    async def _exchange(self, shared: SharedLedger) -> None:
        for ledger in tuple(self._ledgers.values()):
            spent, ledger.unsent = list(ledger.unsent.items()), {}
            for start in range(0, len(spent), EXCHANGED_AT_ONCE):
                if not await self._tell(shared, ledger, spent[start : start + EXCHANGED_AT_ONCE]):
                    # The rest is forgotten: each process goes on with what it granted itself, and tells of it later as debt.
                    break

    async def _tell(self, shared: SharedLedger, ledger: _Ledger, spent: Sequence[tuple[str, int]]) -> bool:
        now = self._clock()
        told = [(caller, calls, ledger.debt(caller, now)) for caller, calls in spent]
        debts = await shared.add(ledger.allowance, told)
        if debts is None:
            return False
        for (caller, _), debt in zip(spent, debts, strict=True):
            granted_since = ledger.unsent.get(caller, 0)
            ledger.learn(caller, now + debt + granted_since * ledger.allowance.interval)
        return True
