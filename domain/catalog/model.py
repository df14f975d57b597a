"""Releases and genres, and the rules they keep by themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from domain.kernel import AlreadyExists, Event, InvalidArgument, NotFound, PermissionDenied
from domain.visibility import EVERYWHERE, Publication, Terms
from domain.zones import zone

UUID_SHAPE = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


class Kind(IntEnum):
    """What kind of title a release is."""

    TV = 1
    MOVIE = 2
    OVA = 3
    ONA = 4
    SPECIAL = 5


class Status(IntEnum):
    """How far a release's airing has come."""

    ANNOUNCED = 1
    ONGOING = 2
    FINISHED = 3
    HIATUS = 4


class Season(IntEnum):
    """A season of the broadcasting year."""

    WINTER = 1
    SPRING = 2
    SUMMER = 3
    FALL = 4


@dataclass(frozen=True, slots=True)
class Title:
    """A title in one language."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Genre:
    """A genre, with how many published releases carry it where that was asked for."""

    genre_id: str
    name: str = ""
    release_count: int = 0


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, with how many published releases carry it where that was asked for."""

    tag_id: str
    name: str = ""
    release_count: int = 0


class Role(IntEnum):
    """What somebody did for a release's edition."""

    VOICING = 1
    TRANSLATING = 2
    TIMING = 3
    EDITING = 4
    POSTER = 5
    DECORATING = 6


@dataclass(frozen=True, slots=True)
class Credit:
    """Who did what for a release's edition: a team or a person."""

    role: Role
    name: str
    # The team that it is, if it is known here.
    team_id: str = ""


class Provider(IntEnum):
    """Whose ids a release is known by elsewhere."""

    MAL = 1
    ANILIST = 2
    ANIDB = 3
    SHIKIMORI = 4
    KODIK = 5
    TMDB = 6
    IMDB = 7
    BANGUMI = 8
    KITSU = 9
    KINOPOISK = 10


@dataclass(frozen=True, slots=True)
class ExternalId:
    """A release's id elsewhere."""

    provider: Provider
    external_id: str


@dataclass(frozen=True, slots=True)
class RightsBlock:
    """A rights holder's wish that a release is not shown: in these countries, or nowhere when none is named."""

    holder: str
    reason: str
    countries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trailer:
    """A trailer, to be watched elsewhere."""

    title: str
    url: str


class ThemePlace(IntEnum):
    """Where a theme song is heard."""

    OPENING = 1
    ENDING = 2
    INSERT = 3


@dataclass(frozen=True, slots=True)
class ThemeSong:
    """A song that belongs to a release."""

    place: ThemePlace
    title: str
    artist: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """A release's place in its franchise."""

    franchise_id: str
    name: str
    position: int


@dataclass(frozen=True, slots=True)
class WeeklySlot:
    """A time of the week in the broadcaster's zone; weekday 1 is Monday."""

    weekday: int
    minute: int
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One title of the catalog."""

    release_id: str
    alias: str
    titles: tuple[Title, ...]
    synopsis: str = ""
    kind: Kind
    status: Status
    season: Season | None = None
    year: int | None = None
    age_rating: int
    genres: tuple[Genre, ...] = ()
    franchise: Membership | None = None
    planned_episode_count: int = 0
    episode_count: int = 0
    weekly_slot: WeeklySlot | None = None
    blocked_countries: tuple[str, ...] = ()
    synonyms: tuple[Title, ...] = ()
    tags: tuple[Tag, ...] = ()
    studios: tuple[str, ...] = ()
    credits: tuple[Credit, ...] = ()
    rating: float = 0.0
    popularity: int = 0
    premiere_time: datetime | None = None
    in_production: bool = False
    external_ids: tuple[ExternalId, ...] = ()
    rights_blocks: tuple[RightsBlock, ...] = ()
    trailers: tuple[Trailer, ...] = ()
    theme_songs: tuple[ThemeSong, ...] = ()
    publication: Publication = Publication.DRAFT
    version: int = 1
    create_time: datetime
    update_time: datetime
    publish_time: datetime | None = None

    @property
    def terms(self) -> Terms:
        blocked, held = frozenset(self.blocked_countries), frozenset(self.held_countries)
        return Terms(self.publication, self.age_rating, blocked, held, self.release_id)

    @property
    def held_countries(self) -> tuple[str, ...]:
        """Return where rights holders do not let it be shown."""
        named = (block.countries or (EVERYWHERE,) for block in self.rights_blocks)
        return tuple(sorted({country for countries in named for country in countries}))

    @property
    def voice_teams(self) -> tuple[str, ...]:
        return tuple(sorted({credit.name for credit in self.credits if credit.role is Role.VOICING}))

    @property
    def list_time(self) -> datetime:
        """Return what lists order it by: its publication, or its creation while it is a draft."""
        return self.publish_time or self.create_time

    def check(self) -> None:
        """Refuse what no release may be, whoever made it."""
        if UUID_SHAPE.match(self.alias):
            raise AliasLooksLikeId(alias=self.alias)
        if len({title.language for title in self.titles}) != len(self.titles):
            raise TitleLanguageRepeated(field="release.titles")
        if len({genre.genre_id for genre in self.genres}) != len(self.genres):
            raise GenreRepeated(field="release.genres")
        if len({tag.tag_id for tag in self.tags}) != len(self.tags):
            raise TagRepeated(field="release.tags")
        if len({one.provider for one in self.external_ids}) != len(self.external_ids):
            raise ProviderRepeated(field="release.external_ids")
        if self.weekly_slot:
            zone(self.weekly_slot.zone, field="release.weekly_slot.zone")


WRITABLE = frozenset(
    {
        "alias", "titles", "synopsis", "kind", "status", "season", "year", "age_rating", "genres",
        "planned_episode_count", "weekly_slot", "blocked_countries", "publication", "synonyms", "tags", "studios", "credits",
        "rating", "popularity", "premiere_time", "in_production", "external_ids", "rights_blocks", "trailers", "theme_songs",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the change feed: transaction and number within it, since commits do not follow numbers."""

    transaction: int
    number: int


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the change feed, with the release as it is now, or None when it is deleted."""

    cursor: Cursor
    release_id: str
    time: datetime
    release: Release | None
    # Whether viewers could ever see it.
    was_published: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCreated(Event):
    """A release was created, perhaps as a draft."""

    release_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseUpdated(Event):
    """A release was changed."""

    release_id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePublished(Event):
    """A release was opened to viewers for the first time."""

    release_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDeleted(Event):
    """A release was deleted."""

    release_id: str


class ReleaseNotFound(NotFound):
    """Raised when no release that the viewer may see has this id or alias."""

    text = "There is no release {release}."


class AliasTaken(AlreadyExists):
    """Raised when another release has this alias."""

    text = "The alias {alias} belongs to another release."


class AliasLooksLikeId(InvalidArgument):
    """Raised when an alias has the shape of an id, which would make lookups ambiguous."""

    text = "The alias {alias} has the shape of an id."


class TitleLanguageRepeated(InvalidArgument):
    """Raised when two titles of a release are in one language."""

    text = "A release has at most one title in each language."


class GenreRepeated(InvalidArgument):
    """Raised when a release names a genre twice."""

    text = "A release carries each genre once."


class GenreUnknown(InvalidArgument):
    """Raised when a release is to carry genres that do not exist."""

    text = "There is no genre {genres}."


class TagRepeated(InvalidArgument):
    """Raised when a release names a tag twice."""

    text = "A release carries each tag once."


class TagUnknown(InvalidArgument):
    """Raised when a release is to carry tags that do not exist."""

    text = "There is no tag {tags}."


class ProviderRepeated(InvalidArgument):
    """Raised when a release names two ids of one provider."""

    text = "A release has at most one id of each provider."


class ExternalIdTaken(AlreadyExists):
    """Raised when another release has this id elsewhere."""

    text = "The external id {provider} {external_id} belongs to another release."


class CatalogEmpty(NotFound):
    """Raised when there is no release that the viewer may see."""

    text = "There is no release to be shown."


class ReleaseBlocked(PermissionDenied):
    """Raised when a release is published, but not to be shown where the viewer is."""

    text = "The release {release} is not available in {country}: {reason}."


class FranchiseNotFound(NotFound):
    """Raised when no franchise has this id."""

    text = "There is no franchise {franchise}."


class CursorInvalid(InvalidArgument):
    """Raised when a change feed is to go on from something that is not a cursor of it."""

    text = "The cursor is not one of this feed."
