"""What the embedded programs share: the data folder and its lock, the folder of their sockets, and starting and ending them."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import IO, ClassVar

LAUNCHER = Path(__file__).with_name("launch.py")
# Unix socket addresses end at 107 bytes; this leaves room for the longest file name below the runtime folder.
LONGEST_TEMPORARY = 60


class LocalRefused(Exception):
    """Raised when the embedded stack cannot use what it finds; the message is one line that says what to do."""


class Identity(StrEnum):
    """As whom a program runs."""

    OWN = "own"
    NAMESPACE = "namespace"
    NOBODY = "nobody"


def launched(argv: list[str], *, orphan: signal.Signals = signal.SIGKILL, identity: Identity = Identity.OWN) -> list[str]:
    """Return the command whose process gets the signal when the thread that starts it ends."""
    return [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(orphan)), identity.value, *argv]


@cache
def namespace_permitted() -> bool:
    """Tell whether this machine lets us enter a user namespace."""
    trial = launched(["/bin/true"], identity=Identity.NAMESPACE)
    return subprocess.run(trial, check=False, capture_output=True).returncode == 0


@cache
def ordinary_identity() -> Identity:
    """Return how a program that refuses root, and users without a name, can be run here."""
    try:
        named = bool(pwd.getpwuid(os.geteuid()))
    except KeyError:
        named = False
    if os.geteuid() != 0 and named:
        return Identity.OWN
    if namespace_permitted():
        return Identity.NAMESPACE
    if os.geteuid() == 0:
        return Identity.NOBODY
    raise LocalRefused(
        f"user {os.geteuid()} has no name on this machine, which PostgreSQL needs: add one to /etc/passwd, or set DATABASE_URL"
    )


def wheel(module: str, *parts: str) -> Path:
    """Return a file of an installed wheel without importing it."""
    found = importlib.util.find_spec(module)
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder, *parts)
        if path.exists():
            return path
    raise LocalRefused(f"the package with {module} is not installed: run `make setup`, or `pip install 'ani[embedded]'`")


def residents(folder: Path, program: str) -> list[int]:
    """Return the processes of this program that work in the folder; whatever the kernel hides is left out."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder and (process / "exe").readlink().name.split(" ")[0] == program:
                found.append(int(process.name))
    return found


def await_leaving(folder: Path, program: str, *, seconds: float) -> None:
    """Wait until leftovers of an earlier run, already told to end, have left the folder; refuse when they stay."""
    deadline = time.monotonic() + seconds
    while left := residents(folder, program):
        if time.monotonic() > deadline:
            raise LocalRefused(
                f"{folder} is in use by {program} (process {left[0]}): stop it with `kill -INT {left[0]}` and start again"
            )
        time.sleep(0.05)


def refuse_strangers(folder: Path) -> None:
    """Refuse a folder that belongs to somebody else."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise LocalRefused(f"{folder} belongs to user {name}: start as that user, or name another folder in ANI_DATA")


def runtime_path(data: Path) -> Path:
    """Return where the sockets of this data folder live; the path is short, whatever the data folder's."""
    temporary = tempfile.gettempdir()
    if len(os.fsencode(temporary)) > LONGEST_TEMPORARY:
        temporary = "/tmp"  # noqa: S108 - only the folder's name is predictable: it is refused below unless it is ours alone
    digest = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:8]
    return Path(temporary, f"ani-{os.geteuid()}-{digest}")


def runtime_folder(data: Path) -> Path:
    """Make and return the private folder for the sockets of this data folder."""
    folder = runtime_path(data)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise LocalRefused(f"{folder} is not ours: remove it, or name another temporary folder in TMPDIR")
    # Where PostgreSQL runs as nobody, the folder lets nobody pass through.
    if stat.S_IMODE(found.st_mode) & ~0o711:
        folder.chmod(0o700)
    return folder


class DataFolder:
    """The folder of one embedded stack, held by one process at a time."""

    LOCK: ClassVar = "ani.lock"
    # What other commands may have put here before the first start.
    EARLY: ClassVar = frozenset({"keys", "logs", "gateway"})

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: IO[str] | None = None

    def claim(self) -> None:
        """Make the folder if need be and hold it; raise LocalRefused when it is in use, somebody else's, or for something else."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_strangers(self.path)
            if self.foreign():
                raise LocalRefused(f"{self.path} is not empty and not Ani's: empty it, or name another folder in ANI_DATA")
            lock = (self.path / self.LOCK).open("a+", encoding="ascii")
        except OSError as fault:
            raise LocalRefused(f"{self.path} cannot be used ({fault.strerror}): name another folder in ANI_DATA") from fault
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise LocalRefused(
                f"{self.path} is in use by another `ani up` (process {holder}): stop it, or name another folder in ANI_DATA"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def foreign(self) -> bool:
        """Tell whether the folder holds something, and not what we put there."""
        entries = {entry.name for entry in self.path.iterdir()}
        return self.LOCK not in entries and bool(entries - self.EARLY)

    def holder(self) -> int:
        """Return the process that holds the folder, or 0."""
        try:
            with (self.path / self.LOCK).open(encoding="ascii") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int((self.path / self.LOCK).read_text(encoding="ascii").strip() or 0)
        except OSError:
            return 0
        return 0

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class Program(ABC):
    """One program of the embedded stack, run as a direct child."""

    name: ClassVar[str]
    # Ends the program in good order, and what it gets when its starter is gone.
    stop_signal: ClassVar = signal.SIGTERM
    orphan_signal: ClassVar = signal.SIGTERM
    grace: ClassVar = 10.0

    _process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make the folder and the configuration ready; raise LocalRefused when that cannot be."""

    @abstractmethod
    def argv(self) -> list[str]:
        """Return the command; it must be started by the thread that stays, for the program ends with that thread."""

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether the program has just answered a connection."""

    def start(self, output: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """Start the program in a session of its own, so that Ctrl-C reaches only its starter."""
        self._process = subprocess.Popen(
            self.argv(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            start_new_session=True,
        )
        return self._process

    def wait_ready(self, seconds: float = 20.0) -> None:
        """Wait until the program answers; raise LocalRefused when it ends first or takes too long."""
        deadline = time.monotonic() + seconds
        while not self.ready():
            if self._process is not None and (code := self._process.poll()) is not None:
                raise LocalRefused(f"{self.name} ended at its start (exit {code}): its own message says why")
            if time.monotonic() > deadline:
                raise LocalRefused(f"{self.name} does not answer after {seconds:.0f} seconds: its own messages may say why")
            time.sleep(0.02)

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """End the program in good order, by force when its grace is over; return its exit code."""
        process.send_signal(self.stop_signal)
        try:
            return process.wait(self.grace)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
