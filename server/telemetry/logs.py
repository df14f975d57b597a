"""Log lines as JSON, one object a line, whatever they are made of."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.telemetry.redaction import redacted_fields, redacted_text

LARGEST = 10 * 1024 * 1024
KEPT = 5
LONGEST_TEXT = 16_000
# A pipe takes this much in one piece, so that lines of several processes do not run into each other.
PIECE = 4096
STANDARD_ERROR = 2
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Escapes everything but printable ASCII, so that no text from outside can forge a line or steer a terminal.
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


class Sink:
    """Where lines go. What cannot be written is lost and counted: a full disk or a closed pipe ends no call."""

    def __init__(self, path: Path | None = None, *, largest: int = LARGEST, kept: int = KEPT) -> None:
        self.lost = 0
        self._largest = largest
        self._kept = kept
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._file = -1
        self.open(path)

    def open(self, path: Path | None) -> None:
        """Write to a file from now on, or to standard error. Raises OSError when the file cannot be opened."""
        self.close()
        self._path = path
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = _opened(path)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def write(self, lines: bytes) -> None:
        """Write whole lines."""
        try:
            if self._path is None:
                for piece in _pieces(lines):
                    _write_all(STANDARD_ERROR, piece)
            else:
                with self._lock:
                    self._make_room(self._path, len(lines))
                    _write_all(self._file, lines)
        except OSError:
            self.lost += lines.count(b"\n")

    def _make_room(self, path: Path, length: int) -> None:
        """Turn a full file over, once: several processes write to it, and whoever comes second opens the new one."""
        if not _same(path, self._file):
            self._reopen(path)
        if os.fstat(self._file).st_size + length <= self._largest:
            return
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if _same(path, self._file):
                for number in range(self._kept - 1, 0, -1):
                    older = path.with_name(f"{path.name}.{number}")
                    if older.exists():
                        older.replace(path.with_name(f"{path.name}.{number + 1}"))
                path.replace(path.with_name(f"{path.name}.1"))
            self._reopen(path)
        finally:
            os.close(folder)

    def _reopen(self, path: Path) -> None:
        fresh = _opened(path)
        os.close(self._file)
        self._file = fresh


class JsonLines(logging.Handler):
    """Writes records as JSON lines: time, level, logger, process, message, request id, and the record's extra fields."""

    def __init__(self, sink: Sink, *, process: str, request_id: Callable[[], str]) -> None:
        super().__init__()
        self._sink = sink
        self._process = process
        self._request_id = request_id

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._sink.write(self.line(record))
        except Exception:  # noqa: BLE001 - logging must not be what fails
            self.handleError(record)

    def line(self, record: logging.LogRecord) -> bytes:
        """Return a record's line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "message": redacted_text(record.getMessage()[:LONGEST_TEXT]),
        }
        if request_id := self._request_id():
            entry["request_id"] = request_id
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD and name not in entry}
        entry.update(redacted_fields(extra))
        if record.exc_info and record.exc_info[1] is not None:
            trace = logging.Formatter().formatException(record.exc_info)
            # The end of a trace names the fault, so the end is what is kept.
            entry["exception"] = redacted_text(trace)[-LONGEST_TEXT:]
        return line(entry)


def line(entry: dict[str, Any]) -> bytes:
    """Return an entry as one line."""
    return _encode(entry).replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _same(path: Path, file: int) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(file)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def _pieces(lines: bytes) -> Iterator[bytes]:
    """Cut between lines into pieces that a pipe takes whole."""
    while len(lines) > PIECE:
        cut = lines.rfind(b"\n", 0, PIECE) + 1 or lines.find(b"\n") + 1 or len(lines)
        yield lines[:cut]
        lines = lines[cut:]
    if lines:
        yield lines


def _write_all(file: int, block: bytes) -> None:
    while block:
        block = block[os.write(file, block) :]


SINK = Sink()
