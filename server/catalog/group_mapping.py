"""Where genres, tags, franchises and the values of filters meet their messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from ani.catalog.v1 import browsing_service_pb2 as browsing_pb
from ani.catalog.v1 import franchise_pb2, genre_pb2, release_pb2, tag_pb2
from domain.catalog.filters import Value
from domain.catalog.franchises import FRANCHISE_FIELDS, GROUP_FIELDS, Franchise, GenreEntry, TagEntry
from domain.catalog.model import Kind, Season, Status, Tag
from domain.catalog.redirects import MappedEpisode
from domain.catalog.service import FranchiseView
from domain.kernel import new_id
from server.catalog.mapping import AGE_RATINGS, FieldNotWritable, release_to_pb

# Values that the database counts by number, and how requests name them.
NAMES: dict[str, Any] = {
    "kind": release_pb2.ReleaseKind.Name,
    "status": release_pb2.ReleaseStatus.Name,
    "season": release_pb2.Season.Name,
    "age_rating": lambda number: release_pb2.AgeRating.Name(AGE_RATINGS[number]),
}
LABELS: dict[str, Any] = {
    "kind": lambda number: Kind(number).name if Kind(number) in {Kind.TV, Kind.OVA, Kind.ONA} else Kind(number).name.capitalize(),
    "status": lambda number: Status(number).name.capitalize(),
    "season": lambda number: Season(number).name.capitalize(),
    "age_rating": lambda number: f"{number}+",
}


def mapped_episode_to_pb(mapped: MappedEpisode) -> browsing_pb.MapEpisodeResponse:
    return browsing_pb.MapEpisodeResponse(
        external_ids=[{"provider": one.provider, "external_id": one.external_id} for one in mapped.external_ids],  # type: ignore[misc]
        episode_number=mapped.number,
        redirected=mapped.redirected,
        release=release_to_pb(mapped.release) if mapped.release else None,
    )


def tag_to_pb(tag: Tag) -> tag_pb2.Tag:
    return tag_pb2.Tag(tag_id=tag.tag_id, name=tag.name, release_count=tag.release_count)


def genre_entry_to_pb(genre: GenreEntry) -> genre_pb2.Genre:
    return genre_pb2.Genre(genre_id=genre.genre_id, name=genre.name, version=genre.version)


def genre_entry_from_pb(message: genre_pb2.Genre, *, at: datetime) -> GenreEntry:
    return GenreEntry(genre_id=message.genre_id, name=message.name or message.genre_id, create_time=at, update_time=at)


def tag_entry_to_pb(tag: TagEntry) -> tag_pb2.Tag:
    return tag_pb2.Tag(tag_id=tag.tag_id, name=tag.name, version=tag.version)


def tag_entry_from_pb(message: tag_pb2.Tag, *, at: datetime) -> TagEntry:
    return TagEntry(tag_id=message.tag_id, name=message.name or message.tag_id, create_time=at, update_time=at)


def name_change_from_pb(message: genre_pb2.Genre | tag_pb2.Tag, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises FieldNotWritable."""
    for path in mask.paths:
        if path not in GROUP_FIELDS:
            raise FieldNotWritable(path=path, field="update_mask")
    key = message.genre_id if isinstance(message, genre_pb2.Genre) else message.tag_id
    return {"name": message.name or key} if mask.paths else {}


def franchise_to_pb(franchise: Franchise) -> franchise_pb2.Franchise:
    return franchise_pb2.Franchise(
        franchise_id=franchise.franchise_id,
        name=franchise.name,
        parent_franchise_id=franchise.parent_franchise_id or "",
        release_ids=franchise.release_ids,
        version=franchise.version,
    )


def franchise_view_to_pb(view: FranchiseView) -> franchise_pb2.Franchise:
    """Render a franchise as viewers see it: members that they may not see are not mentioned."""
    message = franchise_to_pb(view.franchise)
    message.release_ids[:] = [release.release_id for release in view.members]
    message.releases.extend(map(release_to_pb, view.members))
    sums = view.totals
    message.totals.CopyFrom(
        franchise_pb2.FranchiseTotals(
            release_count=sums.release_count,
            episode_count=sums.episode_count,
            duration_seconds=sums.duration_seconds,
            first_year=sums.first_year or 0,
            last_year=sums.last_year or 0,
        )
    )
    return message


def franchise_from_pb(message: franchise_pb2.Franchise, *, at: datetime) -> Franchise:
    facts = {name: _franchise_field(message, name) for name in FRANCHISE_FIELDS}
    return Franchise(franchise_id=message.franchise_id or new_id(at=at), create_time=at, update_time=at, **facts)


def franchise_changes_from_pb(message: franchise_pb2.Franchise, mask: FieldMask) -> dict[str, Any]:
    """Return the values of the fields that a mask names. Raises FieldNotWritable."""
    for path in mask.paths:
        if path not in FRANCHISE_FIELDS:
            raise FieldNotWritable(path=path, field="update_mask")
    return {path: _franchise_field(message, path) for path in mask.paths}


def _franchise_field(message: franchise_pb2.Franchise, name: str) -> Any:
    if name == "release_ids":
        return tuple(message.release_ids)
    return getattr(message, name) or None


def filter_values_to_pb(field: str, values: list[Value]) -> browsing_pb.FilterValues:
    def render(value: Value) -> browsing_pb.FilterValue:
        if field not in NAMES:
            return browsing_pb.FilterValue(value=value.value, label=value.label, release_count=value.release_count)
        number = int(value.value)
        return browsing_pb.FilterValue(value=NAMES[field](number), label=LABELS[field](number), release_count=value.release_count)

    return browsing_pb.FilterValues(filter=field, values=map(render, values))
