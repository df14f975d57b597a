"""Codes that people read off one device and type on another."""

from __future__ import annotations

import secrets
import unicodedata

# Without vowels no words come up by chance, and without digits nothing is mistaken for one.
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
GROUP = 4
# What is typed for a letter that looks like it, in this script or another.
_LOOK_ALIKES = str.maketrans(
    {"0": "Q", "O": "Q", "1": "L", "I": "L", "2": "Z", "5": "S", "6": "G", "7": "T", "8": "B", "U": "V", "Y": "V", "E": "F"}
    | dict(zip("ВСНКМРТХОУІЅЈ", "BCHKMPTXQVLSJ", strict=True))  # noqa: RUF001 - letters of another script
    | dict(zip("ΒΗΚΜΝΡΤΧΖΟΥΙ", "BHKMNPTXZQVL", strict=True))  # noqa: RUF001 - letters of another script
)


def fresh(length: int) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(length))


def shown(code: str) -> str:
    """Return a code as people are shown it."""
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))


def read(text: str, *, length: int) -> str | None:
    """Return the code that somebody typed, however they did; None for what is none."""
    letters = "".join(letter for letter in unicodedata.normalize("NFKC", text).upper() if letter.isalnum())
    code = letters.translate(_LOOK_ALIKES)
    return code if len(code) == length and set(code) <= set(LETTERS) else None
