"""HLS playlists: read line by line, rid of ads and of trackers, and written with links that lead where they should."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import urljoin, urlsplit, urlunsplit

from domain.kernel import FailedPrecondition
from domain.media.sources import Origins

MOST_BYTES = 5_000_000
MOST_LINES = 100_000
LONGEST_LINE = 16_384

# Where a segment's tags end and the next one's begin is told by these alone; whatever else is between stays where it is.
_HEADERS = (
    "#EXTM3U", "#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE",
    "#EXT-X-PLAYLIST-TYPE", "#EXT-X-I-FRAMES-ONLY", "#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-START", "#EXT-X-ALLOW-CACHE",
)  # fmt: skip
# They hold for all segments that follow, so they outlive a segment that is taken out.
_LASTING = ("#EXT-X-KEY", "#EXT-X-MAP")
_AD_MARKERS = (
    "#EXT-X-CUE", "#EXT-OATCLS-SCTE35", "#EXT-X-SCTE35", "#EXT-X-SPLICEPOINT-SCTE35", "#EXT-X-ASSET", "#EXT-X-AD",
    "#EXT-X-BLACKOUT",
)  # fmt: skip
# Parts of segments are only worth their trouble live.
_LOW_LATENCY = (
    "#EXT-X-PART", "#EXT-X-PRELOAD-HINT", "#EXT-X-RENDITION-REPORT", "#EXT-X-SERVER-CONTROL", "#EXT-X-SKIP", "#EXT-X-DEFINE",
    "#EXT-X-CONTENT-STEERING",
)  # fmt: skip
_PLAYLIST_LINKS = ("#EXT-X-MEDIA", "#EXT-X-I-FRAME-STREAM-INF")
_FILE_LINKS = ("#EXT-X-KEY", "#EXT-X-MAP", "#EXT-X-SESSION-KEY", "#EXT-X-SESSION-DATA")
_KEYS = ("#EXT-X-KEY", "#EXT-X-SESSION-KEY")
_URI = re.compile(r'(?<=[:,])URI="([^"]*)"')
_DURATION = re.compile(r"(?:DURATION=|^#EXT-X-CUE-OUT:)(\d+(?:\.\d+)?)")
_TRACKERS = frozenset({"gclid", "fbclid", "yclid", "dclid", "msclkid", "mc_cid", "mc_eid", "_openstat", "igshid", "ysclid"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class PlaylistInvalid(FailedPrecondition):
    """Raised when what a source answers is no playlist, or one beyond all measure."""

    text = "The source's playlist cannot be used: {reason}."


class PlaylistLinkRefused(FailedPrecondition):
    """Raised when a playlist leads to a place that is not allowed."""

    text = "The source's playlist leads to a place that is not allowed."


@dataclass(slots=True)
class _Segment:
    tags: list[str] = field(default_factory=list)
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Rewriting:
    """How a playlist's links are written anew."""

    origins: Origins
    # Returns the link of a playlist that a playlist leads to.
    playlist: Callable[[str], str]
    ad_patterns: tuple[str, ...] = ()

    def rewritten(self, text: str, *, base: str) -> str:
        """Return a playlist without ads and trackers. Raises PlaylistInvalid, PlaylistLinkRefused."""
        lines = _lines(text)
        if any(_name(line) in {"#EXT-X-STREAM-INF", *_PLAYLIST_LINKS} for line in lines):
            return _text(self._master(lines, base))
        return _text(self._media(lines, base))

    def _master(self, lines: Sequence[str], base: str) -> Iterable[str]:
        for line in lines:
            if not line.startswith("#"):
                yield self.playlist(self._link(line, base))
            elif (known := self._tag(line, base)) is not None:
                yield known

    def _media(self, lines: Sequence[str], base: str) -> Iterable[str]:
        header, segments, tail = _taken_apart(lines)
        first = next((int(line.partition(":")[2]) for line in header if _is_number(line)), 0)
        numbered = list(enumerate(segments, first))
        kept = _without_ads(numbered, lambda one: self._is_ad(self._absolute(one.uri, base)))
        if len([1 for _, one in kept if one.uri]) < len(segments):
            _explain_keys(kept)
        for line in (*header, *(line for _, one in kept for line in (*one.tags, one.uri) if line), *tail):
            if not line.startswith("#"):
                yield self._link(line, base)
            elif (known := self._tag(line, base)) is not None:
                yield known

    def _tag(self, line: str, base: str) -> str | None:
        """Return a tag with its link written anew, or None when it is not passed on."""
        name = _name(line)
        if not name.startswith("#EXT") or name.startswith(_LOW_LATENCY) or _is_ad_marker(line):
            return None
        found = _URI.search(line)
        if found is None:
            return line
        uri = found.group(1)
        if name in _PLAYLIST_LINKS:
            fresh = self.playlist(self._link(uri, base))
        elif name in _KEYS and uri.startswith(("skd:", "data:")):
            fresh = uri  # leads nowhere: a name for the licence server, or the key itself
        elif name in _FILE_LINKS:
            fresh = self._link(uri, base)
        else:
            return None
        return f'{line[: found.start()]}URI="{fresh}"{line[found.end() :]}'

    def _link(self, uri: str, base: str) -> str:
        absolute = without_trackers(self._absolute(uri, base))
        if not self.origins.allow(absolute):
            raise PlaylistLinkRefused
        return absolute

    def _absolute(self, uri: str, base: str) -> str:
        if _SCHEME.match(uri) and not uri.lower().startswith(("http://", "https://")):
            raise PlaylistLinkRefused
        try:
            return urljoin(base, uri)
        except ValueError as fault:
            raise PlaylistLinkRefused from fault

    def _is_ad(self, url: str) -> bool:
        bare = url.partition("://")[2]
        return any(fnmatchcase(bare, pattern) for pattern in self.ad_patterns)


def without_trackers(url: str) -> str:
    """Return an address without what only tells who follows it. Everything else stays as it is written."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if not parts.query:
        return url
    kept = [pair for pair in parts.query.split("&") if not _is_tracker(pair.partition("=")[0].lower())]
    return urlunsplit(parts._replace(query="&".join(kept)))


def _is_tracker(name: str) -> bool:
    return name in _TRACKERS or name.startswith("utm_")


def _lines(text: str) -> list[str]:
    """Return the lines that say something. Raises PlaylistInvalid."""
    if len(text) > MOST_BYTES:
        raise PlaylistInvalid(reason="it is too large")
    split = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if len(split) > MOST_LINES:
        raise PlaylistInvalid(reason="it has too many lines")
    if any(len(line) > LONGEST_LINE for line in split):
        raise PlaylistInvalid(reason="a line is too long")
    lines = [line for line in (line.strip(" \t\r") for line in split) if line]
    if not lines or lines[0] != "#EXTM3U":
        raise PlaylistInvalid(reason="it does not begin with #EXTM3U")
    if any(not character.isprintable() and character != "\t" for line in lines for character in line):
        raise PlaylistInvalid(reason="it holds characters that no playlist has")
    return lines


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _name(line: str) -> str:
    return line.partition(":")[0]


def _is_number(line: str) -> bool:
    name, _, value = line.partition(":")
    return name == "#EXT-X-MEDIA-SEQUENCE" and value.isascii() and value.isdigit() and len(value) < 20


def _is_ad_marker(line: str) -> bool:
    name = _name(line)
    if name == "#EXT-X-DATERANGE":
        return any(word in line for word in ("SCTE35-", "X-ASSET-", "com.apple.hls.interstitial"))
    return name.startswith(_AD_MARKERS)


def _taken_apart(lines: Sequence[str]) -> tuple[list[str], list[_Segment], list[str]]:
    """Return what holds for the whole playlist, its segments, and what is behind them."""
    header: list[str] = []
    segments: list[_Segment] = []
    open_ = _Segment()
    for line in lines:
        if not line.startswith("#"):
            open_.uri = line
            segments.append(open_)
            open_ = _Segment()
        elif _name(line) in _HEADERS:
            header.append(line)
        else:
            open_.tags.append(line)
    return header, segments, open_.tags


def _without_ads(numbered: Sequence[tuple[int, _Segment]], is_ad: Callable[[_Segment], bool]) -> list[tuple[int, _Segment]]:
    """Leave out segments that are ads by their address, or by the markers they stand between.

    What holds for all that follows stays; of the discontinuities around an ad one is left, for what came before and what comes
    after need not fit together.
    """
    kept: list[tuple[int, _Segment]] = []
    passed: list[str] = []
    breaks = _breaks([one for _, one in numbered])
    for (number, one), in_break in zip(numbered, breaks, strict=True):
        if in_break or is_ad(one):
            passed += [tag for tag in one.tags if _name(tag) in {*_LASTING, "#EXT-X-DISCONTINUITY"}]
            continue
        tags = [*passed, *one.tags] if passed else one.tags
        kept.append((number, _Segment(_one_discontinuity(tags), one.uri)))
        passed = []
    return kept


def _one_discontinuity(tags: Sequence[str]) -> list[str]:
    first = next((place for place, tag in enumerate(tags) if tag == "#EXT-X-DISCONTINUITY"), len(tags))
    return [tag for place, tag in enumerate(tags) if tag != "#EXT-X-DISCONTINUITY" or place == first]


def _breaks(segments: Sequence[_Segment]) -> list[bool]:
    """Tell which segments are in an ad break: one that nothing ends has the length it was announced with."""
    inside = [False] * len(segments)
    for place, one in enumerate(segments):
        out = next((tag for tag in one.tags if _name(tag) == "#EXT-X-CUE-OUT"), None)
        if out is None or inside[place]:
            continue
        end = next((at for at in range(place, len(segments)) if _has_cue_in(segments[at], after=out)), None)
        if end is None:
            end = place + _count_within(segments[place:], out)
        inside[place:end] = [True] * (end - place)
    return inside


def _has_cue_in(segment: _Segment, *, after: str) -> bool:
    names = [_name(tag) for tag in (segment.tags[segment.tags.index(after) :] if after in segment.tags else segment.tags)]
    return "#EXT-X-CUE-IN" in names


def _count_within(segments: Sequence[_Segment], out: str) -> int:
    """Return how many segments an announced duration covers."""
    announced = _DURATION.search(out)
    left = float(announced.group(1)) if announced else 0.0
    count = 0
    for one in segments:
        if left < 0.5:
            break
        left -= _seconds(one)
        count += 1
    return count


def _seconds(segment: _Segment) -> float:
    for tag in segment.tags:
        if found := re.match(r"#EXTINF:(\d+(?:\.\d+)?)", tag):
            return float(found.group(1))
    return 0.0


def _explain_keys(kept: list[tuple[int, _Segment]]) -> None:
    """Say of each segment what it is encrypted with, where that followed from its number, which is another one now."""
    key: str | None = None
    for number, one in kept:
        given = [tag for tag in one.tags if _name(tag) == "#EXT-X-KEY"]
        key = given[-1] if given else key
        if key is None or "METHOD=AES-128" not in key or ",IV=" in key:
            continue
        one.tags = [tag for tag in one.tags if tag not in given]
        one.tags.insert(0, f"{key},IV=0x{number & (2**128 - 1):032X}")
