"""TokenKeyService: the public keys of access tokens."""

from __future__ import annotations

import json
from collections.abc import Callable

from google.api import httpbody_pb2

from ani.accounts.v1 import token_key_service_pb2 as pb
from server.pipeline.call import Call

KEY_SET_TYPE = "application/jwk-set+json"


class TokenKeyServicer:
    """Serves whoever verifies access tokens by themselves."""

    def __init__(self, key_set: Callable[[], dict[str, list[dict[str, str]]]]) -> None:
        self._key_set = key_set

    async def GetTokenKeySet(self, request: pb.GetTokenKeySetRequest, call: Call) -> pb.GetTokenKeySetResponse:
        data = json.dumps(self._key_set(), separators=(",", ":")).encode()
        return pb.GetTokenKeySetResponse(key_set=httpbody_pb2.HttpBody(content_type=KEY_SET_TYPE, data=data))
