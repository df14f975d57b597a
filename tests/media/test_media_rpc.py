"""What only the wire shows of playing: mapping, refusals, heartbeats of many, settings of each profile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from adapters.postgres import Database
from ani.editing.v1 import change_set_pb2, change_set_service_pb2, change_set_service_pb2_grpc
from ani.media.v1 import media_service_pb2 as pb
from ani.media.v1 import player_settings_service_pb2 as settings_pb
from ani.media.v1 import video_extras_pb2, video_source_pb2
from ani.media.v1 import video_source_admin_service_pb2 as admin_pb
from domain.kernel import Role, new_id
from tests.builders import NOON
from tests.media.playing import DEVICE, kept_episode, kept_source
from tests.serving import Metadata, Served, refusal, with_metadata

Token = Callable[..., Metadata]
pytestmark = pytest.mark.settings(video_hosts=("video.example",))


async def a_message(database: Database, **over: Any) -> video_source_pb2.VideoSource:
    marker = video_extras_pb2.SkipMarker(kind=1, start_seconds=10, end_seconds=100, origin=1, confidence=0.5)  # type: ignore[arg-type]
    facts: dict[str, Any] = {
        "video_source_id": new_id(at=NOON),
        "episode_id": over.pop("episode_id", None) or (await kept_episode(database)).episode_id,
        "kind": video_source_pb2.SOURCE_KIND_HLS,
        "url": "https://video.example/1/master.m3u8",
        "qualities": [
            video_source_pb2.Quality(
                label="720p", width=1280, height=720, bitrate=2_000_000, codec=video_source_pb2.VIDEO_CODEC_H264
            )
        ],
        "audio_tracks": [video_source_pb2.AudioTrack(language="ja", default=True)],
        "subtitle_tracks": [
            video_source_pb2.SubtitleTrack(language="en", team="Wind", format=video_source_pb2.SUBTITLE_FORMAT_VTT, forced=True)
        ],
        "skip_markers": [marker],
        "preview_sheets": [
            video_extras_pb2.PreviewSheet(
                url="https://video.example/s.webp", tile_width=160, tile_height=90, columns=10, interval_seconds=5
            )
        ],
        "protection": video_extras_pb2.Protection(key_system="com.widevine.alpha", license_url="https://video.example/license"),
        "ad_patterns": ["*/ads/*"],
        "blocked_countries": ["DE"],
        "priority": 3,
        "enabled": True,
    }
    return video_source_pb2.VideoSource(**facts | over)


def asked(episode_id: str, **over: Any) -> pb.StartStreamRequest:
    return pb.StartStreamRequest(**{"episode_id": episode_id, "device_id": DEVICE, "device_name": "My TV", **over})


class TestVideoSources:
    async def test_are_kept_as_they_are_sent_and_played(self, served: Served, token: Token, database: Database) -> None:
        sent = await a_message(database)
        editor = token(Role.EDITOR)
        made = (
            await served.sources.CreateVideoSource(admin_pb.CreateVideoSourceRequest(video_source=sent), metadata=editor)
        ).video_source
        get = admin_pb.GetVideoSourceRequest(video_source_id=sent.video_source_id)
        got = (await served.sources.GetVideoSource(get, metadata=editor)).video_source
        begun = await served.media.StartStream(asked(sent.episode_id), metadata=token())

        assert made == got
        for name in READABLE:
            assert getattr(sent, name) == getattr(made, name)
        for name in ("audio_tracks", "subtitle_tracks", "skip_markers", "preview_sheets", "protection", "kind"):
            assert getattr(sent, name) == getattr(begun, name)
        assert "720p" == begun.quality.label
        assert begun.license_token
        assert begun.playback_url.startswith("/v1/playlists/1.")

    @pytest.mark.parametrize(
        ("over", "wrong"),
        [
            ({"url": "https://evil.example/a.m3u8"}, ("VIDEO_SOURCE_URL_REFUSED", "video_source.url")),
            ({"url": "https://127.0.0.1/a.m3u8"}, ("VIDEO_SOURCE_URL_REFUSED", "video_source.url")),
            ({"episode_id": "0191d7a0-0000-7000-8000-0000000000ee"}, ("VIDEO_SOURCE_EPISODE_REFUSED", "video_source.episode_id")),
            (
                {
                    "skip_markers": [
                        video_extras_pb2.SkipMarker(kind=1, start_seconds=start, end_seconds=end, origin=1)  # type: ignore[arg-type]
                        for start, end in ((50, 60), (10, 51))
                    ]
                },
                ("SKIP_MARKERS_OVERLAP", "video_source.skip_markers[0]"),
            ),
            (
                {"skip_markers": [video_extras_pb2.SkipMarker(kind=1, start_seconds=9, end_seconds=9, origin=1)]},  # type: ignore[arg-type]
                ("SKIP_MARKER_INVALID", "video_source.skip_markers[0]"),
            ),
            (
                {"audio_tracks": [video_source_pb2.AudioTrack(language=language, default=True) for language in ("ja", "en")]},
                ("DEFAULT_TRACKS_MANY", "video_source.audio_tracks"),
            ),
            ({"ad_patterns": ["(a+)+$"]}, ("REQUEST_INVALID", "video_source.ad_patterns[0]")),
        ],
    )
    async def test_are_refused_with_the_field_that_is_wrong(
        self, served: Served, token: Token, database: Database, over: dict[str, Any], wrong: tuple[str, str]
    ) -> None:
        request = admin_pb.CreateVideoSourceRequest(video_source=await a_message(database, **dict(over)))
        refused = await refusal(served.sources.CreateVideoSource(request, metadata=token(Role.EDITOR)))

        assert (grpc.StatusCode.INVALID_ARGUMENT, wrong[0]) == (refused.code, refused.reason)
        assert wrong[1] in refused.fields

    async def test_are_changed_and_deleted(self, served: Served, token: Token, database: Database) -> None:
        source = await kept_source(database)
        editor = token(Role.EDITOR)
        change = admin_pb.UpdateVideoSourceRequest(
            video_source=video_source_pb2.VideoSource(video_source_id=source.video_source_id, priority=7, version=1),
            update_mask=FieldMask(paths=["priority"]),
        )
        changed = await served.sources.UpdateVideoSource(change, metadata=editor)
        stale = await refusal(served.sources.UpdateVideoSource(change, metadata=editor))
        delete = admin_pb.DeleteVideoSourceRequest(video_source_id=source.video_source_id)
        await served.sources.DeleteVideoSource(delete, metadata=editor)
        gone = await refusal(served.media.StartStream(asked(source.episode_id), metadata=token()))

        assert (7, 2) == (changed.video_source.priority, changed.video_source.version)
        assert grpc.StatusCode.ABORTED is stale.code
        assert "NOTHING_PLAYABLE" == gone.reason

    async def test_are_edited_in_change_sets(self, served: Served, token: Token, database: Database) -> None:
        edit = change_set_pb2.Edit(create_video_source=admin_pb.CreateVideoSourceRequest(video_source=await a_message(database)))
        request = change_set_service_pb2.CreateChangeSetRequest(change_set=change_set_pb2.ChangeSet(title="Videos", edits=[edit]))
        service = change_set_service_pb2_grpc.ChangeSetServiceStub(served.channel)
        made = await service.CreateChangeSet(request, metadata=token(Role.EDITOR))

        assert ["video_source"] == [summary.item_kind for summary in made.change_set.summaries]


READABLE = (
    "episode_id", "kind", "url", "qualities", "audio_tracks", "subtitle_tracks", "skip_markers", "preview_sheets", "protection",
    "ad_patterns", "blocked_countries", "priority", "enabled",
)  # fmt: skip


class TestStreams:
    async def test_are_refused_with_the_device_in_the_way(self, served: Served, token: Token, database: Database) -> None:
        source = await kept_source(database)
        devices = [f"device-{number:04}" for number in range(3)]
        first, _ = [
            await served.media.StartStream(asked(source.episode_id, device_id=one), metadata=token()) for one in devices[:2]
        ]
        refused = await refusal(served.media.StartStream(asked(source.episode_id, device_id=devices[2]), metadata=token()))
        stream_id = refused.info.metadata["stream_id"]
        await served.media.ReleaseStream(pb.ReleaseStreamRequest(stream_id=stream_id), metadata=token())
        await served.media.StartStream(asked(source.episode_id, device_id=devices[2]), metadata=token())
        listed = await served.media.ListStreams(pb.ListStreamsRequest(), metadata=token())

        assert (grpc.StatusCode.FAILED_PRECONDITION, "STREAMS_FULL") == (refused.code, refused.reason)
        assert (first.stream.stream_id, "My TV") == (stream_id, refused.info.metadata["device_name"])
        assert devices[1:] == [stream.device_id for stream in listed.streams]

    async def test_beat_together(self, served: Served, token: Token, database: Database) -> None:
        source = await kept_source(database)
        callers = [token(account_id=new_id(at=NOON)) for _ in range(30)]
        begun = [await served.media.StartStream(asked(source.episode_id), metadata=caller) for caller in callers]
        ids = [one.stream.stream_id for one in begun]
        beats = [
            served.media.SendHeartbeat(
                pb.SendHeartbeatRequest(stream_id=stream_id, device_id=DEVICE, position_seconds=5), metadata=caller
            )
            for stream_id, caller in zip(ids, callers, strict=True)
        ]
        held = await asyncio.gather(*beats)
        again = await served.media.StartStream(asked(source.episode_id), metadata=callers[0])

        assert all(
            one.lease_expire_time.seconds >= before.stream.lease_expire_time.seconds
            for one, before in zip(held, begun, strict=True)
        )
        assert 5 == again.resume_position_seconds

    async def test_are_nothing_that_anybody_keeps(self, served: Served, token: Token, database: Database) -> None:
        source = await kept_source(database)
        _, metadata = await with_metadata(served.media.StartStream(asked(source.episode_id), metadata=token()))

        assert "no-store" in str(metadata.get("cache-control", "no-store"))

    async def test_refuse_an_address_that_was_changed(self, served: Served, token: Token, database: Database) -> None:
        request = pb.GetManifestRequest(grant="1.e30.AAAA", device_id=DEVICE)
        refused = await refusal(served.media.GetManifest(request, metadata=token()))

        assert (grpc.StatusCode.PERMISSION_DENIED, "GRANT_INVALID") == (refused.code, refused.reason)


class TestPlayerSettings:
    async def test_are_kept_for_each_profile(self, served: Served, token: Token) -> None:
        wanted = settings_pb.PlayerSettings(data_saver=True, audio_languages=["ru", "ja"], volume_percent=30)
        request = settings_pb.UpdatePlayerSettingsRequest(
            player_settings=wanted, update_mask=FieldMask(paths=["data_saver", "audio_languages"])
        )
        mine, other = token(profile="a"), token(profile="b")
        before = (
            await served.player_settings.GetPlayerSettings(settings_pb.GetPlayerSettingsRequest(), metadata=mine)
        ).player_settings
        changed = (await served.player_settings.UpdatePlayerSettings(request, metadata=mine)).player_settings
        got = (
            await served.player_settings.GetPlayerSettings(settings_pb.GetPlayerSettingsRequest(), metadata=mine)
        ).player_settings
        others = (
            await served.player_settings.GetPlayerSettings(settings_pb.GetPlayerSettingsRequest(), metadata=other)
        ).player_settings

        assert before == others
        assert changed == got
        assert (True, ["ru", "ja"], 100, True) == (got.data_saver, list(got.audio_languages), got.volume_percent, got.autoplay_next)

    @pytest.mark.parametrize("path", ["nothing", "subtitle_style.color"])
    async def test_refuse_what_is_no_setting(self, served: Served, token: Token, path: str) -> None:
        request = settings_pb.UpdatePlayerSettingsRequest(
            player_settings=settings_pb.PlayerSettings(), update_mask=FieldMask(paths=[path])
        )
        refused = await refusal(served.player_settings.UpdatePlayerSettings(request, metadata=token()))

        assert grpc.StatusCode.INVALID_ARGUMENT is refused.code
