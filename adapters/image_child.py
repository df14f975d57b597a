"""The program that decodes images. What it is given may be made to break decoders, so it is a process with little to lose.

Its arguments are `clean PATH` or `narrow PATH WIDTH…`; it writes a line of JSON, and after it the images that the line tells of.
"""

from __future__ import annotations

import ctypes
import io
import json
import resource
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
MOST_PIXELS = 12_000_000
LONGEST_SIDE = 8192
# In bytes and seconds. Twelve million pixels need about 300 MB to be decoded, turned and encoded.
MEMORY, SECONDS = 768 * 1024 * 1024, 30
# What a client that takes no message over four megabytes can still be given.
LARGEST = 3_500_000
QUALITIES = (90, 80, 65, 50)
PR_SET_PDEATHSIG = 1


class Refused(Exception):
    """Raised for an image that is not taken; says why."""


def main(words: list[str]) -> None:
    # Ends with who asked: nobody else will ever read the answer.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(OSError):  # Where memory runs out, the one to end is this.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    try:
        pictures = _clean(words[1]) if words[0] == "clean" else _narrow(words[1], [int(width) for width in words[2:]])
        told: dict[str, Any] = {"pictures": [(len(data), *size) for data, size in pictures]}
    except Refused as fault:
        pictures, told = [], {"refused": str(fault)}
    except Exception:  # noqa: BLE001 - whatever a decoder raises, the image is at fault
        pictures, told = [], {"refused": "it cannot be decoded"}
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + b"".join(data for data, _ in pictures))


def _clean(path: str) -> list[tuple[bytes, tuple[int, int]]]:
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # The bound below is narrower, and is told of as any other.
    with Image.open(path, formats=FORMATS) as opened:
        # Known from the header: nothing was decoded so far.
        if opened.width > LONGEST_SIDE or opened.height > LONGEST_SIDE or opened.width * opened.height > MOST_PIXELS:
            raise Refused(f"it has more than {MOST_PIXELS // 1_000_000} million pixels, or more than {LONGEST_SIDE} on a side")
        if getattr(opened, "n_frames", 1) > 1:
            raise Refused("it moves")
        if opened.mode not in MODES:
            raise Refused(f"its pixels are of the kind {opened.mode}, which is not taken")
        profile = opened.info.get("icc_profile")
        opened.load()
        ImageOps.exif_transpose(opened, in_place=True)
        image = _standard(opened, profile)
    return [(_encoded(image), image.size)]


def _narrow(path: str, widths: list[int]) -> list[tuple[bytes, tuple[int, int]]]:
    from PIL import Image

    with Image.open(path, formats=("WEBP",)) as image:
        image.load()
        made = []
        for width in widths:
            height = max(1, round(image.height * width / image.width))
            smaller = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
            made.append((_encoded(smaller), smaller.size))
    return made


def _standard(image: Any, profile: bytes | None) -> Any:
    """Return an image as plain sRGB, so that its colors stay what they were without the profile that goes with it."""
    mode = "RGBA" if "A" in image.mode or "transparency" in image.info else "RGB"
    if profile and image.mode in {"RGB", "RGBA", "CMYK", "L"}:
        from PIL import ImageCms

        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            standard = ImageCms.createProfile("sRGB")
            alpha = image.getchannel("A") if image.mode == "RGBA" else None
            flat = image.convert("RGB") if image.mode == "RGBA" else image
            image = ImageCms.profileToProfile(flat, source, standard, outputMode="RGB")
            if alpha is not None:
                image.putalpha(alpha)
        except ImageCms.PyCMSError:
            pass  # A profile that does not fit the pixels says nothing about them.
    return image if image.mode == mode else image.convert(mode)


def _encoded(image: Any) -> bytes:
    for quality in QUALITIES:
        output = io.BytesIO()
        image.save(output, "WEBP", quality=quality, method=4, exif=b"", icc_profile=b"", xmp=b"")
        if output.tell() <= LARGEST:
            return output.getvalue()
    raise Refused("it is too detailed to be stored")


if __name__ == "__main__":
    main(sys.argv[1:])
