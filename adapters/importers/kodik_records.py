"""Kodik's records: one for each translation of a title, brought together by the title's id at Shikimori."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from adapters.importers.reading import (
    FIRST_YEAR,
    LAST_YEAR,
    LONGEST_GROUP,
    LONGEST_NAME,
    TOKYO,
    RowUnusable,
    clean,
    cleaned,
    external_id,
    season_of,
    unique_ids,
    unique_titles,
)
from domain.catalog.importing import ADULT_AGE, Facts, Row, Unusable, VideoLink, digest
from domain.catalog.model import Credit, ExternalId, Kind, Provider, Role, Status, Title

EDITION = b"kodik/2"
# What changes without the title being another one.
VOLATILE = ("updated_at", "screenshots")
KINDS = {"tv": Kind.TV, "movie": Kind.MOVIE, "ova": Kind.OVA, "ona": Kind.ONA, "special": Kind.SPECIAL, "music": Kind.SPECIAL}
TYPES = {"anime": Kind.MOVIE, "anime-serial": Kind.TV}
STATUSES = {"anons": Status.ANNOUNCED, "ongoing": Status.ONGOING, "released": Status.FINISHED}
AGES = (0, 6, 12, 16, 18)
RATINGS = {"G": 0, "PG": 6, "PG-13": 16, "R": ADULT_AGE, "R+": ADULT_AGE, "Rx": ADULT_AGE}
COUNTRY = re.compile(r"^[A-Z]{2}$")
DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$", re.ASCII)
SEASON_MARK = re.compile(r"\s*\[[^\]]*\]$")
CYRILLIC, JAPANESE = re.compile(r"[\u0400-\u04ff]"), re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
# Into which all of them translate.
LANGUAGE = "ru"
# A name in the place of a team's.
NO_TEAM = frozenset({"Субтитры", "Оригинал", "Неизвестный"})
LONGEST_SYNOPSIS = 4_000
MOST_EPISODES = 10_000
MOST_LINKS = 5_000


def read(records: list[Any], before: int, *, now: datetime) -> list[Row | Unusable]:  # noqa: ARG001 - as other readers
    """Return records as rows, numbered on from those before."""
    return [_row(number, record) for number, record in enumerate(records, before + 1)]


def _row(number: int, record: Any) -> Row | Unusable:
    try:
        facts = _facts(record)
    except RowUnusable as fault:
        return fault.at(number)
    lasting = {name: value for name, value in record.items() if name not in VOLATILE}
    return Row(number, facts, digest(EDITION, json.dumps(lasting, sort_keys=True).encode()))


def _facts(record: Any) -> Facts:
    if not isinstance(record, dict) or not (key := clean(record.get("id"), 100)):
        raise RowUnusable("NO_RECORD", "It is no record with an id.")
    if record.get("type") not in TYPES:
        raise RowUnusable("NOT_ANIME", f"Its type is {clean(record.get('type'), 40)!r}.", key)
    ids = _ids(record, key)
    material = record.get("material_data")
    material = material if isinstance(material, dict) else {}
    titles, synonyms = _titles(record, material)
    if not titles:
        raise RowUnusable("TITLE_MISSING", "It has no title.", key)
    aired = _aired(material.get("aired_at"))
    season, year = season_of(aired)
    genres = cleaned(_texts(material, "anime_genres"), LONGEST_GROUP)[:20]
    return Facts(
        key=key,
        main_id=next((one for one in ids if one.provider is Provider.SHIKIMORI), None),
        external_ids=ids,
        titles=titles,
        synonyms=synonyms,
        synopsis=clean(material.get("anime_description") or material.get("description"), LONGEST_SYNOPSIS),
        kind=_kind(record, material),
        status=STATUSES.get(str(material.get("anime_status") or material.get("all_status"))),
        season=season,
        year=year or _year(record.get("year")),
        premiere_time=aired,
        age_rating=_age(material),
        planned_episode_count=_count(material.get("episodes_total")),
        rating=_rating(material.get("shikimori_rating")),
        popularity=_count(material.get("shikimori_votes"), 2**31 - 1),
        genres=genres,
        studios=cleaned(_texts(material, "anime_studios"), LONGEST_NAME)[:20],
        credits=_credits(record),
        links=tuple(_links(record))[:MOST_LINKS],
        only_joins=not any(one.provider is Provider.SHIKIMORI for one in ids),
    )


def _ids(record: Mapping[str, Any], key: str) -> tuple[ExternalId, ...]:
    """Return the ids elsewhere, that at Shikimori first, which mostly is MyAnimeList's too."""
    own = tuple(external_id(Provider.SHIKIMORI, record.get("shikimori_id")))
    number = own[0].external_id if own else str(record.get("mal_id") or "")
    others = [(Provider.KODIK, key), (Provider.KINOPOISK, record.get("kinopoisk_id")), (Provider.IMDB, record.get("imdb_id"))]
    if number.isdecimal():
        others.append((Provider.MAL, number))
    return unique_ids([*own, *(one for provider, value in others for one in external_id(provider, value))])


def _titles(record: Mapping[str, Any], material: Mapping[str, Any]) -> tuple[tuple[Title, ...], tuple[Title, ...]]:
    russian = SEASON_MARK.sub("", clean(record.get("title")))
    original = clean(record.get("title_orig"))
    told = [Title("ru", russian), _in_its_language(original, "ja-Latn"), Title("en", clean(material.get("title_en")))]
    titles: dict[str, Title] = {}
    for title in told:
        if title.text:
            titles.setdefault(title.language, title)
    others = [*clean(record.get("other_title"), 2_000).split(" / "), *_texts(material, "other_titles")]
    synonyms = unique_titles((_in_its_language(clean(text), "und") for text in others), besides=titles.values())
    return tuple(titles.values()), synonyms[:100]


def _in_its_language(text: str, otherwise: str) -> Title:
    if CYRILLIC.search(text):
        return Title("ru", text)
    return Title("ja" if JAPANESE.search(text) else otherwise, text)


def _texts(material: Mapping[str, Any], name: str) -> list[Any]:
    found = material.get(name)
    return found if isinstance(found, list) else []


def _kind(record: Mapping[str, Any], material: Mapping[str, Any]) -> Kind:
    told = str(material.get("anime_kind") or "").partition("_")[0]
    return KINDS.get(told, TYPES[record["type"]])


def _year(told: Any) -> int | None:
    return told if isinstance(told, int) and FIRST_YEAR <= told <= LAST_YEAR else None


def _aired(told: Any) -> datetime | None:
    if not isinstance(told, str) or not DATE.match(told):
        return None
    try:
        return datetime.fromisoformat(told).replace(tzinfo=TOKYO)
    except ValueError:
        return None


def _age(material: Mapping[str, Any]) -> int | None:
    """Return the age that is demanded, rounded up to one that the catalog knows."""
    told = [RATINGS.get(str(material.get("rating_mpaa")))]
    least = material.get("minimal_age")
    if isinstance(least, int):
        told.append(next((age for age in AGES if age >= least), ADULT_AGE))
    return max((age for age in told if age is not None), default=None)


def _count(told: Any, most: int = MOST_EPISODES) -> int:
    return told if isinstance(told, int) and 0 <= told <= most else 0


def _rating(told: Any) -> float:
    return float(told) if isinstance(told, (int, float)) and 0 <= told <= 10 else 0.0


def _credits(record: Mapping[str, Any]) -> tuple[Credit, ...]:
    team, by_voice = _team(record)
    return (Credit(Role.VOICING if by_voice else Role.TRANSLATING, team),) if team else ()


def _team(record: Mapping[str, Any]) -> tuple[str, bool]:
    translation = record.get("translation")
    if not isinstance(translation, dict):
        return "", False
    name = clean(translation.get("title"), LONGEST_NAME)
    return "" if name in NO_TEAM else name, translation.get("type") == "voice"


def _links(record: Mapping[str, Any]) -> Iterator[VideoLink]:
    """Yield where the title, its seasons and its episodes are watched."""
    team, voiced = _team(record)
    told = record.get("blocked_countries")
    blocked = tuple(one for one in told if isinstance(one, str) and COUNTRY.match(one)) if isinstance(told, list) else ()
    if url := _address(record.get("link")):
        # What has no episodes is one.
        yield VideoLink(url, None, 1 if record.get("type") == "anime" else None, team, blocked, voiced, LANGUAGE)
    seasons = record.get("seasons")
    for number, season in seasons.items() if isinstance(seasons, dict) else ():
        if not isinstance(season, dict) or not number.isdecimal():
            continue
        if url := _address(season.get("link")):
            yield VideoLink(url, int(number), None, team, blocked, voiced, LANGUAGE)
        episodes = season.get("episodes")
        for episode, link in episodes.items() if isinstance(episodes, dict) else ():
            url = _address(link.get("link") if isinstance(link, dict) else link)
            if url and episode.isdecimal():
                yield VideoLink(url, int(number), int(episode), team, blocked, voiced, LANGUAGE)


def _address(link: Any) -> str:
    """Return a link with its protocol, which Kodik leaves to whoever shows it."""
    text = link if isinstance(link, str) and len(link) <= 500 else ""
    text = f"https:{text}" if text.startswith("//") else text
    return text if text.startswith("https://") and not text.startswith("https:///") else ""
