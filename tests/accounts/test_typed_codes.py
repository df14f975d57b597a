"""Codes that people read off one device and type on another, however they do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.accounts import device_login, guest_passes
from domain.accounts.typed_codes import GROUP, LETTERS, fresh, read, shown

LENGTHS = st.integers(1, 16)
CODES = st.text(LETTERS, min_size=1, max_size=16)
# What people, phones and keyboards put between letters.
BETWEEN = st.text(" -_.\u2013\u2014\u00a0\u200b\t", max_size=3)
# What looks like a letter of a code to somebody who reads it off a screen, or types it in another script.
LOOK_ALIKES = {
    "B": "8bВβ", "C": "cс", "D": "dｄ", "F": "Ef", "G": "6g", "H": "hНΗ", "K": "kкκ", "L": "1Iiℓ", "M": "mм", "N": "nΝ",  # noqa: RUF001 - letters of other scripts
    "P": "pрρ", "Q": "0OoоοО", "S": "5sЅ", "T": "7tтτ", "V": "UuYyу", "X": "xхχ", "Z": "2zζ",  # noqa: RUF001 - letters of other scripts
}  # fmt: skip


def typed(code: str, choices: Sequence[int], gaps: Sequence[str]) -> str:
    """Return a code as somebody might type it."""
    letters = [(letter + LOOK_ALIKES.get(letter, letter.lower())) for letter in code]
    picked = [options[choice % len(options)] for options, choice in zip(letters, choices, strict=False)]
    return "".join(gap + letter for gap, letter in zip(gaps, picked, strict=False)) + gaps[-1]


class TestFresh:
    @given(LENGTHS)
    def test_is_read_as_it_is_shown(self, length: int) -> None:
        code = fresh(length)

        assert length == len(code)
        assert set(code) <= set(LETTERS)
        assert code == read(shown(code), length=length)

    def test_takes_all_letters_and_takes_them_alike(self) -> None:
        many = fresh(20_000)

        assert set(LETTERS) == set(many)
        assert max(many.count(letter) for letter in LETTERS) < 1.3 * 1000

    @pytest.mark.parametrize(("length", "bits"), [(device_login.CODE_LENGTH, 34.5), (guest_passes.CODE_LENGTH, 51.8)])
    def test_is_as_hard_to_guess_as_its_use_demands(self, length: int, bits: float) -> None:
        """RFC 8628: eight of twenty consonants are 34.6 bits; what needs no second number to be good has more."""
        assert math.log2(len(LETTERS)) * length >= bits

    def test_spells_nothing_and_holds_nothing_that_looks_like_something_else(self) -> None:
        """RFC 8628, 6.1."""
        assert not set(LETTERS) & set("AEIOUY0123456789")
        assert 20 == len(set(LETTERS))


class TestShown:
    @given(CODES)
    def test_is_in_groups_of_four(self, code: str) -> None:
        groups = shown(code).split("-")

        assert code == "".join(groups)
        assert {GROUP} >= {len(group) for group in groups[:-1]}
        assert 1 <= len(groups[-1]) <= GROUP


class TestRead:
    @given(st.data(), CODES)
    def test_does_not_mind_how_it_was_typed(self, data: st.DataObject, code: str) -> None:
        """A16: normalised; case, spaces and punctuation, letters that look like others, other scripts."""
        choices = data.draw(st.lists(st.integers(0, 9), min_size=len(code), max_size=len(code)))
        gaps = data.draw(st.lists(BETWEEN, min_size=len(code) + 1, max_size=len(code) + 1))

        assert code == read(typed(code, choices, gaps), length=len(code))

    @given(CODES, st.integers(0, 15), st.sampled_from(LETTERS))
    def test_takes_no_letter_for_another(self, code: str, place: int, letter: str) -> None:
        place %= len(code)
        other = code[:place] + letter + code[place + 1 :]

        assert other == read(other, length=len(code))

    @given(st.text(max_size=40), LENGTHS)
    def test_returns_a_code_of_its_length_or_none_whatever_was_typed(self, text: str, length: int) -> None:
        code = read(text, length=length)

        assert code is None or (len(code) == length and set(code) <= set(LETTERS))
        assert code is None or code == read(code, length=length)

    @given(CODES)
    def test_takes_none_that_is_too_long_or_too_short(self, code: str) -> None:
        assert read(code, length=len(code) + 1) is None
        assert read(code + "B", length=len(code)) is None

    @pytest.mark.parametrize(
        "text", ["", "----", "BCDF-GHJ3", "BCDF-GHJÄ", "BCDF-GHJЖ", "BCDFGHJ\u0301", "\uff22CDF-GHJ\uff14", "BCDFGHJ🦊"]
    )
    def test_takes_nothing_that_looks_like_no_letter_of_it(self, text: str) -> None:
        assert read(text, length=device_login.CODE_LENGTH) is None
