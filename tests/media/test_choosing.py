"""What is played is what suits best, and never what cannot be played."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.media.choosing import Device, NothingPlayable, ceiling, choose
from domain.media.settings import PlayerSettings
from domain.media.sources import AudioTrack, Quality, SourceKind, VideoCodec, VideoSource
from tests.media.playing import DEVICE, a_quality, a_source

SIZES = {360: 640, 480: 854, 720: 1280, 1080: 1920, 2160: 3840}


@st.composite
def qualities(draw: st.DrawFn) -> Quality:
    height = draw(st.sampled_from(sorted(SIZES)))
    bitrate, codec = draw(st.integers(100_000, 20_000_000)), draw(st.sampled_from(VideoCodec))
    return Quality(f"{height}p", SIZES[height], height, bitrate, codec)


SOURCES = st.lists(
    st.builds(
        lambda found, kind, enabled, priority: a_source(qualities=tuple(found), kind=kind, enabled=enabled, priority=priority),
        st.lists(qualities(), max_size=4),
        st.sampled_from(SourceKind),
        st.booleans(),
        st.integers(0, 3),
    ),
    max_size=4,
)
DEVICES = st.builds(
    Device,
    device_id=st.just(DEVICE),
    kinds=st.frozensets(st.sampled_from(SourceKind), min_size=1),
    codecs=st.frozensets(st.sampled_from(VideoCodec), min_size=1),
    bandwidth=st.sampled_from([0, 500_000, 3_000_000, 50_000_000]),
    screen_height=st.sampled_from([0, 480, 720, 1080]),
    data_saver=st.booleans(),
)
SETTINGS = st.builds(PlayerSettings, data_saver=st.booleans(), max_height=st.sampled_from([0, 480, 1080]))


class TestChoose:
    @given(SOURCES, DEVICES, SETTINGS)
    def test_keeps_what_the_device_can_and_within_what_limits_it(
        self, sources: list[VideoSource], device: Device, settings: PlayerSettings
    ) -> None:
        playable = [
            (source, quality)
            for source in sources
            if source.enabled and source.kind in device.kinds
            for quality in source.qualities or (None,)
            if quality is None or quality.codec in device.codecs
        ]
        highest = ceiling(device, settings)

        def fits(quality: Quality | None) -> bool:
            within = quality and (not highest or quality.height <= highest)
            return bool(quality and within and (not device.bandwidth or quality.bitrate <= device.bandwidth))

        if not playable:
            with pytest.raises(NothingPlayable):
                choose(sources, device, settings)
            return
        choice = choose(sources, device, settings)

        assert (choice.source, choice.quality) in playable
        assert fits(choice.quality) or not any(fits(quality) for _, quality in playable)

    def test_takes_the_highest_that_fits(self) -> None:
        device = Device(device_id=DEVICE, bandwidth=10_000_000, screen_height=1080)
        choice = choose([a_source()], device, PlayerSettings())

        assert choice.quality
        assert 1080 == choice.quality.height

    def test_saves_data_when_device_or_settings_say_so(self) -> None:
        source = a_source(qualities=(a_quality(), a_quality(label="480p", width=854, height=480, bitrate=900_000)))
        by_device = choose([source], Device(device_id=DEVICE, data_saver=True), PlayerSettings())
        by_settings = choose([source], Device(device_id=DEVICE), PlayerSettings(data_saver=True))

        assert by_device == by_settings
        assert by_device.quality
        assert 480 == by_device.quality.height

    def test_takes_the_least_when_all_is_too_much(self) -> None:
        choice = choose([a_source()], Device(device_id=DEVICE, bandwidth=1), PlayerSettings())

        assert choice.quality
        assert 720 == choice.quality.height

    def test_takes_the_language_that_is_wanted_most(self) -> None:
        sources = [a_source(audio_tracks=(AudioTrack(language),), priority=9 - n) for n, language in enumerate(("ja", "en", "ru"))]
        choice = choose(sources, Device(device_id=DEVICE), PlayerSettings(audio_languages=("ru", "en")))

        assert sources[2] == choice.source
