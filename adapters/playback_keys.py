"""The keys that playback addresses are signed with: files `<name>.key` in one folder, of which the last one by name signs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from adapters.secret_keys import secret_keys
from domain.kernel import Unavailable
from domain.media.signing import Signer

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
                self._signer = Signer(secret_keys(self._folder))
            except (OSError, ValueError) as fault:
                if self._signer is None:
                    raise PlaybackKeysMissing(retry_after=30) from fault
            self._read_at = self._clock()
        return self._signer
