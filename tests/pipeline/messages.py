"""Messages for a descriptor: valid by its rules, at their bounds, and beside them."""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any

from google.protobuf import field_mask_pb2, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from buf.validate import validate_pb2

Type = FieldDescriptor
INTEGERS = {
    Type.TYPE_INT32: (-(2**31), 2**31 - 1),
    Type.TYPE_SINT32: (-(2**31), 2**31 - 1),
    Type.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    Type.TYPE_UINT32: (0, 2**32 - 1),
    Type.TYPE_FIXED32: (0, 2**32 - 1),
    Type.TYPE_INT64: (-(2**63), 2**63 - 1),
    Type.TYPE_SINT64: (-(2**63), 2**63 - 1),
    Type.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    Type.TYPE_UINT64: (0, 2**64 - 1),
    Type.TYPE_FIXED64: (0, 2**64 - 1),
}
SPECIAL_FLOATS = [0.0, -0.0, 1.5, -1.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")]
SPECIAL_TEXTS = [
    "",
    " ",
    "\0",
    "a\0b",
    "'; DROP TABLE releases; --",
    "%",
    "\\",
    "../..",
    "\u202e",
    "🎌",
    "e\u0301",
    "\ufeff",
    "null",
]
texts = st.one_of(
    st.text(max_size=20), st.sampled_from(SPECIAL_TEXTS), st.text(string.ascii_lowercase + "-", min_size=2, max_size=20)
)


floats = st.one_of(st.sampled_from(SPECIAL_FLOATS), st.floats(width=32))
OTHERS: dict[int, st.SearchStrategy[Any]] = {
    Type.TYPE_BYTES: st.binary(max_size=40),
    Type.TYPE_BOOL: st.booleans(),
    Type.TYPE_FLOAT: floats,
    Type.TYPE_DOUBLE: floats,
}


class Messages:
    """Strategies for messages; what is known of the platform's data makes some of them meet it."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = list(known)

    def of(self, descriptor: Descriptor, *, depth: int = 0) -> st.SearchStrategy[Message]:
        kind = message_factory.GetMessageClass(descriptor)
        if descriptor.full_name == field_mask_pb2.FieldMask.DESCRIPTOR.full_name:
            return st.builds(kind, paths=st.lists(st.one_of(texts, st.sampled_from(self._known)), max_size=4))
        fields = {field.name: self._field(field, depth) for field in descriptor.fields if depth < 6}
        values = st.fixed_dictionaries({}, optional=fields)

        # Written out, such a strategy would have a hundred thousand letters, and now and then it is: this one has its name.
        @st.composite
        def built(draw: st.DrawFn) -> Message:
            message = kind()
            for name, value in draw(values).items():
                _put(message, descriptor.fields_by_name[name], value)
            return message

        return built()

    def beside(self, message: Message) -> st.SearchStrategy[Message]:
        """Return messages that differ from this one in one or two fields, at any depth."""

        @st.composite
        def changed(draw: st.DrawFn) -> Message:
            copy = type(message)()
            copy.CopyFrom(message)
            for _ in range(draw(st.integers(1, 2))):
                within: Any = copy
                field = draw(st.sampled_from(list(within.DESCRIPTOR.fields)))
                while field.message_type is not None and not field.is_repeated and draw(st.integers(0, 4)):
                    within = getattr(within, field.name)
                    field = draw(st.sampled_from(list(field.message_type.fields)))
                within.ClearField(field.name)
                _put(within, field, draw(self._field(field, 0)))
            return copy

        return changed()

    def _field(self, field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return st.just({})
        if not field.is_repeated:
            return self._value(field, rules, depth)
        one = self._value(field, rules.repeated.items, depth)
        most = rules.repeated.max_items or 5
        return st.one_of(
            st.lists(one, max_size=4),
            st.lists(one, max_size=4, unique_by=repr),
            st.tuples(one, st.sampled_from([most, most + 1])).map(lambda drawn: [drawn[0]] * drawn[1]),
        )

    def _value(self, field: FieldDescriptor, rules: validate_pb2.FieldRules, depth: int) -> st.SearchStrategy[Any]:
        if field.message_type is not None:
            return self.of(field.message_type, depth=depth + 1)
        if field.enum_type is not None:
            return st.sampled_from([*(value.number for value in field.enum_type.values), 99, -1, 2**31 - 1])
        if field.type == Type.TYPE_STRING:
            return self._text(rules.string)
        return _integer(field, rules) if field.type in INTEGERS else OTHERS[field.type]

    def _text(self, rules: validate_pb2.StringRules) -> st.SearchStrategy[str]:
        found = [texts, st.sampled_from(self._known)]
        if rules.uuid:
            found.append(st.uuids().map(str))
        if rules.pattern:
            found.append(st.from_regex(rules.pattern, fullmatch=False).map(lambda text: text[: rules.max_len or 64]))
        if rules.max_len:
            found.append(st.sampled_from(["x" * rules.max_len, "é" * rules.max_len, "x" * (rules.max_len + 1)]))
        return st.one_of(found)


def _integer(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> st.SearchStrategy[int]:
    least, most = INTEGERS[field.type]
    bounds = getattr(rules, rules.WhichOneof("type") or "int32")
    near = [value + step for _, value in bounds.ListFields() if isinstance(value, int) for step in (-1, 0, 1)]
    special = [value for value in (*near, 0, 1, 7, least, most) if least <= value <= most]
    return st.one_of(st.sampled_from(special), st.integers(least, most))


def _put(message: Message, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).extend(value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)
