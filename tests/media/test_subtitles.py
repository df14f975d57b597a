"""What subtitles may be, by their content alone."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.kernel import Refusal
from domain.media.files import FileTypeRefused, SubtitleRefused
from domain.media.subtitles import checked

VTT = """WEBVTT - in English

STYLE
::cue(.loud) { color: #ff0 }

NOTE made by hand

1
00:01.000 --> 00:02.500 line:90% align:center
<v Rin>What does the <i>wind</i> say? <00:00:01.500>Nothing.</v>
- I <3 it & you

01:00:00.000 --> 01:00:01.000
<c.loud>HEY!</c> <ruby>風<rt>kaze</rt></ruby> <lang ja>風</lang>
"""
SRT = """1
00:00:01,000 --> 00:00:02,500
<font color="#ff0000">What</font> does the <i>wind</i> say?

2
00:00:03,000 --> 00:00:04,000
{\\an8}Nothing.
"""
ASS = """[Script Info]
Title: Wind
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Text
Comment: 0,0:00:00.00,0:00:00.00,Default,,
Dialogue: 0,0:00:01.00,0:00:02.50,Default,{\\i1}What does the wind say?, she asks
"""
TYPES = {VTT: "text/vtt", SRT: "application/x-subrip", ASS: "text/x-ssa"}


def refused(text: str | bytes) -> SubtitleRefused:
    with pytest.raises(SubtitleRefused) as caught:
        checked(text if isinstance(text, bytes) else text.encode())
    assert "content" == caught.value.details["field"]
    return caught.value


class TestChecked:
    @pytest.mark.parametrize("text", TYPES, ids=["VTT", "SRT", "ASS"])
    def test_tells_what_they_are_and_leaves_them_as_they_are(self, text: str) -> None:
        assert (f"{TYPES[text]}; charset=utf-8", text) == checked(text.encode())

    @pytest.mark.parametrize("text", TYPES, ids=["VTT", "SRT", "ASS"])
    def test_takes_what_windows_writes(self, text: str) -> None:
        assert text == checked(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())[1]

    @pytest.mark.parametrize(
        "data",
        [VTT.encode("utf-16"), SRT.replace("What", "Ça").encode("latin-1"), b"\xff\xfe" + SRT.encode(), b"WEBVTT\n\n\xc0\xaf"],
    )
    def test_takes_utf_8_alone(self, data: bytes) -> None:
        assert "UTF-8" in str(refused(data))

    @pytest.mark.parametrize(
        "text", ["", "\n\n", "<html><script>alert(1)</script>", "PK\x03\x04", "%PDF-1.7", "WEBVTTX\n\n", "Script Info", "{\\rtf1}"]
    )
    def test_takes_no_other_texts(self, text: str) -> None:
        with pytest.raises((FileTypeRefused, SubtitleRefused)):
            checked(text.encode())

    @pytest.mark.parametrize(
        "tag",
        [
            "<script>",
            "<img src=x onerror=alert(1)>",
            "<iframe src=//x>",
            "<a href='javascript:x'>",
            "<svg/onload=x>",
            "</script>",
            "<!--",
            "<?php ?>",
            "<script",
        ],
    )
    def test_holds_no_markup_that_a_page_would_run(self, tag: str) -> None:
        assert 11 == int(refused(VTT.replace("- I <3", f"{tag} <3")).details["line"])
        assert 3 == int(refused(SRT.replace("does", tag)).details["line"])

    @pytest.mark.parametrize(
        "style",
        [
            "@import 'https://x/y.css';",
            "::cue { background: url(https://x) }",
            "::cue { background: URL (//x) }",
            "</style><script>",
            "::cue { color: \\75rl(x) }",
        ],
    )
    def test_holds_no_style_that_fetches(self, style: str) -> None:
        assert 4 == int(refused(VTT.replace("::cue(.loud) { color: #ff0 }", style)).details["line"])

    @pytest.mark.parametrize(
        ("text", "old", "new"),
        [
            (VTT, "00:02.500", "00:00.500"),
            (VTT, "00:02.500", "00:99.000"),
            (VTT, "01:00:01.000", "99:00:01.000"),
            (VTT, "-->", "->"),
            (SRT, "00:00:02,500", "00:00:00,500"),
            (SRT, "00:00:01,000", "a:00:01,000"),
            (SRT, "00:00:01,000", "00:61:01,000"),
            (ASS, "0:00:02.50", "0:00:00.50"),
            (ASS, "0:00:02.50", "soon"),
        ],
    )
    def test_has_times_that_make_sense(self, text: str, old: str, new: str) -> None:
        assert old in text
        refused(text.replace(old, new, 1))

    @pytest.mark.parametrize("text", ["WEBVTT\n\nNOTE nothing\n", "[Script Info]\n\n[Events]\nFormat: Start\n"])
    def test_has_a_cue_at_least(self, text: str) -> None:
        assert "no cue" in str(refused(text))

    @pytest.mark.parametrize("section", ["[Fonts]\nfontname: x.ttf\n", "[Graphics]\n", "[Other]\n"])
    def test_embeds_no_files(self, section: str) -> None:
        assert "embedded" in str(refused(ASS.replace("[Events]", section + "[Events]")))

    def test_bounds_lines_and_cues(self) -> None:
        refused(VTT.replace("HEY!", "x" * 5000))
        refused("WEBVTT\n\n" + "00:01.000 --> 00:02.000\nx\n\n" * 50_001)

    @pytest.mark.parametrize(
        "text", ["WEBVTT\n\n" + "<" * 4_000_000, "WEBVTT\n\n" + "00:" * 1_300_000, "1\n" * 2_000_000, ("[" * 4999 + "\n") * 800]
    )
    def test_takes_no_longer_for_what_is_made_to_take_long(self, text: str) -> None:
        began = time.monotonic()

        with pytest.raises((FileTypeRefused, SubtitleRefused)):
            checked(text.encode())

        assert time.monotonic() - began < 6

    @settings(deadline=None)
    @given(
        st.binary(max_size=200)
        | st.text(max_size=200).map(str.encode)
        | st.text("WEBVT\n :.->0123,<i/>", max_size=100).map(lambda text: f"WEBVTT\n\n{text}".encode())
    )
    def test_answers_or_refuses_whatever_comes(self, data: bytes) -> None:
        with suppress(Refusal):
            content_type, text = checked(data)
            assert content_type
            assert (content_type, text) == checked(text.encode())
