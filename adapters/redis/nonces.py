"""What all processes remember of signed calls, kept in Valkey for as long as such a call would be good."""

from __future__ import annotations

from adapters.redis import Valkey, ValkeyDown

KEY = "nonce:{key_id}:{nonce}"


class ValkeyNonces:
    """Remembers nonces; out of reach it answers None."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    async def first(self, key_id: str, nonce: str, *, seconds: int) -> bool | None:
        try:
            reply = await self._valkey.run("SET", KEY.format(key_id=key_id, nonce=nonce), 1, "NX", "EX", seconds)
        except ValkeyDown:
            return None
        return reply is not None
