"""What only the wire shows of uploaded files: streams, access, types, caches, and what the worker does about them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import httpx
import pytest
from google.api import httpbody_pb2

from adapters.postgres import Database
from ani.media.v1 import attachment_service_pb2 as attachment_pb
from ani.media.v1 import upload_pb2, upload_service_pb2_grpc
from ani.media.v1 import upload_service_pb2 as pb
from domain.kernel import Role, new_id
from domain.media.files import MEGABYTE
from server.settings import Settings
from tests.builders import NOON, a_release
from tests.media.conftest import kept
from tests.media.images import an_image, opened
from tests.media.s3 import KEY, SECRET, s3_server
from tests.media.test_subtitles import VTT
from tests.serving import Metadata, Served, refusal, serving, taken_apart, with_metadata

Token = Callable[..., Metadata]
POSTER = an_image("JPEG", size=(400, 600))


def sent(data: bytes, *, size: int = 50_000, **head: Any) -> list[pb.UploadFileRequest]:
    """Return the messages of an upload: the first says what it is."""
    facts: dict[str, Any] = {"kind": upload_pb2.FILE_KIND_POSTER, "file_id": new_id(at=NOON)}
    parts = [httpbody_pb2.HttpBody(data=data[start : start + size]) for start in range(0, len(data), size)]
    return [pb.UploadFileRequest(**facts | head), *(pb.UploadFileRequest(content=part) for part in parts)]


async def uploaded(served: Served, token: Token, data: bytes = POSTER, **head: Any) -> upload_pb2.File:
    return (await served.uploads.UploadFile(iter(sent(data, **head)), metadata=token(Role.EDITOR))).file


class TestUploadFile:
    async def test_returns_what_was_stored(self, served: Served, token: Token) -> None:
        file = await uploaded(served, token)

        shown = (await served.uploads.GetFile(pb.GetFileRequest(file_id=file.file_id), metadata=token(Role.EDITOR))).file

        assert file == shown
        assert ("image/webp", 400, 600, f"/v1/images/{file.file_id}", "") == (
            file.content_type, file.width, file.height, file.url, file.signed_url,
        )  # fmt: skip

    async def test_takes_content_in_the_first_message_too(self, served: Served, token: Token) -> None:
        """As it comes from the gateway: the query stands in the first message, beside the first piece of the body."""
        head, *rest = sent(POSTER, size=1000)
        head.content.data, head.content.content_type = rest.pop(0).content.data, "application/x-www-form-urlencoded"

        file = (await served.uploads.UploadFile(iter([head, *rest]), metadata=token(Role.EDITOR))).file

        assert 400 == file.width

    @pytest.mark.parametrize(
        ("messages", "reason", "fields"),
        [
            ([], "FILE_EMPTY", {"content"}),
            (sent(b""), "FILE_EMPTY", {"content"}),
            (sent(POSTER, kind=0), "FILE_KIND_MISSING", {"kind"}),
            (sent(POSTER, kind=9), "REQUEST_INVALID", {"kind"}),
            (sent(POSTER, file_id="../../etc/passwd"), "REQUEST_INVALID", {"file_id"}),
            (sent(POSTER, language="en"), "LANGUAGE_OUT_OF_PLACE", {"language"}),
            (sent(VTT.encode()), "FILE_TYPE_REFUSED", {"content"}),
            (sent(POSTER[:500]), "IMAGE_REFUSED", {"content"}),
            (sent(POSTER, kind=upload_pb2.FILE_KIND_SUBTITLE), "SUBTITLE_REFUSED", {"content"}),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_says_what_is_wrong(
        self, served: Served, token: Token, messages: list[pb.UploadFileRequest], reason: str, fields: set[str]
    ) -> None:
        refused = await refusal(served.uploads.UploadFile(iter(messages), metadata=token(Role.EDITOR)))

        assert (grpc.StatusCode.INVALID_ARGUMENT, reason, fields) == (refused.code, refused.reason, set(refused.fields))

    async def test_stops_a_sender_who_never_ends(self, served: Served, token: Token) -> None:
        """Five gigabytes that nobody takes."""
        given = 0

        def five_gigabytes() -> Iterator[pb.UploadFileRequest]:
            nonlocal given
            yield sent(POSTER)[0]
            yield pb.UploadFileRequest(content=httpbody_pb2.HttpBody(data=POSTER))
            for _ in range(5 * 1024):
                given += MEGABYTE
                yield pb.UploadFileRequest(content=httpbody_pb2.HttpBody(data=bytes(MEGABYTE)))

        def send() -> grpc.RpcError:
            # grpc.aio's own client takes a write that fails for a fault of its own, and forgets the status that explains it.
            with grpc.insecure_channel(served.address) as channel, pytest.raises(grpc.RpcError) as caught:
                upload_service_pb2_grpc.UploadServiceStub(channel).UploadFile(five_gigabytes(), metadata=token(Role.EDITOR))
            return caught.value

        fault: Any = await asyncio.to_thread(send)

        assert (grpc.StatusCode.INVALID_ARGUMENT, "FILE_TOO_LARGE") == (fault.code(), taken_apart(fault).reason)
        assert given < 64 * MEGABYTE

    async def test_is_for_editors_and_is_audited(self, served: Served, token: Token, database_url: str) -> None:
        refused = await refusal(served.uploads.UploadFile(iter(sent(POSTER)), metadata=token(Role.MODERATOR)))
        await uploaded(served, token)

        connection = await asyncpg.connect(database_url)
        rows = await connection.fetch("SELECT code FROM platform.audit_log ORDER BY entry_id")
        await connection.close()
        assert grpc.StatusCode.PERMISSION_DENIED is refused.code
        assert ["PERMISSION_DENIED", "OK"] == [row["code"] for row in rows]

    async def test_has_one_effect_however_often_it_is_sent(self, served: Served, token: Token, database_url: str) -> None:
        """E4."""
        messages = sent(VTT.encode(), kind=upload_pb2.FILE_KIND_SUBTITLE)

        calls = [served.uploads.UploadFile(iter(messages), metadata=token(Role.EDITOR)) for _ in range(15)]
        answers = await asyncio.gather(*calls)

        connection = await asyncpg.connect(database_url)
        assert 1 == await connection.fetchval("SELECT count(*) FROM media.files")
        await connection.close()
        assert 1 == len({answer.SerializeToString(deterministic=True) for answer in answers})


class TestGetImage:
    async def test_shows_a_poster_to_everyone_once_it_is_attached(self, served: Served, token: Token, database: Database) -> None:
        release, file = await kept(database, a_release()), await uploaded(served, token)
        request = pb.GetImageRequest(file_id=file.file_id, width=100)
        before = await refusal(served.uploads.GetImage(request))
        attach = attachment_pb.AttachFileRequest(
            owner_kind=upload_pb2.OWNER_KIND_RELEASE, owner_id=release.release_id, file_id=file.file_id
        )
        await served.attachments.AttachFile(attach, metadata=token(Role.EDITOR))

        answer, metadata = await with_metadata(served.uploads.GetImage(request))

        assert (grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND") == (before.code, before.reason)
        assert isinstance(answer, pb.GetImageResponse)
        assert ("image/webp", (400, 600)) == (answer.image.content_type, opened(answer.image.data).size)
        assert str(metadata["cache-control"]).startswith("public, max-age=86")

    async def test_is_gone_at_once_when_it_is_detached(self, served: Served, token: Token, database: Database) -> None:
        release, file = await kept(database, a_release()), await uploaded(served, token)
        place: dict[str, Any] = {
            "owner_kind": upload_pb2.OWNER_KIND_RELEASE,
            "owner_id": release.release_id,
            "file_id": file.file_id,
        }
        listing = attachment_pb.ListAttachmentsRequest(owner_kind=place["owner_kind"], owner_ids=[release.release_id])
        await served.attachments.AttachFile(attachment_pb.AttachFileRequest(**place), metadata=token(Role.EDITOR))
        await served.uploads.GetImage(pb.GetImageRequest(file_id=file.file_id))
        before = (await served.attachments.ListAttachments(listing)).attachments

        await served.attachments.DetachFile(attachment_pb.DetachFileRequest(**place), metadata=token(Role.EDITOR))

        refused = await refusal(served.uploads.GetImage(pb.GetImageRequest(file_id=file.file_id)))
        assert [file.file_id] == [one.file.file_id for one in before]
        assert grpc.StatusCode.NOT_FOUND is refused.code
        assert [] == list((await served.attachments.ListAttachments(listing)).attachments)


class TestGetPlaybackFile:
    async def test_is_for_signed_in_callers(self, served: Served, token: Token, database: Database) -> None:
        release = await kept(database, a_release())
        file = await uploaded(served, token, VTT.encode(), kind=upload_pb2.FILE_KIND_SUBTITLE)
        attach = attachment_pb.AttachFileRequest(
            owner_kind=upload_pb2.OWNER_KIND_RELEASE, owner_id=release.release_id, file_id=file.file_id
        )
        await served.attachments.AttachFile(attach, metadata=token(Role.EDITOR))
        request = pb.GetPlaybackFileRequest(file_id=file.file_id)

        guest = await refusal(served.uploads.GetPlaybackFile(request))
        answer = await served.uploads.GetPlaybackFile(request, metadata=token())

        assert grpc.StatusCode.UNAUTHENTICATED is guest.code
        assert ("text/vtt; charset=utf-8", VTT.encode()) == (answer.content.content_type, answer.content.data)


class TestS3:
    async def test_keeps_files_and_hands_them_out_itself(
        self, settings: Settings, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        with s3_server(tmp_path / "s3") as server:
            async with serving(replace(settings, storage_url=server.url), f"unix:{tmp_path}/s") as served:
                file = await uploaded(served, token)
                request = pb.GetFileRequest(file_id=file.file_id)
                shown = (await served.uploads.GetFile(request, metadata=token(Role.EDITOR))).file
                image = pb.GetImageRequest(file_id=file.file_id)
                through = (await served.uploads.GetImage(image, metadata=token(Role.EDITOR))).image
                async with httpx.AsyncClient() as client:
                    direct = await client.get(shown.signed_url)

                server.process.kill()
                server.process.wait()
                away = await refusal(served.uploads.UploadFile(iter(sent(POSTER)), metadata=token(Role.EDITOR)))

        assert ("image/webp", through.data) == (direct.headers["content-type"], direct.content)
        assert (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE") == (away.code, away.reason)
        assert not (tmp_path / "files").exists()
