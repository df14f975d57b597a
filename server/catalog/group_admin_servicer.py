"""TaxonomyAdminService and FranchiseAdminService: read the request, have the edit made, render the answer."""

from __future__ import annotations

from ani.catalog.v1 import franchise_admin_service_pb2 as parts_pb
from ani.catalog.v1 import taxonomy_admin_service_pb2 as pb
from domain.catalog.kinds import FRANCHISE, GENRE, TAG
from domain.editing.model import Author
from domain.editing.service import Editing
from server.catalog.group_mapping import (
    franchise_changes_from_pb,
    franchise_from_pb,
    franchise_to_pb,
    genre_entry_from_pb,
    genre_entry_to_pb,
    name_change_from_pb,
    tag_entry_from_pb,
    tag_entry_to_pb,
)
from server.catalog.mapping import mask_to_pb
from server.pipeline.call import Call


class TaxonomyAdminServicer:
    """Serves editors of genres and tags."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def CreateGenre(self, request: pb.CreateGenreRequest, call: Call) -> pb.CreateGenreResponse:
        draft = genre_entry_from_pb(request.genre, at=call.now)
        author = Author(call.viewer.account_id, request.note)
        genre, effects = await self._editing.create(GENRE, draft, author=author, validate_only=request.validate_only)
        return pb.CreateGenreResponse(genre=genre_entry_to_pb(genre), side_effects=effects)

    async def UpdateGenre(self, request: pb.UpdateGenreRequest, call: Call) -> pb.UpdateGenreResponse:
        genre, fields, effects = await self._editing.update(
            GENRE,
            request.genre.genre_id,
            name_change_from_pb(request.genre, request.update_mask),
            version=request.genre.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.UpdateGenreResponse(genre=genre_entry_to_pb(genre), changed_fields=mask_to_pb(fields), side_effects=effects)

    async def DeleteGenre(self, request: pb.DeleteGenreRequest, call: Call) -> pb.DeleteGenreResponse:
        effects = await self._editing.delete(
            GENRE,
            request.genre_id,
            version=request.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.DeleteGenreResponse(side_effects=effects)

    async def CreateTag(self, request: pb.CreateTagRequest, call: Call) -> pb.CreateTagResponse:
        draft = tag_entry_from_pb(request.tag, at=call.now)
        author = Author(call.viewer.account_id, request.note)
        tag, effects = await self._editing.create(TAG, draft, author=author, validate_only=request.validate_only)
        return pb.CreateTagResponse(tag=tag_entry_to_pb(tag), side_effects=effects)

    async def UpdateTag(self, request: pb.UpdateTagRequest, call: Call) -> pb.UpdateTagResponse:
        tag, fields, effects = await self._editing.update(
            TAG,
            request.tag.tag_id,
            name_change_from_pb(request.tag, request.update_mask),
            version=request.tag.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.UpdateTagResponse(tag=tag_entry_to_pb(tag), changed_fields=mask_to_pb(fields), side_effects=effects)

    async def DeleteTag(self, request: pb.DeleteTagRequest, call: Call) -> pb.DeleteTagResponse:
        effects = await self._editing.delete(
            TAG,
            request.tag_id,
            version=request.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.DeleteTagResponse(side_effects=effects)


class FranchiseAdminServicer:
    """Serves editors of franchises."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def CreateFranchise(self, request: parts_pb.CreateFranchiseRequest, call: Call) -> parts_pb.CreateFranchiseResponse:
        draft = franchise_from_pb(request.franchise, at=call.now)
        author = Author(call.viewer.account_id, request.note)
        franchise, effects = await self._editing.create(FRANCHISE, draft, author=author, validate_only=request.validate_only)
        return parts_pb.CreateFranchiseResponse(franchise=franchise_to_pb(franchise), side_effects=effects)

    async def UpdateFranchise(self, request: parts_pb.UpdateFranchiseRequest, call: Call) -> parts_pb.UpdateFranchiseResponse:
        franchise, fields, effects = await self._editing.update(
            FRANCHISE,
            request.franchise.franchise_id,
            franchise_changes_from_pb(request.franchise, request.update_mask),
            version=request.franchise.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return parts_pb.UpdateFranchiseResponse(
            franchise=franchise_to_pb(franchise), changed_fields=mask_to_pb(fields), side_effects=effects
        )

    async def DeleteFranchise(self, request: parts_pb.DeleteFranchiseRequest, call: Call) -> parts_pb.DeleteFranchiseResponse:
        effects = await self._editing.delete(
            FRANCHISE,
            request.franchise_id,
            version=request.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return parts_pb.DeleteFranchiseResponse(side_effects=effects)
