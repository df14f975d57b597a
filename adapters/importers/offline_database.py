"""anime-offline-database: one JSON document with its titles under "data", minified or not, or a title in each line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import ijson

from adapters.importers.files import BLOCK, LONGEST_LINE, ImportFile, ImportFileBroken
from adapters.importers.reading import (
    FIRST_YEAR,
    LAST_YEAR,
    LONGEST_GROUP,
    LONGEST_NAME,
    LONGEST_TITLE,
    RowUnusable,
    clean,
    cleaned,
    unique_ids,
    unique_titles,
)
from adapters.importers.reading import external_id as an_id
from domain.catalog.importing import ADULT_AGE, Facts, Row, Unusable, digest
from domain.catalog.model import ExternalId, Kind, Provider, Season, Status, Title

EDITION = b"offline-database/1"
KINDS = {
    "TV": Kind.TV, "MOVIE": Kind.MOVIE, "OVA": Kind.OVA, "ONA": Kind.ONA, "SPECIAL": Kind.SPECIAL,
}  # fmt: skip
STATUSES = {"FINISHED": Status.FINISHED, "ONGOING": Status.ONGOING, "CURRENTLY": Status.ONGOING, "UPCOMING": Status.ANNOUNCED}
SEASONS = {"WINTER": Season.WINTER, "SPRING": Season.SPRING, "SUMMER": Season.SUMMER, "FALL": Season.FALL}
# Where a source's id stands in its address.
SITES = {
    "myanimelist.net": (Provider.MAL, re.compile(r"^/anime/(\d+)")),
    "anilist.co": (Provider.ANILIST, re.compile(r"^/anime/(\d+)")),
    "anidb.net": (Provider.ANIDB, re.compile(r"^/anime/(\d+)")),
    "kitsu.app": (Provider.KITSU, re.compile(r"^/anime/(\d+)")),
    "kitsu.io": (Provider.KITSU, re.compile(r"^/anime/(\d+)")),
}
ADULT = frozenset({"hentai", "ecchi", "erotica", "explicit sex", "pornography", "sex"})
MOST_EPISODES = 10_000
LINES = re.compile(r"\.jsonl(\.|$)")


def read(file: ImportFile, *, now: datetime) -> Iterator[Row | Unusable]:  # noqa: ARG001 - all readers are called alike
    """Yield the titles of a file. Raises ImportFileBroken when it is another one."""
    items = _lines(file) if LINES.search(file.path.name) else _document(file)
    for number, item in items:
        try:
            if isinstance(item, RowUnusable):
                raise item
            facts = _facts(item)
        except RowUnusable as fault:
            yield fault.at(number)
        else:
            yield Row(number, facts, digest(EDITION, json.dumps(item, sort_keys=True, separators=(",", ":")).encode()))


def _document(file: ImportFile) -> Iterator[tuple[int, Any]]:
    try:
        with file.reading():
            yield from enumerate(ijson.items(file.content, "data.item", use_float=True, buf_size=BLOCK), 1)
    except ijson.JSONError as fault:
        raise ImportFileBroken(name=file.path.name, problem="it is no JSON document, or ends in the middle") from fault


def _lines(file: ImportFile) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file.lines(), 1):
        if line.isspace():
            continue
        try:
            item = json.loads(line) if len(line) < LONGEST_LINE else None
        except (ValueError, RecursionError):
            item = None
        if item is None:
            yield number, RowUnusable("NO_JSON", "It is no JSON.")
        # The first line tells of the file itself.
        elif number > 1 or not isinstance(item, dict) or "sources" in item:
            yield number, item


def _facts(item: Any) -> Facts:
    if not isinstance(item, dict):
        raise RowUnusable("NO_OBJECT", "It is no JSON object.")
    title = clean(item.get("title"))
    if not title:
        raise RowUnusable("TITLE_MISSING", "It has no title.")
    ids = _ids(item.get("sources"))
    if not ids:
        raise RowUnusable("ID_MISSING", "None of its addresses holds an id that is known here.", title)
    main = Title("ja-Latn" if title.isascii() else "und", title)
    season, year = _season(item.get("animeSeason"))
    tags = cleaned(_list(item, "tags"), LONGEST_GROUP)[:100]
    return Facts(
        key=f"{ids[0].provider.name.lower()}/{ids[0].external_id}",
        main_id=ids[0],
        external_ids=ids,
        titles=(main,),
        synonyms=unique_titles(Title("und", text) for text in cleaned(_list(item, "synonyms"), LONGEST_TITLE))[:100],
        kind=KINDS.get(str(item.get("type"))),
        status=STATUSES.get(str(item.get("status"))),
        season=season,
        year=year,
        planned_episode_count=_episodes(item.get("episodes"), title),
        rating=_score(item.get("score")),
        tags=tags,
        studios=cleaned(_list(item, "studios"), LONGEST_NAME)[:20],
        age_rating=ADULT_AGE if ADULT & {tag.lower() for tag in tags} else None,
    )


def _list(item: Mapping[str, Any], name: str) -> list[Any]:
    found = item.get(name)
    return found if isinstance(found, list) else []


def _ids(sources: Any) -> tuple[ExternalId, ...]:
    """Return the ids that addresses hold, the most telling first."""
    found: list[ExternalId] = []
    for source in sources if isinstance(sources, list) else []:
        found.extend(_id(source))
    order = [Provider.MAL, Provider.ANILIST, Provider.ANIDB, Provider.KITSU]
    return tuple(sorted(unique_ids(found), key=lambda one: order.index(one.provider)))


def _id(source: Any) -> Iterator[ExternalId]:
    try:
        address = urlsplit(source if isinstance(source, str) else "")
        site = SITES.get(address.hostname or "")
    except ValueError:
        return
    if site and (match := site[1].match(address.path)):
        yield from an_id(site[0], match[1])


def _season(told: Any) -> tuple[Season | None, int | None]:
    if not isinstance(told, dict):
        return None, None
    year = told.get("year")
    known = isinstance(year, int) and FIRST_YEAR <= year <= LAST_YEAR
    return SEASONS.get(str(told.get("season"))) if known else None, year if known else None


def _episodes(told: Any, title: str) -> int:
    if told is None:
        return 0
    if not isinstance(told, int) or not 0 <= told <= MOST_EPISODES:
        raise RowUnusable("NUMBER_UNREADABLE", f"{clean(str(told), 40)!r} is no number of episodes.", title)
    return told


def _score(told: Any) -> float:
    score = told.get("arithmeticMean") if isinstance(told, dict) else None
    return round(float(score), 2) if isinstance(score, (int, float)) and 0 <= score <= 10 else 0.0
