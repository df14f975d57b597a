"""C11: what becomes of images by whatever name, and that none of them does harm."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from adapters.images import MOST_WAITING, ChildImages
from domain.media.files import ImageRefused, ImagesBusy
from domain.media.storage import Picture
from tests.media.images import FORMATS, a_bomb, a_liar, an_image, opened, with_packed_text

SLEEPER = [sys.executable, "-c", "import time, sys; time.sleep(60)"]


@pytest.fixture
def images(tmp_path: Path) -> Iterator[ChildImages]:
    images = ChildImages(folder=tmp_path)
    yield images
    images.close()


async def cleaned(images: ChildImages, folder: Path, data: bytes) -> Picture:
    path = folder / "upload"
    path.write_bytes(data)
    return await images.clean(path)


class TestClean:
    @pytest.mark.parametrize("form", FORMATS)
    async def test_makes_the_same_picture_anew(self, images: ChildImages, tmp_path: Path, form: str) -> None:
        picture = await cleaned(images, tmp_path, an_image(form))

        image = opened(picture.data)
        assert ("WEBP", (400, 600)) == (image.format, image.size) == ("WEBP", (picture.width, picture.height))
        for place, wanted in {(5, 5): (250, 5, 128), (395, 595): (5, 250, 128)}.items():
            found = image.convert("RGB").getpixel(place)
            assert isinstance(found, tuple)
            assert all(abs(one - other) < 24 or abs(one - (255 - other)) < 24 for one, other in zip(found, wanted, strict=True))

    async def test_leaves_everything_behind_that_is_not_a_pixel(self, images: ChildImages, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x010E] = "a secret place"
        data = an_image(
            "JPEG",
            exif=exif,
            comment=b"a secret place",
            icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        )
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Comment", "a secret place", zip=False)

        for given in (data, an_image("PNG", pnginfo=notes)):
            picture = await cleaned(images, tmp_path, given)
            assert b"a secret place" in given
            assert b"secret" not in picture.data
            assert not {b"EXIF", b"ICCP", b"XMP "} & {picture.data[at : at + 4] for at in range(len(picture.data))}

    async def test_turns_what_its_metadata_says_is_turned(self, images: ChildImages, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6

        picture = await cleaned(images, tmp_path, an_image("JPEG", exif=exif))

        assert (600, 400) == (picture.width, picture.height)

    async def test_keeps_what_is_transparent(self, images: ChildImages, tmp_path: Path) -> None:
        output = io.BytesIO()
        Image.new("RGBA", (100, 100), (255, 0, 0, 64)).save(output, "PNG")

        picture = await cleaned(images, tmp_path, output.getvalue())

        corner = opened(picture.data).convert("RGBA").getpixel((5, 5))
        assert isinstance(corner, tuple)
        assert 60 <= corner[3] <= 68

    async def test_defeats_a_file_that_is_two_things(self, images: ChildImages, tmp_path: Path) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("evil.html", "<script>alert(1)</script>" * 9)
        both = an_image("JPEG", comment=b"<script>alert(1)</script>") + archive.getvalue()

        picture = await cleaned(images, tmp_path, both)

        assert zipfile.is_zipfile(io.BytesIO(both))
        assert not zipfile.is_zipfile(io.BytesIO(picture.data))
        assert b"<script>" not in picture.data

    @pytest.mark.parametrize("size", [(8193, 10), (10, 8193), (4000, 3001), (16_000, 16_000), (65_000, 65_000)])
    async def test_refuses_more_pixels_than_it_would_decode_before_it_does(
        self, images: ChildImages, tmp_path: Path, size: tuple[int, int]
    ) -> None:
        bomb = a_bomb(*size)
        began = time.monotonic()

        with pytest.raises(ImageRefused, match="pixels"):
            await cleaned(images, tmp_path, bomb)

        assert len(bomb) < 3_000_000
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize(
        "data",
        [
            with_packed_text(an_image("PNG"), 50_000_000),
            an_image("PNG")[:-200],
            an_image("JPEG")[:300],
            b"\x89PNG\r\n\x1a\n" + bytes(1000),
            b"RIFF\xff\xff\xff\xffWEBPVP8 " + os.urandom(500),
            b"\0\0\0\x1cftypavif" + os.urandom(500),
            b"GIF89a" + bytes(100),
            b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
            b"%PDF-1.7",
            b"MZ" + bytes(100),
            b"",
        ],
        ids=["zip bomb", "cut PNG", "cut JPEG", "mark", "noise WebP", "noise AVIF", "GIF", "SVG", "PDF", "program", "nothing"],
    )
    async def test_refuses_what_is_no_such_image(self, images: ChildImages, tmp_path: Path, data: bytes) -> None:
        with pytest.raises(ImageRefused) as refused:
            await cleaned(images, tmp_path, data)

        assert "content" == refused.value.details["field"]

    async def test_decodes_no_more_of_a_liar_than_it_admits_to(self, images: ChildImages, tmp_path: Path) -> None:
        picture = await cleaned(images, tmp_path, a_liar(100, 100))

        assert (100, 100) == opened(picture.data).size

    async def test_refuses_images_that_move(self, images: ChildImages, tmp_path: Path) -> None:
        frames = [Image.new("RGB", (20, 20), color) for color in ("red", "green")]
        for form in ("PNG", "WEBP"):
            output = io.BytesIO()
            frames[0].save(output, form, save_all=True, append_images=frames[1:], duration=100)
            with pytest.raises(ImageRefused, match="moves"):
                await cleaned(images, tmp_path, output.getvalue())


class TestNarrow:
    async def test_keeps_the_shape(self, images: ChildImages, tmp_path: Path) -> None:
        whole = await cleaned(images, tmp_path, an_image(size=(800, 1200)))

        made = await images.narrow(whole.data, [160, 320])

        assert [(160, 240), (320, 480)] == [opened(one.data).size for one in made] == [(one.width, one.height) for one in made]
        assert [] == [name for name in os.listdir(tmp_path) if name != "upload"]  # noqa: PTH208 - nothing blocks in a test


class TestChild:
    async def test_is_ended_with_who_waits_for_it(self, tmp_path: Path) -> None:
        images = ChildImages(program=SLEEPER, folder=tmp_path)
        began = time.monotonic()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await images.clean(tmp_path)

        assert time.monotonic() - began < 10
        images.close()

    async def test_takes_the_image_down_with_it_and_nothing_else(self, tmp_path: Path) -> None:
        images = ChildImages(program=[sys.executable, "-c", "import os; os.abort()"], folder=tmp_path)

        with pytest.raises(ImageRefused, match="cannot be decoded"):
            await images.clean(tmp_path)
        images.close()

    async def test_does_not_let_a_crowd_wait(self, tmp_path: Path) -> None:
        images = ChildImages(program=SLEEPER, folder=tmp_path)
        waiting = [asyncio.create_task(images.clean(tmp_path)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)

        with pytest.raises(ImagesBusy):
            await images.clean(tmp_path)

        for task in waiting:
            task.cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended)
        images.close()
