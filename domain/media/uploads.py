"""What is done with uploaded files: one method for each RPC, and for each event that is reacted to."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from domain.kernel import Begin, Page, Viewer, new_id
from domain.media import subtitles
from domain.media.files import (
    MARK_BYTES,
    MOST_ATTACHED,
    THUMBNAIL_WIDTHS,
    Attachment,
    AttachmentsFull,
    File,
    FileEmpty,
    FileIdReused,
    FileInUse,
    FileKind,
    FileNotFound,
    FileTooLarge,
    FileTypeRefused,
    MediaDeleted,
    MediaUploaded,
    OwnerKind,
    OwnerNotFound,
    Thumbnail,
    Upload,
    begins_like_an_image,
)
from domain.media.storage import Images, Spool, Spooling, Storage, UploadStore
from domain.paging import page_place, page_token

# An upload takes minutes at most; what nobody knows after this long is left over from one that was broken off.
LEFT_OVER = timedelta(days=1)
UNUSED = timedelta(days=30)
DELETED_AT_ONCE = 200
SIGNED_FOR = timedelta(hours=1)
# Subtitles and preview sheets are used by playback too, which may know them by their ids alone.
SWEPT = (FileKind.POSTER, FileKind.BANNER)


class Uploads:
    """Files that editors upload."""

    def __init__(
        self, *, begin: Begin[UploadStore], read: Begin[UploadStore], storage: Storage, spool: Spooling, images: Images
    ) -> None:
        self._begin = begin
        self._read = read
        self._storage = storage
        self._spool = spool
        self._images = images

    async def upload_file(self, upload: Upload, content: AsyncIterator[bytes], *, at: datetime) -> File:
        """Return the file as stored; one uploaded before with the same id and content is given back.

        Raises FileTooLarge, FileEmpty, FileTypeRefused, ImageRefused, SubtitleRefused, FileIdReused, ImagesBusy and
        StorageUnavailable.
        """
        async with self._spool() as spool:
            digest = upload.digest(await _received(upload.kind, content, spool))
            async with self._read() as store:
                if before := await store.uploaded(upload.file_id):
                    return _same(upload, digest, *before)
            content_type, data, width, height = await self._checked(upload.kind, spool)
        file = File(
            file_id=upload.file_id,
            kind=upload.kind,
            content_type=content_type,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            width=width,
            height=height,
            language=upload.language,
            key=new_id(at=at),
            create_time=at,
        )
        await self._storage.put(file.key, data, content_type=content_type)
        # Broken off from here on, nobody knows of what was stored, and the next sweep finds it.
        async with self._begin() as store:
            if await store.add_file(file, digest=digest, account_id=upload.account_id):
                await store.record(MediaUploaded(time=at, file_id=file.file_id))
                return file
            before = await store.uploaded(upload.file_id)
        await self._storage.delete([file.key])
        if before is None:
            raise FileNotFound(file_id=upload.file_id)
        return _same(upload, digest, *before)

    async def get_file(self, file_id: str) -> tuple[File, str]:
        """Return a file, and where the storage itself hands it out. Raises FileNotFound."""
        file = await self._file(file_id)
        return file, await self._storage.signed_url(file.key, lasting=SIGNED_FOR)

    async def list_files(self, kind: FileKind | None, page: Page) -> tuple[list[File], str]:
        binding = f"files/{kind or ''}"
        after = page_place(page.token, binding=binding)
        async with self._read() as store:
            files = await store.files(kind, after=after, limit=page.size + 1)
        shown = files[: page.size]
        more = len(files) > page.size
        return shown, page_token(shown[-1].create_time, shown[-1].file_id, binding=binding) if more else ""

    async def delete_file(self, file_id: str, *, at: datetime, validate_only: bool = False) -> None:
        """Raises FileNotFound and FileInUse."""
        async with self._begin(rehearse=validate_only) as store:
            known = await store.uploaded(file_id)
            if known is None:
                raise FileNotFound(file_id=file_id)
            if known[0] is None:
                return
            if await store.is_used(file_id):
                raise FileInUse(file_id=file_id)
            await _delete(store, known[0], at=at)

    async def attach_file(
        self, owner_kind: OwnerKind, owner_id: str, file_id: str, *, position: int, validate_only: bool = False
    ) -> Attachment:
        """Raises FileNotFound, OwnerNotFound and AttachmentsFull."""
        async with self._begin(rehearse=validate_only) as store:
            file = await store.file_to_use(file_id)
            if file is None:
                raise FileNotFound(file_id=file_id)
            if not await store.owner_exists(owner_kind, owner_id):
                raise OwnerNotFound(owner_kind=owner_kind.name.lower(), owner_id=owner_id)
            if await store.attached_count(owner_kind, owner_id, but=file_id) >= MOST_ATTACHED:
                raise AttachmentsFull(owner_kind=owner_kind.name.lower(), most=MOST_ATTACHED)
            await store.attach(owner_kind, owner_id, file_id, position=position)
        return Attachment(owner_kind, owner_id, position, file)

    async def detach_file(self, owner_kind: OwnerKind, owner_id: str, file_id: str, *, validate_only: bool = False) -> None:
        async with self._begin(rehearse=validate_only) as store:
            await store.detach(owner_kind, owner_id, file_id)

    async def list_attachments(
        self, owner_kind: OwnerKind, owner_ids: Sequence[str], kind: FileKind | None, *, viewer: Viewer
    ) -> list[Attachment]:
        async with self._read() as store:
            found = await store.attachments(owner_kind, owner_ids)
        return [
            attachment
            for attachment, use in found
            if (kind is None or attachment.file.kind is kind)
            and (attachment.file.kind.is_public or viewer.sees_drafts)
            and use.shown_to(viewer)
        ]

    async def get_image(self, file_id: str, *, width: int, viewer: Viewer, at: datetime) -> tuple[str, bytes]:
        """Return an image's content type and content. Raises FileNotFound."""
        return await self._content(file_id, width, viewer, at, public=True)

    async def get_playback_file(self, file_id: str, *, viewer: Viewer, at: datetime) -> tuple[str, bytes]:
        """Return the content type and content of subtitles or a preview sheet. Raises FileNotFound."""
        return await self._content(file_id, 0, viewer, at, public=False)

    async def make_thumbnails(self, file_id: str) -> list[str]:
        """Make what is missing of a file's thumbnails; return the ids of everything it is attached to."""
        async with self._begin() as store:
            file = await store.file(file_id)
            if file is None or not file.kind.is_public or file.thumbnails:
                return []
            data = await self._storage.get(file.key)
            widths = [width for width in THUMBNAIL_WIDTHS if width < file.width]
            if data is None or not widths:
                return []
            made = []
            for picture in await self._images.narrow(data, widths):
                # The same keys each time: a worker that is killed in between leaves nothing that the next one does not write over.
                key = f"{file.key}-{picture.width}"
                await self._storage.put(key, picture.data, content_type="image/webp")
                made.append(Thumbnail(picture.width, picture.height, len(picture.data), key))
            await store.set_thumbnails(file_id, made)
            return await store.owners(file_id)

    async def forget_content(self, keys: Sequence[str]) -> None:
        """Delete what is stored of a file that was deleted."""
        await self._storage.delete(keys)

    async def sweep(self, *, at: datetime) -> tuple[int, int]:
        """Delete images that nothing uses, and what uploads left behind that were broken off; return how many of each."""
        async with self._begin() as store:
            found = await store.unused(SWEPT, before=at - UNUSED, limit=DELETED_AT_ONCE)
            # Asked again of each, with nobody able to use it meanwhile.
            unused = [file for file in found if not await store.is_used(file.file_id)]
            for file in unused:
                await _delete(store, file, at=at)
        count = 0
        async for keys in self._storage.keys(before=at - LEFT_OVER):
            async with self._read() as store:
                left_over = await store.unknown(keys)
            await self._storage.delete(left_over)
            count += len(left_over)
        return len(unused), count

    async def _file(self, file_id: str) -> File:
        async with self._read() as store:
            file = await store.file(file_id)
        if file is None:
            raise FileNotFound(file_id=file_id)
        return file

    async def _content(self, file_id: str, width: int, viewer: Viewer, at: datetime, *, public: bool) -> tuple[str, bytes]:
        async with self._read() as store:
            use = await store.use(file_id, at=at)
        if use is None or use.file.kind.is_public is not public or not use.shown_to(viewer):
            raise FileNotFound(file_id=file_id)
        data = await self._storage.get(use.file.fitting(width))
        if data is None:
            raise FileNotFound(file_id=file_id)
        return use.file.content_type, data

    async def _checked(self, kind: FileKind, spool: Spool) -> tuple[str, bytes, int, int]:
        """Return a file's content type, what is to be stored of it, its width and its height."""
        if kind.is_image:
            picture = await self._images.clean(spool.path)
            return "image/webp", picture.data, picture.width, picture.height
        content_type, text = await asyncio.to_thread(lambda: subtitles.checked(spool.path.read_bytes()))
        return content_type, text.encode(), 0, 0


async def _received(kind: FileKind, content: AsyncIterator[bytes], spool: Spool) -> bytes:
    """Spool a file's content, and return its digest. Raises FileTooLarge, FileEmpty, FileTypeRefused."""
    digest, size, head = hashlib.sha256(), 0, b""
    async for data in content:
        size += len(data)
        if size > kind.limit:
            raise FileTooLarge(limit=kind.limit, field="content")
        if kind.is_image and len(head) < MARK_BYTES:
            head += data[:MARK_BYTES]
            if len(head) >= MARK_BYTES:
                _look_at(head)
        digest.update(data)
        await spool.write(data)
    if not size:
        raise FileEmpty(field="content")
    if kind.is_image and len(head) < MARK_BYTES:
        _look_at(head)
    await spool.finish()
    return digest.digest()


def _look_at(head: bytes) -> None:
    if not begins_like_an_image(head):
        raise FileTypeRefused(wanted="a JPEG, PNG, WebP or AVIF image", field="content")


def _same(upload: Upload, digest: bytes, file: File | None, before: bytes) -> File:
    if file is None or digest != before:
        raise FileIdReused(file_id=upload.file_id, field="file_id")
    return file


async def _delete(store: UploadStore, file: File, *, at: datetime) -> None:
    await store.delete_file(file.file_id, at=at)
    await store.record(MediaDeleted(time=at, file_id=file.file_id, keys=tuple(file.keys)))
