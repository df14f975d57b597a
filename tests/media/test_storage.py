"""What every storage of files promises, over a folder and over a real S3 server."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from adapters.storage import PART, LocalSpooling, LocalStorage, S3Storage, StorageUrlRefused, part_of, storage_at
from domain.kernel import new_id
from domain.media.files import StorageUnavailable
from domain.media.storage import Storage
from tests.builders import NOON
from tests.media.s3 import KEY, SECRET, S3Server, s3_server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture(params=["folder", "S3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return LocalStorage(tmp_path / "files")
    request.getfixturevalue("credentials")
    return S3Storage.connect(request.getfixturevalue("s3").url)


def a_key() -> str:
    return new_id(at=NOON)


async def listed(storage: Storage, *, before: datetime) -> set[str]:
    keys: AsyncIterator[list[str]] = storage.keys(before=before)
    return {key async for chunk in keys for key in chunk}


def later() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


class TestStorage:
    async def test_gives_back_what_it_was_given(self, storage: Storage) -> None:
        key, data = a_key(), os.urandom(300_000)
        await storage.put(key, data, content_type="image/webp")

        assert data == await storage.get(key)

    async def test_has_nothing_where_nothing_was_put(self, storage: Storage) -> None:
        assert await storage.get(a_key()) is None

    async def test_writes_over_what_was_there(self, storage: Storage) -> None:
        key = a_key()
        await storage.put(key, b"one", content_type="image/webp")
        await storage.put(key, b"another", content_type="image/webp")

        assert b"another" == await storage.get(key)

    async def test_forgets_and_does_not_mind_what_is_gone(self, storage: Storage) -> None:
        kept, gone = a_key(), a_key()
        for key in (kept, gone):
            await storage.put(key, b"data", content_type="image/webp")

        await storage.delete([gone, a_key()])
        await storage.delete([gone])

        assert b"data" == await storage.get(kept)
        assert await storage.get(gone) is None

    async def test_lists_what_was_written_before_a_time(self, storage: Storage) -> None:
        keys = [a_key(), f"{a_key()}-320"]
        for key in keys:
            await storage.put(key, b"data", content_type="image/webp")

        assert set(keys) <= await listed(storage, before=later())
        assert not set(keys) & await listed(storage, before=NOON - timedelta(days=9000))

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "..",
            "../../etc/passwd",
            "/etc/passwd",
            "a/b",
            "A" * 20,
            "a" * 200,
            "abcdefgh\n",
            "abcd.part",
            "-abcdefgh",
            "äbcdefgh",
        ],
    )
    async def test_knows_no_paths(self, storage: Storage, key: str) -> None:
        """C11: nothing that a caller could make up leads anywhere."""
        with pytest.raises(ValueError, match="not a key"):
            await storage.put(key, b"data", content_type="image/webp")
        with pytest.raises(ValueError, match="not a key"):
            await storage.get(key)
        with pytest.raises(ValueError, match="not a key"):
            await storage.delete([key])


class TestStorageAt:
    async def test_finds_a_folder_by_its_address_or_the_usual_one(self, tmp_path: Path) -> None:
        for url, folder in {"": "usual", f"{(tmp_path / 'a folder').as_uri()}": "a folder"}.items():
            storage = storage_at(url, folder=tmp_path / "usual")
            await storage.put(key := a_key(), b"data", content_type="image/webp")

            assert [key] == [path.name for path in (tmp_path / folder).rglob(key)]


class TestLocalStorage:
    async def test_shows_no_halves_to_who_reads_meanwhile(self, tmp_path: Path) -> None:
        storage, key = LocalStorage(tmp_path / "files"), a_key()
        versions = [bytes([number]) * 200_000 for number in range(4)]
        await storage.put(key, versions[0], content_type="image/webp")

        async def write() -> None:
            for data in versions:
                await storage.put(key, data, content_type="image/webp")

        async def read() -> None:
            for _ in range(20):
                assert await storage.get(key) in versions

        await asyncio.gather(write(), read(), read())

    async def test_leaves_nothing_behind_when_the_disk_takes_no_more(self, tmp_path: Path) -> None:
        """A quota of the kernel's, which fails in the middle of a write as a full disk does."""
        storage = LocalStorage(tmp_path / "files")
        key = a_key()
        await storage.put(key, b"before", content_type="image/webp")
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, usual[1]))
        try:
            with pytest.raises(StorageUnavailable):
                await storage.put(key, bytes(1024 * 1024), content_type="image/webp")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)

        assert b"before" == await storage.get(key)
        assert [key] == [path.name for path in (tmp_path / "files").rglob("*") if path.is_file()]

    async def test_sweeps_halves_that_a_crash_left(self, tmp_path: Path) -> None:
        storage = LocalStorage(tmp_path / "files")
        key = a_key()
        await storage.put(key, b"data", content_type="image/webp")
        (path,) = (tmp_path / "files").rglob(key)
        half = path.with_name(f"{key}.abc{PART}")
        half.write_bytes(b"da")

        assert {key} == await listed(storage, before=later())
        assert not half.exists()

    async def test_keeps_files_from_other_users_of_the_machine(self, tmp_path: Path) -> None:
        storage = LocalStorage(tmp_path / "files")
        await storage.put(a_key(), b"data", content_type="image/webp")

        assert {0o700} == {path.stat().st_mode & 0o777 for path in [tmp_path / "files", *(tmp_path / "files").iterdir()]}

    async def test_says_so_when_there_is_no_place_for_it(self, tmp_path: Path) -> None:
        (tmp_path / "files").touch()

        with pytest.raises(StorageUnavailable):
            await LocalStorage(tmp_path / "files").put(a_key(), b"data", content_type="image/webp")


class TestS3Storage:
    async def test_signs_addresses_that_anyone_may_follow_for_a_time(self, s3: S3Server, credentials: None) -> None:
        storage, key = S3Storage.connect(s3.url), a_key()
        await storage.put(key, b"data", content_type="image/webp")

        url = await storage.signed_url(key, lasting=timedelta(hours=1))
        async with httpx.AsyncClient() as client:
            signed, unsigned = await client.get(url), await client.get(url.partition("?")[0])
            forged = await client.get(url[:-4] + "0000")

        assert (200, b"data", "image/webp") == (signed.status_code, signed.content, signed.headers["content-type"])
        assert [400, 403] == [unsigned.status_code, forged.status_code]

    async def test_is_refused_with_the_wrong_key(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch, credentials: None) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        storage = S3Storage.connect(s3.url)

        with pytest.raises(StorageUnavailable):
            await storage.put(a_key(), b"data", content_type="image/webp")

    async def test_says_so_when_it_is_away(self, tmp_path: Path, credentials: None) -> None:
        with s3_server(tmp_path / "s3") as server:
            storage, key = S3Storage.connect(server.url), a_key()
            await storage.put(key, b"data", content_type="image/webp")

        with pytest.raises(StorageUnavailable):
            await storage.get(key)
        with pytest.raises(StorageUnavailable):
            await listed(storage, before=later())

    @pytest.mark.parametrize("url", ["s3://", "http://bucket", "s3://user@bucket", "s3://bucket?key=secret", "bucket"])
    def test_takes_only_the_address_of_a_bucket(self, url: str) -> None:
        with pytest.raises(StorageUrlRefused):
            S3Storage.connect(url)


class TestSpool:
    async def test_is_gone_once_it_is_left_however_that_comes(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError):
            async with LocalSpooling(tmp_path / "spool")() as spool:
                await spool.write(b"data")
                await spool.finish()
                assert b"data" == spool.path.read_bytes()
                raise KeyError

        assert [] == list((tmp_path / "spool").iterdir())


class TestPartOf:
    @pytest.mark.parametrize("kind", ["folder", "S3"])
    async def test_is_a_storage_that_the_whole_one_does_not_look_through(
        self, kind: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        request.getfixturevalue("credentials")
        url = f"file://{tmp_path}/files" if kind == "folder" else request.getfixturevalue("s3").url
        whole, part = (storage_at(one, folder=tmp_path) for one in (url, part_of(url, "exports")))
        key = a_key()

        await part.put(key, b"words", content_type="text/plain")

        assert {key} == await listed(part, before=later())
        assert key not in await listed(whole, before=later())
        assert await whole.get(key) is None

    def test_of_no_url_is_none(self) -> None:
        assert "" == part_of("", "exports")
