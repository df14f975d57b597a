"""Where files are kept: in a folder of this machine, or in a store that speaks S3."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from domain.media.files import StorageUnavailable

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

# None of a key's characters means anything to a file system, and no key is a folder.
KEY = re.compile(r"[0-9a-z](?:[0-9a-z-]{6,78})[0-9a-z]")
PART = ".part"
LISTED_AT_ONCE = 500
# To connect, and for one request with all its repetitions.
CONNECT_SECONDS, REQUEST_SECONDS, PATIENCE_SECONDS = 3, 20, 30
REGION = "us-east-1"


class StorageUrlRefused(ValueError):
    """Raised when ANI_STORAGE_URL is not the address of a store."""


def storage_at(url: str, *, folder: Path) -> LocalStorage | S3Storage:
    """Return the storage at a URL, or the one in a folder when there is none. Raises StorageUrlRefused."""
    if url.startswith("file:"):
        return LocalStorage(Path(unquote(urlsplit(url).path)))
    return S3Storage.connect(url) if url else LocalStorage(folder)


def part_of(url: str, name: str) -> str:
    """Return the URL of a storage within another one, which does not list what is in it; nothing stays nothing."""
    if not url:
        return ""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


class LocalStorage:
    """Files in a folder: written beside their place, and moved there whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:  # noqa: ARG002 - a folder keeps no types
        await _away(self._put, self._path(key), data)

    async def get(self, key: str) -> bytes | None:
        data: bytes | None = await _away(_read, self._path(key))
        return data

    async def delete(self, keys: Sequence[str]) -> None:
        await _away(_remove, [self._path(key) for key in keys])

    async def keys(self, *, before: datetime) -> AsyncIterator[list[str]]:
        found = await _away(lambda: list(self._older(before.timestamp())))
        for start in range(0, len(found), LISTED_AT_ONCE):
            yield found[start : start + LISTED_AT_ONCE]

    async def signed_url(self, key: str, *, lasting: timedelta) -> str:  # noqa: ARG002 - the same for all keys
        """Return nothing: only the platform itself hands these files out."""
        return ""

    def _path(self, key: str) -> Path:
        # Keys begin with the time they were made at, so the files of one day would share a folder named by their beginnings.
        return self._folder / _checked(key)[34:36].rjust(2, "0") / key

    def _put(self, path: Path, data: bytes) -> None:
        if not path.parent.exists():
            _make(self._folder)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _settle(self._folder)
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}{PART}")
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _settle(path.parent)

    def _older(self, moment: float) -> Iterator[str]:
        """Yield the keys written before a moment; halves of that age, which a crash left behind, are removed on the way."""
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime >= moment:
                    continue
                if path.suffix == PART:
                    path.unlink()
                elif KEY.fullmatch(path.name):
                    yield path.name


class S3Storage:
    """Files in a bucket of Amazon S3, or of anything that speaks as it does."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    @classmethod
    def connect(cls, url: str) -> S3Storage:
        """Take s3://BUCKET/PREFIX?endpoint=…&region=…; keys come from the usual AWS_ variables. Raises StorageUrlRefused."""
        # Only imported when it is used: it takes 7 MB.
        from obstore.store import S3Store

        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.scheme != "s3" or not parts.netloc or parts.username or not options.keys() <= {"endpoint", "region"}:
            raise StorageUrlRefused("ANI_STORAGE_URL must be s3://BUCKET/PREFIX?endpoint=…&region=…")
        settings: S3Config = {"region": options.get("region") or os.environ.get("AWS_REGION", REGION)}
        plain = False
        if endpoint := options.get("endpoint"):
            settings["endpoint"], settings["virtual_hosted_style_request"] = endpoint, False
            plain = urlsplit(endpoint).scheme == "http"
        return cls(
            S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                config=settings,
                client_options={
                    "allow_http": plain,
                    "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                    "timeout": timedelta(seconds=REQUEST_SECONDS),
                },
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=PATIENCE_SECONDS)},
            )
        )

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        with _reaching():
            # Whole in one request: a store acknowledges an object when it is kept, and shows no halves.
            await self._store.put_async(_checked(key), data, attributes={"Content-Type": content_type}, use_multipart=False)

    async def get(self, key: str) -> bytes | None:
        with _reaching():
            try:
                found = await self._store.get_async(_checked(key))
                return bytes(await found.bytes_async())
            except FileNotFoundError:
                return None

    async def delete(self, keys: Sequence[str]) -> None:
        with _reaching():
            for key in keys:
                with contextlib.suppress(FileNotFoundError):
                    await self._store.delete_async(_checked(key))

    async def keys(self, *, before: datetime) -> AsyncIterator[list[str]]:
        listing = self._store.list(chunk_size=LISTED_AT_ONCE)
        while True:
            with _reaching():
                chunk = await anext(listing, None)
            if chunk is None:
                return
            yield [one["path"] for one in chunk if one["last_modified"] < before and KEY.fullmatch(one["path"])]

    async def signed_url(self, key: str, *, lasting: timedelta) -> str:
        import obstore

        with _reaching():
            return await obstore.sign_async(self._store, "GET", _checked(key), lasting)


class LocalSpool:
    """A file on this machine that has no room for more than its disk has."""

    # What is written at once, away from the event loop: pieces from the wire are small.
    PIECE = 256 * 1024

    def __init__(self, file: Any) -> None:
        self._file = file
        self._waiting = bytearray()

    @property
    def path(self) -> Path:
        return Path(self._file.name)

    async def write(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) >= self.PIECE:
            await self.finish()

    async def finish(self) -> None:
        waiting, self._waiting = self._waiting, bytearray()
        await _away(self._write, waiting)

    def _write(self, data: bytearray) -> None:
        self._file.write(data)
        self._file.flush()


class LocalSpooling:
    """Spools in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[LocalSpool]:
        file = await _away(self._open)
        try:
            yield LocalSpool(file)
        finally:
            file.close()

    def _open(self) -> Any:
        _make(self._folder)
        return tempfile.NamedTemporaryFile(dir=self._folder, prefix="upload-")


def _make(folder: Path) -> None:
    """Make a folder when it is first needed: a process that is given no place to write to starts all the same."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _settle(folder.parent)


def _checked(key: str) -> str:
    if not KEY.fullmatch(key):
        raise ValueError("that is not a key of the storage")
    return key


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """Have the names in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


async def _away(work: Any, *arguments: Any) -> Any:
    """Do what waits for a disk away from the event loop."""
    with _reaching():
        return await asyncio.to_thread(work, *arguments)


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        if isinstance(fault, OSError) or type(fault).__module__.startswith("obstore"):
            raise StorageUnavailable from fault
        raise
