"""The contract's messages as JSON Schema: the shapes of their JSON, with comments and the limits that validation holds them to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from buf.validate import validate_pb2
from gateway.contract import comments
from gateway.limits import demanded, limits

Schema = dict[str, Any]
WHOLE_NUMBER = {"type": "string", "pattern": "^-?[0-9]+$"}
SCALARS: dict[int, Schema] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0},
    # JSON numbers lose digits beyond 2^53, so these are text; on the way in a number is taken too.
    FieldDescriptor.CPPTYPE_INT64: WHOLE_NUMBER | {"format": "int64"},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "string", "pattern": "^[0-9]+$", "format": "uint64"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
BODY = "google.api.HttpBody"
WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["1.5s"]},
    "google.protobuf.FieldMask": {
        "type": "string",
        "description": "Paths of fields, with commas between.",
        "examples": ["name,kind"],
    },
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string", "description": "Which message this is, as a URL."}},
        "required": ["@type"],
    },
}


class Schemas:
    """Makes schemas, and keeps those that others refer to."""

    def __init__(self, image: bytes) -> None:
        files = descriptor_pb2.FileDescriptorSet.FromString(image)
        self._pool = descriptor_pool.DescriptorPool()
        self._said: dict[str, str] = {}
        self.components: dict[str, Schema] = {}
        for file in files.file:
            self._pool.AddSerializedFile(file.SerializeToString())
            self._said |= dict(_named(file))

    def comment(self, full_name: str) -> str:
        """Return what the contract says above an element."""
        return self._said.get(full_name, "")

    def descriptor(self, full_name: str) -> Descriptor:
        return self._pool.FindMessageTypeByName(full_name)

    def message(self, descriptor: Descriptor, *, partial: bool = False) -> Schema:
        """Return a reference to a message's schema; in a partial one no field has to be there."""
        if descriptor.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[descriptor.full_name])
        name = descriptor.full_name + (".Partial" if partial else "")
        if name not in self.components:
            self.components[name] = {}  # already there for messages that hold themselves
            self.components[name] = self._object(descriptor, partial=partial)
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: FieldDescriptor) -> Schema:
        """Return a field's schema, with its comment and its limits."""
        schema = self._many(field) if field.is_repeated else self._one(field, rules_of(field))
        comment = self.comment(field.full_name)
        notes = [comment, schema.pop("description", "")] if "$ref" not in schema else [comment]
        if text := "\n\n".join(note for note in notes if note):
            schema["description"] = text
        if is_output_only(field):
            schema["readOnly"] = True
        return schema

    def _many(self, field: FieldDescriptor) -> Schema:
        rules = rules_of(field)
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            values = self._one(entry.fields_by_name["value"], rules.map.values)
            keys = limits(entry.fields_by_name["key"], rules.map.keys)
            return {"type": "object", "additionalProperties": values, "propertyNames": {"type": "string"} | keys} | limits(
                field, rules
            )
        return {"type": "array", "items": self._one(field, rules.repeated.items)} | limits(field, rules)

    def _one(self, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
        if field.message_type is not None:
            schema = self.message(field.message_type)
        elif field.enum_type is not None:
            return self._enum(field.enum_type) | _choices(field.enum_type, rules)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            schema = {"type": "string", "contentEncoding": "base64"}
        else:
            schema = dict(SCALARS[field.cpp_type])
        return schema | ({} if field.is_repeated and rules.HasField("repeated") else limits(field, rules, single=True))

    def _enum(self, enum: EnumDescriptor) -> Schema:
        if enum.full_name not in self.components:
            lines = [
                self.comment(enum.full_name),
                *(f"- `{v.name}`: {self.comment(_value_name(enum, v.name))}" for v in enum.values),
            ]
            names = [value.name for value in enum.values]
            self.components[enum.full_name] = {"type": "string", "enum": names, "description": "\n".join(lines)}
        return {"$ref": f"#/components/schemas/{enum.full_name}"}

    def _object(self, descriptor: Descriptor, *, partial: bool) -> Schema:
        schema: Schema = {"type": "object"}
        notes = [self.comment(descriptor.full_name), *_conditions(descriptor)]
        if text := "\n\n".join(note for note in notes if note):
            schema["description"] = text
        schema["properties"] = {field.json_name: self.field(field) for field in descriptor.fields}
        required = [
            field.json_name for field in descriptor.fields if demanded(field, rules_of(field)) and not is_output_only(field)
        ]
        if required and not partial:
            schema["required"] = required
        if pairs := list(_exclusions(descriptor)):
            schema["not"] = {"anyOf": pairs}
        return schema


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """Return the validation rules of a field."""
    return field.GetOptions().Extensions[validate_pb2.field]


def is_output_only(field: FieldDescriptor) -> bool:
    """Return whether only the server fills a field."""
    return field_behavior_pb2.OUTPUT_ONLY in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def is_body(field: FieldDescriptor) -> bool:
    """Return whether a field is the content itself over HTTP, of whatever type, instead of JSON."""
    return field.message_type is not None and field.message_type.full_name == BODY


def _choices(enum: EnumDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    """Return which of an enum's values a field does not take."""
    refused = [enum.values_by_number[number].name for number in rules.enum.not_in if number in enum.values_by_number]
    return {"not": {"enum": refused}} if refused else {}


def _exclusions(descriptor: Descriptor) -> Iterator[Schema]:
    """List the pairs of fields that cannot both be there, since one oneof holds them."""
    for oneof in descriptor.oneofs:
        names = [field.json_name for field in oneof.fields]
        yield from ({"required": [one, other]} for i, one in enumerate(names) for other in names[i + 1 :])


def _conditions(descriptor: Descriptor) -> Iterator[str]:
    """List the rules on several fields at once, in words."""
    rules = descriptor.GetOptions().Extensions[validate_pb2.message]
    yield from (rule.message for rule in rules.cel if rule.message)


def _named(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Return each comment of a file with the full name of what it is about."""
    for path, comment in comments(file).items():
        element: Any = file
        names = [file.package]
        for number, index in zip(path[::2], path[1::2], strict=False):
            field = element.DESCRIPTOR.fields_by_number[number]
            if not field.is_repeated or field.message_type is None:
                break  # about an option, a syntax line and such
            element = getattr(element, field.name)[index]
            names.append(getattr(element, "name", ""))
        if len(path) == 2 * len(names) - 2:
            yield ".".join(name for name in names if name), comment


def _value_name(enum: EnumDescriptor, value: str) -> str:
    return f"{enum.full_name}.{value}"
