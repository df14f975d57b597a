"""Files to import: opened whatever they are packed with, read line by line, never held whole."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from domain.kernel import FailedPrecondition, NotFound

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# A title is a few kilobytes; whatever has longer lines is no such file.
LONGEST_LINE = 4 * 2**20
BLOCK = 2**16


class ImportFileMissing(NotFound):
    """Raised when there is no file of this name to import, or it must not be read."""

    text = "There is no file {name} that could be read."


class ImportFileBroken(FailedPrecondition):
    """Raised when a file is not what its name or format says, or ends in the middle."""

    text = "The file {name} cannot be read on: {problem}."


class ImportFile:
    """A file being read; `position` of `size` bytes, as they are packed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():
                raise ImportFileMissing(name=path.name)
            self._raw = path.open("rb")
        except OSError as fault:
            raise ImportFileMissing(name=path.name) from fault
        self.size = path.stat().st_size
        self.content = _unpacked(self._raw, path.suffix)

    @property
    def position(self) -> int:
        return self._raw.tell()

    def close(self) -> None:
        self.content.close()
        self._raw.close()

    def lines(self) -> Iterator[bytes]:
        """Yield the lines with their ends; one that is longer than any may be comes in pieces. Raises ImportFileBroken."""
        with self.reading():
            while line := self.content.readline(LONGEST_LINE):
                yield line

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what goes wrong while reading into ImportFileBroken."""
        try:
            yield
        except (EOFError, OSError, zlib.error, zstd.ZstdError) as fault:
            raise ImportFileBroken(name=self.path.name, problem="it is damaged, or ends in the middle") from fault


def _unpacked(raw: BinaryIO, suffix: str) -> BinaryIO:
    if suffix == ".gz":
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=raw)), BLOCK))
    if suffix == ".zst":
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, zstd.ZstdFile(raw)), BLOCK))
    return raw
