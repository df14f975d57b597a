"""BrowsingService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from ani.catalog.v1 import browsing_service_pb2 as pb
from domain.catalog.model import ExternalId, Provider
from domain.catalog.service import Catalog
from domain.kernel import Page
from server.catalog.group_mapping import filter_values_to_pb, franchise_to_pb, franchise_view_to_pb, mapped_episode_to_pb, tag_to_pb
from server.catalog.mapping import release_to_pb
from server.pipeline.call import Call


class BrowsingServicer:
    """Serves ways into the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def LookupRelease(self, request: pb.LookupReleaseRequest, call: Call) -> pb.LookupReleaseResponse:
        release = await self._catalog.lookup_release(Provider(request.provider), request.external_id, viewer=call.viewer)
        return pb.LookupReleaseResponse(release=release_to_pb(release))

    async def MapEpisode(self, request: pb.MapEpisodeRequest, call: Call) -> pb.MapEpisodeResponse:
        known_as = ExternalId(Provider(request.provider), request.external_id)
        return mapped_episode_to_pb(await self._catalog.map_episode(known_as, request.episode_number, viewer=call.viewer))

    async def GetRandomRelease(self, request: pb.GetRandomReleaseRequest, call: Call) -> pb.GetRandomReleaseResponse:
        return pb.GetRandomReleaseResponse(release=release_to_pb(await self._catalog.get_random_release(viewer=call.viewer)))

    async def ListFilterValues(self, request: pb.ListFilterValuesRequest, call: Call) -> pb.ListFilterValuesResponse:
        found = await self._catalog.list_filter_values(viewer=call.viewer)
        return pb.ListFilterValuesResponse(filters=[filter_values_to_pb(field, values) for field, values in found.items()])

    async def ListTags(self, request: pb.ListTagsRequest, call: Call) -> pb.ListTagsResponse:
        return pb.ListTagsResponse(tags=map(tag_to_pb, await self._catalog.list_tags()))

    async def GetFranchise(self, request: pb.GetFranchiseRequest, call: Call) -> pb.GetFranchiseResponse:
        view = await self._catalog.get_franchise(request.franchise_id, viewer=call.viewer)
        return pb.GetFranchiseResponse(franchise=franchise_view_to_pb(view))

    async def ListFranchises(self, request: pb.ListFranchisesRequest, call: Call) -> pb.ListFranchisesResponse:
        franchises, following = await self._catalog.list_franchises(Page(request.page_size, request.page_token))
        return pb.ListFranchisesResponse(franchises=map(franchise_to_pb, franchises), next_page_token=following)
