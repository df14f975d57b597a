"""SessionService: reads the request, asks the domain, renders the answer."""

from __future__ import annotations

from ani.accounts.v1 import session_service_pb2 as pb
from domain.accounts.sessions import Sessions
from server.accounts.mapping import device_from_pb, session_to_pb, tokens_to_pb
from server.pipeline.call import Call


class SessionServicer:
    """Serves those who are signed in."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def RefreshTokens(self, request: pb.RefreshTokensRequest, call: Call) -> pb.RefreshTokensResponse:
        device = device_from_pb(request.device, call)
        tokens = await self._sessions.refresh(request.refresh_token, device=device, at=call.now)
        return pb.RefreshTokensResponse(tokens=tokens_to_pb(tokens))

    async def SignOut(self, _request: pb.SignOutRequest, call: Call) -> pb.SignOutResponse:
        await self._sessions.sign_out(viewer=call.viewer, at=call.now)
        return pb.SignOutResponse()

    async def ListSessions(self, _request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        sessions = await self._sessions.list_sessions(viewer=call.viewer, at=call.now)
        current = call.viewer.session_id
        return pb.ListSessionsResponse(sessions=[session_to_pb(session, current=current) for session in sessions])

    async def RevokeSession(self, request: pb.RevokeSessionRequest, call: Call) -> pb.RevokeSessionResponse:
        await self._sessions.revoke_session(request.session_id, viewer=call.viewer, at=call.now)
        return pb.RevokeSessionResponse()

    async def RevokeSessions(self, request: pb.RevokeSessionsRequest, call: Call) -> pb.RevokeSessionsResponse:
        count = await self._sessions.revoke_sessions(keep_this=request.keep_this, viewer=call.viewer, at=call.now)
        return pb.RevokeSessionsResponse(revoked_count=count)
