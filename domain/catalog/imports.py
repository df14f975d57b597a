"""Importing batches of rows: finding which releases they speak of, and writing what they tell anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from domain.catalog.importing import (
    TELLING,
    CatalogImported,
    Facts,
    ImportStore,
    Kept,
    Offer,
    Outcome,
    ParserJobCompleted,
    ParserJobStarted,
    Row,
    Told,
    Unusable,
    Writing,
)
from domain.catalog.merging import Groups, alias_candidates, made, merged, slug
from domain.catalog.model import UUID_SHAPE, ExternalId, Release
from domain.kernel import Begin

LONGEST_GROUP_ID = 48
# So many releases may change which way of reading is the fastest.
MANY = 1_000


class Imports:
    """Brings what sources tell into the catalog."""

    def __init__(self, *, begin: Begin[ImportStore]) -> None:
        self._begin = begin

    async def begun(self, event: ParserJobStarted) -> None:
        async with self._begin() as store:
            await store.record(event)

    async def completed(self, event: ParserJobCompleted) -> None:
        async with self._begin() as store:
            if event.added + event.changed >= MANY:
                await store.look_over()
            await store.record(event)

    async def bring_in(self, source: str, rows: Sequence[Row], *, adds: bool, publish: bool, at: datetime) -> Outcome:
        """Write what rows tell anew; without `adds`, only of releases that are there. Rows are in the order they are told."""
        async with self._begin() as store:
            await store.alone()
            told = await store.told(source, [row.facts.key for row in rows])
            fresh = [row for row in rows if (known := told.get(row.facts.key)) is None or known.digest != row.digest]
            old = [
                _offer(known.release_id, row) for row in rows if (known := told.get(row.facts.key)) and known.digest == row.digest
            ]
            if not fresh:
                return Outcome(unchanged=len(rows), offers=tuple(one for one in old if one.links))
            batch = await _Batch.look_up(store, source, fresh, told, at=at)
            # Those that only join may join what others of the batch bring.
            for row in sorted(fresh, key=lambda one: one.facts.only_joins):
                batch.take(row, adds=adds, publish=publish)
            await store.write(source, batch.writing)
            outcome = batch.outcome(unchanged=len(rows) - len(fresh), offers=old)
            if outcome.added or outcome.changed:
                await store.record(CatalogImported(time=at, source=source, added=outcome.added, changed=outcome.changed))
        return outcome


class _Batch:
    """Rows being brought in, and all that has to be known for it."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._told: Mapping[str, Told] = {}
        self._before: Mapping[str, Facts] = {}
        self._owners: dict[ExternalId, str] = {}
        self._aliases: dict[str, str] = {}
        self._releases: dict[str, Release] = {}
        self._originals: Mapping[str, Release] = {}
        self._groups = Groups({}, {})
        self._added: set[str] = set()
        self._kept: list[Kept] = []
        self._problems: list[Unusable] = []
        self._unchanged = 0
        self._offers: list[Offer] = []

    @classmethod
    async def look_up(
        cls, store: ImportStore, source: str, rows: Sequence[Row], told: Mapping[str, Told], *, at: datetime
    ) -> _Batch:
        batch = cls(at)
        batch._told = told
        facts = [row.facts for row in rows]
        batch._before = await store.facts(source, [one.key for one in facts if one.key in told])
        batch._owners = await store.owners(list({one for each in facts for one in each.external_ids}))
        batch._aliases = await store.aliases(sorted({alias for each in facts for alias in alias_candidates(each)}))
        ids = {told[one.key].release_id for one in facts if one.key in told}
        ids |= {*batch._owners.values(), *batch._aliases.values()}
        batch._originals = await store.releases_to_change(sorted(ids))
        batch._releases = dict(batch._originals)
        every = [*facts, *batch._before.values()]
        batch._groups = Groups(
            await store.genre_ids(_named(name for each in every for name in each.genres), at=at),
            await store.tag_ids(_named(name for each in every for name in each.tags), at=at),
        )
        return batch

    @property
    def writing(self) -> Writing:
        added = [self._releases[one] for one in self._added_in_order()]
        return Writing(added=added, changed=self._changed(), kept=self._kept)

    def outcome(self, *, unchanged: int, offers: Sequence[Offer]) -> Outcome:
        changed = tuple(one.release_id for one in self._changed())
        skipped = sum(problem.reason in SKIPPING for problem in self._problems)
        return Outcome(
            added=tuple(self._added_in_order()),
            changed=changed,
            unchanged=unchanged + self._unchanged,
            problems=tuple(self._problems),
            skipped=skipped,
            unmatched=sum(problem.reason == UNMATCHED for problem in self._problems),
            offers=tuple(one for one in (*offers, *self._offers) if one.links or one.before),
        )

    def take(self, row: Row, *, adds: bool, publish: bool) -> None:
        """Decide what a row comes to."""
        facts = row.facts
        release_id = self._found(facts)
        if release_id is None and not adds:
            self._skip(row, "RELEASE_UNKNOWN", "No release has this id.")
        elif release_id is None and facts.only_joins:
            self._skip(
                row, UNMATCHED, "It has no id at Shikimori, and no release goes by its other ids, or its title, kind and year."
            )
        elif release_id is None and not facts.titles:
            self._skip(row, "TITLE_MISSING", "It has no title.")
        elif release_id is None:
            self._add(row, publish=publish)
        elif release_id not in self._releases:
            self._skip(row, "RELEASE_DELETED", "Its release was deleted by an editor.")
        else:
            self._merge(row, release_id)

    def _found(self, facts: Facts) -> str | None:
        """Return the release that facts speak of: by the source's key, by telling ids, else by alias, year and kind."""
        if known := self._told.get(facts.key):
            return known.release_id
        theirs = {one.provider: one for one in facts.external_ids}
        first = (facts.main_id.provider,) if facts.main_id else ()
        for provider in (*first, *TELLING):
            owner = self._owners.get(theirs[provider]) if provider in theirs else None
            if owner is not None and not self._contradicts(owner, facts):
                return owner
        if facts.only_joins:
            return self._alike(facts)
        owner = self._aliases.get(alias_candidates(facts)[0])
        alike = self._releases.get(owner) if owner else None
        if alike is None or alike.year is None or (alike.year, alike.kind) != (facts.year, facts.kind):
            return None
        return None if self._contradicts(alike.release_id, facts) or alike.external_ids else owner

    def _alike(self, facts: Facts) -> str | None:
        """Return the one release of these facts' year and kind that has an id which seasons may share, or else their title."""
        shared = {self._owners[one] for one in facts.external_ids if one in self._owners}
        named = {self._aliases[one] for one in alias_candidates(facts) if one in self._aliases}
        for candidates in (shared, named):
            known = [self._releases[one] for one in candidates if one in self._releases]
            fitting = [one for one in known if one.year and (one.year, one.kind) == (facts.year, facts.kind)]
            if len(fitting) == 1:
                return fitting[0].release_id
        return None

    def _contradicts(self, release_id: str, facts: Facts) -> bool:
        """Tell whether a release is known as another title where these facts come from."""
        release, main = self._releases.get(release_id), facts.main_id
        if release is None or main is None:
            return False
        return any(one.provider is main.provider and one != main for one in release.external_ids)

    def _add(self, row: Row, *, publish: bool) -> None:
        facts = self._with_free_ids(row.facts, "")
        tries = [one for one in alias_candidates(row.facts) if one not in self._aliases and not UUID_SHAPE.match(one)]
        if not tries:
            self._skip(row, "ALIAS_TAKEN", "Other releases have every alias that it could have.")
            return
        release = made(facts, tries[0], self._groups, publish=publish, at=self._at)
        self._added.add(release.release_id)
        self._settle(row, release)

    def _merge(self, row: Row, release_id: str) -> None:
        facts = self._with_free_ids(row.facts, release_id)
        release = self._releases[release_id]
        self._settle(row, merged(release, facts, self._before.get(facts.key), self._groups))

    def _settle(self, row: Row, release: Release) -> None:
        known = self._releases.get(release.release_id)
        if known is not None and _same(known, release):
            self._unchanged += 1
        self._releases[release.release_id] = release
        self._aliases[release.alias] = release.release_id
        self._owners.update(dict.fromkeys(release.external_ids, release.release_id))
        self._kept.append(Kept(release.release_id, row))
        self._offers.append(_offer(release.release_id, row, self._before.get(row.facts.key)))

    def _with_free_ids(self, facts: Facts, release_id: str) -> Facts:
        """Leave out ids that other releases have: several seasons may share one elsewhere, here it leads to one of them."""
        free = tuple(one for one in facts.external_ids if self._owners.get(one, release_id) == release_id)
        return facts if free == facts.external_ids else replace(facts, external_ids=free)

    def _skip(self, row: Row, reason: str, text: str) -> None:
        self._problems.append(Unusable(row.number, row.facts.key, reason, text))

    def _added_in_order(self) -> list[str]:
        return [one for one in self._releases if one in self._added]

    def _changed(self) -> list[Release]:
        pairs = ((self._originals[one], self._releases[one]) for one in self._originals)
        return [
            replace(after, version=before.version + 1, update_time=self._at) for before, after in pairs if not _same(before, after)
        ]


UNMATCHED = "RELEASE_UNMATCHED"
SKIPPING = frozenset({"RELEASE_UNKNOWN", UNMATCHED, "TITLE_MISSING", "RELEASE_DELETED", "ALIAS_TAKEN"})


def _offer(release_id: str, row: Row, before: Facts | None = None) -> Offer:
    return Offer(release_id, row.number, row.facts.key, row.facts.links, before.links if before else ())


def _same(before: Release, after: Release) -> bool:
    return before is after or before == after


def _named(names: Iterable[str]) -> dict[str, str]:
    """Return the ids that genres or tags of these names would get, leaving out names that make none."""
    wanted = ((name, slug(name)[:LONGEST_GROUP_ID].strip("-")) for name in dict.fromkeys(names))
    return {name: one for name, one in wanted if one}
