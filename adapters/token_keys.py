"""The Ed25519 keys of access tokens: files of one folder, each of whose names is a `kid`.

`<kid>.pem` are private keys, `<kid>.pub.pem` public ones, and all of them verify. A name that is a time, such as
20261121T110000Z, says from when a private key signs; one of any other name signs at once. Of those that do the last one by name is
used. So a key is known everywhere before anything is signed with it, and no server has to be told when its turn comes.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

log = logging.getLogger("ani.keys")

PRIVATE, PUBLIC, EXPIRY = ".pem", ".pub.pem", ".until"
KID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
MOMENT, MOMENTS = "%Y%m%dT%H%M%SZ", re.compile(r"\d{8}T\d{6}Z")
# How long a change of the folder may stay unnoticed, and how often it is looked at because of keys that nobody knows.
LOOK_AGAIN_SECONDS, LOOK_FOR_UNKNOWN_SECONDS = 20.0, 3.0
# Until then every server has read the folder, and whoever fetched the public keys has fetched them again.
DELAY = timedelta(minutes=10)
# Tokens that are good for longer leave a note of it, see `note_expiry`.
USUAL_TOKEN = timedelta(hours=12)


class KeysRefused(Exception):
    """Raised when keys cannot be turned over now; the text says why."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key of the folder."""

    kid: str
    private: bool
    # Since when it may sign, where its name tells; and since when another signs in its place, where that is known.
    begins: datetime | None
    succeeded: datetime | None
    # The last of its tokens expires then, at the latest; None while it signs, or when nobody can tell.
    needed_until: datetime | None
    signs: bool


class TokenKeys:
    """The keys of one folder, read again when it changes."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._seen: frozenset[tuple[str, int, int]] = frozenset()
        self._looked_at = 0.0
        self._public: dict[str, Ed25519PublicKey] = {}
        self._private: dict[str, Ed25519PrivateKey] = {}
        self._read()

    @classmethod
    def open(cls, folder: Path, *, clock: Callable[[], float] = time.time) -> TokenKeys:
        """Read a folder, and put a first key into it when it has none. Raises OSError, ValueError and TypeError."""
        keys = cls(folder, clock=clock)
        if not keys._public:
            _create(folder, "1")
            keys._read()
        return keys

    @property
    def kids(self) -> list[str]:
        return sorted(self._public, key=_order)

    def public(self, kid: str) -> Ed25519PublicKey | None:
        """Return a key, after another look at the folder when it is not known; nothing is ever fetched from elsewhere."""
        found = self._public.get(kid)
        if found is None and abs(self._clock() - self._looked_at) >= LOOK_FOR_UNKNOWN_SECONDS:
            self.look()
            found = self._public.get(kid)
        return found

    def signing(self) -> tuple[str, Ed25519PrivateKey]:
        """Return the newest private key whose time has come. Raises LookupError when the folder has none."""
        kid = _signing(self._private, at=self._clock())
        if kid is None:
            raise LookupError(f"{self._folder} holds no private key")
        return kid, self._private[kid]

    def look(self) -> bool:
        """Read the folder again if it has changed; tell whether keys are gone. What cannot be read leaves all as it was."""
        before = self._public.keys()
        try:
            self._read()
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as fault:
            log.warning("the keys of access tokens stay as they were, since %s cannot be read: %s", self._folder, fault)
        return bool(before - self._public.keys())

    async def watch(self, gone: Callable[[], None], *, seconds: float = LOOK_AGAIN_SECONDS) -> None:
        """Look from time to time, and call when keys are gone, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            if self.look():
                log.warning("keys of access tokens are gone: what they signed is void")
                gone()

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys as a JSON Web Key Set (RFC 7517, RFC 8037), the newest first."""
        return {"keys": [_jwk(kid, self._public[kid]) for kid in reversed(self.kids)]}

    def known(self) -> list[KnownKey]:
        """Return the keys in the order in which they sign."""
        now = self._clock()
        signing = _signing(self._private, at=now)
        found = []
        for kid, later in pairwise([*self.kids, ""]):
            succeeded = _begins(later) if later else None
            over = succeeded is not None and succeeded.timestamp() <= now and kid != signing
            until = max([succeeded + USUAL_TOKEN, *_noted(self._folder, kid)]) if over and succeeded else None
            found.append(KnownKey(kid, kid in self._private, _begins(kid), succeeded, until, signs=kid == signing))
        return found

    def over(self) -> list[KnownKey]:
        """Return the keys that are needed no more, or whose private half is not."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        # Whoever has not looked at the folder for a while may still sign with one that was just succeeded.
        done = [key for key in self.known() if key.needed_until and key.succeeded and key.succeeded + DELAY <= now]
        return [key for key in done if key.private or (key.needed_until and key.needed_until <= now)]

    def _read(self) -> None:
        """Raises OSError, ValueError and TypeError, and leaves all as it was."""
        self._looked_at = self._clock()
        paths = sorted(self._folder.glob("*.pem")) if self._folder.exists() else []
        stats = [(path, path.stat()) for path in paths]
        seen = frozenset((path.name, stat.st_mtime_ns, stat.st_size) for path, stat in stats)
        if seen == self._seen:
            return
        public: dict[str, Ed25519PublicKey] = {}
        private: dict[str, Ed25519PrivateKey] = {}
        for path in paths:
            _load(path, public, private)
        self._public, self._private, self._seen = public, private, seen


def rotate(folder: Path, *, at: datetime, delay: timedelta = DELAY) -> str:
    """Put a new key beside the others, which signs after a delay, or at once where it is the first; return its name.

    Raises KeysRefused and OSError.
    """
    kids = TokenKeys(folder, clock=at.timestamp).kids
    kid = f"{(at + delay if kids else at).astimezone(UTC):{MOMENT}}"
    if kids and (begins := _begins(kids[-1])) and begins > at:
        raise KeysRefused(f"{kids[-1]} is new already, and signs from {begins:%Y-%m-%d %H:%M:%S} UTC on")
    if kids and _order(kid) <= _order(kids[-1]):
        raise KeysRefused(f"a new key would come before {kids[-1]}, whose name sorts after every time: rename it")
    _create(folder, kid)
    return kid


def prune(folder: Path, *, at: datetime) -> list[str]:
    """Remove what is needed no more, and say what: private halves that were succeeded, keys whose tokens have expired."""
    said = []
    keys = TokenKeys(folder, clock=at.timestamp)
    for key in keys.over():
        private = folder / f"{key.kid}{PRIVATE}"
        if key.needed_until is not None and key.needed_until <= at:
            for ending in (PRIVATE, PUBLIC, EXPIRY):
                (folder / f"{key.kid}{ending}").unlink(missing_ok=True)
            said.append(f"{key.kid}: removed, all its tokens have expired")
        elif (public := keys.public(key.kid)) is not None:
            _place(folder / f"{key.kid}{PUBLIC}", _public_pem(public))
            private.unlink()
            said.append(f"{key.kid}: the private key was removed; its tokens are good until {key.needed_until:%Y-%m-%d %H:%M} UTC")
    return said


def note_expiry(folder: Path, kid: str, expires: datetime) -> None:
    """Note that a token of this key is good for longer than usual, so that the key is kept for as long. Raises OSError."""
    if expires > max(_noted(folder, kid), default=datetime.min.replace(tzinfo=UTC)):
        _place(folder / f"{kid}{EXPIRY}", expires.astimezone(UTC).isoformat().encode(), replacing=True)


def _noted(folder: Path, kid: str) -> Iterator[datetime]:
    with suppress(FileNotFoundError):
        yield datetime.fromisoformat((folder / f"{kid}{EXPIRY}").read_text("ascii"))


def _order(kid: str) -> tuple[int, str]:
    return len(kid), kid  # 10 comes after 9


def _begins(kid: str) -> datetime | None:
    if not MOMENTS.fullmatch(kid):
        return None
    with suppress(ValueError):
        return datetime.strptime(kid, MOMENT).replace(tzinfo=UTC)
    return None


def _signing(private: dict[str, Ed25519PrivateKey], *, at: float) -> str | None:
    kids = sorted(private, key=_order)
    begun = [kid for kid in kids if (begins := _begins(kid)) is None or begins.timestamp() <= at]
    # Before the first one's time nothing could be signed at all.
    return begun[-1] if begun else kids[0] if kids else None


def _load(path: Path, public: dict[str, Ed25519PublicKey], private: dict[str, Ed25519PrivateKey]) -> None:
    """Raises OSError, ValueError and TypeError."""
    kid = path.name.removesuffix(PRIVATE).removesuffix(".pub")
    if not KID.fullmatch(kid):
        raise ValueError(f"{path.name} is no name of a key")
    if path.name.endswith(PUBLIC):
        found = serialization.load_pem_public_key(path.read_bytes())
    else:
        secret = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(secret, Ed25519PrivateKey):
            raise TypeError(f"{path} is not an Ed25519 key")
        private[kid] = secret
        found = secret.public_key()
    if not isinstance(found, Ed25519PublicKey):
        raise TypeError(f"{path} is not an Ed25519 key")
    if kid in public and public[kid] != found:
        raise ValueError(f"the two halves of {kid} do not belong together")
    public[kid] = found


def _jwk(kid: str, key: Ed25519PublicKey) -> dict[str, str]:
    point = base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": point}


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _create(folder: Path, kid: str) -> None:
    """Write a private key. Two at once both end with the key of the first."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _place(folder / f"{kid}{PRIVATE}", pem)


def _place(path: Path, data: bytes, *, replacing: bool = False) -> None:
    """Write a whole file, readable by its owner alone, unless it is there."""
    fresh = path.parent / f".{secrets.token_hex(4)}"
    fresh.touch(mode=0o600)
    try:
        fresh.write_bytes(data)
        if replacing:
            fresh.replace(path)
        else:
            os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)
