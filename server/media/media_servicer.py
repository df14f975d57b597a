"""MediaService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from google.api import httpbody_pb2

from ani.media.v1 import media_service_pb2 as pb
from ani.media.v1 import stream_pb2
from domain.media.choosing import Device
from domain.media.playback import Playback, Started, Stream
from domain.media.sources import SourceKind, VideoCodec
from server.media.source_mapping import (
    audio_to_pb,
    marker_to_pb,
    protection_to_pb,
    quality_to_pb,
    sheet_to_pb,
    subtitles_to_pb,
)
from server.pipeline.call import Call

PLAYLIST = "application/vnd.apple.mpegurl"


class MediaServicer:
    """Serves those who play."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback

    async def StartStream(self, request: pb.StartStreamRequest, call: Call) -> pb.StartStreamResponse:
        device = _device(request)
        return _started(await self._playback.start_stream(request.episode_id, device, viewer=call.viewer, at=call.now))

    async def SendHeartbeat(self, request: pb.SendHeartbeatRequest, call: Call) -> pb.SendHeartbeatResponse:
        held = await self._playback.send_heartbeat(
            request.stream_id, request.device_id, request.position_seconds, viewer=call.viewer, at=call.now
        )
        return pb.SendHeartbeatResponse(lease_expire_time=held)  # type: ignore[arg-type]

    async def StopStream(self, request: pb.StopStreamRequest, call: Call) -> pb.StopStreamResponse:
        position = request.position_seconds if request.HasField("position_seconds") else None
        await self._playback.stop_stream(request.stream_id, request.device_id, position, viewer=call.viewer, at=call.now)
        return pb.StopStreamResponse()

    async def ReleaseStream(self, request: pb.ReleaseStreamRequest, call: Call) -> pb.ReleaseStreamResponse:
        await self._playback.release_stream(request.stream_id, viewer=call.viewer, at=call.now)
        return pb.ReleaseStreamResponse()

    async def ListStreams(self, request: pb.ListStreamsRequest, call: Call) -> pb.ListStreamsResponse:
        streams = await self._playback.list_streams(viewer=call.viewer, at=call.now)
        return pb.ListStreamsResponse(streams=map(_stream, streams))

    async def GetManifest(self, request: pb.GetManifestRequest, call: Call) -> pb.GetManifestResponse:
        text = await self._playback.get_manifest(request.grant, device_id=request.device_id, viewer=call.viewer, at=call.now)
        return pb.GetManifestResponse(playlist=httpbody_pb2.HttpBody(content_type=PLAYLIST, data=text.encode()))


def _device(request: pb.StartStreamRequest) -> Device:
    return Device(
        device_id=request.device_id,
        name=request.device_name,
        kinds=frozenset(map(SourceKind, request.kinds)) or frozenset(SourceKind),
        codecs=frozenset(map(VideoCodec, request.codecs)) or frozenset({VideoCodec.H264}),
        bandwidth=request.bandwidth,
        screen_height=request.screen_height,
        data_saver=request.data_saver,
    )


def _stream(stream: Stream) -> stream_pb2.Stream:
    message = stream_pb2.Stream(
        stream_id=stream.stream_id,
        device_id=stream.device_id,
        device_name=stream.device_name,
        episode_id=stream.episode_id,
    )
    message.start_time.FromDatetime(stream.start_time)
    message.lease_expire_time.FromDatetime(stream.lease_expire_time)
    return message


def _started(started: Started) -> pb.StartStreamResponse:
    source, quality = started.choice.source, started.choice.quality
    answer = pb.StartStreamResponse(
        stream=_stream(started.stream),
        kind=source.kind.value,  # type: ignore[arg-type]
        playback_url=started.url,
        resume_position_seconds=started.position,
        audio_tracks=map(audio_to_pb, source.audio_tracks),
        subtitle_tracks=map(subtitles_to_pb, source.subtitle_tracks),
        skip_markers=map(marker_to_pb, source.skip_markers),
        preview_sheets=map(sheet_to_pb, source.preview_sheets),
        protection=protection_to_pb(source.protection),
        license_token=started.license_token,
    )
    if quality:
        answer.quality.CopyFrom(quality_to_pb(quality))
        answer.quality.url = ""  # playback_url stands for it
    answer.expire_time.FromDatetime(started.expire_time)
    answer.refresh_time.FromDatetime(started.refresh_time)
    return answer
