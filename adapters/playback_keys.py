"""The keys that playback addresses are signed with: files `<name>.key` in one folder, of which the last one by name signs."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from domain.kernel import Unavailable
from domain.media.signing import Signer

LEAST_BYTES = 32
# How long a new file may stay unnoticed.
LOOK_AGAIN_SECONDS = 60.0


class PlaybackKeysMissing(Unavailable):
    """Raised when there is no key to sign playback addresses with, and none can be made."""

    text = "Nothing can be played for now."


class PlaybackKeys:
    """Reads the folder when it is needed, and again from time to time, so that keys are turned over without a restart."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._signer: Signer | None = None
        self._read_at = 0.0

    def signer(self) -> Signer:
        """Raises PlaybackKeysMissing."""
        if self._signer is None or self._clock() - self._read_at > LOOK_AGAIN_SECONDS:
            try:
                self._signer = Signer(self._keys())
            except (OSError, ValueError) as fault:
                if self._signer is None:
                    raise PlaybackKeysMissing(retry_after=30) from fault
            self._read_at = self._clock()
        return self._signer

    def _keys(self) -> dict[str, bytes]:
        keys = self._found()
        if not keys:
            self._create()
            keys = self._found()
        if any(len(key) < LEAST_BYTES for key in keys.values()):
            raise ValueError(f"a key in {self._folder} is shorter than {LEAST_BYTES} bytes")
        return keys

    def _found(self) -> dict[str, bytes]:
        return {path.name.removesuffix(".key"): path.read_bytes() for path in self._folder.glob("[A-Za-z0-9]*.key")}

    def _create(self) -> None:
        """Write a key, readable by its owner alone. Two processes at once both end with the key of the first."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._folder / f".{secrets.token_hex(4)}"
        fresh.touch(mode=0o600)
        try:
            fresh.write_bytes(secrets.token_bytes(LEAST_BYTES))
            os.link(fresh, self._folder / "1.key")
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
