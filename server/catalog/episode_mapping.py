"""Where the messages and dataclasses of episodes meet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from ani.catalog.v1 import episode_pb2
from domain.catalog.episodes import Episode, EpisodeState
from domain.catalog.model import Title
from domain.kernel import new_id
from server.catalog.mapping import EPOCH, FieldNotWritable, moment_to_pb


def episode_to_pb(episode: Episode) -> episode_pb2.Episode:
    facts: dict[str, Any] = {
        "episode_id": episode.episode_id,
        "release_id": episode.release_id,
        "number": episode.number,
        "absolute_number": episode.absolute_number,
        "season_number": episode.season_number,
        "position": episode.position,
        "titles": [{"language": title.language, "text": title.text} for title in episode.titles],
        "synopsis": episode.synopsis,
        "state": episode.state,
        "version": episode.version,
        "create_time": moment_to_pb(episode.create_time),
        "update_time": moment_to_pb(episode.update_time),
    }
    if episode.duration_seconds:
        facts["duration"] = {"seconds": episode.duration_seconds}
    if episode.air_time:
        facts["air_time"] = moment_to_pb(episode.air_time)
    if episode.release_time:
        facts["release_time"] = moment_to_pb(episode.release_time)
    return episode_pb2.Episode(**facts)


def moment_from_pb(message: Timestamp) -> datetime:
    return EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


# How each field that a caller may change is read; a mask names them by the same names.
READERS: dict[str, Callable[[episode_pb2.Episode], Any]] = {
    "number": lambda m: m.number,
    "absolute_number": lambda m: m.absolute_number,
    "season_number": lambda m: m.season_number,
    "position": lambda m: m.position,
    "titles": lambda m: tuple(Title(t.language, t.text) for t in m.titles),
    "synopsis": lambda m: m.synopsis,
    "duration": lambda m: m.duration.seconds or None,
    "air_time": lambda m: moment_from_pb(m.air_time) if m.HasField("air_time") else None,
    "state": lambda m: EpisodeState(m.state or EpisodeState.ADDED),
}
# Those that are called otherwise where they are kept.
KEPT_AS = {"duration": "duration_seconds"}
CALLED = {kept: called for called, kept in KEPT_AS.items()}


def episode_from_pb(message: episode_pb2.Episode, *, at: datetime) -> Episode:
    decided = {KEPT_AS.get(name, name): read(message) for name, read in READERS.items()}
    episode_id = message.episode_id or new_id(at=at)
    return Episode(episode_id=episode_id, release_id=message.release_id, create_time=at, update_time=at, **decided)


def episode_changes_from_pb(message: episode_pb2.Episode, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises FieldNotWritable."""
    for path in mask.paths:
        if path not in READERS:
            raise FieldNotWritable(path=path, field="update_mask")
    return {KEPT_AS.get(path, path): READERS[path](message) for path in mask.paths}
