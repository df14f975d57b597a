"""The table of genres and ratings by MyAnimeList's ids: names with HTML entities, episode counts that may be "Unknown"."""

from __future__ import annotations

import csv
import html
from collections.abc import Iterator
from datetime import datetime

from adapters.importers.files import ImportFile, ImportFileBroken
from adapters.importers.reading import LONGEST_GROUP, RowUnusable, clean, cleaned, external_id
from domain.catalog.importing import ADULT_AGE, Facts, Row, Unusable, digest
from domain.catalog.model import Provider, Title

EDITION = b"mal-genres/1"
COLUMNS = ("anime_id", "name", "genre", "type", "episodes", "rating", "members")
# Genres that are for adults alone, whatever else is said.
ADULT = frozenset({"Hentai", "Ecchi", "Erotica"})
MOST_EPISODES = 10_000
LARGEST = 2**31 - 1


def read(file: ImportFile, *, now: datetime) -> Iterator[Row | Unusable]:  # noqa: ARG001 - all readers are called alike
    """Yield the rows of a table. Raises ImportFileBroken when it is another one."""
    rows = csv.reader(line.decode("utf-8", "replace").replace("\0", "") for line in file.lines())
    try:
        if tuple(next(rows, ())) != COLUMNS:
            raise ImportFileBroken(name=file.path.name, problem=f"its first line is not {','.join(COLUMNS)}")
        for number, row in enumerate(rows, 1):
            if row:
                yield _row(number, row)
    except csv.Error as fault:
        raise ImportFileBroken(name=file.path.name, problem="it is no table of comma-separated values") from fault


def _row(number: int, row: list[str]) -> Row | Unusable:
    try:
        return Row(number, _facts(row), digest(EDITION, "\0".join(row).encode()))
    except RowUnusable as fault:
        return fault.at(number)


def _facts(row: list[str]) -> Facts:
    key = row[0].strip()
    if len(row) != len(COLUMNS):
        raise RowUnusable("COLUMNS_WRONG", f"It has {len(row)} columns in the place of {len(COLUMNS)}.", key)
    _, name, genre, _, episodes, rating, members = row
    ids = tuple(external_id(Provider.MAL, key)) if key.isascii() and key.isdecimal() else ()
    if not ids:
        raise RowUnusable("ID_UNREADABLE", "Its id is no number.", key)
    genres = cleaned(html.unescape(genre).split(","), LONGEST_GROUP)
    title = clean(html.unescape(name))
    return Facts(
        key=key,
        main_id=ids[0],
        external_ids=ids,
        titles=(Title("ja-Latn", title),) if title else (),
        genres=genres,
        age_rating=ADULT_AGE if ADULT & set(genres) else None,
        planned_episode_count=0 if episodes == "Unknown" else _count(episodes, "episodes", MOST_EPISODES, key),
        rating=_rating(rating, key),
        popularity=_count(members, "members", LARGEST, key),
    )


def _count(text: str, of: str, most: int, key: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise RowUnusable("NUMBER_UNREADABLE", f"{clean(text, 40)!r} is no number of {of}.", key)
    return int(text)


def _rating(text: str, key: str) -> float:
    try:
        rating = float(text or 0)
    except ValueError:
        rating = -1.0
    if not 0 <= rating <= 10:
        raise RowUnusable("RATING_UNREADABLE", f"{clean(text, 40)!r} is no rating from 0 to 10.", key)
    return rating
