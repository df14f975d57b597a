"""Subtitles: found out what they are, and held to what subtitles need. What a player might run or fetch is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

from domain.media.files import FileTypeRefused, SubtitleRefused

LONGEST_LINE = 5000
MOST_CUES = 50_000
MOST_LINES = 400_000
LATEST_SECONDS = 24 * 3600

CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
TAG = re.compile(r"<([^<>]{0,200})>?")
VTT_TIMES = re.compile(
    r"(?:(\d{2,4}):)?([0-5]\d):([0-5]\d)\.(\d{3})[ \t]+-->[ \t]+(?:(\d{2,4}):)?([0-5]\d):([0-5]\d)\.(\d{3})(?:[ \t].*)?"
)
SRT_TIMES = re.compile(
    r"(\d{1,4}):([0-5]\d):([0-5]\d)[,.](\d{3})[ \t]*-->[ \t]*(\d{1,4}):([0-5]\d):([0-5]\d)[,.](\d{3})(?:[ \t].*)?"
)
ASS_TIMES = re.compile(r"\s*[^,]*,\s*(\d{1,4}):([0-5]\d):([0-5]\d)[.:](\d{2}),\s*(\d{1,4}):([0-5]\d):([0-5]\d)[.:](\d{2}),.*")
# Letters and what may follow them: classes, languages and voices of WebVTT, and its time stamps.
VTT_TAG = re.compile(r"/?(?:[ibucv]|ruby|rt|lang)(?:[.\s][^<>]*)?|(?:\d{2,4}:)?[0-5]\d:[0-5]\d\.\d{3}", re.DOTALL)
SRT_TAG = re.compile(r"/?[ibus]|/?font(?:\s+(?:color|face|size)=[\"']?[\w #.,-]{0,60}[\"']?){0,3}", re.IGNORECASE)
# Style sheets that fetch something, or that leave their block.
STYLE_REFUSED = re.compile(r"@import|url\s*\(|expression\s*\(|javascript:|\\|<|-->", re.IGNORECASE)
ASS_SECTIONS = {
    "script info",
    "v4 styles",
    "v4+ styles",
    "v4++ styles",
    "events",
    "aegisub project garbage",
    "aegisub extradata",
}

Line = tuple[int, str]


def checked(data: bytes) -> tuple[str, str]:
    """Return the content type of subtitles, and their text with plain line ends. Raises FileTypeRefused and SubtitleRefused."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise _refused(data.count(b"\n", 0, fault.start) + 1, "it is not UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") >= MOST_LINES:
        raise _refused(MOST_LINES, "they have too many lines")
    lines = list(enumerate(text.split("\n"), 1))
    for number, line in lines:
        if len(line) > LONGEST_LINE:
            raise _refused(number, f"it has more than {LONGEST_LINE} characters")
        if CONTROLS.search(line):
            raise _refused(number, "it holds control characters")
    first = next((line.strip() for _, line in lines if line.strip()), "")
    if re.fullmatch(r"WEBVTT([ \t].*)?", lines[0][1]):
        _check_vtt(lines)
        return "text/vtt; charset=utf-8", text
    if first.lower() == "[script info]":
        _check_ass(lines)
        return "text/x-ssa; charset=utf-8", text
    if first.isdecimal() or SRT_TIMES.fullmatch(first):
        _check_srt(lines)
        return "application/x-subrip; charset=utf-8", text
    raise FileTypeRefused(wanted="WebVTT, SubRip or SubStation Alpha", field="content")


def _check_vtt(lines: list[Line]) -> None:
    cues = 0
    header, *blocks = _blocks(lines)
    if any("-->" in line for _, line in header[1:]):
        raise _refused(header[1][0], "a cue must follow an empty line")
    for block in blocks:
        number, first = block[0]
        if re.fullmatch(r"NOTE([ \t].*)?", first):
            continue
        if re.fullmatch(r"(STYLE|REGION)[ \t]*", first):
            _check_style(block[1:])
            continue
        timing = 0 if "-->" in first else 1
        if timing >= len(block):
            raise _refused(number, "it is neither a note nor a cue")
        _check_times(block[timing], VTT_TIMES)
        _check_tags(block[timing + 1 :], VTT_TAG)
        cues += 1
    _check_count(cues, lines)


def _check_srt(lines: list[Line]) -> None:
    cues = 0
    for block in _blocks(lines):
        number, first = block[0]
        timing = 1 if first.strip().isdecimal() and len(block) > 1 else 0
        if not SRT_TIMES.fullmatch(block[timing][1].strip()):
            if not cues:
                raise _refused(number, "a cue must begin here, with its number and its times")
            # An empty line within a cue's text, which many programs write.
            _check_tags(block, SRT_TAG)
            continue
        _check_times(block[timing], SRT_TIMES)
        _check_tags(block[timing + 1 :], SRT_TAG)
        cues += 1
    _check_count(cues, lines)


def _check_ass(lines: list[Line]) -> None:
    cues, section = 0, ""
    for number, line in lines:
        plain = line.strip()
        if plain.startswith("[") and plain.endswith("]"):
            section = plain[1:-1].lower()
            if section not in ASS_SECTIONS:
                raise _refused(number, "embedded files and unknown sections are not taken")
        elif section == "events" and plain.startswith("Dialogue:"):
            _check_times((number, plain.removeprefix("Dialogue:")), ASS_TIMES, fractions=100)
            cues += 1
        elif section == "events" and plain and not plain.startswith(("Comment:", "Format:", ";")):
            raise _refused(number, "only dialogue and comments stand among the events")
    _check_count(cues, lines)


def _blocks(lines: list[Line]) -> Iterator[list[Line]]:
    block: list[Line] = []
    for number, line in lines:
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _check_times(line: Line, form: re.Pattern[str], *, fractions: int = 1000) -> None:
    number, text = line
    times = form.fullmatch(text.strip())
    if times is None:
        raise _refused(number, "its times are not well formed")
    parts = [int(part or 0) for part in times.groups()]
    begin, end = (
        hours * 3600 + minutes * 60 + seconds + part / fractions for hours, minutes, seconds, part in (parts[:4], parts[4:])
    )
    if end < begin or end > LATEST_SECONDS:
        raise _refused(number, "it ends before it begins" if end < begin else "it ends after more than a day")


def _check_tags(block: list[Line], allowed: re.Pattern[str]) -> None:
    for number, line in block:
        for tag in TAG.finditer(line):
            # A lone sign, as in "I <3 you", is text to every player.
            if re.match(r"[/!?a-zA-Z]", tag[1]) and not allowed.fullmatch(tag[1]):
                raise _refused(number, "it holds markup other than that of subtitles")


def _check_style(block: list[Line]) -> None:
    for number, line in block:
        if STYLE_REFUSED.search(line):
            raise _refused(number, "styles must not fetch or hide anything")


def _check_count(cues: int, lines: list[Line]) -> None:
    if not cues:
        raise _refused(len(lines), "they hold no cue")
    if cues > MOST_CUES:
        raise _refused(len(lines), f"they hold more than {MOST_CUES} cues")


def _refused(line: int, fault: str) -> SubtitleRefused:
    return SubtitleRefused(line=line, fault=fault, field="content")
