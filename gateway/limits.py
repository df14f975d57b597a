"""Validation rules as JSON Schema, and in words where JSON Schema has none for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from buf.validate import validate_pb2

Schema = dict[str, Any]
FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uri_ref": "uri-reference",
    "uuid": "uuid",
}
LENGTHS = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
BOUNDS = {"gte": "minimum", "lte": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
BOUND_WORDS = {"gte": "At least", "lte": "At most", "gt": "More than", "lt": "Less than"}
COUNTS = {"min_items": "minItems", "max_items": "maxItems", "min_pairs": "minProperties", "max_pairs": "maxProperties"}
TEXT_NUMBERS = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


def limits(field: FieldDescriptor, rules: validate_pb2.FieldRules, *, single: bool = False) -> Schema:
    """Return what a field's rules say; of a repeated field the list's, unless a single element is meant."""
    kind = rules.WhichOneof("type")
    schema: Schema = {}
    notes = [rule.message for rule in rules.cel if rule.message]
    if kind is not None:
        found = getattr(rules, kind)
        if kind in {"repeated", "map"}:
            schema |= {} if single else _list(found)
        elif kind == "string":
            schema |= _text(found)
        elif kind == "bytes":
            notes += _in_words(found, ("min_len", "max_len"), "bytes")
        elif kind in {"duration", "timestamp"}:
            notes += _in_words(found, tuple(BOUNDS), "")
        elif kind not in {"bool", "enum", "any", "field_mask"}:
            schema |= {} if field.cpp_type in TEXT_NUMBERS else _number(found)
            notes += _in_words(found, tuple(BOUNDS), "") if field.cpp_type in TEXT_NUMBERS else []
    if notes:
        schema["description"] = " ".join(notes)
    if schema and rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE and not field.has_presence:
        return _unless_empty(schema)
    return schema


def demanded(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> bool:
    """Return whether a message without the field is refused."""
    if rules.required:
        return True
    if field.has_presence or rules.ignore != validate_pb2.IGNORE_UNSPECIFIED:
        return False
    text, number = rules.string, rules.WhichOneof("type")
    bounds = (
        getattr(rules, number)
        if number and hasattr(getattr(rules, number), "gte") and number not in {"duration", "timestamp"}
        else None
    )
    return bool(
        text.min_len
        or text.len
        or text.uuid
        or text.email
        or text.uri
        or (text.pattern and not re.search(text.pattern, ""))
        or rules.repeated.min_items
        or rules.map.min_pairs
        or 0 in rules.enum.not_in
        or (bounds is not None and (bounds.gte > 0 or (bounds.HasField("gt") and bounds.gt >= 0)))
    )


def _text(rules: Any) -> Schema:
    schema: Schema = {name: getattr(rules, rule) for rule, name in LENGTHS.items() if rules.HasField(rule)}
    if rules.HasField("len"):
        schema |= {"minLength": rules.len, "maxLength": rules.len}
    if rules.HasField("const"):
        schema["const"] = rules.const
    known = getattr(rules, "in")
    if known:
        schema["enum"] = list(known)
    named = rules.WhichOneof("well_known")
    if named in FORMATS:
        schema["format"] = FORMATS[named]
    return schema


def _number(rules: Any) -> Schema:
    schema = {name: getattr(rules, rule) for rule, name in BOUNDS.items() if rules.HasField(rule)}
    if rules.HasField("const"):
        schema["const"] = rules.const
    if known := list(getattr(rules, "in")):
        schema["enum"] = known
    return schema


def _list(rules: Any) -> Schema:
    known = {field.name for field in rules.DESCRIPTOR.fields}
    schema: Schema = {name: getattr(rules, rule) for rule, name in COUNTS.items() if rule in known and rules.HasField(rule)}
    if "unique" in known and rules.unique:
        schema["uniqueItems"] = True
    return schema


def _in_words(rules: Any, names: tuple[str, ...], unit: str) -> Iterator[str]:
    words = BOUND_WORDS | {"min_len": "At least", "max_len": "At most"}
    for name in names:
        if rules.HasField(name):
            value = getattr(rules, name)
            shown = value.ToJsonString() if hasattr(value, "ToJsonString") else value
            yield f"{words[name]} {shown}{f' {unit}' if unit else ''}."


def _unless_empty(schema: Schema) -> Schema:
    """Allow the zero value besides what the rules allow."""
    description = {"description": schema.pop("description")} if "description" in schema else {}
    zero = 0 if {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} & schema.keys() else ""
    return description | ({"anyOf": [{"const": zero}, schema]} if schema else {})
