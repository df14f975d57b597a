"""What tests of playing are about: a source that is valid by default, and an episode that it is of."""

from __future__ import annotations

from typing import Any

from adapters.postgres import Database
from adapters.postgres.catalog.episodes import KeptEpisodes
from adapters.postgres.catalog.store import PostgresCatalog
from adapters.postgres.media.sources import Keeper
from domain.catalog.episodes import Episode, EpisodeState
from domain.kernel import new_id
from domain.media.sources import Origins, Quality, SourceKind, VideoCodec, VideoSource
from tests.builders import NOON, a_release, an_episode

ORIGINS = Origins(("video.example",), ("origin.test=127.0.0.1",))
DEVICE = "device-0001"


def a_quality(**over: Any) -> Quality:
    facts: dict[str, Any] = {"label": "720p", "width": 1280, "height": 720, "bitrate": 2_000_000, "codec": VideoCodec.H264}
    return Quality(**facts | over)


def a_source(**over: Any) -> VideoSource:
    facts: dict[str, Any] = {
        "video_source_id": new_id(at=NOON),
        "episode_id": new_id(at=NOON),
        "kind": SourceKind.HLS,
        "url": "https://video.example/1/master.m3u8",
        "qualities": (a_quality(), a_quality(label="1080p", width=1920, height=1080, bitrate=6_000_000)),
        "enabled": True,
        "create_time": NOON,
        "update_time": NOON,
    }
    return VideoSource(**facts | over)


async def kept_episode(database: Database, *, state: EpisodeState = EpisodeState.RELEASED, **release: Any) -> Episode:
    """Put a release with an episode into the catalog."""
    of = a_release(**release)
    episode = an_episode(of, state=state, release_time=NOON if state is EpisodeState.RELEASED else None)
    async with database.begins(PostgresCatalog)() as catalog:
        assert await catalog.add_release(of)
    async with database.begins(lambda connection: connection)() as connection:
        assert await KeptEpisodes().add(connection, episode)
    return episode


async def kept_source(database: Database, **over: Any) -> VideoSource:
    """Put a source into the database, of an episode of its own unless one is given."""
    if "episode_id" not in over:
        over["episode_id"] = (await kept_episode(database)).episode_id
    source = a_source(**over)
    async with database.begins(lambda connection: connection)() as connection:
        assert await Keeper().add(connection, source)
    return source
