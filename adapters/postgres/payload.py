"""Events as JSON: what an older release wrote must be readable, and what a newer one adds is left aside."""

from __future__ import annotations

import dataclasses
import types
import typing
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from domain.kernel import Event

E = TypeVar("E", bound=Event)


def to_payload(event: Event) -> dict[str, Any]:
    return {field.name: _plain(getattr(event, field.name)) for field in dataclasses.fields(event)}


def from_payload(kind: type[E], payload: dict[str, Any]) -> E:
    """Raises TypeError when a field without a default is missing."""
    known = typing.get_type_hints(kind)
    return kind(**{name: _typed(known[name], value) for name, value in payload.items() if name in known})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"an event holds plain values, tuples of them and times, not {value!r}")


def _typed(kind: Any, value: Any) -> Any:
    """Return a value of JSON as its field's type wants it."""
    if value is None:
        return None
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        (kind,) = (one for one in typing.get_args(kind) if one is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        return tuple(_typed(typing.get_args(kind)[0], item) for item in value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    return kind(value)
