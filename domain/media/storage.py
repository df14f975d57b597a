"""What uploads need of the outside: a storage of files, a place for what is not checked yet, work on images, and records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from domain.kernel import Event
from domain.media.files import Attachment, File, FileKind, OwnerKind, Thumbnail, Use


class Storage(Protocol):
    """Keeps bytes under keys that the platform makes itself: lower-case letters, digits and hyphens.

    Every method raises StorageUnavailable when the storage is out of reach, and ValueError for anything that is no such key.
    """

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Keep bytes for good before returning: they are there whole after a loss of power, or not at all."""

    async def get(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget keys; those that are not there are no matter."""

    def keys(self, *, before: datetime) -> AsyncIterator[list[str]]:
        """Return all keys that were written before a time, some at once, in any order."""

    async def signed_url(self, key: str, *, lasting: timedelta) -> str:
        """Return where the storage itself hands a file out for a time, empty when it does not."""


class Spool(Protocol):
    """A file on this machine that is gone once it is left."""

    @property
    def path(self) -> Path: ...

    async def write(self, data: bytes) -> None:
        """Add bytes. Raises StorageUnavailable when there is no room."""

    async def finish(self) -> None:
        """Have everything in the file. Raises StorageUnavailable."""


class Spooling(Protocol):
    """Makes spools."""

    def __call__(self) -> AbstractAsyncContextManager[Spool]:
        """Open a spool."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, encoded."""

    data: bytes
    width: int
    height: int


class Images(Protocol):
    """Works on images, of which anything may be true, without harm to who asks for it."""

    async def clean(self, path: Path) -> Picture:
        """Return an image made anew from its pixels alone, as WebP. Raises ImageRefused and ImagesBusy."""

    async def narrow(self, data: bytes, widths: Sequence[int]) -> list[Picture]:
        """Return a clean image in other widths, as WebP. Raises ImageRefused and ImagesBusy."""


class UploadStore(Protocol):
    """What is known of files, within one unit of work."""

    async def file(self, file_id: str) -> File | None:
        """Return a file, or None when there is none or it is deleted."""

    async def file_to_use(self, file_id: str) -> File | None:
        """Return a file and keep others from deleting it until the unit of work ends."""

    async def uploaded(self, file_id: str) -> tuple[File | None, bytes] | None:
        """Return a file, None for it when it is deleted, with the digest of its upload; None when its id is free."""

    async def add_file(self, file: File, *, digest: bytes, account_id: str) -> bool:
        """Keep a new file; False when its id is in use."""

    async def set_thumbnails(self, file_id: str, thumbnails: Sequence[Thumbnail]) -> None:
        """Note which thumbnails a file has."""

    async def files(self, kind: FileKind | None, *, after: tuple[datetime, str] | None, limit: int) -> list[File]:
        """Return files, the latest first, from a place on."""

    async def use(self, file_id: str, *, at: datetime) -> Use | None:
        """Return a file with what it is used for at a time, or None when there is none or it is deleted."""

    async def is_used(self, file_id: str) -> bool:
        """Tell whether anything uses a file, and keep others from using it until the unit of work ends."""

    async def unused(self, kinds: Sequence[FileKind], *, before: datetime, limit: int) -> list[File]:
        """Return files of some kinds that were uploaded before a time and that nothing uses."""

    async def delete_file(self, file_id: str, *, at: datetime) -> None:
        """Delete a file; its id stays taken."""

    async def unknown(self, keys: Sequence[str]) -> list[str]:
        """Return which of these keys no file has."""

    async def owner_exists(self, owner_kind: OwnerKind, owner_id: str) -> bool:
        """Tell whether there is something to attach to."""

    async def attached_count(self, owner_kind: OwnerKind, owner_id: str, *, but: str) -> int:
        """Return how many files but one are attached, and keep others from attaching more until the unit of work ends."""

    async def attach(self, owner_kind: OwnerKind, owner_id: str, file_id: str, *, position: int) -> None:
        """Attach a file, or move it."""

    async def detach(self, owner_kind: OwnerKind, owner_id: str, file_id: str) -> None:
        """Detach a file if it is attached."""

    async def attachments(self, owner_kind: OwnerKind, owner_ids: Sequence[str]) -> list[tuple[Attachment, Use]]:
        """Return what is attached to owners that are not deleted, in the order of the owners and of the places."""

    async def owners(self, file_id: str) -> list[str]:
        """Return the ids of everything that a file is attached to."""

    async def record(self, event: Event) -> None:
        """Record an event; it is delivered if and only if this unit of work is kept."""
