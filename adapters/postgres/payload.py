"""Dataclasses as JSON: what an older release wrote must be readable, and what a newer one adds is left aside."""

from __future__ import annotations

import dataclasses
import types
import typing
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

AS_THEY_ARE = frozenset({str, int, float, bool, types.NoneType})


def to_payload(fact: Any) -> dict[str, Any]:
    return {name: plain(getattr(fact, name)) for name in _names(type(fact))}  # type: ignore[arg-type]


def from_payload(kind: type[T], payload: dict[str, Any]) -> T:
    """Raises TypeError when a field without a default is missing."""
    return kind(**typed_fields(kind, payload))


def typed_fields(kind: type[Any], payload: dict[str, Any]) -> dict[str, Any]:
    """Return those values of JSON that a dataclass has fields for, as it wants them."""
    known = _hints(kind)  # type: ignore[arg-type]
    return {name: _typed(known[name], value) for name, value in payload.items() if name in known}


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    # Most values are of these types: imports turn millions of them.
    if type(value) in AS_THEY_ARE:
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, dict)):
        return {name: plain(item) for name, item in value.items()} if isinstance(value, dict) else [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return to_payload(value)
    if isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"what is kept as JSON holds plain values, tuples and dicts of them, times and dataclasses, not {value!r}")


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


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
    if dataclasses.is_dataclass(kind):
        return from_payload(typing.cast(type[Any], kind), value)
    return kind(value)
