"""The store of streams, positions and player settings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from adapters.postgres import Connection, outbox
from adapters.postgres.media.sources import NAMES, Keeper, source_of_row
from adapters.postgres.payload import from_payload, to_payload
from adapters.postgres.statement import Statement
from domain.kernel import Event
from domain.media.playback import LEASE, Beat, Playable, Stream
from domain.media.settings import PlayerSettings
from domain.media.sources import VideoSource
from domain.visibility import Publication, Terms


class PostgresPlayback:
    """Streams on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def playable(self, episode_id: str, *, account_id: str, profile_id: str) -> Playable | None:
        who = {"account_id": account_id, "profile_id": profile_id}
        rows = await _PLAYABLE.fetch(self._connection, episode_id=episode_id, **who)
        if not rows:
            return None
        sources = tuple(source_of_row(row) for row in rows if row["video_source_id"] is not None)
        kept = rows[0]["settings"]
        settings = from_payload(PlayerSettings, kept) if kept else PlayerSettings()
        return Playable(_terms(rows[0]), sources, settings, rows[0]["position_seconds"] or 0.0)

    async def take(self, stream: Stream, *, most: int) -> list[Stream]:
        await _ALONE.execute(self._connection, account_id=stream.account_id)
        values = {name: getattr(stream, name) for name in _STREAM_COLUMNS}
        rows = await _TAKE.fetch(self._connection, most=most, dead_since=stream.start_time - LEASE, **values)
        return [_stream(row) for row in rows if not row["taken"]]

    async def streams(self, account_id: str, *, at: datetime) -> list[Stream]:
        rows = await _STREAMS.fetch(self._connection, account_id=account_id, dead_since=at - LEASE)
        return [_stream(row) for row in rows]

    async def beat(self, beats: Sequence[Beat]) -> list[bool]:
        rows = await _BEAT.fetch(
            self._connection,
            stream_ids=[beat.stream_id for beat in beats],
            account_ids=[beat.account_id for beat in beats],
            device_ids=[beat.device_id for beat in beats],
            positions=[beat.position for beat in beats],
            times=[beat.time for beat in beats],
            lease=LEASE,
        )
        held = {(row["stream_id"], row["account_id"], row["device_id"]) for row in rows}
        return [(beat.stream_id, beat.account_id, beat.device_id) in held for beat in beats]

    async def end(self, stream_id: str, *, account_id: str, device_id: str | None, position: float | None, at: datetime) -> bool:
        values = {"stream_id": stream_id, "account_id": account_id, "device_id": device_id, "position": position}
        return bool(await _END.fetchval(self._connection, at=at, dead_since=at - LEASE, **values))

    async def source_of(self, stream_id: str, *, account_id: str, at: datetime) -> tuple[VideoSource, Terms] | None:
        row = await _SOURCE_OF.fetchrow(self._connection, stream_id=stream_id, account_id=account_id, dead_since=at - LEASE)
        return (source_of_row(row), _terms(row)) if row else None

    async def source(self, video_source_id: str) -> VideoSource | None:
        return await Keeper().find(self._connection, video_source_id)

    async def settings(self, account_id: str, profile_id: str) -> PlayerSettings | None:
        kept = await _SETTINGS.fetchval(self._connection, account_id=account_id, profile_id=profile_id)
        return from_payload(PlayerSettings, kept) if kept is not None else None

    async def settings_to_change(self, account_id: str, profile_id: str) -> PlayerSettings | None:
        await _ALONE.execute(self._connection, account_id=account_id)
        return await self.settings(account_id, profile_id)

    async def save_settings(self, account_id: str, profile_id: str, settings: PlayerSettings, *, at: datetime) -> None:
        who = {"account_id": account_id, "profile_id": profile_id}
        await _SAVE_SETTINGS.execute(self._connection, settings=to_payload(settings), at=at, **who)

    async def forget_streams(self, *, before: datetime) -> int:
        """Forget streams that gave no sign since a time; return how many."""
        return int((await _FORGET.execute(self._connection, before=before)).rpartition(" ")[2])

    async def forget_profile(self, account_id: str, profile_id: str) -> None:
        """Forget streams, positions and settings of a profile that is gone."""
        await _FORGET_PROFILE.execute(self._connection, account_id=account_id, profile_id=profile_id)

    async def record(self, event: Event) -> None:
        await outbox.record(self._connection, event)


def _stream(row: asyncpg.Record) -> Stream:
    return Stream(**{name: row[name] for name in _STREAM_COLUMNS})


def _terms(row: asyncpg.Record) -> Terms:
    return Terms(
        Publication(row["publication"]),
        row["age_rating"],
        frozenset(row["release_blocked_countries"]),
        frozenset(row["held_countries"]),
        row["release_id"],
    )


_STREAM_COLUMNS = (
    "stream_id", "account_id", "profile_id", "device_id", "device_name", "episode_id", "video_source_id", "start_time", "beat_time",
)  # fmt: skip
# Sources have blocked countries of their own.
_TERMS = """
    releases.release_id, releases.publication, releases.age_rating, releases.blocked_countries AS release_blocked_countries,
    releases.held_countries
"""
_PLAYABLE = Statement(
    text(
        f"""
        SELECT {NAMES}, {_TERMS}, positions.position_seconds, player_settings.settings
        FROM catalog.episodes
        JOIN catalog.releases ON releases.release_id = episodes.release_id AND releases.delete_time IS NULL
        LEFT JOIN media.video_sources
            ON video_sources.episode_id = episodes.episode_id AND video_sources.delete_time IS NULL AND video_sources.enabled
        LEFT JOIN media.positions
            ON positions.account_id = CAST(:account_id AS text) AND positions.profile_id = CAST(:profile_id AS text)
            AND positions.episode_id = episodes.episode_id
        LEFT JOIN media.player_settings
            ON player_settings.account_id = CAST(:account_id AS text)
            AND player_settings.profile_id = CAST(:profile_id AS text)
        WHERE episodes.episode_id = :episode_id AND episodes.state = 2 AND episodes.delete_time IS NULL
        ORDER BY video_sources.video_source_id LIMIT 100
        """  # noqa: S608 - columns
    )
)
# Whoever counts an account's places does it alone.
_ALONE = Statement(text("SELECT pg_advisory_xact_lock(hashtextextended(:account_id, 7303))"))
# Behind the lock, so that it sees what was committed before. What was taken comes back, or else what is in the way.
_TAKE = Statement(
    text(
        """
        WITH others AS (
            SELECT * FROM media.streams
            WHERE account_id = CAST(:account_id AS text) AND device_id <> CAST(:device_id AS text) AND beat_time > :dead_since
        ), dead AS (
            DELETE FROM media.streams
            WHERE account_id = CAST(:account_id AS text) AND device_id <> CAST(:device_id AS text) AND beat_time <= :dead_since
        ), fresh AS (
            INSERT INTO media.streams (
                stream_id, account_id, profile_id, device_id, device_name, episode_id, video_source_id, start_time, beat_time
            )
            SELECT
                CAST(:stream_id AS uuid), CAST(:account_id AS text), CAST(:profile_id AS text), CAST(:device_id AS text),
                CAST(:device_name AS text), CAST(:episode_id AS uuid), CAST(:video_source_id AS uuid),
                CAST(:start_time AS timestamptz), CAST(:beat_time AS timestamptz)
            WHERE (SELECT count(*) FROM others) < CAST(:most AS bigint)
            ON CONFLICT (account_id, device_id) DO UPDATE SET
                stream_id = EXCLUDED.stream_id, profile_id = EXCLUDED.profile_id, device_name = EXCLUDED.device_name,
                episode_id = EXCLUDED.episode_id, video_source_id = EXCLUDED.video_source_id,
                start_time = EXCLUDED.start_time, beat_time = EXCLUDED.beat_time
            RETURNING *
        )
        SELECT *, TRUE AS taken FROM fresh
        UNION ALL
        SELECT *, FALSE AS taken FROM others WHERE NOT EXISTS (SELECT FROM fresh)
        ORDER BY start_time, stream_id
        """
    )
)
_STREAMS = Statement(
    text("SELECT * FROM media.streams WHERE account_id = :account_id AND beat_time > :dead_since ORDER BY start_time, stream_id")
)
# Rows are locked in the order of their keys by whoever writes several, so that no two wait for each other.
_BEAT = Statement(
    text(
        """
        WITH given AS (
            SELECT DISTINCT ON (stream_id, account_id, device_id) stream_id, account_id, device_id, position, time
            FROM unnest(
                CAST(:stream_ids AS uuid[]), CAST(:account_ids AS text[]), CAST(:device_ids AS text[]),
                CAST(:positions AS double precision[]), CAST(:times AS timestamptz[])
            ) WITH ORDINALITY AS given (stream_id, account_id, device_id, position, time, place)
            ORDER BY stream_id, account_id, device_id, place DESC
        ), held AS (
            SELECT streams.stream_id, streams.account_id, streams.device_id, profile_id, episode_id, position, time
            FROM given JOIN media.streams
                ON streams.stream_id = given.stream_id AND streams.account_id = given.account_id
                AND streams.device_id = given.device_id AND streams.beat_time > given.time - CAST(:lease AS interval)
            ORDER BY streams.stream_id FOR UPDATE OF streams
        ), beaten AS (
            UPDATE media.streams SET beat_time = greatest(streams.beat_time, held.time)
            FROM held WHERE streams.stream_id = held.stream_id
        ), kept AS (
            INSERT INTO media.positions AS positions (account_id, profile_id, episode_id, position_seconds, update_time)
            SELECT DISTINCT ON (account_id, profile_id, episode_id) account_id, profile_id, episode_id, position, time
            FROM held ORDER BY account_id, profile_id, episode_id, time DESC
            ON CONFLICT (account_id, profile_id, episode_id)
            DO UPDATE SET position_seconds = EXCLUDED.position_seconds, update_time = EXCLUDED.update_time
            WHERE positions.update_time <= EXCLUDED.update_time
        )
        SELECT stream_id, account_id, device_id FROM held
        """
    )
)
_END = Statement(
    text(
        """
        WITH ended AS (
            DELETE FROM media.streams
            WHERE stream_id = :stream_id AND account_id = :account_id
            AND (CAST(:device_id AS text) IS NULL OR device_id = :device_id)
            RETURNING *
        ), kept AS (
            INSERT INTO media.positions AS positions (account_id, profile_id, episode_id, position_seconds, update_time)
            SELECT account_id, profile_id, episode_id, CAST(:position AS double precision), CAST(:at AS timestamptz) FROM ended
            WHERE CAST(:position AS double precision) IS NOT NULL
            ON CONFLICT (account_id, profile_id, episode_id)
            DO UPDATE SET position_seconds = EXCLUDED.position_seconds, update_time = EXCLUDED.update_time
        )
        SELECT count(*) FROM ended WHERE beat_time > :dead_since
        """
    )
)
_SOURCE_OF = Statement(
    text(
        f"""
        SELECT {NAMES}, {_TERMS}
        FROM media.streams
        JOIN media.video_sources ON video_sources.video_source_id = streams.video_source_id
            AND video_sources.delete_time IS NULL AND video_sources.enabled
        JOIN catalog.episodes ON episodes.episode_id = streams.episode_id AND episodes.delete_time IS NULL
        JOIN catalog.releases ON releases.release_id = episodes.release_id AND releases.delete_time IS NULL
        WHERE streams.stream_id = :stream_id AND streams.account_id = :account_id AND streams.beat_time > :dead_since
        """  # noqa: S608 - columns
    )
)
_SETTINGS = Statement(
    text("SELECT settings FROM media.player_settings WHERE account_id = :account_id AND profile_id = :profile_id")
)
_SAVE_SETTINGS = Statement(
    text(
        """
        INSERT INTO media.player_settings (account_id, profile_id, settings, update_time)
        VALUES (:account_id, :profile_id, :settings, :at)
        ON CONFLICT (account_id, profile_id) DO UPDATE SET settings = EXCLUDED.settings, update_time = EXCLUDED.update_time
        """
    ).bindparams(bindparam("settings", type_=JSONB))
)
_FORGET = Statement(
    text(
        """
        DELETE FROM media.streams WHERE stream_id IN (
            SELECT stream_id FROM media.streams WHERE beat_time < :before ORDER BY stream_id LIMIT 100000 FOR UPDATE SKIP LOCKED
        )
        """
    )
)
_FORGET_PROFILE = Statement(
    text("""
    WITH streaming AS (DELETE FROM media.streams WHERE account_id = :account_id AND profile_id = CAST(:profile_id AS text)),
    settled AS (DELETE FROM media.player_settings WHERE account_id = :account_id AND profile_id = CAST(:profile_id AS text))
    DELETE FROM media.positions WHERE account_id = :account_id AND profile_id = CAST(:profile_id AS text)
    """)
)
