"""What the worker does about letters: it writes and sends them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from prometheus_client import Counter

from domain.mail import KINDS, SILENCE, Letter, LetterOrdered, Mailer, MailRefused
from server.events.deliveries import Reaction
from server.mail.letters import Writer

log = logging.getLogger("ani.mail")

LETTERS = Counter("ani_letters", "Letters, by what became of them.", ["kind", "outcome"])


class Opener(Protocol):
    """Opens what Envelopes closed."""

    def open(self, sealed: str) -> Letter:
        """Raises ValueError for what was not sealed here."""


def reactions(envelopes: Opener, mailer: Mailer, writer: Writer, clock: Callable[[], datetime]) -> list[Reaction]:
    """Return what is done about a letter that was ordered.

    A letter may be sent twice when a worker dies right after it was sent: both have the same id, by which it is told apart.
    """

    async def send(event: LetterOrdered, event_id: str) -> None:
        letter = envelopes.open(event.sealed)
        kind = KINDS[letter.kind]
        if letter.kind == SILENCE:
            return
        if kind.useful is not None and clock() > event.time + kind.useful:
            log.warning("a letter of the kind %s was not sent: it is of no use any more", letter.kind)
            LETTERS.labels(letter.kind, "late").inc()
            return
        try:
            await mailer.send(writer.write(letter, mail_id=event_id, time=event.time))
        except MailRefused as refusal:
            log.warning("a letter of the kind %s to %s was refused: %s", letter.kind, disguised(letter.address), refusal)
            LETTERS.labels(letter.kind, "refused").inc()
        else:
            LETTERS.labels(letter.kind, "sent").inc()

    return [Reaction("mail.send", LetterOrdered, send)]


def disguised(address: str) -> str:
    """Return what tells letters to one address from those to another, and nothing else of it but its domain."""
    digest = hashlib.sha256(address.strip().lower().encode()).hexdigest()[:8]
    return f"…{digest}@{address.rpartition('@')[2]}"
