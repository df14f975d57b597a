"""Shows on a terminal how far long work is; plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol, TextIO

WIDTH = 30
LINE_SECONDS = 2.0
OVER = {3: "done", 4: "failed", 5: "cancelled"}


class Shown(Protocol):
    """Long work."""

    @property
    def title(self) -> str: ...
    @property
    def state(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int | None: ...
    @property
    def unit(self) -> str: ...
    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def fault(self) -> str: ...


class Meter:
    """Draws a bar over itself on a terminal, and writes a line now and then elsewhere."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._on_terminal = output.isatty()
        self._next_line = time.monotonic() + LINE_SECONDS

    def show(self, work: Shown) -> None:
        if self._on_terminal:
            self._output.write(f"\r\x1b[2K{work.title} {_bar(work)} {_counts(work)}")
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            self._output.write(f"{work.title}: {_share(work)}, {_counts(work)}\n")
        self._output.flush()

    def end(self, work: Shown) -> None:
        start = "\r\x1b[2K" if self._on_terminal else ""
        fault = f": {work.fault}" if work.fault else ""
        self._output.write(f"{start}{work.title}: {OVER.get(int(work.state), 'going on elsewhere')}{fault}; {_counts(work)}\n")
        self._output.flush()


def _bar(work: Shown) -> str:
    if not work.total:
        return _share(work)
    filled = min(WIDTH, WIDTH * work.done // work.total)
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}] {100 * work.done // work.total:3d} %"


def _share(work: Shown) -> str:
    return f"{100 * work.done // work.total} %" if work.total else f"{work.done:,} {work.unit}"


def _counts(work: Shown) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(work.counts.items())) or "nothing yet"
