"""The one rule of who may see what: list, search, detail, playback, recommendation and notification all ask it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from domain.kernel import Viewer

# Stands for all countries where some are named.
EVERYWHERE = "*"


class Publication(IntEnum):
    """Whether a title is open to viewers."""

    DRAFT = 1
    PUBLISHED = 2
    WITHDRAWN = 3


class Sight(Enum):
    """What a viewer may know of a title, and why not more."""

    VISIBLE = "visible"
    NOT_PUBLISHED = "not published"
    HELD_BY_RIGHTS_HOLDER = "blocked by a rights holder"
    BLOCKED_IN_COUNTRY = "blocked in the viewer's country"
    ABOVE_MATURITY = "above the viewer's maturity limit"
    OUTSIDE_ALLOWED_HOURS = "outside of the viewer's allowed hours"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a title demands of its viewers."""

    publication: Publication
    age_rating: int
    blocked_countries: frozenset[str]
    # Where rights holders do not let it be shown.
    held_countries: frozenset[str] = frozenset()
    # Which title it is, since a viewer may have been granted one.
    release_id: str = ""


def sight(terms: Terms, viewer: Viewer) -> Sight:
    """Decide what a viewer may know of a title. Editors see everything, since they must be able to mend it."""
    if viewer.sees_drafts:
        return Sight.VISIBLE
    if terms.publication is not Publication.PUBLISHED:
        return Sight.NOT_PUBLISHED
    if terms.age_rating > viewer.maturity and terms.release_id not in viewer.granted:
        return Sight.ABOVE_MATURITY
    if terms.held_countries & {EVERYWHERE, viewer.country}:
        return Sight.HELD_BY_RIGHTS_HOLDER
    if viewer.country in terms.blocked_countries:
        return Sight.BLOCKED_IN_COUNTRY
    return Sight.VISIBLE


def playable(terms: Terms, viewer: Viewer) -> Sight:
    """Decide whether a viewer may play a title now: what may be seen may be played, but for the hours."""
    seen = sight(terms, viewer)
    return Sight.OUTSIDE_ALLOWED_HOURS if seen is Sight.VISIBLE and viewer.asleep else seen
