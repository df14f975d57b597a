"""`ani keys`: shows the keys of access tokens, turns them over, and removes those that nobody needs any more."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.token_keys import KeysRefused, KnownKey, TokenKeys, prune, rotate
from server.settings import Settings


def run(settings: Settings, action: str, *, delay: float | None) -> int:
    """Do it; return the exit status."""
    folder = settings.key_folder
    try:
        if action == "rotate":
            _rotate(folder, delay=delay)
        elif action == "prune":
            said = prune(folder, at=datetime.now(UTC))
            print("\n".join(said) if said else "every key is still needed")
        else:
            print("\n".join(map(_row, TokenKeys(folder).known())) or f"{folder.resolve()} holds no key; the first start makes one")
    except (KeysRefused, OSError, ValueError, TypeError) as fault:
        sys.stderr.write(f"ani: {fault}\n")
        return 1
    return 0


def _rotate(folder: Path, *, delay: float | None) -> None:
    now = datetime.now(UTC)
    kid = rotate(folder, at=now) if delay is None else rotate(folder, at=now, delay=timedelta(minutes=delay))
    begins = datetime.strptime(kid, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    print(f"{folder / kid}.pem signs from {_time(begins)} on. Where else servers run, put it there by then;")
    print("a day later, `ani keys prune` removes what is needed no more.")


def _row(key: KnownKey) -> str:
    if key.signs:
        state = f"signs, until {_time(key.succeeded)}" if key.succeeded else "signs"
    elif key.begins and key.begins > datetime.now(UTC):
        state = f"signs from {_time(key.begins)} on"
    elif key.needed_until:
        state = f"verifies, until {_time(key.needed_until)}"
    else:
        state = "verifies"
    return f"{key.kid:<18}{'private' if key.private else 'public':<9}{state}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
