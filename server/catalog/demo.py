"""The demo catalog: read from demo.json, which holds facts entered by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from domain.catalog.episodes import GAP
from domain.catalog.model import Genre, Kind, Release, Season, Status, Title, WeeklySlot
from domain.kernel import new_id
from domain.visibility import Publication

TOKYO = ZoneInfo("Asia/Tokyo")


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode of the demo catalog."""

    episode_id: str
    release_id: str
    number: str
    position: int
    title: str
    duration_seconds: int
    air_time: datetime | None


@dataclass(frozen=True, slots=True)
class Demo:
    """Everything in the demo catalog; a franchise is its name and its releases' ids in order."""

    genres: list[Genre]
    releases: list[Release]
    episodes: list[Episode]
    franchises: list[tuple[str, str, list[str]]]


def demo(*, at: datetime) -> Demo:
    """Return the demo catalog, published one release a minute up to a time, the most recent ones last."""
    source = json.loads(files("server.catalog").joinpath("demo.json").read_text(encoding="utf-8"))
    facts = sorted(source["releases"], key=lambda fact: (fact["year"], fact["alias"]))
    releases = [_release(fact, at - timedelta(minutes=len(facts) - place)) for place, fact in enumerate(facts)]
    ids = {release.alias: release.release_id for release in releases}
    return Demo(
        genres=[Genre(genre["genre_id"], genre["name"]) for genre in source["genres"]],
        releases=releases,
        episodes=[e for fact in facts for e in _episodes(fact, ids[fact["alias"]], at)],
        franchises=[(new_id(at=at), f["name"], [ids[alias] for alias in f["members"]]) for f in source["franchises"]],
    )


def _release(fact: dict[str, Any], published: datetime) -> Release:
    slot = fact["weekly_slot"]
    release = Release(
        release_id=new_id(at=published),
        alias=fact["alias"],
        titles=tuple(Title(title["language"], title["text"]) for title in fact["titles"]),
        synopsis=fact["synopsis"],
        kind=Kind[fact["kind"]],
        status=Status[fact["status"]],
        season=Season[fact["season"]] if fact["season"] else None,
        year=fact["year"],
        age_rating=fact["age_rating"],
        genres=tuple(Genre(genre_id) for genre_id in fact["genres"]),
        planned_episode_count=fact["planned_episode_count"],
        weekly_slot=WeeklySlot(slot["weekday"], slot["minute"], slot["zone"]) if slot else None,
        publication=Publication.PUBLISHED,
        create_time=published,
        update_time=published,
        publish_time=published,
    )
    release.check()
    return release


def _episodes(fact: dict[str, Any], release_id: str, at: datetime) -> list[Episode]:
    """Return a release's episodes; only the first one's day is a fact, so only that one has a time."""
    known = fact["episodes"]
    titles = known.get("titles", [])
    first = date.fromisoformat(known["first_aired"]) if known["first_aired"] else None
    minute = fact["weekly_slot"]["minute"] if fact["weekly_slot"] else 0
    aired = datetime.combine(first, time(minute // 60, minute % 60), TOKYO).astimezone(UTC) if first else None
    return [
        Episode(
            episode_id=new_id(at=at),
            release_id=release_id,
            number=str(position),
            position=position * GAP,
            title=titles[position - 1] if position <= len(titles) else "",
            duration_seconds=known["duration_minutes"] * 60,
            air_time=aired if position == 1 else None,
        )
        for position in range(1, known["count"] + 1)
    ]
