"""Merging what a source tells into a release: three ways, so that what editors decided stays.

A source may write what is empty, and what still is as the same source wrote it. Of what is a set, such as genres, it adds what it
tells anew and takes away what it no longer tells; what somebody else took away does not come back.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from domain.catalog.importing import CAUTIOUS_AGE, Facts
from domain.catalog.model import Credit, ExternalId, Genre, Kind, Release, Status, Tag, Title
from domain.kernel import new_id
from domain.visibility import Publication

T = TypeVar("T")

PLAIN = (
    "synopsis", "kind", "status", "season", "year", "premiere_time", "weekly_slot", "planned_episode_count", "rating", "popularity",
)  # fmt: skip
# What a release may hold of each, as the contract has it.
MOST_GENRES, MOST_TAGS, MOST_STUDIOS, MOST_SYNONYMS, MOST_CREDITS, MOST_IDS = 20, 100, 20, 100, 200, 20
LONGEST_ALIAS = 96
SHORTEST_ALIAS = 2
# Titles are shown in this order, those in other languages after them.
LANGUAGES = ("ja-Latn", "en", "ru", "ja")
APOSTROPHES = re.compile("['`\u2019\u00b4]")
NOT_OF_A_SLUG = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Groups:
    """The ids of genres and tags by their names."""

    genres: Mapping[str, str]
    tags: Mapping[str, str]


def slug(text: str) -> str:
    """Return a text as it may stand in an address; empty when none of it may, as of one in Japanese script."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    letters = sum(character.isalnum() for character in text)
    found = NOT_OF_A_SLUG.sub("-", APOSTROPHES.sub("", plain)).strip("-")
    # Of "東京喰種 re" there would be left what says nothing.
    return found if letters and sum(map(str.isalnum, found)) * 2 >= letters else ""


def alias_candidates(facts: Facts) -> list[str]:
    """Return what a release may be called in addresses, the best first, the last as good as nobody else's."""
    romanised = [title.text for language in LANGUAGES[:2] for title in facts.titles if title.language == language]
    name = next((found for text in romanised if len(found := slug(text)) >= SHORTEST_ALIAS), "")
    own = _own_alias(facts)
    if not name:
        return [own]
    tries = [name, f"{name}-{facts.year}"] if facts.year else [name]
    return [_short(one, "") for one in tries] + [_short(name, f"-{own}")]


def _own_alias(facts: Facts) -> str:
    one = facts.main_id or next(iter(facts.external_ids), None)
    text = f"{one.provider.name}-{one.external_id}" if one else f"title-{facts.key}"
    return _short(NOT_OF_A_SLUG.sub("-", text.lower()).strip("-"), "")


def _short(text: str, end: str) -> str:
    return text[: LONGEST_ALIAS - len(end)].rstrip("-") + end


def made(facts: Facts, alias: str, groups: Groups, *, publish: bool, at: datetime) -> Release:
    """Return the release that a source's facts make by themselves."""
    return Release(
        release_id=new_id(at=at),
        alias=alias,
        titles=_in_order(facts.titles),
        synonyms=facts.synonyms[:MOST_SYNONYMS],
        synopsis=facts.synopsis,
        kind=facts.kind or Kind.TV,
        status=facts.status or Status.FINISHED,
        season=facts.season,
        year=facts.year,
        age_rating=CAUTIOUS_AGE if facts.age_rating is None else facts.age_rating,
        genres=tuple(map(Genre, _ids(facts.genres, groups.genres)))[:MOST_GENRES],
        tags=tuple(map(Tag, _ids(facts.tags, groups.tags)))[:MOST_TAGS],
        studios=facts.studios[:MOST_STUDIOS],
        credits=facts.credits[:MOST_CREDITS],
        planned_episode_count=facts.planned_episode_count,
        weekly_slot=facts.weekly_slot,
        blocked_countries=facts.blocked_countries,
        rating=facts.rating,
        popularity=facts.popularity,
        premiere_time=facts.premiere_time,
        external_ids=facts.external_ids[:MOST_IDS],
        publication=Publication.PUBLISHED if publish else Publication.DRAFT,
        create_time=at,
        update_time=at,
        publish_time=at if publish else None,
    )


def merged(release: Release, facts: Facts, before: Facts | None, groups: Groups) -> Release:
    """Return a release with what a source tells now, given what it told before."""
    old = before or Facts(key=facts.key)
    changes: dict[str, Any] = {
        name: getattr(facts, name)
        for name in PLAIN
        if getattr(facts, name) and _may_write(getattr(release, name), getattr(old, name))
    }
    changes["age_rating"] = _age(release.age_rating, facts.age_rating, old.age_rating)
    changes["titles"] = _in_order(_set(release.titles, facts.titles, old.titles, key=_language))
    # What is the title of a release need not be among its other names too.
    names = {title.text for title in changes["titles"]}
    synonyms = _set(release.synonyms, facts.synonyms + facts.titles, old.synonyms + old.titles)
    changes["synonyms"] = tuple(one for one in synonyms if one.text not in names)[:MOST_SYNONYMS]
    for name, most in {"studios": MOST_STUDIOS, "blocked_countries": 250}.items():
        changes[name] = _set(getattr(release, name), getattr(facts, name), getattr(old, name))[:most]
    changes["credits"] = _set(release.credits, facts.credits, old.credits, key=_credited)[:MOST_CREDITS]
    changes["external_ids"] = _set(release.external_ids, facts.external_ids, old.external_ids, key=_provider)[:MOST_IDS]
    changes["genres"] = _carried(release.genres, facts.genres, old.genres, groups.genres, Genre)[:MOST_GENRES]
    changes["tags"] = _carried(release.tags, facts.tags, old.tags, groups.tags, Tag)[:MOST_TAGS]
    return replace(release, **changes)


def _may_write(present: object, before: object) -> bool:
    return not present or present == before


def _age(present: int, told: int | None, before: int | None) -> int:
    """Raise an age rating to what a source tells; lower it only when it is the source's own."""
    if told is None or told == before:
        return present
    return told if present == before else max(present, told)


def _set(
    present: tuple[T, ...], told: tuple[T, ...], before: tuple[T, ...], *, key: Callable[[T], Hashable] | None = None
) -> tuple[T, ...]:
    """Merge sets, or what is told at most once for each key."""
    gone = set(before) - set(told)
    kept = [one for one in present if one not in gone]
    known = set(before)
    taken = {key(one) if key else one for one in kept}
    for one in told:
        mark = key(one) if key else one
        if one not in known and mark not in taken:
            taken.add(mark)
            kept.append(one)
    return tuple(kept)


def _carried(
    present: tuple[Any, ...], told: Iterable[str], before: Iterable[str], ids: Mapping[str, str], of: Callable[[str], Any]
) -> tuple[Any, ...]:
    """Merge genres or tags, which releases carry by id and sources tell by name."""
    ours = {_id(one): one for one in present}
    wanted = _set(tuple(ours), tuple(_ids(told, ids)), tuple(_ids(before, ids)))
    return tuple(ours.get(one) or of(one) for one in wanted)


def _id(one: Any) -> str:
    return str(one.genre_id if isinstance(one, Genre) else one.tag_id)


def _ids(names: Iterable[str], ids: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(ids[name] for name in names if name in ids))


def _in_order(titles: tuple[Title, ...]) -> tuple[Title, ...]:
    return tuple(
        sorted(titles, key=lambda title: LANGUAGES.index(title.language) if title.language in LANGUAGES else len(LANGUAGES))
    )


def _language(title: Title) -> str:
    return title.language


def _credited(one: Credit) -> tuple[int, str]:
    """Return what a source knows of a credit: which team of ours that is, it cannot tell."""
    return one.role, one.name


def _provider(one: ExternalId) -> int:
    return one.provider
