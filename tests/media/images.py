"""Images for tests: good ones, and ones that lie."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")


def an_image(form: str = "PNG", *, size: tuple[int, int] = (400, 600), mode: str = "RGB", **options: Any) -> bytes:
    """Return an image with a gradient, so that it has some detail and its corners differ."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    down = Image.linear_gradient("L").resize(size)
    image = Image.merge("RGB", (across, down, Image.new("L", size, 128))).convert(mode)
    output = io.BytesIO()
    image.save(output, form, **options)
    return output.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def a_bomb(width: int, height: int) -> bytes:
    """Return a small PNG of so many pixels that it takes gigabytes to decode, all of it well formed."""
    row = b"\0" + bytes(width // 8 + 1)
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(row * 1000) for _ in range(height // 1000)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def a_liar(width: int, height: int) -> bytes:
    """Return a PNG whose header tells of few pixels, while its data holds many times as many."""
    data = a_bomb(16_000, 16_000)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return data[:8] + header + data[8 + len(header) :]


def with_packed_text(data: bytes, size: int) -> bytes:
    """Return a PNG with a text in it that takes little room until it is unpacked."""
    header = 8 + 25
    return data[:header] + _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(size), 9)) + data[header:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
