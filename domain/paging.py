"""Page tokens: the place after which a list goes on, opaque and bound to the list it came from."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from domain.kernel import InvalidArgument

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MARK_BYTES = 6


class PageTokenInvalid(InvalidArgument):
    """Raised when a page token is not one that this list gave out for these filters."""

    text = "The page token does not belong to this list and these filters."


def page_token(at: datetime, item_id: str, *, binding: str) -> str:
    """Return the token of the page that follows an item."""
    return place_token((at - EPOCH) // timedelta(microseconds=1), item_id, binding=binding)


def page_place(token: str, *, binding: str) -> tuple[datetime, str] | None:
    """Return the place that a token names, None for the first page. Raises PageTokenInvalid."""
    values = place_values(token, binding=binding)
    if values is None:
        return None
    try:
        microseconds, item_id = values
        return EPOCH + timedelta(microseconds=microseconds), valid_id(item_id)
    except (ValueError, TypeError, OverflowError) as fault:
        raise PageTokenInvalid(field="page_token") from fault


def place_token(*values: str | float, binding: str) -> str:
    """Return a token of any values by which a list is ordered."""
    place = json.dumps(values, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mark(place, binding) + place).decode().rstrip("=")


def place_values(token: str, *, binding: str) -> list[Any] | None:
    """Return the values of a token, None for the first page. Raises PageTokenInvalid."""
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        mark, place = raw[:MARK_BYTES], raw[MARK_BYTES:]
        if mark != _mark(place, binding):
            raise PageTokenInvalid(field="page_token")
        values = json.loads(place)
    except (binascii.Error, ValueError) as fault:
        raise PageTokenInvalid(field="page_token") from fault
    if not isinstance(values, list) or not values:
        raise PageTokenInvalid(field="page_token")
    return values


def whole_place(token: str, *, binding: str, below: int) -> int | None:
    """Return the number of a token by which a list is ordered, None for the first page. Raises PageTokenInvalid."""
    values = place_values(token, binding=binding)
    if values is None:
        return None
    if len(values) != 1 or type(values[0]) is not int or not 0 <= values[0] < below:
        raise PageTokenInvalid(field="page_token")
    return values[0]


def valid_id(value: object) -> str:
    """Return an id that a token holds. Raises PageTokenInvalid."""
    try:
        return str(UUID(str(value)))
    except ValueError as fault:
        raise PageTokenInvalid(field="page_token") from fault


def _mark(place: bytes, binding: str) -> bytes:
    """Tie a place to its list. It guards against mix-ups, not against forgery: a token grants nothing."""
    return hashlib.sha256(binding.encode() + b"\0" + place).digest()[:MARK_BYTES]
