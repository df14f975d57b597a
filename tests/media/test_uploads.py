"""Every rule and refusal of uploaded files, over the real store, storage and image program."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.catalog.items import ITEMS as EPISODES
from adapters.storage import LocalStorage
from domain.kernel import Page, new_id
from domain.media.files import (
    MEGABYTE,
    MOST_ATTACHED,
    AttachmentsFull,
    File,
    FileEmpty,
    FileIdReused,
    FileInUse,
    FileKind,
    FileNotFound,
    FileTooLarge,
    FileTypeRefused,
    ImageRefused,
    LanguageOutOfPlace,
    OwnerKind,
    OwnerNotFound,
    StorageUnavailable,
    SubtitleRefused,
    Upload,
)
from domain.media.uploads import Uploads
from tests.builders import GUEST, NOON, a_draft, a_release, a_viewer, an_editor, an_episode
from tests.media.conftest import event_names, kept
from tests.media.images import an_image, opened
from tests.media.test_subtitles import VTT

POSTER = an_image("JPEG", size=(400, 600))


def an_upload(**over: Any) -> Upload:
    facts: dict[str, Any] = {
        "file_id": new_id(at=NOON),
        "kind": FileKind.POSTER,
        "account_id": "0191d7a0-0000-7000-8000-000000000002",
    }
    return Upload(**facts | over)


async def pieces(data: bytes, size: int = 60_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def uploaded(uploads: Uploads, data: bytes = POSTER, *, at: datetime = NOON, **over: Any) -> File:
    return await uploads.upload_file(an_upload(**over), pieces(data), at=at)


def stored(folder: Path) -> set[str]:
    return {path.name for path in (folder / "files").rglob("*") if path.is_file()}


def spooled(folder: Path) -> list[Path]:
    return list((folder / "spool").iterdir())


class TestUploadFile:
    async def test_stores_an_image_made_anew(self, uploads: Uploads, storage: LocalStorage, database: Database) -> None:
        file = await uploaded(uploads)

        data = await storage.get(file.key)
        assert data is not None
        assert ("WEBP", (400, 600)) == (opened(data).format, opened(data).size)
        assert ("image/webp", len(data), hashlib.sha256(data).hexdigest(), 400, 600) == (
            file.content_type, file.size, file.sha256, file.width, file.height,
        )  # fmt: skip
        assert ["MediaUploaded"] == await event_names(database)

    async def test_stores_subtitles_with_their_language(self, uploads: Uploads, storage: LocalStorage) -> None:
        file = await uploaded(uploads, b"\xef\xbb\xbf" + VTT.encode(), kind=FileKind.SUBTITLE, language="en")

        assert VTT.encode() == await storage.get(file.key)
        assert ("text/vtt; charset=utf-8", "en") == (file.content_type, file.language)

    async def test_gives_the_first_result_back(self, uploads: Uploads, database: Database, tmp_path: Path) -> None:
        upload = an_upload()
        first = await uploads.upload_file(upload, pieces(POSTER), at=NOON)

        again = await uploads.upload_file(upload, pieces(POSTER, 7), at=NOON + timedelta(days=1))

        assert first == again
        assert {first.key} == stored(tmp_path)
        assert ["MediaUploaded"] == await event_names(database)

    @pytest.mark.parametrize(
        ("kind", "language", "data"),
        [(FileKind.POSTER, "", an_image("PNG")), (FileKind.BANNER, "", POSTER), (FileKind.SUBTITLE, "en", VTT.encode())],
        ids=["other content", "other kind", "other kind and content"],
    )
    async def test_refuses_another_file_under_the_same_id(
        self, uploads: Uploads, tmp_path: Path, kind: FileKind, language: str, data: bytes
    ) -> None:
        file = await uploaded(uploads)

        with pytest.raises(FileIdReused):
            await uploaded(uploads, data, file_id=file.file_id, kind=kind, language=language)

        assert {file.key} == stored(tmp_path)

    async def test_keeps_one_of_many_that_come_at_once(self, uploads: Uploads, database: Database, tmp_path: Path) -> None:
        """E4."""
        upload = an_upload(kind=FileKind.SUBTITLE)

        files = await asyncio.gather(*(uploads.upload_file(upload, pieces(VTT.encode()), at=NOON) for _ in range(12)))

        assert 1 == len(set(files))
        assert {files[0].key} == stored(tmp_path)
        assert ["MediaUploaded"] == await event_names(database)

    async def test_keeps_the_first_of_two_that_differ(self, uploads: Uploads, tmp_path: Path) -> None:
        upload = an_upload(kind=FileKind.SUBTITLE)
        texts = [VTT.replace("wind", word).encode() for word in ("rain", "snow")]

        ends = await asyncio.gather(*(uploads.upload_file(upload, pieces(text), at=NOON) for text in texts), return_exceptions=True)

        (file,) = (end for end in ends if isinstance(end, File))
        assert 1 == sum(isinstance(end, FileIdReused) for end in ends)
        assert {file.key} == stored(tmp_path)

    @pytest.mark.parametrize(("kind", "limit"), [(FileKind.POSTER, 16 * MEGABYTE), (FileKind.SUBTITLE, 4 * MEGABYTE)])
    async def test_stops_at_the_first_byte_too_many(self, uploads: Uploads, tmp_path: Path, kind: FileKind, limit: int) -> None:
        taken = 0

        async def five_gigabytes() -> AsyncIterator[bytes]:
            nonlocal taken
            for number in range(5 * 1024):
                taken += MEGABYTE
                yield (POSTER if not number else b"").ljust(MEGABYTE, b"x")

        with pytest.raises(FileTooLarge) as refused:
            await uploads.upload_file(an_upload(kind=kind), five_gigabytes(), at=NOON)

        assert str(limit) == refused.value.details["limit"]
        assert taken == limit + MEGABYTE
        assert set() == stored(tmp_path)
        assert [] == spooled(tmp_path)

    @pytest.mark.parametrize(
        "data",
        [
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"GIF89a" + bytes(100),
            VTT.encode(),
            b"PK\x03\x04" + bytes(100),
            b"x",
            bytes(99),
        ],
        ids=["SVG", "GIF", "VTT", "ZIP", "short", "zeros"],
    )
    async def test_refuses_what_is_no_image_before_it_has_all_of_it(self, uploads: Uploads, data: bytes) -> None:
        """C11: a lying type."""
        more = 0

        async def content() -> AsyncIterator[bytes]:
            nonlocal more
            for start in range(0, len(data), 5):
                yield data[start : start + 5]
            if len(data) > 12:
                more = 1

        with pytest.raises(FileTypeRefused):
            await uploads.upload_file(an_upload(), content(), at=NOON)
        assert not more

    @pytest.mark.parametrize("kind", [FileKind.SUBTITLE, FileKind.POSTER])
    async def test_refuses_nothing_at_all(self, uploads: Uploads, kind: FileKind) -> None:
        with pytest.raises(FileEmpty):
            await uploaded(uploads, b"", kind=kind)

    async def test_refuses_an_image_as_subtitles_and_broken_images(self, uploads: Uploads, tmp_path: Path) -> None:
        with pytest.raises((FileTypeRefused, SubtitleRefused)):
            await uploaded(uploads, POSTER, kind=FileKind.SUBTITLE)
        with pytest.raises(ImageRefused):
            await uploaded(uploads, POSTER[:500])
        with pytest.raises(LanguageOutOfPlace):
            await uploaded(uploads, POSTER, language="en")

        assert set() == stored(tmp_path)
        assert [] == spooled(tmp_path)

    async def test_leaves_nothing_when_its_sender_is_gone(self, uploads: Uploads, tmp_path: Path) -> None:
        waiting = asyncio.Event()

        async def half() -> AsyncIterator[bytes]:
            yield POSTER[:2000]
            waiting.set()
            await asyncio.Event().wait()

        upload = asyncio.create_task(uploads.upload_file(an_upload(), half(), at=NOON))
        await waiting.wait()
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)

        assert set() == stored(tmp_path)
        assert [] == spooled(tmp_path)

    async def test_leaves_nothing_when_there_is_no_room(self, uploads: Uploads, database: Database, tmp_path: Path) -> None:
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, usual[1]))
        try:
            with pytest.raises(StorageUnavailable):
                await uploaded(uploads)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)

        assert set() == stored(tmp_path)
        assert [] == spooled(tmp_path)
        assert [] == await event_names(database)


class TestMakeThumbnails:
    async def test_makes_those_that_are_narrower(self, uploads: Uploads, storage: LocalStorage) -> None:
        file = await uploaded(uploads)

        await uploads.make_thumbnails(file.file_id)

        (after, _) = await uploads.get_file(file.file_id)
        assert [(160, 240), (320, 480)] == [(one.width, one.height) for one in after.thumbnails]
        for one in after.thumbnails:
            data = await storage.get(one.key)
            assert data is not None
            assert (one.width, one.size) == (opened(data).width, len(data))

    async def test_does_nothing_the_second_time_or_where_there_is_nothing_to_do(self, uploads: Uploads, tmp_path: Path) -> None:
        poster = await uploaded(uploads)
        small = await uploaded(uploads, an_image(size=(100, 100)))
        subtitles = await uploaded(uploads, VTT.encode(), kind=FileKind.SUBTITLE)
        await uploads.make_thumbnails(poster.file_id)
        before = stored(tmp_path)

        for file_id in (poster.file_id, small.file_id, subtitles.file_id, new_id(at=NOON)):
            assert [] == await uploads.make_thumbnails(file_id)
        assert before == stored(tmp_path)


class TestGetImage:
    async def test_gives_the_width_or_the_next_larger_one(self, uploads: Uploads) -> None:
        file = await uploaded(uploads)
        await uploads.make_thumbnails(file.file_id)

        for asked, given in {0: 400, 1: 160, 160: 160, 161: 320, 320: 320, 321: 400, 8000: 400}.items():
            content_type, data = await uploads.get_image(file.file_id, width=asked, viewer=an_editor(), at=NOON)
            assert ("image/webp", given) == (content_type, opened(data).width)

    async def test_is_for_those_who_may_see_what_it_is_attached_to(self, uploads: Uploads, database: Database) -> None:
        """The one visibility rule."""
        file = await uploaded(uploads)
        owners = {
            "draft": await kept(database, a_draft()),
            "blocked": await kept(database, a_release(blocked_countries=("JP",))),
            "grown-up": await kept(database, a_release(age_rating=18)),
        }

        async def seen(**viewer: Any) -> bool:
            try:
                await uploads.get_image(file.file_id, width=0, viewer=a_viewer(**viewer), at=NOON)
            except FileNotFound:
                return False
            return True

        assert not await seen()
        assert await uploads.get_image(file.file_id, width=0, viewer=an_editor(), at=NOON)
        for name, expected in {
            "draft": (False, False, False),
            "blocked": (False, True, True),
            "grown-up": (True, True, False),
        }.items():
            await uploads.attach_file(OwnerKind.RELEASE, owners[name].release_id, file.file_id, position=0)
            found = (await seen(country="JP"), await seen(country="DE"), await seen(country="DE", maturity=12))
            await uploads.detach_file(OwnerKind.RELEASE, owners[name].release_id, file.file_id)
            assert expected == found

    async def test_gives_no_subtitles_and_playback_no_posters(self, uploads: Uploads, database: Database) -> None:
        release = await kept(database, a_release())
        subtitles = await uploaded(uploads, VTT.encode(), kind=FileKind.SUBTITLE)
        poster = await uploaded(uploads)
        for file in (subtitles, poster):
            await uploads.attach_file(OwnerKind.RELEASE, release.release_id, file.file_id, position=0)

        shown = await uploads.get_playback_file(subtitles.file_id, viewer=a_viewer(), at=NOON)

        assert ("text/vtt; charset=utf-8", VTT.encode()) == shown
        with pytest.raises(FileNotFound):
            await uploads.get_image(subtitles.file_id, width=0, viewer=an_editor(), at=NOON)
        with pytest.raises(FileNotFound):
            await uploads.get_playback_file(poster.file_id, viewer=an_editor(), at=NOON)


class TestAttachFile:
    async def test_orders_by_place_and_moves(self, uploads: Uploads, database: Database) -> None:
        release = await kept(database, a_release())
        files = [await uploaded(uploads, an_image(size=(50 + n, 50)), at=NOON + timedelta(seconds=n)) for n in range(3)]
        for place, file in zip((2, 1, 2), files, strict=True):
            await uploads.attach_file(OwnerKind.RELEASE, release.release_id, file.file_id, position=place)

        async def order() -> list[int]:
            found = await uploads.list_attachments(OwnerKind.RELEASE, [release.release_id], None, viewer=GUEST)
            return [[file.file_id for file in files].index(one.file.file_id) for one in found]

        assert [1, 0, 2] == await order()
        await uploads.attach_file(OwnerKind.RELEASE, release.release_id, files[1].file_id, position=9)
        assert [0, 2, 1] == await order()

    async def test_refuses_what_is_not_there(self, uploads: Uploads, database: Database) -> None:
        file, release = await uploaded(uploads), await kept(database, a_release())

        with pytest.raises(OwnerNotFound):
            await uploads.attach_file(OwnerKind.RELEASE, new_id(at=NOON), file.file_id, position=0)
        with pytest.raises(OwnerNotFound):
            await uploads.attach_file(OwnerKind.EPISODE, release.release_id, file.file_id, position=0)
        with pytest.raises(FileNotFound):
            await uploads.attach_file(OwnerKind.RELEASE, release.release_id, new_id(at=NOON), position=0)

    async def test_of_an_episode_is_shown_to_those_who_may_see_its_release(self, uploads: Uploads, database: Database) -> None:
        file, release = await uploaded(uploads), await kept(database, a_release(age_rating=18))
        episode = an_episode(release)
        keeper = EPISODES["episode"].keeper
        async with database.begins(bare)() as connection:
            await keeper.add(connection, episode)
        await uploads.attach_file(OwnerKind.EPISODE, episode.episode_id, file.file_id, position=0)

        async def seen(maturity: int) -> int:
            viewer = a_viewer(maturity=maturity)
            return len(await uploads.list_attachments(OwnerKind.EPISODE, [episode.episode_id], None, viewer=viewer))

        before = (await seen(18), await seen(12))
        async with database.begins(bare)() as connection:
            await keeper.delete(connection, episode.episode_id, at=NOON)

        assert ((1, 0), 0) == (before, await seen(18))
        with pytest.raises(OwnerNotFound):
            await uploads.attach_file(OwnerKind.EPISODE, episode.episode_id, file.file_id, position=0)

    async def test_only_tries_when_asked_to(self, uploads: Uploads, database: Database) -> None:
        file, release = await uploaded(uploads), await kept(database, a_release())

        await uploads.attach_file(OwnerKind.RELEASE, release.release_id, file.file_id, position=0, validate_only=True)

        assert [] == await uploads.list_attachments(OwnerKind.RELEASE, [release.release_id], None, viewer=an_editor())

    async def test_takes_no_more_than_may_be_however_they_come(self, uploads: Uploads, database: Database) -> None:
        release = await kept(database, a_release())
        files = [await uploaded(uploads, VTT.encode(), kind=FileKind.SUBTITLE) for _ in range(MOST_ATTACHED + 5)]

        async def attach(file: File) -> bool:
            try:
                await uploads.attach_file(OwnerKind.RELEASE, release.release_id, file.file_id, position=0)
            except AttachmentsFull:
                return False
            return True

        assert MOST_ATTACHED == sum(await asyncio.gather(*map(attach, files)))
        found = await uploads.list_attachments(OwnerKind.RELEASE, [release.release_id], None, viewer=an_editor())
        assert MOST_ATTACHED == len(found)


class TestListAttachments:
    async def test_answers_for_many_owners_at_once_and_hides_what_is_hidden(self, uploads: Uploads, database: Database) -> None:
        file = await uploaded(uploads)
        subtitles = await uploaded(uploads, VTT.encode(), kind=FileKind.SUBTITLE)
        shown, draft = await kept(database, a_release()), await kept(database, a_draft())
        for owner in (draft, shown):
            await uploads.attach_file(OwnerKind.RELEASE, owner.release_id, file.file_id, position=0)
        await uploads.attach_file(OwnerKind.RELEASE, shown.release_id, subtitles.file_id, position=1)
        asked = [draft.release_id, new_id(at=NOON), shown.release_id]

        async def seen(viewer: Any, kind: FileKind | None = None) -> list[tuple[str, str]]:
            found = await uploads.list_attachments(OwnerKind.RELEASE, asked, kind, viewer=viewer)
            return [(one.owner_id, one.file.file_id) for one in found]

        assert [(shown.release_id, file.file_id)] == await seen(GUEST)
        everything = [(draft.release_id, file.file_id), (shown.release_id, file.file_id), (shown.release_id, subtitles.file_id)]
        assert everything == await seen(an_editor())
        assert everything[2:] == await seen(an_editor(), FileKind.SUBTITLE)


class TestDeleteFile:
    async def test_takes_its_content_with_it(self, uploads: Uploads, database: Database, tmp_path: Path) -> None:
        file = await uploaded(uploads)
        await uploads.make_thumbnails(file.file_id)
        (file, _) = await uploads.get_file(file.file_id)

        await uploads.delete_file(file.file_id, at=NOON)
        await uploads.delete_file(file.file_id, at=NOON)
        await uploads.forget_content(file.keys)

        assert ["MediaUploaded", "MediaDeleted"] == await event_names(database)
        assert set() == stored(tmp_path)
        with pytest.raises(FileNotFound):
            await uploads.get_file(file.file_id)

    async def test_refuses_what_is_used_and_what_never_was(self, uploads: Uploads, database: Database) -> None:
        file, release = await uploaded(uploads), await kept(database, a_release())
        await uploads.attach_file(OwnerKind.RELEASE, release.release_id, file.file_id, position=0)

        with pytest.raises(FileInUse):
            await uploads.delete_file(file.file_id, at=NOON)
        with pytest.raises(FileNotFound):
            await uploads.delete_file(new_id(at=NOON), at=NOON)

    async def test_keeps_its_id_for_ever(self, uploads: Uploads) -> None:
        file = await uploaded(uploads)
        await uploads.delete_file(file.file_id, at=NOON)

        with pytest.raises(FileIdReused):
            await uploaded(uploads, file_id=file.file_id)

    async def test_never_takes_a_file_that_is_being_attached(self, uploads: Uploads, database: Database) -> None:
        release = await kept(database, a_release())

        for _ in range(10):
            file = await uploaded(uploads, VTT.encode(), kind=FileKind.SUBTITLE)
            ends = await asyncio.gather(
                uploads.attach_file(OwnerKind.RELEASE, release.release_id, file.file_id, position=0),
                uploads.delete_file(file.file_id, at=NOON),
                return_exceptions=True,
            )
            assert {FileNotFound, FileInUse} & {type(end) for end in ends}


class TestListFiles:
    async def test_goes_page_by_page(self, uploads: Uploads) -> None:
        files = [
            await uploaded(uploads, VTT.encode(), kind=FileKind.SUBTITLE, at=NOON + timedelta(seconds=n // 2)) for n in range(5)
        ]
        poster = await uploaded(uploads)

        seen, token = [], ""
        while True:
            page, token = await uploads.list_files(FileKind.SUBTITLE, Page(2, token))
            seen += page
            if not token:
                break

        assert sorted(files, key=lambda file: (file.create_time, file.file_id), reverse=True) == seen
        assert poster in (await uploads.list_files(None, Page(100)))[0]


class TestSweep:
    async def test_removes_what_was_left_over_and_nothing_else(
        self, uploads: Uploads, storage: LocalStorage, tmp_path: Path
    ) -> None:
        file = await uploaded(uploads, kind=FileKind.PREVIEW_SHEET)
        await uploads.make_thumbnails(file.file_id)
        before = stored(tmp_path)
        left_over = [new_id(at=NOON), f"{new_id(at=NOON)}-320"]
        for key in left_over:
            await storage.put(key, b"half an upload", content_type="image/webp")
        now = datetime.now(UTC)

        assert (0, 0) == await uploads.sweep(at=now)
        assert (0, 2) == await uploads.sweep(at=now + timedelta(days=2))
        assert before == stored(tmp_path)

    async def test_removes_posters_that_nothing_used_for_a_month(self, uploads: Uploads, database: Database) -> None:
        release = await kept(database, a_release())
        _, used, subtitles = [
            await uploaded(uploads),
            await uploaded(uploads),
            await uploaded(uploads, VTT.encode(), kind=FileKind.SUBTITLE),
        ]
        await uploads.attach_file(OwnerKind.RELEASE, release.release_id, used.file_id, position=0)

        assert (0, 0) == await uploads.sweep(at=NOON + timedelta(days=29))
        assert 1 == (await uploads.sweep(at=NOON + timedelta(days=31)))[0]
        assert {used, subtitles} == set((await uploads.list_files(None, Page()))[0])
        assert "MediaDeleted" == (await event_names(database))[-1]
