"""Where the messages and dataclasses of uploaded files meet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ani.media.v1 import upload_pb2
from ani.media.v1 import upload_service_pb2 as pb
from domain.kernel import new_id
from domain.media.files import Attachment, File, FileKind, FileKindMissing, Upload

EPOCH, SECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)


def upload_from_pb(message: pb.UploadFileRequest, *, account_id: str, at: datetime) -> Upload:
    """Read what the first message of an upload says. Raises FileKindMissing and LanguageOutOfPlace."""
    if not message.kind:
        raise FileKindMissing(field="kind")
    return Upload(
        file_id=message.file_id or new_id(at=at),
        kind=FileKind(message.kind),
        language=message.language,
        account_id=account_id,
    )


async def content_from_pb(
    first: pb.UploadFileRequest, following: AsyncIterator[pb.UploadFileRequest]
) -> AsyncGenerator[bytes, None]:
    """Yield the content of an upload, as it comes."""
    if first.content.data:
        yield first.content.data
    async for message in following:
        if message.content.data:
            yield message.content.data


def file_kind_from_pb(kind: int) -> FileKind | None:
    return FileKind(kind) if kind else None


def file_to_pb(file: File, *, signed_url: str = "") -> upload_pb2.File:
    url = file_url(file)
    facts: dict[str, Any] = {
        "file_id": file.file_id,
        "kind": file.kind,
        "content_type": file.content_type,
        "size": file.size,
        "sha256": file.sha256,
        "width": file.width,
        "height": file.height,
        "language": file.language,
        "url": url,
        "signed_url": signed_url,
        "thumbnails": [
            {"width": one.width, "height": one.height, "size": one.size, "url": f"{url}?width={one.width}"}
            for one in file.thumbnails
        ],
        "create_time": {"seconds": (file.create_time - EPOCH) // SECOND, "nanos": file.create_time.microsecond * 1000},
    }
    return upload_pb2.File(**facts)


def file_url(file: File) -> str:
    """Return where a file is served, as the contract's bindings say."""
    return f"/v1/{'images' if file.kind.is_public else 'playback-files'}/{file.file_id}"


def attachment_to_pb(attachment: Attachment) -> upload_pb2.Attachment:
    return upload_pb2.Attachment(
        owner_kind=attachment.owner_kind.value,  # type: ignore[arg-type]
        owner_id=attachment.owner_id,
        position=attachment.position,
        file=file_to_pb(attachment.file),
    )
