"""Work on images, done by a process for each that ends with it: neither a bomb nor a broken decoder reaches this one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from domain.media.files import ImageRefused, ImagesBusy, StorageUnavailable
from domain.media.storage import Picture

# One image may take a core for seconds.
AT_ONCE = 1
MOST_WAITING = 8
# Of the wall's clock: the processor's is bounded by the program itself.
SECONDS = 60.0
LARGEST_OUTPUT = 16 * 1024 * 1024


class ChildImages:
    """Images, one at a time; a few more may wait."""

    def __init__(self, *, program: Sequence[str] = (sys.executable, "-I", "-m", "adapters.image_child"), folder: Path) -> None:
        self._program = list(program)
        self._folder = folder
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="images")
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def clean(self, path: Path) -> Picture:
        """Return an image made anew from its pixels alone, as WebP. Raises ImageRefused and ImagesBusy."""
        (picture,) = await self._ask("clean", str(path))
        return picture

    async def narrow(self, data: bytes, widths: Sequence[int]) -> list[Picture]:
        """Return a clean image in other widths, as WebP. Raises ImageRefused and ImagesBusy."""
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix="image-") as source:
                source.write(data)
                source.flush()
                return await self._ask("narrow", source.name, *map(str, widths))
        except OSError as fault:
            raise StorageUnavailable from fault

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, *words: str) -> list[Picture]:
        if self._waiting >= MOST_WAITING:
            raise ImagesBusy(retry_after=5)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._run(words)
        finally:
            self._waiting -= 1

    async def _run(self, words: Sequence[str]) -> list[Picture]:
        child = _Child([*self._program, *words])
        answering = asyncio.get_running_loop().run_in_executor(self._threads, child.answer)
        try:
            output, status = await asyncio.shield(answering)
        except asyncio.CancelledError:
            child.end()
            await asyncio.gather(answering, return_exceptions=True)
            raise
        return _pictures(output, status)


class _Child:
    """One run of the program. A thread starts it and waits for it: asyncio's own way forks, with all of gRPC's threads at work."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def answer(self) -> tuple[bytes, int]:
        """Return what it says, and its exit status."""
        with self._lock:
            if self._ended:
                return b"", -1
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        with self._process as process:
            try:
                output, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                output = b""
        return output, process.returncode

    def end(self) -> None:
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()


def _pictures(output: bytes, status: int) -> list[Picture]:
    if status != 0 or len(output) > LARGEST_OUTPUT:
        raise ImageRefused(fault="it cannot be decoded with the time and memory that an image may take", field="content")
    line, _, rest = output.partition(b"\n")
    told = json.loads(line)
    if fault := told.get("refused"):
        raise ImageRefused(fault=fault, field="content")
    pictures = []
    for size, width, height in told["pictures"]:
        pictures.append(Picture(rest[:size], width, height))
        rest = rest[size:]
    return pictures
