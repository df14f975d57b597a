"""EpisodeService and EpisodeAdminService: they read the request, ask the domain, render the answer."""

from __future__ import annotations

from ani.catalog.v1 import episode_admin_service_pb2 as admin_pb
from ani.catalog.v1 import episode_service_pb2 as pb
from domain.catalog.episodes import EPISODE, Episodes
from domain.editing.model import Author
from domain.editing.service import Editing
from domain.kernel import Page
from server.catalog.episode_mapping import CALLED, episode_changes_from_pb, episode_from_pb, episode_to_pb
from server.catalog.mapping import mask_to_pb
from server.pipeline.call import Call


class EpisodeServicer:
    """Serves episodes."""

    def __init__(self, episodes: Episodes) -> None:
        self._episodes = episodes

    async def GetEpisode(self, request: pb.GetEpisodeRequest, call: Call) -> pb.GetEpisodeResponse:
        episode = await self._episodes.get_episode(request.episode_id, viewer=call.viewer)
        return pb.GetEpisodeResponse(episode=episode_to_pb(episode))

    async def BatchGetEpisodes(self, request: pb.BatchGetEpisodesRequest, call: Call) -> pb.BatchGetEpisodesResponse:
        found, missing = await self._episodes.batch_get_episodes(request.episode_ids, viewer=call.viewer)
        return pb.BatchGetEpisodesResponse(episodes=map(episode_to_pb, found), missing_episode_ids=missing)

    async def ListEpisodes(self, request: pb.ListEpisodesRequest, call: Call) -> pb.ListEpisodesResponse:
        page = Page(request.page_size, request.page_token)
        release_id, episodes, following = await self._episodes.list_episodes(request.release, page, viewer=call.viewer)
        return pb.ListEpisodesResponse(episodes=map(episode_to_pb, episodes), next_page_token=following, release_id=release_id)


class EpisodeAdminServicer:
    """Serves editors of episodes."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def CreateEpisode(self, request: admin_pb.CreateEpisodeRequest, call: Call) -> admin_pb.CreateEpisodeResponse:
        draft = episode_from_pb(request.episode, at=call.now)
        author = Author(call.viewer.account_id, request.note)
        episode, effects = await self._editing.create(EPISODE, draft, author=author, validate_only=request.validate_only)
        return admin_pb.CreateEpisodeResponse(episode=episode_to_pb(episode), side_effects=effects)

    async def UpdateEpisode(self, request: admin_pb.UpdateEpisodeRequest, call: Call) -> admin_pb.UpdateEpisodeResponse:
        episode, fields, effects = await self._editing.update(
            EPISODE,
            request.episode.episode_id,
            episode_changes_from_pb(request.episode, request.update_mask),
            version=request.episode.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        changed = mask_to_pb(CALLED.get(field, field) for field in fields)
        return admin_pb.UpdateEpisodeResponse(episode=episode_to_pb(episode), changed_fields=changed, side_effects=effects)

    async def DeleteEpisode(self, request: admin_pb.DeleteEpisodeRequest, call: Call) -> admin_pb.DeleteEpisodeResponse:
        effects = await self._editing.delete(
            EPISODE,
            request.episode_id,
            version=request.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return admin_pb.DeleteEpisodeResponse(side_effects=effects)
