"""Playlists are rewritten: ads and trackers out, links where they should lead, and nothing else touched."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from domain.media.playlists import LONGEST_LINE, MOST_BYTES, MOST_LINES, PlaylistInvalid, PlaylistLinkRefused, Rewriting
from tests.media.playing import ORIGINS

BASE = "https://video.example/show/1/index.m3u8"
PLAIN = Rewriting(ORIGINS, lambda url: url, ("ads.video.example/*", "video.example/*/promo-*"))


def media(*lines: str) -> str:
    return "\n".join(("#EXTM3U", "#EXT-X-TARGETDURATION:6", *lines, "#EXT-X-ENDLIST")) + "\n"


def segments(text: str) -> list[str]:
    return [line.rpartition("/")[2] for line in PLAIN.rewritten(text, base=BASE).splitlines() if not line.startswith("#")]


class TestRewriting:
    def test_leads_to_itself_for_each_playlist_of_a_master(self) -> None:
        text = (
            "#EXTM3U\n"
            '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",LANGUAGE="ja",URI="ja.m3u8"\n'
            '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1"\n'
            "720.m3u8?token=1&utm_source=x\n"
            '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="/i.m3u8"\n'
        )
        signed = Rewriting(ORIGINS, lambda url: f"/v1/playlists/<{url}>").rewritten(text, base=BASE)

        assert 'LANGUAGE="ja",URI="/v1/playlists/<https://video.example/show/1/ja.m3u8>"' in signed
        assert "/v1/playlists/<https://video.example/show/1/720.m3u8?token=1>" in signed.splitlines()
        assert 'URI="/v1/playlists/<https://video.example/i.m3u8>"' in signed

    def test_leads_to_the_source_for_segments_and_keys(self) -> None:
        text = media('#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1', '#EXT-X-MAP:URI="init.mp4"', "#EXTINF:4,", "a.ts?fbclid=1&b=2")
        expected = media(
            '#EXT-X-KEY:METHOD=AES-128,URI="https://video.example/show/1/k",IV=0x1',
            '#EXT-X-MAP:URI="https://video.example/show/1/init.mp4"',
            "#EXTINF:4,",
            "https://video.example/show/1/a.ts?b=2",
        )

        assert expected == PLAIN.rewritten(text, base=BASE)

    def test_leaves_out_what_the_source_calls_ads_and_one_discontinuity(self) -> None:
        text = media(
            "#EXTINF:4,", "1.ts", "#EXT-X-DISCONTINUITY", "#EXTINF:4,", "https://ads.video.example/x.ts", "#EXTINF:4,",
            "promo-1.ts", "#EXT-X-DISCONTINUITY", "#EXTINF:4,", "2.ts",
        )  # fmt: skip
        rewritten = PLAIN.rewritten(text, base=BASE)

        assert ["1.ts", "2.ts"] == segments(text)
        assert 1 == rewritten.count("#EXT-X-DISCONTINUITY")
        assert 2 == rewritten.count("#EXTINF")

    def test_leaves_out_what_stands_between_ad_markers(self) -> None:
        text = media(
            "#EXTINF:4,", "1.ts", "#EXT-X-CUE-OUT:8", "#EXTINF:4,", "2.ts", "#EXT-X-CUE-OUT-CONT:4/8", "#EXTINF:4,", "3.ts",
            "#EXT-X-CUE-IN", "#EXTINF:4,", "4.ts",
        )  # fmt: skip

        assert ["1.ts", "4.ts"] == segments(text)
        assert "CUE" not in PLAIN.rewritten(text, base=BASE)

    def test_leaves_out_no_more_than_was_announced_when_nothing_ends_a_break(self) -> None:
        text = media(
            *(line for n in range(5) for line in (*(["#EXT-X-CUE-OUT:DURATION=8"] if n == 1 else []), "#EXTINF:4,", f"{n}"))
        )

        assert ["0", "3", "4"] == segments(text)
        assert ["0"] == segments(media("#EXT-X-CUE-OUT", "#EXTINF:4,", "0"))

    @pytest.mark.parametrize(
        "marker",
        [
            '#EXT-X-DATERANGE:ID="1",START-DATE="2026-01-01T00:00:00Z",SCTE35-OUT=0xFC',
            '#EXT-X-DATERANGE:ID="1",CLASS="com.apple.hls.interstitial",X-ASSET-URI="https://ads.example/a.m3u8"',
            "#EXT-OATCLS-SCTE35:/DAl",
            "#EXT-X-ASSET:CAID=0x1",
            "# a comment",
            '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="https://evil.example/p"',
            '#EXT-X-UNKNOWN:URI="http://127.0.0.1/"',
        ],
    )
    def test_leaves_out_markers(self, marker: str) -> None:
        assert media("#EXTINF:4,", f"{BASE}.ts") == PLAIN.rewritten(media(marker, "#EXTINF:4,", f"{BASE}.ts"), base=BASE)

    def test_keeps_dates_that_are_no_ads(self) -> None:
        tag = '#EXT-X-DATERANGE:ID="chapter",START-DATE="2026-01-01T00:00:00Z"'

        assert tag in PLAIN.rewritten(media(tag, "#EXTINF:4,", "1.ts"), base=BASE)

    def test_says_by_which_number_a_segment_is_encrypted_when_numbers_move(self) -> None:
        text = media(
            "#EXT-X-MEDIA-SEQUENCE:10", '#EXT-X-KEY:METHOD=AES-128,URI="k"', "#EXTINF:4,", "promo-1.ts", "#EXTINF:4,", "b.ts",
            "#EXTINF:4,", "c.ts",
        )  # fmt: skip
        rewritten = PLAIN.rewritten(text, base=BASE)

        assert [f"IV=0x{n:032X}" for n in (11, 12)] == [
            line.rpartition(",")[2] for line in rewritten.splitlines() if line.startswith("#EXT-X-KEY")
        ]

    @pytest.mark.parametrize(
        "link",
        [
            "http://127.0.0.1/a.ts", "https://127.0.0.1/a.ts", "https://[::1]/a.ts", "https://10.0.0.1/a.ts", "//169.254.169.254/a",
            "https://2130706433/", "https://0x7f.1/", "https://video.example@evil.example/", "https://video.example:8443/a.ts",
            "http://video.example/a.ts", "https://evil.example/a.ts", "https://video.example.evil.example/", "file:///etc/passwd",
            "ftp://video.example/a", "javascript:alert(1)", "data:video/mp4,x",
        "https://video.example\\@evil.example/", "https://[",
            "https://video.example/a b.ts", "https://localhost/a.ts",
        ],
    )  # fmt: skip
    def test_refuses_links_that_lead_elsewhere(self, link: str) -> None:
        with pytest.raises(PlaylistLinkRefused):
            PLAIN.rewritten(media("#EXTINF:4,", link), base=BASE)
        with pytest.raises(PlaylistLinkRefused):
            PLAIN.rewritten(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{link}\n", base=BASE)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "<html>",
            "#EXTM3U8\n",
            "#EXTM3U\n" + "a" * (LONGEST_LINE + 1),
            "#EXTM3U\n" + "\n" * (MOST_LINES + 1),
            "#EXTM3U\n" + "#" * MOST_BYTES,
            "#EXTM3U\n#EXTINF:4,\na\x00.ts",
            "#EXTM3U\n#EXTINF:4,\ra.ts",
        ],
        ids=str.__len__,
    )
    def test_refuses_what_is_no_playlist(self, text: str) -> None:
        with pytest.raises(PlaylistInvalid):
            PLAIN.rewritten(text, base=BASE)


LINES = st.sampled_from(
    [
        "#EXTINF:4,", "#EXTINF:6.006,title", "a.ts", "b/c.ts?utm_medium=1&x=%20", "promo-7.ts", "https://ads.video.example/1.ts",
        "#EXT-X-DISCONTINUITY", "#EXT-X-CUE-OUT:8", "#EXT-X-CUE-OUT:DURATION=4", "#EXT-X-CUE-IN",
        '#EXT-X-KEY:METHOD=AES-128,URI="k"',
               "#EXT-X-KEY:METHOD=NONE", '#EXT-X-MAP:URI="i.mp4"', "#EXT-X-MEDIA-SEQUENCE:7", "#EXT-X-ENDLIST",
        "#EXT-X-BYTERANGE:1@0",
        "# comment", "#EXT-X-DATERANGE:SCTE35-CMD=0x1", "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z", "",
    ]
)  # fmt: skip


class TestAnyPlaylist:
    @given(st.lists(LINES, max_size=40))
    def test_is_the_same_when_it_is_rewritten_again(self, lines: list[str]) -> None:
        once = PLAIN.rewritten("\n".join(("#EXTM3U", *lines)), base=BASE)

        assert once == PLAIN.rewritten(once, base=BASE)

    @given(st.lists(LINES, max_size=40))
    def test_leads_to_allowed_places_alone(self, lines: list[str]) -> None:
        text = PLAIN.rewritten("\n".join(("#EXTM3U", *lines)), base=BASE)
        links = [line for line in text.splitlines() if not line.startswith("#")]

        assert all(ORIGINS.allow(link) and "utm_" not in link and "ads." not in link for link in links)

    @given(st.text(max_size=200))
    def test_is_refused_or_rewritten_whatever_it_holds(self, text: str) -> None:
        try:
            assert PLAIN.rewritten("#EXTM3U\n" + text, base=BASE).startswith("#EXTM3U\n")
        except (PlaylistInvalid, PlaylistLinkRefused):
            event("refused")
