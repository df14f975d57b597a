"""Letters sealed on their way to those who send them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from adapters.secret_keys import Seal
from domain.mail import Letter

PURPOSE = "mail"


class SealedEnvelopes:
    """Seals letters with the platform's own keys, so that the database holds nobody's codes."""

    def __init__(self, folder: Path) -> None:
        self._seal = Seal(folder, PURPOSE)

    def close(self, letter: Letter) -> str:
        return self._seal.close(json.dumps(asdict(letter)))

    def open(self, sealed: str) -> Letter:
        """Raises ValueError for what was not sealed here."""
        return Letter(**json.loads(self._seal.open(sealed)))
