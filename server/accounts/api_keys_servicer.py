"""ApiKeysService: read the request, ask the domain, render the answer."""

from __future__ import annotations

from datetime import UTC

from ani.accounts.v1 import api_key_pb2
from ani.accounts.v1 import api_keys_service_pb2 as pb
from domain.accounts.api_keys import ApiKey, ApiKeys
from server.accounts.mapping import stamped
from server.pipeline.call import Call


class ApiKeysServicer:
    """Serves staff who let tools call for them."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, call: Call) -> pb.CreateApiKeyResponse:
        asked = request.api_key
        expires = asked.expire_time.ToDatetime(UTC)
        key, shown = await self._keys.create_api_key(
            asked.name, frozenset(asked.scopes), expires, signed=asked.signed, viewer=call.viewer, at=call.now
        )
        call.changed({}, {"key_id": key.key_id, "hint": key.hint})
        return pb.CreateApiKeyResponse(api_key=_key_to_pb(key), key=shown.key, signing_secret=shown.signing_secret)

    async def ListApiKeys(self, _request: pb.ListApiKeysRequest, call: Call) -> pb.ListApiKeysResponse:
        found = await self._keys.list_api_keys(viewer=call.viewer, at=call.now)
        return pb.ListApiKeysResponse(api_keys=map(_key_to_pb, found))

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, call: Call) -> pb.RevokeApiKeyResponse:
        await self._keys.revoke_api_key(request.key_id, viewer=call.viewer, at=call.now)
        return pb.RevokeApiKeyResponse()


def _key_to_pb(key: ApiKey) -> api_key_pb2.ApiKey:
    message = api_key_pb2.ApiKey(
        key_id=key.key_id,
        name=key.name,
        hint=key.hint,
        scopes=sorted(key.scopes),
        signed=key.sealed_secret is not None,
    )
    return stamped(message, key, "create_time", "expire_time", "use_time", "revoke_time")
