"""Who may see a release, and what is said to those who may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.catalog.model import ReleaseBlocked, ReleaseNotFound, RightsBlock
from domain.kernel import Viewer
from domain.visibility import Sight, Terms, sight


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a release demands of its viewers, and why rights holders do."""

    release_id: str
    terms: Terms
    rights_blocks: tuple[RightsBlock, ...]


def demand_sight(terms: Terms, rights_blocks: Sequence[RightsBlock], *, named: str, viewer: Viewer) -> None:
    """Refuse what the viewer may not see. Raises ReleaseNotFound and ReleaseBlocked.

    Of a release that is published, but blocked where the viewer is, that much is said; of any other nothing.
    """
    seen = sight(terms, viewer)
    if seen in {Sight.NOT_PUBLISHED, Sight.ABOVE_MATURITY}:
        raise ReleaseNotFound(release=named)
    if seen is Sight.HELD_BY_RIGHTS_HOLDER:
        here = [block for block in rights_blocks if not block.countries or viewer.country in block.countries]
        raise ReleaseBlocked(release=named, country=viewer.country or "your country", reason=here[0].reason)
    if seen is Sight.BLOCKED_IN_COUNTRY:
        raise ReleaseBlocked(release=named, country=viewer.country, reason="it is not licensed there")


def seen_release(found: Conditions | None, *, named: str, viewer: Viewer) -> str:
    """Return the id of a release that the viewer may see. Raises ReleaseNotFound and ReleaseBlocked."""
    if found is None:
        raise ReleaseNotFound(release=named)
    demand_sight(found.terms, found.rights_blocks, named=named, viewer=viewer)
    return found.release_id
