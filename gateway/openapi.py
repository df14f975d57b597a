"""OpenAPI 3.1 from the contract: every way to call it over HTTP, for people and for generators of clients."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from ani.options.v1 import policy_pb2
from gateway.contract import Binding, Method, methods
from gateway.limits import demanded
from gateway.schemas import WELL_KNOWN, Schemas, is_body, is_output_only, rules_of

Json = dict[str, Any]
STATUS = "google.rpc.Status"
DETAILS = ("google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo")
VARIABLE = re.compile(r"\{([^}=]+)(?:=[^}]*)?\}")
INTRODUCTION = """\
Every method can be called over gRPC, gRPC-Web and JSON alike, on the same port.

- **Errors** are `google.rpc.Status`: a code, a message for people, and details for programs; `ErrorInfo.reason` never changes.
- **Quotas**: answers carry `x-ratelimit-limit`, `-remaining` and `-reset`; after a 429, `retry-after` says when to come back.
- **Your own writes**: send the `x-revision` of a write's answer with a read, and the read sees it, whoever answers.
- **Unknown query parameters** are refused, unknown fields in a body are ignored.
- **64-bit numbers** are text in JSON, since a JSON number loses digits beyond 2^53.
- **Streams** are server-sent events over JSON. A stream that ends with an error says so in its last message: go on from its cursor.
"""
ERRORS = {
    "400": ("Malformed", "The request is malformed, breaks a rule of the contract, or the state forbids it."),
    "401": ("Unauthenticated", "No access token, or one that is not good."),
    "403": ("Forbidden", "The caller may not do this."),
    "404": ("NotFound", "There is no such thing, or none that the caller may know of."),
    "409": ("Conflict", "It exists already, or another change came between."),
    "429": ("Exhausted", "An allowance is used up, or the server is overloaded. `retry-after` says when to come back."),
    "503": ("Unavailable", "Something needed is out of reach for now. `retry-after` says when to come back."),
    "504": ("Overdue", "The call took longer than it may take."),
}
HEADERS = {
    "x-request-id": "The call's id; quote it in reports. The one that was sent, if it was 8 to 64 letters, digits, dots, dashes.",
    "x-ratelimit-limit": "How many calls the allowance holds.",
    "x-ratelimit-remaining": "How many of them are left.",
    "x-ratelimit-reset": "Seconds until the allowance is whole again.",
    "x-revision": "What a read must send to be sure to see this write.",
    "etag": "Names this very answer: a read that sends it as `if-none-match` gets 304 while nothing has changed.",
    "retry-after": "Seconds after which trying again may help.",
}
QUOTA_SUBJECTS = {
    policy_pb2.QUOTA_SUBJECT_ACCOUNT: "account",
    policy_pb2.QUOTA_SUBJECT_ADDRESS: "network address",
}
SHEDDING = {
    policy_pb2.CRITICALITY_SHEDDABLE: "**Overload**: among the first calls to be refused.",
    policy_pb2.CRITICALITY_CRITICAL: "**Overload**: among the last calls to be refused.",
}


def document(image: bytes, *, version: str) -> Json:
    """Return the whole document."""
    schemas = Schemas(image)
    found = [method for method in methods(image) if method.bindings]
    paths: dict[str, Json] = {}
    shown = _shown_paths(found)
    for method in found:
        for number, binding in enumerate(method.bindings):
            path = shown[VARIABLE.sub("{}", binding.path)]
            operation = _Operation(schemas, method, binding, _variables(path)).render(number)
            paths.setdefault(path, {})[binding.verb.lower()] = operation
    for name in (STATUS, *DETAILS):
        schemas.message(schemas.descriptor(name))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ani", "version": version, "description": INTRODUCTION, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": "/", "description": "This gateway"}],
        "tags": [{"name": _short(name), "description": schemas.comment(name)} for name in dict.fromkeys(m.service for m in found)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": {name: _error(code, text) for code, (name, text) in ERRORS.items()},
            "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


class _Operation:
    """One way to call one method."""

    def __init__(self, schemas: Schemas, method: Method, binding: Binding, variables: list[str]) -> None:
        self._schemas = schemas
        self._method = method
        self._binding = binding
        self._variables = variables
        self._policy = method.policy or policy_pb2.Policy()
        self._request = schemas.descriptor(method.request)

    def render(self, number: int) -> Json:
        method = self._method
        summary, _, rest = method.comment.partition("\n")
        operation: Json = {
            "operationId": f"{_short(method.service)}_{method.name}{number + 1 if number else ''}",
            "tags": [_short(method.service)],
            "summary": summary.rstrip("."),
            "description": "\n\n".join(part for part in (method.comment and rest.strip(), *self._notes()) if part),
            "parameters": [*self._path_parameters(), *self._query_parameters()],
            "responses": {"200": self._answer(), **self._errors()},
            "security": [{}, {"token": []}] if self._policy.access.public else [{"token": []}],
        }
        if self._binding.body:
            operation["requestBody"] = {"required": True, "content": self._content()}
        return operation

    def _notes(self) -> Iterator[str]:
        policy = self._policy
        yield f"gRPC: `{self._method.full_name.removeprefix('/')}`"
        but = ", but on no limited profile" if policy.access.owner else ""
        yield f"**Access**: {_access(policy.access)}{but}."
        if policy.unmetered:
            yield "**Quota**: none."
        for quota in [*([policy.instead] if policy.HasField("instead") else []), *policy.quotas]:
            subject = QUOTA_SUBJECTS.get(quota.by, "account, or by network address without one")
            yield f"**Quota**: {quota.limit} calls in {_span(quota.window.ToTimedelta().total_seconds())}, counted by {subject}."
        if seconds := policy.cache.ttl.ToTimedelta().total_seconds():
            whose = (
                "for all anonymous callers of a country"
                if policy.cache.scope == policy_pb2.CACHE_SCOPE_SHARED
                else "for one account"
            )
            yield f"**Cache**: an answer may be used again for {_span(seconds)}, {whose}."
        if policy.HasField("timeout"):
            yield f"**Time**: {_span(policy.timeout.ToTimedelta().total_seconds())} at most."
        if policy.criticality in SHEDDING:
            yield SHEDDING[policy.criticality]
        if self._method.idempotency == "IDEMPOTENT":
            yield "**Repeating** it does no harm: a lost answer can be asked for once more."

    def _path_parameters(self) -> Iterator[Json]:
        for shown, name in zip(self._variables, _variables(self._binding.path), strict=True):
            field = _resolve(self._request, name)
            yield {"name": shown, "in": "path", "required": True} | _described(self._schemas.field(field))

    def _query_parameters(self) -> Iterator[Json]:
        if self._binding.body == "*":
            return
        taken = {*_variables(self._binding.path), self._binding.body}
        for name, field in _leaves(self._request, taken):
            required = demanded(field, rules_of(field)) and "." not in name
            parameter = {"name": name, "in": "query"} | ({"required": True} if required else {})
            yield (
                parameter
                | _described(self._schemas.field(field))
                | ({"explode": True, "style": "form"} if field.is_repeated else {})
            )

    def _content(self) -> Json:
        field = self._request.fields_by_name.get(self._binding.body)
        return _bytes(()) if field is not None and is_body(field) else {"application/json": {"schema": self._body()}}

    def _body(self) -> Json:
        partial = any(
            field.message_type is not None and field.message_type.full_name == "google.protobuf.FieldMask"
            for field in self._request.fields
        )
        if self._binding.body == "*":
            return self._schemas.message(self._request, partial=bool(_variables(self._binding.path)))
        field = self._request.fields_by_name[self._binding.body]
        if partial and field.message_type is not None and not field.is_repeated:
            return self._schemas.message(field.message_type, partial=True)
        return self._schemas.field(field)

    def _answer(self) -> Json:
        message = self._schemas.descriptor(self._method.response)
        shown = message.fields_by_name.get(self._binding.response_body)
        headers = ["x-request-id"]
        if not self._policy.unmetered:
            headers += ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
        if shown is not None and is_body(shown):
            content: Json = _bytes(self._policy.content_types)
            headers += ["etag"] if self._policy.cache.HasField("ttl") else []
        elif self._method.server_streaming:
            shape = self._schemas.message(message)
            events = {"type": "string", "contentMediaType": "application/json", "contentSchema": shape}
            content = {"text/event-stream": {"schema": events | {"description": "One `data:` line for each message."}}}
        else:
            shape = self._schemas.message(message) if shown is None else self._schemas.field(shown)
            content = {"application/json": {"schema": shape}}
            dated = self._method.idempotency != "NO_SIDE_EFFECTS" and not self._policy.undated
            headers += ["x-revision"] if dated else []
            headers += ["etag"] if self._policy.cache.HasField("ttl") else []
        return {
            "description": "The messages, as they come." if self._method.server_streaming else "Done.",
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
            "content": content,
        }

    def _errors(self) -> Json:
        codes = ["400", "503", "504"]
        codes += [] if self._policy.access.public else ["401", "403"]
        codes += ["404"] if VARIABLE.search(self._binding.path) else []
        codes += ["409"] if self._method.idempotency != "NO_SIDE_EFFECTS" else []
        codes += [] if self._policy.unmetered else ["429"]
        shown = {code: {"$ref": f"#/components/responses/{ERRORS[code][0]}"} for code in sorted(codes)}
        return shown | {"default": {"description": "Any other refusal.", "content": _status()}}


def _bytes(content_types: Iterable[str]) -> Json:
    """Describe content that is no JSON, of any type unless some are named."""
    return {content_type: {} for content_type in content_types or ("*/*",)}


def _leaves(message: Descriptor, taken: set[str], prefix: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """List the fields of a message that a query can carry, with the names they have there."""
    for field in message.fields:
        name = f"{prefix}{field.name}"
        if name in taken or is_output_only(field) or is_body(field):
            continue
        inner = field.message_type
        if inner is None or (inner.full_name in WELL_KNOWN and "type" in WELL_KNOWN[inner.full_name]):
            yield name, field
        elif not field.is_repeated and prefix.count(".") < 3:
            yield from _leaves(inner, taken, f"{name}.")


def _resolve(message: Descriptor, path: str) -> FieldDescriptor:
    *outer, last = path.split(".")
    for step in outer:
        inner = message.fields_by_name[step].message_type
        if inner is None:
            raise KeyError(path)
        message = inner
    return message.fields_by_name[last]


def _described(schema: Json) -> Json:
    """Lift a schema's description to the parameter that it is for."""
    rest = {name: value for name, value in schema.items() if name not in {"description", "readOnly"}}
    return ({"description": schema["description"]} if "description" in schema else {}) | {"schema": rest}


def _variables(template: str) -> list[str]:
    return VARIABLE.findall(template)


def _shown_paths(found: list[Method]) -> dict[str, str]:
    """Choose one name for paths that differ in nothing but their variables: that of the reading method, if there is one."""
    bindings = sorted((binding for method in found for binding in method.bindings), key=lambda binding: binding.verb != "GET")
    return {VARIABLE.sub("{}", binding.path): _path(binding.path) for binding in reversed(bindings)}


def _path(template: str) -> str:
    """Write a path for tools, which want no dots in the names of its variables."""
    names = _variables(template)
    short = [name.rpartition(".")[2] for name in names]
    chosen = iter(short if len(set(short)) == len(short) else (name.replace(".", "_") for name in names))
    return VARIABLE.sub(lambda _: f"{{{next(chosen)}}}", template)


def _short(service: str) -> str:
    return service.rpartition(".")[2]


def _error(code: str, text: str) -> Json:
    names = ["x-request-id", *(["retry-after"] if code in {"429", "503"} else [])]
    return {
        "description": text,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": _status(),
    }


def _status() -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{STATUS}"}}}


def _access(access: policy_pb2.Access) -> str:
    match access.WhichOneof("rule"):
        case "public" if access.public:
            return "everyone, signed in or not"
        case "role":
            role = policy_pb2.Role.Name(access.role).removeprefix("ROLE_").lower()
            return "any signed-in account" if role == "user" else f"accounts with the role {role}, or a higher one"
        case "permission":
            return f"callers with the permission `{access.permission}`"
    return "nobody"


def _span(seconds: float) -> str:
    for size, name in ((3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{seconds:g} second{'s' if seconds != 1 else ''}"
