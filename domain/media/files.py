"""Uploaded files, and the rules they keep by themselves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from domain.kernel import Event, Exhausted, FailedPrecondition, InvalidArgument, NotFound, Unavailable, Viewer
from domain.visibility import Sight, Terms, sight

MEGABYTE = 1024 * 1024
# In widths that pages ask for; none is made that is not narrower than the image.
THUMBNAIL_WIDTHS = (160, 320, 640, 1280)
MOST_ATTACHED = 50
# How an image may begin: where the mark stands, and the mark.
IMAGE_MARKS = (
    ((0, b"\xff\xd8\xff"),),
    ((0, b"\x89PNG\r\n\x1a\n"),),
    ((0, b"RIFF"), (8, b"WEBP")),
    ((4, b"ftypavif"),),
)
MARK_BYTES = 12


class FileKind(IntEnum):
    """What a file is for."""

    POSTER = 1
    SUBTITLE = 2
    PREVIEW_SHEET = 3
    BANNER = 4

    @property
    def is_image(self) -> bool:
        return self is not FileKind.SUBTITLE

    @property
    def is_public(self) -> bool:
        """Tell whether it is shown outside of playback."""
        return self in {FileKind.POSTER, FileKind.BANNER}

    @property
    def limit(self) -> int:
        """Return how many bytes may be uploaded."""
        return 16 * MEGABYTE if self.is_image else 4 * MEGABYTE


class OwnerKind(IntEnum):
    """What files are attached to."""

    RELEASE = 1
    EPISODE = 2


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An image in another width, and the key that the storage has it under."""

    width: int
    height: int
    size: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file as it is stored; its content never changes."""

    file_id: str
    kind: FileKind
    content_type: str
    size: int
    sha256: str
    width: int = 0
    height: int = 0
    language: str = ""
    # What the storage has it under. Not the file's id: two uploads of one id must not write over each other.
    key: str
    thumbnails: tuple[Thumbnail, ...] = ()
    create_time: datetime

    def fitting(self, width: int) -> str:
        """Return the key of the image in a width, or in the next larger one that there is."""
        wide_enough = [thumbnail for thumbnail in self.thumbnails if width and thumbnail.width >= width]
        return min(wide_enough, key=lambda thumbnail: thumbnail.width).key if wide_enough else self.key

    @property
    def keys(self) -> list[str]:
        return [self.key, *(thumbnail.key for thumbnail in self.thumbnails)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What is said of a file before its content."""

    file_id: str
    kind: FileKind
    language: str = ""
    account_id: str

    def __post_init__(self) -> None:
        if self.language and self.kind.is_image:
            raise LanguageOutOfPlace(field="language")

    def digest(self, content: bytes) -> bytes:
        """Return a digest of what its sender decided, to tell a repeated upload from another one."""
        return hashlib.sha256(f"{self.kind}/{self.language}/".encode() + content).digest()


@dataclass(frozen=True, slots=True)
class Use:
    """What a file is used for: on what terms the releases may be seen that it is attached to, and whether it stands in a promo."""

    file: File
    terms: tuple[Terms, ...]
    in_promo: bool

    def shown_to(self, viewer: Viewer) -> bool:
        if viewer.sees_drafts or self.in_promo:
            return True
        return any(sight(terms, viewer) is Sight.VISIBLE for terms in self.terms)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file's place at a release or an episode."""

    owner_kind: OwnerKind
    owner_id: str
    position: int
    file: File


def begins_like_an_image(head: bytes) -> bool:
    """Look at the first bytes alone: what is obviously something else need not be received."""
    return any(all(head[at : at + len(mark)] == mark for at, mark in marks) for marks in IMAGE_MARKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaUploaded(Event):
    """A file was uploaded, checked and stored."""

    file_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaDeleted(Event):
    """A file was deleted; what is stored of it is to go too."""

    file_id: str
    keys: tuple[str, ...]


class FileNotFound(NotFound):
    """Raised when no file that the viewer may see has this id."""

    text = "There is no file {file_id}."


class FileKindMissing(InvalidArgument):
    """Raised when an upload does not say what the file is for."""

    text = "The first message must say what the file is for."


class FileEmpty(InvalidArgument):
    """Raised when an upload has no content."""

    text = "The file is empty."


class FileTooLarge(InvalidArgument):
    """Raised when an upload has more bytes than a file of its kind may have."""

    text = "A file of this kind has at most {limit} bytes."


class FileTypeRefused(InvalidArgument):
    """Raised when a file's content is not of a type that its kind may have, whatever its name says."""

    text = "The content is not {wanted}."


class ImageRefused(InvalidArgument):
    """Raised when an image cannot be decoded within the limits."""

    text = "The image is refused: {fault}."


class SubtitleRefused(InvalidArgument):
    """Raised when subtitles are not well formed, or hold what subtitles must not."""

    text = "Line {line} of the subtitles is refused: {fault}."


class LanguageOutOfPlace(InvalidArgument):
    """Raised when an image is to have a language."""

    text = "Only subtitles have a language."


class FileIdReused(InvalidArgument):
    """Raised when an upload repeats an id with other content."""

    text = "File {file_id} was uploaded with other content: choose another id."


class FileInUse(FailedPrecondition):
    """Raised when a file is to be deleted that is attached to something, or stands in a promo."""

    text = "File {file_id} is in use: detach it, or take it out of its promos, first."


class OwnerNotFound(NotFound):
    """Raised when a file is to be attached to something that does not exist."""

    text = "There is no {owner_kind} {owner_id}."


class AttachmentsFull(FailedPrecondition):
    """Raised when as many files are attached to something as may be."""

    text = "At most {most} files are attached to one {owner_kind}."


class ImagesBusy(Exhausted):
    """Raised when so many images wait to be checked that another one would wait too long."""

    text = "Too many images are being checked: try again later."


class StorageUnavailable(Unavailable):
    """Raised when the storage of files is out of reach or full."""

    text = "The storage of files does not take or give anything for now."
