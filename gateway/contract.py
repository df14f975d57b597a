"""Reads the contract's descriptor set: each method with its HTTP bindings, its policy and how it may be repeated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

from ani.options.v1 import policy_pb2

GEN = Path(__file__).resolve().parent.parent / "gen"
Idempotency = Literal["NO_SIDE_EFFECTS", "IDEMPOTENT", "UNKNOWN"]
LEVELS: dict[int, Idempotency] = {
    descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS: "NO_SIDE_EFFECTS",
    descriptor_pb2.MethodOptions.IDEMPOTENT: "IDEMPOTENT",
}
METHOD_NUMBER = descriptor_pb2.ServiceDescriptorProto.METHOD_FIELD_NUMBER
SERVICE_NUMBER = descriptor_pb2.FileDescriptorProto.SERVICE_FIELD_NUMBER


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to call a method over HTTP; a body of "*" is the whole request, an empty one none."""

    verb: str
    path: str
    body: str
    response_body: str


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the contract; messages are given by their full names."""

    full_name: str
    service: str
    name: str
    request: str
    response: str
    client_streaming: bool
    server_streaming: bool
    idempotency: Idempotency
    bindings: tuple[Binding, ...]
    policy: policy_pb2.Policy | None
    # The fields of the request that are to be in no log.
    secrets: frozenset[str]
    comment: str

    @property
    def streaming(self) -> bool:
        return self.client_streaming or self.server_streaming

    @property
    def repeatable(self) -> bool:
        """Whether a call may be sent again when nobody knows what became of it."""
        return self.idempotency != "UNKNOWN"


def methods(descriptor: bytes) -> tuple[Method, ...]:
    """Return every method of a FileDescriptorSet, in the order of the contract; comments only where the set holds them."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor)
    secrets = {
        f".{file.package}.{message.name}": frozenset(field.name for field in message.field if field.options.debug_redact)
        for file in files.file
        for message in file.message_type
    }
    return tuple(method for file in files.file for method in _of_file(file, secrets))


def comments(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Return what stands above each element of a file, by its path in the file's descriptor."""
    locations = file.source_code_info.location
    return {tuple(place.path): _plain(place.leading_comments) for place in locations if place.leading_comments}


def _of_file(file: descriptor_pb2.FileDescriptorProto, secrets: Mapping[str, frozenset[str]]) -> Iterator[Method]:
    said = comments(file)
    for s, service in enumerate(file.service):
        for m, method in enumerate(service.method):
            comment = said.get((SERVICE_NUMBER, s, METHOD_NUMBER, m), "")
            yield _method(f"{file.package}.{service.name}", method, secrets[method.input_type], comment)


def _method(service: str, method: descriptor_pb2.MethodDescriptorProto, secrets: frozenset[str], comment: str) -> Method:
    options = method.options
    return Method(
        full_name=f"/{service}/{method.name}",
        service=service,
        name=method.name,
        request=method.input_type.removeprefix("."),
        response=method.output_type.removeprefix("."),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        idempotency=LEVELS.get(options.idempotency_level, "UNKNOWN"),
        bindings=tuple(_bindings(options.Extensions[annotations_pb2.http])) if options.HasExtension(annotations_pb2.http) else (),
        policy=options.Extensions[policy_pb2.policy] if options.HasExtension(policy_pb2.policy) else None,
        secrets=secrets,
        comment=comment,
    )


def _bindings(rule: http_pb2.HttpRule) -> Iterator[Binding]:
    pattern = rule.WhichOneof("pattern")
    if pattern == "custom":
        yield Binding(rule.custom.kind.upper(), rule.custom.path, rule.body, rule.response_body)
    elif pattern is not None:
        yield Binding(pattern.upper(), getattr(rule, pattern), rule.body, rule.response_body)
    for additional in rule.additional_bindings:
        yield from _bindings(additional)


def _plain(comment: str) -> str:
    return "\n".join(line.removeprefix(" ").rstrip() for line in comment.strip("\n").split("\n")).strip()
