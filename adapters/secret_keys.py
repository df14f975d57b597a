"""The platform's own secrets: files `<name>.key` of one folder, and what is made from them.

Each purpose has keys of its own, derived from these, so that what was made for one is of no use for another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LEAST_BYTES = 32
NONCE_BYTES = 12
# How often what names an unknown key may have the folder read: anybody can make such names up.
LOOK_AGAIN_SECONDS = 1.0


def secret_keys(folder: Path) -> dict[str, bytes]:
    """Return the keys by name, the oldest first, after making one where there is none. Raises OSError and ValueError."""
    keys = _found(folder)
    if not keys:
        _create(folder)
        keys = _found(folder)
    if any(len(key) < LEAST_BYTES for key in keys.values()):
        raise ValueError(f"a key in {folder} is shorter than {LEAST_BYTES} bytes")
    return keys


class Seal:
    """Keeps texts so that nobody can read them who has only the database."""

    def __init__(self, folder: Path, purpose: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._purpose = purpose
        self._clock = clock
        self._keys = _derived(secret_keys(folder), purpose)
        self._look_again = 0.0

    def close(self, text: str) -> str:
        """Return a text sealed with the newest key."""
        name, key = list(self._keys.items())[-1]
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(nonce, text.encode(), self._purpose.encode())
        return f"{name}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str) -> str:
        """Return the text. Raises ValueError for what was not sealed here for this purpose."""
        name, _, text = sealed.partition(".")
        data = base64.urlsafe_b64decode(text)
        # Several texts can stand for the same bytes; only one of them was made here.
        if base64.urlsafe_b64encode(data).decode() != text:
            raise ValueError("it is not written as it was sealed here")
        try:
            return AESGCM(self._key(name)).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], self._purpose.encode()).decode()
        except InvalidTag as fault:
            raise ValueError("it was not sealed here for this") from fault

    def _key(self, name: str) -> bytes:
        """Return a key, perhaps one that came after this process had started. Raises ValueError."""
        if name not in self._keys and (at := self._clock()) >= self._look_again:
            self._look_again = at + LOOK_AGAIN_SECONDS
            with suppress(OSError):
                self._learn(_found(self._folder))
        if name not in self._keys:
            raise ValueError("the key that it was sealed with is not there")
        return self._keys[name]

    def _learn(self, found: Mapping[str, bytes]) -> None:
        """Take keys in that are new; one that is being written is none yet."""
        fresh = {name: key for name, key in found.items() if name not in self._keys and len(key) >= LEAST_BYTES}
        known = self._keys | _derived(fresh, self._purpose)
        self._keys = {name: known[name] for name in sorted(known, key=_place)}


class Mark:
    """Makes marks that nobody else can make, always the same one for the same bytes."""

    def __init__(self, folder: Path, purpose: str) -> None:
        # The oldest key, so that a newer one makes no mark void.
        self._key = next(iter(_derived(secret_keys(folder), purpose).values()))

    def of(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, hashlib.sha256)


def _derived(secret: Mapping[str, bytes], purpose: str) -> dict[str, bytes]:
    def key(of: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"ani " + purpose.encode()).derive(of)

    return {name: key(of) for name, of in secret.items()}


def _found(folder: Path) -> dict[str, bytes]:
    paths = {path.name.removesuffix(".key"): path for path in folder.glob("[A-Za-z0-9]*.key")}
    return {name: paths[name].read_bytes() for name in sorted(paths, key=_place)}


def _place(name: str) -> tuple[int, str]:
    return len(name), name  # 10 comes after 9


def _create(folder: Path) -> None:
    """Write a key, readable by its owner alone. Two processes at once both end with the key of the first."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder / f".{secrets.token_hex(4)}"
    fresh.touch(mode=0o600)
    try:
        fresh.write_bytes(secrets.token_bytes(LEAST_BYTES))
        os.link(fresh, folder / "1.key")
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
