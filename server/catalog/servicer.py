"""CatalogService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_list_pb2 as list_pb
from domain.catalog.service import Catalog
from domain.kernel import Page
from server.catalog.mapping import (
    change_to_pb,
    feed_message_to_pb,
    filter_from_pb,
    genre_to_pb,
    rendering,
)
from server.pipeline.call import Call


class CatalogServicer:
    """Serves the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def GetRelease(self, request: pb.GetReleaseRequest, call: Call) -> pb.GetReleaseResponse:
        render = rendering(call.viewer, request.read_mask)
        return pb.GetReleaseResponse(release=render(await self._catalog.get_release(request.release, viewer=call.viewer)))

    async def BatchGetReleases(self, request: pb.BatchGetReleasesRequest, call: Call) -> pb.BatchGetReleasesResponse:
        render = rendering(call.viewer, request.read_mask)
        found, missing = await self._catalog.batch_get_releases(request.release_ids, viewer=call.viewer)
        return pb.BatchGetReleasesResponse(releases=map(render, found), missing_release_ids=missing)

    async def ListReleases(self, request: list_pb.ListReleasesRequest, call: Call) -> list_pb.ListReleasesResponse:
        render = rendering(call.viewer, request.read_mask)
        page = Page(request.page_size, request.page_token)
        releases, following = await self._catalog.list_releases(filter_from_pb(request), page, viewer=call.viewer)
        return list_pb.ListReleasesResponse(releases=map(render, releases), next_page_token=following)

    async def ListGenres(self, request: pb.ListGenresRequest, call: Call) -> pb.ListGenresResponse:
        return pb.ListGenresResponse(genres=map(genre_to_pb, await self._catalog.list_genres()))

    async def ListChanges(self, request: pb.ListChangesRequest, call: Call) -> pb.ListChangesResponse:
        size = Page(request.page_size).size
        messages, cursor, more = await self._catalog.list_changes(request.cursor, size=size, viewer=call.viewer)
        changes = [change_to_pb(message.change) for message in messages if message.change]
        return pb.ListChangesResponse(changes=changes, cursor=cursor, more=more)

    async def WatchReleases(self, request: pb.WatchReleasesRequest, call: Call) -> AsyncGenerator[pb.WatchReleasesResponse, None]:
        async with aclosing(self._catalog.watch_releases(request.cursor, viewer=call.viewer)) as feed:
            async for message in feed:
                yield feed_message_to_pb(message, at=call.clock())
