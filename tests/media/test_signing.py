"""Grants are good as they were signed, for whom they were signed, until they expire."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.media.signing import Grant, GrantExpired, GrantInvalid, GrantOfAnother, Signer, expiry
from tests.builders import NOON, a_viewer
from tests.media.playing import DEVICE

ME = a_viewer()
OLD, NEW = {"9": b"o" * 32}, {"9": b"o" * 32, "10": b"n" * 32}
GRANT = Grant("stream", ME.account_id, DEVICE, expiry(NOON, timedelta(minutes=5)), "https://video.example/1.m3u8?a=é")


class TestSigner:
    def test_reads_what_it_signed(self) -> None:
        assert GRANT == Signer(NEW).read(Signer(NEW).sign(GRANT), viewer=ME, device_id=DEVICE, at=NOON)

    def test_signs_with_the_newest_key_and_reads_those_before(self) -> None:
        assert Signer(NEW).sign(GRANT).startswith("10.")
        assert GRANT == Signer(NEW).read(Signer(OLD).sign(GRANT), viewer=ME, device_id=DEVICE, at=NOON)
        with pytest.raises(GrantInvalid):
            Signer(OLD).read(Signer(NEW).sign(GRANT), viewer=ME, device_id=DEVICE, at=NOON)

    def test_refuses_another_viewer_and_another_device(self) -> None:
        text = Signer(NEW).sign(GRANT)
        for viewer, device in ((replace(ME, account_id="other"), DEVICE), (ME, "device-0002")):
            with pytest.raises(GrantOfAnother):
                Signer(NEW).read(text, viewer=viewer, device_id=device, at=NOON)

    def test_refuses_from_the_moment_of_expiry_on(self) -> None:
        text, ends = Signer(NEW).sign(GRANT), NOON + timedelta(minutes=5)

        assert GRANT == Signer(NEW).read(text, viewer=ME, device_id=DEVICE, at=ends - timedelta(microseconds=1))
        with pytest.raises(GrantExpired):
            Signer(NEW).read(text, viewer=ME, device_id=DEVICE, at=ends)

    @given(st.data())
    def test_refuses_whatever_was_changed(self, data: st.DataObject) -> None:
        text = Signer(NEW).sign(GRANT)
        place = data.draw(st.integers(0, len(text) - 1))
        letter = data.draw(st.characters(max_codepoint=300).filter(lambda letter: letter != text[place]))
        with pytest.raises(GrantInvalid):
            Signer(NEW).read(text[:place] + letter + text[place + 1 :], viewer=ME, device_id=DEVICE, at=NOON)

    @given(st.text(max_size=100))
    def test_refuses_any_other_text(self, text: str) -> None:
        with pytest.raises(GrantInvalid):
            Signer(NEW).read(text, viewer=ME, device_id=DEVICE, at=NOON)

    def test_needs_a_key(self) -> None:
        with pytest.raises(ValueError, match="no key"):
            Signer({})
