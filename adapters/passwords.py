"""Passwords: hashed with Argon2id, a few at a time and off the event loop, and refused when everybody would guess them."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from domain.accounts.ports import PasswordsBusy, Verdict

Answer = TypeVar("Answer")

# The first of the parameters that OWASP recommends.
MEMORY_KIB, ROUNDS, LANES = 47104, 1, 1
# One hash takes a core for some fifty milliseconds, and there is a server for each core.
AT_ONCE = 1
MOST_WAITING = 64
SECONDS_EACH = 0.05
# What serves everybody goes first: a hash is worked on when the core has nothing else to do. Where it never has, for as long as
# this, the hash is begun anew with a small share of the core that it gets in any case.
PATIENCE_SECONDS = 0.5
NICENESS = 15
COMMON = Path(__file__).with_name("common_passwords.txt")
PLATFORM = ("ani", "anime")
# A word of its owner's is no secret with a year after it.
LEAST_ELSE = 5
LEAST_WORD = 4
LEAST_WHOLE = 3
LONGEST_PERIOD = 4
LOOKALIKES = str.maketrans("013457@$!", "oieastasi")
ROWS = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "qwertyuiop", "asdfghjkl", "zxcvbnm", "йцукенгшщзхъ", "фывапролджэ")


class Argon2Passwords:
    """Hashes passwords, one at a time; some more may wait. `aside` is entered by whoever waits."""

    def __init__(
        self,
        *,
        memory_kib: int = MEMORY_KIB,
        rounds: int = ROUNDS,
        lanes: int = LANES,
        most_waiting: int = MOST_WAITING,
        aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._hasher = PasswordHasher(time_cost=rounds, memory_cost=memory_kib, parallelism=lanes, type=Type.ID)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._yielding = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords", initializer=_yield_to_all)
        self._insisting = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords-late", initializer=_step_back)
        self._most = AT_ONCE + most_waiting
        self._aside = aside
        self._asked = 0
        self._common = frozenset(_common())
        self._nobodys = _nobodys(self._hasher)

    async def hash(self, password: str) -> str:
        """Raises PasswordsBusy."""
        return await self._ask(partial(self._hasher.hash, _bytes(password)))

    async def verify(self, password: str, hashed: str | None) -> Verdict:
        """Raises PasswordsBusy."""
        return await self._ask(partial(self._compare, _bytes(password), hashed))

    def is_common(self, password: str, *, context: Sequence[str] = ()) -> bool:
        plain = password.casefold()
        if plain in self._common or _is_pattern(plain):
            return True
        words = sorted({word for text in (*PLATFORM, *context) for word in _words(text)}, key=len, reverse=True)
        return _is_made_of(plain, words) or _is_made_of(plain.translate(LOOKALIKES), words)

    def close(self) -> None:
        for threads in (self._yielding, self._insisting):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, work: Callable[[], Answer]) -> Answer:
        if self._asked >= self._most:
            raise PasswordsBusy(retry_after=max(1.0, self._asked * SECONDS_EACH))
        self._asked += 1
        try:
            with self._aside():
                async with self._turn:
                    return await self._work(work)
        finally:
            self._asked -= 1

    async def _work(self, work: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(self._yielding, work)
        try:
            done, _ = await asyncio.wait({working}, timeout=PATIENCE_SECONDS)
            if done:
                return working.result()
        finally:
            # Also when the caller is gone. What has begun comes to its end, and nobody asks; of such there is one at most.
            working.cancel()
        return await loop.run_in_executor(self._insisting, work)

    def _compare(self, password: bytes, hashed: str | None) -> Verdict:
        try:
            self._hasher.verify(hashed or self._nobodys, password)
        except VerifyMismatchError:
            return Verdict(right=False)
        except InvalidHashError:
            return self._compare(password, None)
        if hashed is None:
            return Verdict(right=False)
        return Verdict(right=True, outdated=self._hasher.check_needs_rehash(hashed))


def _yield_to_all() -> None:
    if sys.platform == "linux":
        try:
            # Whatever else wakes on its core takes the core at once. From a thread that is merely nice it would wait for a tick.
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        except OSError:  # a container may forbid it
            _step_back()


def _step_back() -> None:
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


def _nobodys(hasher: PasswordHasher) -> str:
    """Return a hash of no password, which takes as long to compare with as any."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"


def _common() -> Iterator[str]:
    with COMMON.open(encoding="utf-8") as lines:
        yield from (line.rstrip("\n") for line in lines if not line.startswith("#"))


def _words(text: str) -> Iterable[str]:
    """Return what of an address or a name somebody would make a password of: the whole, and each word of it."""
    plain = text.casefold()
    parts = "".join(letter if letter.isalnum() else " " for letter in plain).split()
    wholes = (plain, plain.partition("@")[0], "".join(parts))
    return [*(whole for whole in wholes if len(whole) >= LEAST_WHOLE), *(part for part in parts if len(part) >= LEAST_WORD)]


def _is_made_of(password: str, words: Sequence[str]) -> bool:
    """Tell whether hardly anything is left of a password without these words."""
    left = password
    for word in words:
        left = left.replace(word, "")
    return left != password and sum(letter.isalnum() for letter in left) < LEAST_ELSE


def _is_pattern(password: str) -> bool:
    """Tell whether it is a few characters over and over, or a row of the alphabet or the keyboard, forward or back."""
    length = len(password)
    if any(password == (password[:period] * length)[:length] for period in range(1, LONGEST_PERIOD + 1)):
        return True
    return any(password in row * 3 or password in row[::-1] * 3 for row in ROWS)
