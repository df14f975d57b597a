"""Streams over the real store: who may play, places and their leases, positions, addresses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.postgres import Database
from adapters.postgres.media.playback import PostgresPlayback
from domain.accounts.profiles import ProfileDeleted
from domain.catalog.episodes import EpisodeState
from domain.kernel import Viewer, new_id
from domain.media.choosing import Device, NothingPlayable
from domain.media.playback import (
    Beat,
    EpisodeNotPlayable,
    Limits,
    OutsideAllowedHours,
    Playback,
    Started,
    StreamNotFound,
    StreamsFull,
)
from domain.media.signing import GrantExpired, GrantInvalid, GrantOfAnother, Signer
from domain.media.sources import Protection, SourceKind, VideoSource
from domain.visibility import Publication
from server.media import playback_tasks
from tests.builders import NOON, a_viewer
from tests.conftest import StillClock
from tests.media.conftest import event_names
from tests.media.playing import DEVICE, ORIGINS, kept_episode, kept_source

SIGNER = Signer({"1": b"k" * 32})
MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n720/index.m3u8?utm_source=x\n"


class Recorded:
    """A place that playlists are fetched from, which answers all of them alike."""

    def __init__(self, text: str = MASTER) -> None:
        self.text = text
        self.asked: list[str] = []

    async def fetch(self, url: str) -> str:
        self.asked.append(url)
        return self.text


@pytest.fixture
def origin() -> Recorded:
    return Recorded()


@pytest.fixture
def playback(database: Database, origin: Recorded) -> Playback:
    return Playback(
        begin=database.begins(PostgresPlayback),
        read=database.reads(PostgresPlayback),
        signer=lambda: SIGNER,
        fetcher=origin,
        origins=ORIGINS,
        limits=Limits(),
    )


@pytest.fixture
async def source(database: Database) -> VideoSource:
    return await kept_source(database)


ME = a_viewer()


async def started(playback: Playback, source: VideoSource, clock: StillClock, device: str = DEVICE, viewer: Viewer = ME) -> Started:
    return await playback.start_stream(source.episode_id, Device(device_id=device, name=f"My {device}"), viewer=viewer, at=clock())


def grant_of(url: str) -> str:
    return url.removeprefix("/v1/playlists/").partition("?")[0]


class TestStartStream:
    async def test_gives_an_address_for_this_viewer_on_this_device(
        self, playback: Playback, source: VideoSource, clock: StillClock, database: Database
    ) -> None:
        begun = await started(playback, source, clock)
        grant = SIGNER.read(grant_of(begun.url), viewer=ME, device_id=DEVICE, at=clock())

        assert (source.url, begun.stream.stream_id) == (grant.url, grant.stream_id)
        assert clock() + timedelta(minutes=5) == begun.expire_time > begun.refresh_time > clock()
        assert ["StreamStarted"] == await event_names(database)

    @pytest.mark.parametrize(
        ("release", "viewer"),
        [
            ({"publication": Publication.DRAFT}, ME),
            ({"publication": Publication.WITHDRAWN}, ME),
            ({"age_rating": 18}, replace(ME, maturity=16)),
            ({"blocked_countries": frozenset({"JP"})}, ME),
        ],
    )
    async def test_knows_no_episode_that_the_viewer_may_not_see(
        self, playback: Playback, database: Database, clock: StillClock, release: dict[str, Any], viewer: Viewer
    ) -> None:
        episode = await kept_episode(database, **release)
        source = await kept_source(database, episode_id=episode.episode_id)

        with pytest.raises(EpisodeNotPlayable):
            await started(playback, source, clock, viewer=viewer)

    async def test_plays_no_source_that_is_blocked_where_the_viewer_is(
        self, playback: Playback, database: Database, clock: StillClock
    ) -> None:
        blocked = await kept_source(database, blocked_countries=("DE", "JP"), priority=9)

        with pytest.raises(NothingPlayable):
            await started(playback, blocked, clock, viewer=replace(ME, country="JP"))

        free = await kept_source(database, episode_id=blocked.episode_id, url="https://video.example/2/master.m3u8")
        here = await started(playback, blocked, clock, viewer=replace(ME, country="JP"))
        elsewhere = await started(playback, blocked, clock, viewer=replace(ME, country="FR"))
        assert (here.choice.source, elsewhere.choice.source) == (free, blocked)
        with pytest.raises(EpisodeNotPlayable):
            traveled = replace(ME, country="JP")
            await playback.get_manifest(grant_of(elsewhere.url), device_id=DEVICE, viewer=traveled, at=clock())

    async def test_knows_no_episode_that_is_not_released(self, playback: Playback, database: Database, clock: StillClock) -> None:
        episode = await kept_episode(database, state=EpisodeState.ADDED)
        source = await kept_source(database, episode_id=episode.episode_id)

        with pytest.raises(EpisodeNotPlayable):
            await started(playback, source, clock)

    async def test_plays_nothing_from_a_host_that_is_allowed_no_more(
        self, playback: Playback, database: Database, clock: StillClock
    ) -> None:
        source = await kept_source(database, url="https://elsewhere.example/a.m3u8")

        with pytest.raises(NothingPlayable):
            await started(playback, source, clock)

    async def test_gives_other_kinds_the_address_itself(self, playback: Playback, database: Database, clock: StillClock) -> None:
        source = await kept_source(database, kind=SourceKind.EMBED, url="https://video.example/player", qualities=())

        assert "https://video.example/player" == (await started(playback, source, clock)).url

    async def test_signs_what_the_licence_server_reads(self, playback: Playback, database: Database, clock: StillClock) -> None:
        source = await kept_source(database, protection=Protection("com.widevine.alpha", "https://video.example/license"))
        token = (await started(playback, source, clock)).license_token

        assert "https://video.example/license" == SIGNER.read(token, viewer=ME, device_id=DEVICE, at=clock(), purpose="license").url
        with pytest.raises(GrantInvalid):
            SIGNER.read(token, viewer=ME, device_id=DEVICE, at=clock())

    async def test_refuses_a_third_device_and_names_the_one_that_plays_longest(
        self, playback: Playback, source: VideoSource, clock: StillClock
    ) -> None:
        first = await started(playback, source, clock, "device-0001")
        clock.advance(seconds=1)
        await started(playback, source, clock, "device-0002")

        with pytest.raises(StreamsFull) as refused:
            await started(playback, source, clock, "device-0003")

        details = refused.value.details
        assert first.stream.stream_id == details["stream_id"]
        assert ("My device-0001", NOON.isoformat(timespec="seconds")) == (details["device_name"], details["since"])

    async def test_takes_the_place_of_the_same_device(self, playback: Playback, source: VideoSource, clock: StillClock) -> None:
        for _ in range(4):
            begun = await started(playback, source, clock)

        assert [begun.stream.stream_id] == [stream.stream_id for stream in await playback.list_streams(viewer=ME, at=clock())]

    async def test_frees_a_place_thirty_seconds_after_the_last_heartbeat(
        self, playback: Playback, source: VideoSource, clock: StillClock
    ) -> None:
        first = await started(playback, source, clock, "device-0001")
        await started(playback, source, clock, "device-0002")
        clock.advance(seconds=29)
        await playback.send_heartbeat(first.stream.stream_id, "device-0001", 29.0, viewer=ME, at=clock())
        clock.advance(seconds=1)
        third = await started(playback, source, clock, "device-0003")

        held = {stream.stream_id for stream in await playback.list_streams(viewer=ME, at=clock())}
        assert {first.stream.stream_id, third.stream.stream_id} == held

    async def test_lets_no_more_in_when_many_ask_at_once(self, playback: Playback, source: VideoSource, clock: StillClock) -> None:
        asked = [started(playback, source, clock, f"device-{number:04}") for number in range(8)]
        answers = await asyncio.gather(*asked, return_exceptions=True)

        assert 2 == sum(isinstance(answer, Started) for answer in answers)
        assert 6 == sum(isinstance(answer, StreamsFull) for answer in answers)

    async def test_goes_on_where_the_same_profile_was(self, playback: Playback, source: VideoSource, clock: StillClock) -> None:
        begun = await started(playback, source, clock)
        await playback.send_heartbeat(begun.stream.stream_id, DEVICE, 61.5, viewer=ME, at=clock())

        assert 61.5 == (await started(playback, source, clock)).position
        assert 0.0 == (await started(playback, source, clock, viewer=replace(ME, profile_id="children"))).position


class TestSendHeartbeat:
    async def test_is_refused_for_a_stream_that_ended(self, playback: Playback, source: VideoSource, clock: StillClock) -> None:
        begun = await started(playback, source, clock)
        clock.advance(seconds=30)

        with pytest.raises(StreamNotFound):
            await playback.send_heartbeat(begun.stream.stream_id, DEVICE, 1.0, viewer=ME, at=clock())

    async def test_is_refused_for_a_stream_of_another(self, playback: Playback, source: VideoSource, clock: StillClock) -> None:
        begun = await started(playback, source, clock)

        for viewer, device in ((replace(ME, account_id="another"), DEVICE), (ME, "device-0002")):
            with pytest.raises(StreamNotFound):
                await playback.send_heartbeat(begun.stream.stream_id, device, 1.0, viewer=viewer, at=clock())

    async def test_keeps_the_last_of_a_batch(
        self, database: Database, playback: Playback, source: VideoSource, clock: StillClock
    ) -> None:
        begun = await started(playback, source, clock)
        beat = Beat(begun.stream.stream_id, ME.account_id, DEVICE, 10.0, clock())
        async with database.reads(PostgresPlayback)() as store:
            held = await store.beat([beat, replace(beat, position=20.0), replace(beat, stream_id=new_id(at=NOON))])

        assert [True, True, False] == held
        assert 20.0 == (await started(playback, source, clock)).position


class TestStopStream:
    async def test_keeps_the_position_and_frees_the_place(
        self, playback: Playback, source: VideoSource, clock: StillClock, database: Database
    ) -> None:
        begun = await started(playback, source, clock)
        for _ in range(2):
            await playback.stop_stream(begun.stream.stream_id, DEVICE, 700.0, viewer=ME, at=clock())

        assert [] == await playback.list_streams(viewer=ME, at=clock())
        assert ["StreamStarted", "StreamStopped"] == await event_names(database)
        assert 700.0 == (await started(playback, source, clock)).position


class TestReleaseStream:
    async def test_lets_another_device_play(self, playback: Playback, source: VideoSource, clock: StillClock) -> None:
        first = await started(playback, source, clock, "device-0001")
        await started(playback, source, clock, "device-0002")
        await playback.release_stream(first.stream.stream_id, viewer=ME, at=clock())

        assert (await started(playback, source, clock, "device-0003")).stream.device_id == "device-0003"

    async def test_is_refused_for_a_stream_of_another(self, playback: Playback, source: VideoSource, clock: StillClock) -> None:
        begun = await started(playback, source, clock)

        with pytest.raises(StreamNotFound):
            await playback.release_stream(begun.stream.stream_id, viewer=replace(ME, account_id="another"), at=clock())


class TestGetManifest:
    async def test_leads_to_itself_for_playlists(
        self, playback: Playback, source: VideoSource, clock: StillClock, origin: Recorded
    ) -> None:
        begun = await started(playback, source, clock)
        text = await playback.get_manifest(grant_of(begun.url), device_id=DEVICE, viewer=ME, at=clock())
        link = text.splitlines()[-1]
        origin.text = "#EXTM3U\n#EXTINF:4,\nseg.ts\n#EXT-X-ENDLIST\n"
        media = await playback.get_manifest(grant_of(link), device_id=DEVICE, viewer=ME, at=clock())

        assert link.endswith(f"?device_id={DEVICE}")
        assert [source.url, "https://video.example/1/720/index.m3u8"] == origin.asked
        assert "#EXTM3U\n#EXTINF:4,\nhttps://video.example/1/720/seg.ts\n#EXT-X-ENDLIST\n" == media

    async def test_is_refused_to_others_and_when_it_is_late(
        self, playback: Playback, source: VideoSource, clock: StillClock, origin: Recorded
    ) -> None:
        text = grant_of((await started(playback, source, clock)).url)

        with pytest.raises(GrantOfAnother):
            await playback.get_manifest(text, device_id=DEVICE, viewer=replace(ME, account_id="another"), at=clock())
        with pytest.raises(GrantOfAnother):
            await playback.get_manifest(text, device_id="device-0002", viewer=ME, at=clock())
        with pytest.raises(GrantExpired):
            await playback.get_manifest(text, device_id=DEVICE, viewer=ME, at=clock.advance(minutes=5))
        assert [] == origin.asked

    async def test_is_refused_when_the_stream_has_ended(self, playback: Playback, source: VideoSource, clock: StillClock) -> None:
        begun = await started(playback, source, clock)
        await playback.release_stream(begun.stream.stream_id, viewer=ME, at=clock())

        with pytest.raises(StreamNotFound):
            await playback.get_manifest(grant_of(begun.url), device_id=DEVICE, viewer=ME, at=clock())


class TestProfiles:
    """Limits of profiles, where something is played."""

    async def test_play_nothing_outside_of_their_hours(self, playback: Playback, source: VideoSource, clock: StillClock) -> None:
        begun, asleep = await started(playback, source, clock), replace(ME, asleep=True)

        with pytest.raises(OutsideAllowedHours):
            await started(playback, source, clock, viewer=asleep)
        with pytest.raises(OutsideAllowedHours):
            await playback.send_heartbeat(begun.stream.stream_id, DEVICE, 1.0, viewer=asleep, at=clock())
        with pytest.raises(OutsideAllowedHours):
            await playback.get_manifest(grant_of(begun.url), device_id=DEVICE, viewer=asleep, at=clock())

    async def test_are_told_of_hours_only_where_they_would_play_else(
        self, playback: Playback, source: VideoSource, clock: StillClock
    ) -> None:
        with pytest.raises(EpisodeNotPlayable):
            await started(playback, source, clock, viewer=replace(ME, asleep=True, maturity=0))

    async def test_play_what_they_were_granted_as_long_as_they_are(
        self, playback: Playback, database: Database, clock: StillClock
    ) -> None:
        episode = await kept_episode(database, age_rating=18)
        source = await kept_source(database, episode_id=episode.episode_id)
        child = replace(ME, maturity=12)
        granted = replace(child, granted=frozenset({episode.release_id}))
        begun = await started(playback, source, clock, viewer=granted)

        assert await playback.get_manifest(grant_of(begun.url), device_id=DEVICE, viewer=granted, at=clock())
        for viewer in (child, replace(child, granted=frozenset({new_id(at=NOON)}))):
            with pytest.raises(EpisodeNotPlayable):
                await playback.get_manifest(grant_of(begun.url), device_id=DEVICE, viewer=viewer, at=clock())

    async def test_leave_nothing_of_what_they_played(
        self, playback: Playback, database: Database, source: VideoSource, clock: StillClock
    ) -> None:
        one, other = (replace(ME, profile_id=name) for name in ("one", "other"))
        for viewer in (one, other):
            begun = await started(playback, source, clock, viewer=viewer)
            await playback.send_heartbeat(begun.stream.stream_id, DEVICE, 61.5, viewer=viewer, at=clock())
        (reaction,) = playback_tasks.reactions(database.begins(PostgresPlayback))
        await reaction.act(ProfileDeleted(time=NOON, account_id=ME.account_id, profile_id="one"), "event")

        assert 0.0 == (await started(playback, source, clock, viewer=one)).position
        assert 61.5 == (await started(playback, source, clock, viewer=other)).position
