"""What the contract says of a method, worked out once at start-up so that a call only follows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import protovalidate
from google.protobuf import descriptor_pb2, field_mask_pb2, message_factory, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from ani.options.v1 import policy_pb2
from buf.validate import validate_pb2
from domain.kernel import Viewer
from server.pipeline.errors import RequestInvalid, RequestMalformed, Violation
from server.pipeline.overload import EXEMPT
from server.pipeline.quotas import Allowance
from server.pipeline.viewer import Caller, gate, guests, is_audited

DEFAULT_TIMEOUT_SECONDS = 10.0
VALIDATOR = protovalidate.Validator()
# What a Timestamp may hold: the years 1 to 9999.
FIRST_SECOND, LAST_SECOND, NANOS = -62_135_596_800, 253_402_300_799, 1_000_000_000
PLAIN = (str, int, float, bytes)
TagsOf = Callable[[Message, Message], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class OwnQuota:
    """An allowance of the method's own, and whose calls are counted together."""

    allowance: Allowance
    by_address: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One method as the pipeline sees it."""

    name: str
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool
    read_only: bool
    check: Callable[[Viewer], None]
    # Whom the holder of a guest pass is taken for.
    guest: Callable[[Caller], Caller]
    audited: bool
    metered: bool
    # Asked in the place of the usual allowance.
    instead: OwnQuota | None
    quotas: tuple[OwnQuota, ...]
    criticality: int
    timeout: float | None
    ttl: float
    shared: bool
    tags: TagsOf
    drops: TagsOf | None
    undated: bool
    status_field: str

    def parse(self, data: bytes) -> Message:
        """Return the request in these bytes. Raises RequestMalformed and RequestInvalid."""
        message = self.request()
        try:
            message.ParseFromString(data)
        except DecodeError as fault:
            raise RequestMalformed(message=self.request.DESCRIPTOR.name) from fault
        # No text may hold it, since PostgreSQL keeps none that does. Where no byte is zero there is none to be looked for.
        if b"\0" in data and (nul := [Violation(path, "must not contain U+0000", "string.nul") for path in _with_nul(message)]):
            raise RequestInvalid(nul)
        if _needs_care(message.DESCRIPTOR) and (wrong := list(_cared_for(message))):
            raise RequestInvalid(wrong)
        violations = VALIDATOR.collect_violations(message)
        if violations:
            read = [v for v in violations if not _unread(message, v.proto.field.elements if v.proto.field else ())]
            if read:
                raise RequestInvalid([Violation(_path(v.proto.field), v.proto.message, v.proto.rule_id) for v in read])
        return message


@dataclass(frozen=True, slots=True)
class Mask:
    """The update mask of a request: of the resource, only what it names is read, so only that need be valid."""

    field: str
    resource: str


def _unread(message: Any, elements: Sequence[Any]) -> bool:
    """Tell whether a field is one that an update does not read, be it the request itself or one that a request holds."""
    for place, element in enumerate(elements):
        mask = _mask(message.DESCRIPTOR)
        if mask and element.field_name == mask.resource:
            names = [step.field_name for step in elements[place + 1 :]]
            read = [path.split(".") for path in (*getattr(message, mask.field).paths, f"{mask.resource}_id")]
            if names and not any(names[: len(path)] == path for path in read):
                return True
        if element.field_name not in message.DESCRIPTOR.fields_by_name:
            return False  # a oneof
        message = getattr(message, element.field_name)
        if element.subscript:
            message = message[element.subscript.value]
        if not isinstance(message, Message):
            return False
    return False


def plan(method: MethodDescriptor) -> Plan:
    """Read a method's plan from its descriptor."""
    options = method.GetOptions()
    policy = options.Extensions[policy_pb2.policy] if options.HasExtension(policy_pb2.policy) else None
    known = policy or policy_pb2.Policy()
    streaming = bool(method.client_streaming or method.server_streaming)
    return Plan(
        name=f"/{method.containing_service.full_name}/{method.name}",
        request=message_factory.GetMessageClass(method.input_type),
        response=message_factory.GetMessageClass(method.output_type),
        client_streaming=bool(method.client_streaming),
        server_streaming=bool(method.server_streaming),
        read_only=options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
        check=gate(policy),
        guest=guests(policy),
        audited=is_audited(policy),
        metered=not known.unmetered,
        instead=_quota(method.full_name, known.instead) if known.HasField("instead") else None,
        quotas=tuple(_quota(method.full_name, quota) for quota in known.quotas),
        criticality=EXEMPT if known.unmetered else known.criticality or policy_pb2.CRITICALITY_DEFAULT,
        timeout=known.timeout.ToTimedelta().total_seconds()
        if known.HasField("timeout")
        else (None if streaming else DEFAULT_TIMEOUT_SECONDS),
        ttl=known.cache.ttl.ToTimedelta().total_seconds(),
        shared=known.cache.scope == policy_pb2.CACHE_SCOPE_SHARED,
        tags=_templates(known.cache.tags),
        drops=_templates(known.drops) if known.drops else None,
        undated=known.undated,
        status_field=_status_field(method),
    )


def _quota(name: str, quota: policy_pb2.Quota) -> OwnQuota:
    window = quota.window.ToTimedelta().total_seconds()
    label = f"{name.rpartition('.')[2]}/{quota.limit} in {window:g} s"
    return OwnQuota(Allowance(label, quota.limit, window), quota.by == policy_pb2.QUOTA_SUBJECT_ADDRESS)


@cache
def _mask(request: Descriptor) -> Mask | None:
    """Find a request's update mask and the resource that it is for: the request's only other message."""
    messages = [f for f in request.fields if f.message_type is not None]
    masks = [f for f in messages if f.message_type == field_mask_pb2.FieldMask.DESCRIPTOR]
    others = [f for f in messages if f not in masks]
    return Mask(masks[0].name, others[0].name) if len(masks) == 1 and len(others) == 1 else None


def _status_field(method: MethodDescriptor) -> str:
    """Return the field in which a stream's answer carries its last word, or nothing."""
    full_name = status_pb2.Status.DESCRIPTOR.full_name
    found = [f.name for f in method.output_type.fields if f.message_type and f.message_type.full_name == full_name]
    return found[0] if method.server_streaming and found else ""


def _templates(templates: Iterable[str]) -> TagsOf:
    compiled = [_template(text) for text in templates]

    def tags(request: Message, response: Message) -> tuple[str, ...]:
        return tuple(dict.fromkeys(tag for one in compiled for tag in one(request, response)))

    return tags


def _template(text: str) -> Callable[[Message, Message], Iterable[str]]:
    """Compile a tag such as release/{release.release_id}: paths are looked up in the request, then in the response.

    Several paths go along with each other through a repeated field: {changes.kind}/{changes.id} is one tag for each change.
    """
    literals, paths = re.split(r"\{[^}]*\}", text), [path.split(".") for path in re.findall(r"\{([^}]*)\}", text)]
    if not paths:
        return lambda _request, _response: (text,)
    form = "{}".join(literals)

    def tags(request: Message, response: Message) -> Iterable[str]:
        found = [_values(request, steps) or _values(response, steps) for steps in paths]
        return [form.format(*values) for values in zip(*found, strict=False)]

    return tags


def _values(message: Any, steps: list[str]) -> list[Any]:
    found = [message]
    for step in steps:
        fields = [(m, m.DESCRIPTOR.fields_by_name.get(step)) for m in found if isinstance(m, Message)]
        found = [value for m, field in fields if field is not None for value in _field(m, field)]
    return [value for value in found if value]


def _field(message: Any, field: Any) -> Iterable[Any]:
    value = getattr(message, field.name)
    return value if field.is_repeated else (value,)


@cache
def _needs_care(descriptor: Descriptor, above: frozenset[str] = frozenset()) -> bool:
    """Tell whether a message can hold what _cared_for looks after."""
    if descriptor == timestamp_pb2.Timestamp.DESCRIPTOR:
        return True
    if descriptor.full_name in above:
        return False
    inner = above | {descriptor.full_name}
    return any(
        _is_uuid(field) or (field.message_type is not None and _needs_care(field.message_type, inner))
        for field in descriptor.fields
    )


def _cared_for(message: Message, before: str = "") -> Iterator[Violation]:
    """Write ids in lower case, as they are kept, and name the times that are none: those no rule of the contract refuses."""
    for field, value in message.ListFields():
        if _is_uuid(field):
            if field.is_repeated:
                value[:] = [one.lower() for one in value]
            else:
                setattr(message, field.name, value.lower())
        elif field.message_type is not None and _needs_care(field.message_type):
            for place, one in _elements(field, value, f"{before}{field.name}"):
                if not isinstance(one, timestamp_pb2.Timestamp):
                    yield from _cared_for(one, f"{place}.")
                elif not (FIRST_SECOND <= one.seconds <= LAST_SECOND and 0 <= one.nanos < NANOS):
                    yield Violation(place, "must be a time from the year 1 to the year 9999", "timestamp.range")


@cache
def _is_uuid(field: FieldDescriptor) -> bool:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return rules.string.uuid or rules.repeated.items.string.uuid


def _with_nul(message: Message, before: str = "") -> Iterator[str]:
    """Name the fields of a message, at any depth, whose text holds U+0000."""
    for field, value in message.ListFields():
        if isinstance(value, PLAIN):  # most fields, and most zeros
            if isinstance(value, str) and "\0" in value:
                yield f"{before}{field.name}"
            continue
        elements = list(_elements(field, value, f"{before}{field.name}"))
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            elements += [(f"{before}{field.name}", key) for key in value]
        for place, one in elements:
            if isinstance(one, Message):
                yield from _with_nul(one, f"{place}.")
            elif isinstance(one, str) and "\0" in one:
                yield place


def _elements(field: FieldDescriptor, value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield what a field holds, each with its place."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield from ((f"{name}[{key}]", one) for key, one in value.items())
    elif field.is_repeated:
        yield from ((f"{name}[{index}]", one) for index, one in enumerate(value))
    else:
        yield name, value


def _path(path: Any) -> str:
    """Write a field path as people do: release.titles[0].language."""
    text = ""
    for element in path.elements if path else ():
        text += f".{element.field_name}" if text else element.field_name
        if element.subscript:
            text += f"[{element.subscript.value}]"
    return text
