"""bangumi-data: a title in each line, with its names in four languages, its times and its ids elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from adapters.importers.files import LONGEST_LINE, ImportFile
from adapters.importers.reading import (
    LANGUAGE,
    LONGEST_TITLE,
    TOKYO,
    RowUnusable,
    clean,
    cleaned,
    external_id,
    moment,
    season_of,
    status_of,
    unique_ids,
    unique_titles,
)
from domain.catalog.importing import Facts, Row, Unusable, digest
from domain.catalog.model import ExternalId, Kind, Provider, Status, Title, WeeklySlot

# Changes when lines are read in another way, so that known lines are read again.
EDITION = b"bangumi/1"
KINDS = {"tv": Kind.TV, "movie": Kind.MOVIE, "ova": Kind.OVA, "web": Kind.ONA}
PROVIDERS = {
    "bangumi": Provider.BANGUMI,
    "mal": Provider.MAL,
    "anidb": Provider.ANIDB,
    "aniList": Provider.ANILIST,
    "tmdb": Provider.TMDB,
}
WEEKLY = re.compile(r"^R/(?P<from>[^/]+)/P7D$")


def read(file: ImportFile, *, now: datetime) -> Iterator[Row | Unusable]:
    """Yield the titles of a file."""
    for number, line in enumerate(file.lines(), 1):
        if line.isspace():
            continue
        try:
            facts = _facts(line, now)
        except RowUnusable as fault:
            yield fault.at(number)
        else:
            # What a line comes down to moves with the clock too: a title that was announced is aired one day.
            yield Row(number, facts, digest(EDITION, line.strip(), str(facts.status).encode()))


def _facts(line: bytes, now: datetime) -> Facts:
    item = _item(line)
    begin, end = moment(item.get("begin")), moment(item.get("end"))
    language = item["lang"] if LANGUAGE.match(str(item.get("lang"))) else "ja"
    titles, synonyms = _titles(item, language)
    name = titles[0].text if titles else ""
    if not name:
        raise RowUnusable("TITLE_MISSING", "It has no title.")
    kind = KINDS.get(str(item.get("type")))
    if kind is None:
        raise RowUnusable("KIND_UNKNOWN", f"Its type {clean(item.get('type'), 40)!r} is none that is known.", name)
    ids = _ids(item)
    season, year = season_of(begin)
    status = status_of(begin, end, now)
    return Facts(
        key=next((one.external_id for one in ids if one.provider is Provider.BANGUMI), f"{name}@{clean(item.get('begin'))}"),
        main_id=ids[0] if ids else None,
        external_ids=ids,
        titles=titles,
        synonyms=synonyms,
        kind=kind,
        status=status,
        season=season,
        year=year,
        premiere_time=begin,
        weekly_slot=_slot(item.get("broadcast")) if status is Status.ONGOING else None,
    )


def _item(line: bytes) -> dict[str, Any]:
    if len(line) >= LONGEST_LINE:
        raise RowUnusable("LINE_TOO_LONG", "It is longer than any title is.")
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise RowUnusable("NO_JSON", "It is no JSON.") from fault
    if not isinstance(item, dict):
        raise RowUnusable("NO_OBJECT", "It is no JSON object.")
    return item


def _titles(item: Mapping[str, Any], language: str) -> tuple[tuple[Title, ...], tuple[Title, ...]]:
    """Return the title in each language, and the other names."""
    translated = item.get("titleTranslate")
    names = {language: cleaned([item.get("title")], LONGEST_TITLE)}
    for other, texts in translated.items() if isinstance(translated, dict) else ():
        if LANGUAGE.match(other) and isinstance(texts, list):
            names[other] = tuple(dict.fromkeys(names.get(other, ()) + cleaned(texts, LONGEST_TITLE)))
    titles = unique_titles(Title(one, texts[0]) for one, texts in names.items() if texts)
    rest = (Title(one, text) for one, texts in names.items() for text in texts[1:])
    return titles, unique_titles(rest, besides=titles)[:100]


def _ids(item: Mapping[str, Any]) -> tuple[ExternalId, ...]:
    """Return the ids elsewhere, the source's own first."""
    sites = item.get("sites")
    known = [site for site in sites if isinstance(site, dict)] if isinstance(sites, list) else []
    found = unique_ids(
        one
        for site in known
        if isinstance(site.get("site"), str) and site["site"] in PROVIDERS
        for one in external_id(PROVIDERS[site["site"]], site.get("id"))
    )
    return tuple(sorted(found, key=lambda one: one.provider is not Provider.BANGUMI))


def _slot(broadcast: Any) -> WeeklySlot | None:
    """Return the time of the week at which something is shown in Japan, of a repetition like `R/2026-04-05T15:30:00.000Z/P7D`."""
    weekly = WEEKLY.match(broadcast) if isinstance(broadcast, str) else None
    begin = moment(weekly["from"]) if weekly else None
    if begin is None:
        return None
    local = begin.astimezone(TOKYO)
    return WeeklySlot(local.isoweekday(), local.hour * 60 + local.minute, "Asia/Tokyo")
