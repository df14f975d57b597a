"""IssuerLinksService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from ani.accounts.v1 import issuer_links_service_pb2 as pb
from domain.accounts.issuers import IssuerLink, IssuerLinks
from server.accounts.mapping import stamped
from server.pipeline.call import Call


class IssuerLinksServicer:
    """Serves those who sign in with accounts elsewhere."""

    def __init__(self, links: IssuerLinks) -> None:
        self._links = links

    async def ListIssuers(self, request: pb.ListIssuersRequest, call: Call) -> pb.ListIssuersResponse:
        return pb.ListIssuersResponse(issuers=self._links.list_issuers())

    async def ListIssuerLinks(self, request: pb.ListIssuerLinksRequest, call: Call) -> pb.ListIssuerLinksResponse:
        links = await self._links.list_issuer_links(viewer=call.viewer)
        return pb.ListIssuerLinksResponse(issuer_links=[_to_pb(link) for link in links])

    async def BeginIssuerLink(self, request: pb.BeginIssuerLinkRequest, call: Call) -> pb.BeginIssuerLinkResponse:
        setup, url = await self._links.begin_issuer_link(request.issuer, viewer=call.viewer, at=call.now)
        return pb.BeginIssuerLinkResponse(setup=setup, authorization_url=url)

    async def CreateIssuerLink(self, request: pb.CreateIssuerLinkRequest, call: Call) -> pb.CreateIssuerLinkResponse:
        link = await self._links.create_issuer_link(request.setup, request.answer, viewer=call.viewer, at=call.now)
        return pb.CreateIssuerLinkResponse(issuer_link=_to_pb(link))

    async def DeleteIssuerLink(self, request: pb.DeleteIssuerLinkRequest, call: Call) -> pb.DeleteIssuerLinkResponse:
        await self._links.delete_issuer_link(request.issuer, viewer=call.viewer, at=call.now)
        return pb.DeleteIssuerLinkResponse()


def _to_pb(link: IssuerLink) -> pb.IssuerLink:
    return stamped(pb.IssuerLink(issuer=link.issuer, email=link.email), link, "create_time", "use_time")
