"""Every RPC is fully declared: comment, HTTP, idempotency, policy, and a rule on each request field that can be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from ani.options.v1 import policy_pb2
from buf.validate import validate_pb2
from server.pipeline.plan import plan
from server.wiring.application import SERVICES

ROOT = Path(__file__).parents[2]
METHODS = [method for service in SERVICES for method in service.methods]
# Types whose every value is fine by itself.
HARMLESS = {FieldDescriptor.TYPE_BOOL}
WELL_KNOWN = "google."
# Whoever comes in by these is nobody yet.
DOORS = {"AccountsService", "SessionService", "DeviceLoginService", "GuestPassService"}
CANNOT_BE_TOO_LONG = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}


def _name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


@pytest.fixture(scope="session")
def image() -> descriptor_pb2.FileDescriptorSet:
    """The contract with its comments."""
    return descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gen" / "image.binpb").read_bytes())


@pytest.fixture(params=METHODS, ids=_name)
def method(request: pytest.FixtureRequest) -> MethodDescriptor:
    found: MethodDescriptor = request.param
    return found


def _fields(message: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[FieldDescriptor]:
    """Yield every field that a request can hold, down through its own messages."""
    for field in message.fields:
        if _output_only(field):
            continue
        yield field
        inner = field.message_type
        if inner and not inner.full_name.startswith(WELL_KNOWN) and inner.full_name not in seen:
            yield from _fields(inner, seen | {inner.full_name})


def _rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    return field.GetOptions().Extensions[validate_pb2.field]


def _comment(method: MethodDescriptor, image: descriptor_pb2.FileDescriptorSet) -> str:
    service = method.containing_service
    file = next(file for file in image.file if file.name == service.file.name)
    path = [6, service.index, 2, method.index]
    return next((at.leading_comments for at in file.source_code_info.location if list(at.path) == path), "")


class TestEveryMethod:
    def test_has_a_comment(self, method: MethodDescriptor, image: descriptor_pb2.FileDescriptorSet) -> None:
        assert _comment(method, image).strip().endswith(".")

    def test_lives_in_http(self, method: MethodDescriptor) -> None:
        assert method.GetOptions().HasExtension(annotations_pb2.http)

    def test_says_whether_it_may_be_repeated(self, method: MethodDescriptor) -> None:
        """What must not be sent twice says so as well: IDEMPOTENCY_UNKNOWN, in as many words."""
        assert method.GetOptions().HasField("idempotency_level")

    def test_says_who_may_call(self, method: MethodDescriptor) -> None:
        policy = method.GetOptions().Extensions[policy_pb2.policy]
        assert policy.access.WhichOneof("rule")
        assert policy.access.role or policy.access.public or policy.access.permission

    def test_reads_may_be_cached_and_writes_may_not(self, method: MethodDescriptor) -> None:
        policy = method.GetOptions().Extensions[policy_pb2.policy]
        planned = plan(method)
        assert planned.read_only or not policy.HasField("cache")
        assert not (planned.read_only and (policy.drops or policy.undated))
        assert not (policy.drops and policy.undated)
        assert not policy.HasField("cache") or (policy.cache.scope and policy.cache.ttl.seconds and policy.cache.tags)

    def test_counts_either_calls_or_answers(self, method: MethodDescriptor) -> None:
        """A cached answer is given without asking the method's own quotas (ADR 0006), so a method has one or the other."""
        policy = method.GetOptions().Extensions[policy_pb2.policy]
        assert not (policy.HasField("cache") and policy.quotas)

    def test_answers_with_a_message_of_its_own(self, method: MethodDescriptor) -> None:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"

    def test_opens_writes_to_nobody(self, method: MethodDescriptor) -> None:
        policy = method.GetOptions().Extensions[policy_pb2.policy]
        assert plan(method).read_only or policy.access.WhichOneof("rule") != "public" or method.containing_service.name in DOORS


class TestEveryRequestField:
    """C1, C2 and C8 of the requirements."""

    def test_that_can_be_wrong_has_a_rule(self, method: MethodDescriptor) -> None:
        without = [
            field.full_name
            for field in _fields(method.input_type)
            if field.type not in HARMLESS and not field.message_type and not _rules(field).ListFields()
        ]
        assert [] == without

    def test_of_text_has_a_bound(self, method: MethodDescriptor) -> None:
        unbounded = [
            field.full_name for field in _fields(method.input_type) if field.type in CANNOT_BE_TOO_LONG and not _bounded(field)
        ]
        assert [] == unbounded

    def test_that_is_a_list_has_a_bound(self, method: MethodDescriptor) -> None:
        unbounded = [
            field.full_name
            for field in _fields(method.input_type)
            if field.is_repeated and not _rules(field).repeated.max_items and not _rules(field).map.max_pairs
        ]
        assert [] == unbounded

    def test_of_floating_point_is_finite(self, method: MethodDescriptor) -> None:
        loose = [
            field.full_name
            for field in _fields(method.input_type)
            if (field.type == FieldDescriptor.TYPE_DOUBLE and not _rules(field).double.finite)
            or (field.type == FieldDescriptor.TYPE_FLOAT and not _rules(field).float.finite)
        ]
        assert [] == loose


class TestEveryMessage:
    def test_is_not_recursive(self, method: MethodDescriptor) -> None:
        for message in (method.input_type, method.output_type):
            assert _depth(message) <= 16


def _output_only(field: FieldDescriptor) -> bool:
    return field_behavior_pb2.OUTPUT_ONLY in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def _bounded(field: FieldDescriptor) -> bool:
    rules = _rules(field)
    rules = rules.repeated.items if field.is_repeated else rules
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bool(rules.bytes.max_len)
    closed = rules.string.pattern.endswith("$") and not set("*+") & set(rules.string.pattern)
    return bool(rules.string.max_len or rules.string.len or rules.string.uuid or closed)


def _depth(message: Descriptor, above: tuple[str, ...] = ()) -> int:
    assert message.full_name not in above, f"{message.full_name} holds itself"
    inner = [f.message_type for f in message.fields if f.message_type and not f.message_type.full_name.startswith(WELL_KNOWN)]
    return 1 + max((_depth(m, (*above, message.full_name)) for m in inner), default=0)
