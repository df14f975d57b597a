"""Runs parts as child processes: starts them in order, keeps what they say, revives crashed ones, ends all in reverse order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

# A part that stays up this long has recovered; before that each end counts against it.
RECOVERED_SECONDS = 30.0
TRIES_AT_START = 3
TRIES = 8
LONGEST_PAUSE = 30.0
POLL_SECONDS = 0.03
# What a part says again and again is told once in a while; its log has all of it.
REPEATED_SECONDS = 30.0


class PartFailed(Exception):
    """Raised when a part cannot be kept running; the message is one line."""


def _nothing() -> None:
    pass


def _always() -> bool:
    return True


def _silent(_line: str) -> str:
    return ""


def _unheard(_pid: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Part:
    """One child: how it is made ready and started, when it answers, and how it ends."""

    name: str
    argv: Callable[[], list[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    # These three may take their time: they run in a thread.
    prepare: Callable[[], None] = _nothing
    ready: Callable[[], bool] = _always
    drain: Callable[[], None] = _nothing
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = 60.0
    grace: float = 15.0
    # What of a line of output people should see at once; the log has all of it.
    notable: Callable[[str], str] = _silent


class Log:
    """A file that is turned over when it is full; a full disk loses lines, not the program."""

    LARGEST: ClassVar = 10 * 1024 * 1024
    KEPT: ClassVar = 3

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, block: bytes) -> None:
        with suppress(OSError):
            if self._file.tell() + len(block) > self.LARGEST:
                self._turn_over()
            self._file.write(block)

    def _turn_over(self) -> None:
        older = [self.path, *(self.path.with_name(f"{self.path.name}.{number}") for number in range(1, self.KEPT + 1))]
        for newer, old in reversed(list(pairwise(older))):
            if newer.exists():
                newer.replace(old)
        self._file.close()
        self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()


def how(code: int) -> str:
    """Tell how a process ended."""
    return f"signal {-code}" if code < 0 else f"exit {code}"


class _Process(asyncio.SubprocessProtocol):
    """What is heard of a process: its output, its end, and the end of its output, which a process it left behind may put off."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self.ended = asyncio.Event()
        self.silent = asyncio.Event()
        self._heard = heard

    def pipe_data_received(self, _fd: int, data: bytes) -> None:
        self._heard(data)

    def process_exited(self) -> None:
        self.ended.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.silent.set()


class Child:
    """A part and the process that plays it now."""

    def __init__(self, part: Part, *, log: Log | None, say: Callable[[str], None]) -> None:
        self.part = part
        self.restarts = 0
        self._answered = 0.0
        self._ending = False
        self._log = log
        self._say = say
        self._process: tuple[asyncio.SubprocessTransport, _Process] | None = None
        self._rest = b""
        self._last: deque[str] = deque(maxlen=3)
        self._told: dict[str, float] = {}

    @property
    def pid(self) -> int:
        return self._process[0].get_pid() if self._process is not None else 0

    @property
    def recovered(self) -> bool:
        """Tell whether the process answered and stayed up for long."""
        return bool(self._answered) and time.monotonic() - self._answered >= RECOVERED_SECONDS

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process[0].get_returncode() is None

    async def begin(self) -> None:
        """Start the process and wait until it answers; raise PartFailed when it ends first or takes too long."""
        await asyncio.to_thread(self.part.prepare)
        self._last.clear()
        self._rest = b""
        self._answered = 0.0
        # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which ends the parts in order.
        self._process = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Process(self._hear),
            *self.part.argv(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if self._log else None,
            stderr=asyncio.subprocess.STDOUT if self._log else None,
            env={**os.environ, **self.part.environment},
            start_new_session=True,
        )
        await self._answer()
        self._answered = time.monotonic()

    async def _answer(self) -> None:
        deadline = time.monotonic() + self.part.patience
        while not await asyncio.to_thread(self.part.ready):
            if not self.alive:
                raise PartFailed(f"{self.part.name} ended at its start ({await self.ended()})")
            if time.monotonic() > deadline:
                self.kill()
                why = await self.ended()
                raise PartFailed(f"{self.part.name} did not answer within {self.part.patience:.0f} seconds ({why})")
            await asyncio.sleep(POLL_SECONDS)

    async def ended(self) -> str:
        """Wait for the end of the process and of its output, and tell how and with what words it ended."""
        if self._process is None:
            return "never started"
        transport, process = self._process
        await process.ended.wait()
        # What it left behind would keep from its successor what it holds: a port, a folder, this output.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        # A grandchild in a session of its own may hold the output still.
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await process.silent.wait()
        transport.close()
        code = transport.get_returncode() or 0
        last = self._last[-1] if self._last and code > 0 else ""
        return f"{how(code)}: {last}" if last else how(code)

    def _hear(self, block: bytes) -> None:
        if self._log:
            self._log.write(block)
        *lines, rest = (self._rest + block).split(b"\n")
        self._rest = rest[-65536:]
        for raw in lines:
            line = raw.decode(errors="replace").rstrip()
            if line:
                self._last.append(line[:500])
            if not self._ending and (words := self.part.notable(line)):
                self._tell(words)

    def _tell(self, words: str) -> None:
        now = time.monotonic()
        self._told = {told: at for told, at in self._told.items() if now - at < REPEATED_SECONDS}
        if words not in self._told:
            self._told[words] = now
            self._say(f"{self.part.name}: {words}")

    async def end(self) -> None:
        """End the process in good order, by force when its grace is over."""
        # What it says of its end is no news.
        self._ending = True
        if self._process is not None and self.alive:
            await asyncio.to_thread(self.part.drain)
            transport, process = self._process
            with suppress(ProcessLookupError):
                transport.send_signal(self.part.stop_signal)
            try:
                async with asyncio.timeout(self.part.grace):
                    await process.ended.wait()
            except TimeoutError:
                self._say(f"{self.part.name} did not end within {self.part.grace:.0f} seconds; killed")
                self.kill()
        await self.ended()
        if self._log:
            self._log.close()

    def kill(self) -> None:
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


class Supervisor:
    """Keeps children running, in waves: each wave is ready before the next starts, and ends before the one it was built on.

    Output goes into one file for each part, or where the supervisor's own goes when there is no folder for logs.
    """

    def __init__(
        self,
        *,
        logs: Path | None,
        say: Callable[[str], None],
        ended: Callable[[int], None] = _unheard,
    ) -> None:
        self._logs = logs
        self._say = say
        self._ended = ended
        self._waves: list[list[Child]] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._ending = False
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def children(self) -> Iterable[Child]:
        return (child for wave in self._waves for child in wave)

    async def start(self, *parts: Part) -> None:
        """Start parts side by side and wait until all answer; raise PartFailed when one fails again and again."""
        wave = [self._child(part) for part in parts]
        self._waves.append(wave)
        try:
            async with asyncio.TaskGroup() as group:
                for child in wave:
                    group.create_task(self._begin(child))
        except BaseExceptionGroup as faults:
            raise faults.exceptions[0] from None
        self._keepers += [asyncio.create_task(self._keep(child)) for child in wave]

    async def complete(self, part: Part) -> None:
        """Run a part that ends by itself; raise PartFailed unless it ends well."""
        child = self._child(part)
        self._waves.append([child])
        await child.begin()
        why = await child.ended()
        await child.end()
        self._waves.remove([child])
        self._ended(child.pid)
        if why != how(0):
            raise self._fault(part, f"{part.name} failed ({why})")

    async def failure(self) -> None:
        """Wait until a part fails for good; raises PartFailed."""
        await self._failure

    async def stop(self) -> None:
        """End everything, the last wave first."""
        self._ending = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        while self._waves:
            await asyncio.gather(*(child.end() for child in self._waves[-1]))
            self._waves.pop()

    def kill(self) -> None:
        """End everything at once; nothing of it is started again."""
        self._ending = True
        for child in self.children:
            child.kill()

    def _child(self, part: Part) -> Child:
        return Child(part, log=Log(self._logs / f"{part.name}.log") if self._logs else None, say=self._say)

    def _fault(self, part: Part, story: str) -> PartFailed:
        return PartFailed(f"{story}; {self._logs / part.name}.log has the whole story" if self._logs else story)

    async def _begin(self, child: Child) -> None:
        for attempt in range(1, TRIES_AT_START + 1):
            try:
                return await child.begin()
            except PartFailed as fault:
                self._ended(child.pid)
                if attempt == TRIES_AT_START:
                    raise self._fault(child.part, f"{fault}, {attempt} times") from None
                self._say(f"{fault}; trying again")
                await asyncio.sleep(attempt * 0.5)
        return None

    async def _keep(self, child: Child) -> None:
        """Start the part again whenever it ends, more slowly the more often that happens."""
        failures = 0
        story = f"{child.part.name} ended ({await child.ended()})"
        while not self._ending:
            self._ended(child.pid)
            failures = 1 if child.recovered else failures + 1
            if failures > TRIES:
                self._fail(self._fault(child.part, f"{story}, {failures} times in a row"))
                return
            self._say(f"{story}; starting it again")
            await asyncio.sleep(min(LONGEST_PAUSE, 0.25 * 2 ** (failures - 1)) if failures > 1 else 0)
            began = time.monotonic()
            try:
                await child.begin()
            except PartFailed as fault:
                story = str(fault)
                continue
            except Exception as fault:  # noqa: BLE001 - whatever refuses the part ends the whole, and is told there
                self._fail(fault)
                return
            child.restarts += 1
            self._say(f"{child.part.name} started again after {time.monotonic() - began:.1f} s")
            story = f"{child.part.name} ended ({await child.ended()})"

    def _fail(self, fault: Exception) -> None:
        if not self._failure.done():
            self._failure.set_exception(fault)


async def run(supervisor: Supervisor, begin: Callable[[], Coroutine[None, None, None]]) -> None:
    """Begin, then stay until SIGINT, SIGTERM or SIGHUP, or until a part fails for good; end everything in any case.

    A second signal ends everything at once.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def stop() -> None:
        if asked.is_set():
            supervisor.kill()
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    beginning = asyncio.create_task(begin())
    waiting = asyncio.create_task(asked.wait())
    failing = asyncio.create_task(supervisor.failure())
    try:
        await asyncio.wait({beginning, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if beginning.done():
            await beginning
            await asyncio.wait({waiting, failing}, return_when=asyncio.FIRST_COMPLETED)
        if failing.done():
            await failing
    finally:
        for task in (beginning, waiting, failing):
            task.cancel()
        await asyncio.gather(beginning, waiting, failing, return_exceptions=True)
        await supervisor.stop()
