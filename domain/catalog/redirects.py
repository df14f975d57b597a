"""Episodes that go by another number elsewhere: "episode 26 of this title" may be the first of its second season.

The rules are written by a community, one a line: `41380|43367|116242:13-24 -> 44881|43883|127366:1-12!`. Before the colon stand a
title's ids at three providers, after it an episode or a range of them; `?` is what is unknown, `~` repeats the id before the arrow,
and `!` says that the second title goes by the first one's numbers too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from domain.catalog.model import ExternalId, Provider, Release
from domain.kernel import Event, InvalidArgument

# Whose ids stand in a rule, in its order.
PROVIDERS = (Provider.MAL, Provider.KITSU, Provider.ANILIST)
# Stands for a range that is not known to end.
OPEN = 2**31 - 1
RULE = re.compile(
    r"^(?P<from>[^:\s]+):(?P<episodes>[^:\s]+)\s+->\s+(?P<to>[^:\s]+):(?P<become>[^:\s!]+)(?P<both>!?)$",
)
NUMBER = re.compile(r"^\d{1,5}$", re.ASCII)
ID = re.compile(r"^\d{1,9}$", re.ASCII)
UNKNOWN, REPEATED = "?", "~"


@dataclass(frozen=True, slots=True)
class Episodes:
    """A range of episodes, or one when both ends are the same."""

    first: int
    last: int

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last

    @property
    def width(self) -> int:
        return OPEN if self.last == OPEN else self.last - self.first


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRulesReplaced(Event):
    """Other rules hold than before."""

    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """Says that episodes of one title are episodes of another one, or go by other numbers there."""

    # The first title's id at one provider.
    source: ExternalId
    episodes: Episodes
    # The second title's ids, each at another provider, the source's own first where it is known.
    targets: tuple[ExternalId, ...]
    become: Episodes

    def number(self, episode: int) -> int:
        """Return what an episode of the first title is in the second one; several may be one there."""
        return self.become.first if self.become.width == 0 else self.become.first + episode - self.episodes.first


@dataclass(frozen=True, slots=True)
class MappedEpisode:
    """Where an episode is found: its title's ids elsewhere, its number in it, and the title where the catalog has it."""

    external_ids: tuple[ExternalId, ...]
    number: int
    redirected: bool
    release: Release | None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file of rules: what it says, or why it cannot be used."""

    number: int
    text: str
    redirects: tuple[Redirect, ...] = ()
    problem: str = ""


class RuleUnreadable(InvalidArgument):
    """Raised when a rule of episode numbers is not written as such rules are."""

    text = "The rule cannot be used: {problem}."


def read_rules(lines: Iterable[str]) -> Iterator[Line]:
    """Read a file of rules one line at a time; what is no rule, such as comments and facts about the file, is passed over."""
    within = False
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("\ufeff")
        if text.startswith("::"):
            within = text == "::rules"
        elif within and text and not text.startswith("#"):
            try:
                yield Line(number, text, parse_rule(text))
            except RuleUnreadable as fault:
                yield Line(number, text, problem=fault.details["problem"])


def parse_rule(text: str) -> tuple[Redirect, ...]:
    """Return what a rule says, once for each provider that knows the first title. Raises RuleUnreadable."""
    match = RULE.match(text.removeprefix("-").strip())
    if match is None:
        raise RuleUnreadable(problem="it is not of the form IDS:EPISODES -> IDS:EPISODES")
    own = _ids(match["from"])
    targets = tuple(before if after == REPEATED else after for before, after in zip(own, _ids(match["to"], own), strict=True))
    episodes, become = _episodes(match["episodes"]), _episodes(match["become"])
    if become.width and become.width != episodes.width:
        raise RuleUnreadable(problem="its ranges are not of the same length")
    said = _said(own, targets, episodes, become)
    if not said:
        raise RuleUnreadable(problem="it leads from no title to another one")
    both = _said(targets, targets, episodes, become) if match["both"] else ()
    return tuple(dict.fromkeys(said + both))


def chosen(found: Iterable[Redirect]) -> Redirect | None:
    """Return the one that counts where several speak of an episode: the narrowest, as it was written for that case."""
    return min(found, key=lambda one: (one.episodes.width, one.episodes.first, one.source.provider), default=None)


def _said(own: tuple[str, ...], targets: tuple[str, ...], episodes: Episodes, become: Episodes) -> tuple[Redirect, ...]:
    known = _known(targets)
    if not known:
        return ()
    redirects = (Redirect(source, episodes, _with_own_first(known, source.provider), become) for source in _known(own))
    return tuple(one for one in redirects if not (one.source in one.targets and episodes == become))


def _known(ids: tuple[str, ...]) -> tuple[ExternalId, ...]:
    return tuple(ExternalId(provider, one) for provider, one in zip(PROVIDERS, ids, strict=True) if one != UNKNOWN)


def _with_own_first(ids: tuple[ExternalId, ...], provider: Provider) -> tuple[ExternalId, ...]:
    return tuple(sorted(ids, key=lambda one: (one.provider is not provider, one.provider)))


def _ids(text: str, before: tuple[str, ...] = ()) -> tuple[str, ...]:
    ids = tuple(text.split("|"))
    if len(ids) != len(PROVIDERS):
        raise RuleUnreadable(problem=f"{text} are not the ids at {len(PROVIDERS)} providers")
    for one in ids:
        if one != UNKNOWN and not ID.match(one) and not (before and one == REPEATED):
            raise RuleUnreadable(problem=f"{one} is not an id")
    return tuple(one if one in {UNKNOWN, REPEATED} else str(int(one)) for one in ids)


def _episodes(text: str) -> Episodes:
    first, dash, last = text.partition("-")
    ends = [first, last] if dash else [first, first]
    if not NUMBER.match(ends[0]) or not (NUMBER.match(ends[1]) or (dash and last == UNKNOWN)):
        raise RuleUnreadable(problem=f"{text} is not an episode or a range of episodes")
    if last == UNKNOWN:
        return Episodes(int(first), OPEN)
    episodes = Episodes(int(ends[0]), int(ends[1]))
    if episodes.width < 0:
        raise RuleUnreadable(problem=f"the range {text} ends before it begins")
    return episodes
