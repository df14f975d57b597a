"""Keeps secrets out of what is logged: by the name of a field, by what a text looks like, and by the contract's debug_redact."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

REDACTED = "[redacted]"
SECRET_NAME = re.compile(r"authorization|cookie|passw|secret|credential|api[_-]?key|token", re.IGNORECASE)
_TEXTS = (
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), REDACTED),
    (re.compile(r"\bani_(?:key|sign)_[0-9A-Za-z]{8,}"), REDACTED),
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{REDACTED}@"),
    (
        re.compile(
            r"""\b((?:\w*_)?(?:password|passwd|secret|token|api_?key|cookie)["']?\s*[=:]\s*["']?)[^\s"',;&)]+""", re.IGNORECASE
        ),
        rf"\1{REDACTED}",
    ),
)


def redacted_text(text: str) -> str:
    """Blank what looks like a secret in a text."""
    for pattern, instead in _TEXTS:
        text = pattern.sub(instead, text)
    return text


def redacted_fields(value: Any) -> Any:
    """Blank what is secret by its name, at any depth, and what looks like a secret."""
    if isinstance(value, Mapping):
        return {str(k): REDACTED if SECRET_NAME.search(str(k)) else redacted_fields(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted_fields(one) for one in value]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return redacted_text(str(value))


def redacted(message: Message) -> dict[str, Any]:
    """Return a message as JSON values, with the fields blanked that the contract marks debug_redact."""
    descriptor: Any = message.DESCRIPTOR
    try:
        values: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    except (TypeError, ValueError, json_format.Error):
        return {"@type": descriptor.full_name}  # it holds a message of a type that is not known here
    _blank(values, descriptor)
    return values


def _blank(values: Any, descriptor: Descriptor) -> None:
    if not isinstance(values, dict):
        return  # a well-known type that is no object in JSON, such as a timestamp
    if descriptor.full_name == "google.protobuf.Any":
        _blank_any(values)
    elif _holds_secrets(descriptor):
        for field in descriptor.fields:
            if field.name in values:
                _blank_field(values, field)


def _blank_field(values: dict[str, Any], field: FieldDescriptor) -> None:
    if field.GetOptions().debug_redact:
        values[field.name] = REDACTED
        return
    inner = field.message_type
    if inner is None:
        return
    value = values[field.name]
    if inner.GetOptions().map_entry:
        element = inner.fields_by_name["value"].message_type
        if element is not None:
            for one in value.values():
                _blank(one, element)
    else:
        for one in value if isinstance(value, list) else (value,):
            _blank(one, inner)


def _blank_any(values: dict[str, Any]) -> None:
    name = str(values.get("@type", "")).rpartition("/")[2]
    try:
        packed = descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        values.clear()  # what cannot be known cannot be shown
    else:
        _blank(values.get("value") if "value" in values and not packed.fields else values, packed)


@cache
def _holds_secrets(descriptor: Descriptor) -> bool:
    """Return whether a message has fields to blank, at any depth."""
    seen, ahead = set(), [descriptor]
    while ahead:
        one = ahead.pop()
        if one.full_name in seen:
            continue
        seen.add(one.full_name)
        if one.full_name == "google.protobuf.Any" or any(field.GetOptions().debug_redact for field in one.fields):
            return True
        ahead += [field.message_type for field in one.fields if field.message_type is not None]
    return False
