"""Envoy's own answers in the shape of all others: google.rpc.Status with a reason and the right code, in JSON and in gRPC."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from google.protobuf import any_pb2, duration_pb2, json_format
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.xds import Config, extension, header

DOMAIN = "ani"
RETRY_SECONDS = 1
# The text that Envoy itself gives, such as the field that could not be read.
AS_SAID = "%LOCAL_REPLY_BODY%"


@dataclass(frozen=True, slots=True)
class Reply:
    """What callers see in place of one of Envoy's own answers."""

    status: int
    code: str
    reason: str
    message: str
    retry: bool = False
    # Whether it stands for every status from this one on.
    beyond: bool = False
    # Conditions besides the status: an expression in CEL, and one of Envoy's flags.
    when: str = ""
    flag: str = ""
    # The status that is sent, where it is another than Envoy's.
    sent: int = 0
    # Whether gRPC callers get it too.
    native: bool = True


REPLIES = (
    Reply(503, "RESOURCE_EXHAUSTED", "OVERLOADED", "The server is overloaded.", retry=True, flag="UO", sent=429),
    Reply(400, "INVALID_ARGUMENT", "REQUEST_MALFORMED", AS_SAID, when="response.code_details.contains('grpc_json_transcode')"),
    Reply(404, "NOT_FOUND", "PATH_UNKNOWN", "There is nothing at this path; /openapi.json lists what there is.", native=False),
    Reply(
        405,
        "UNIMPLEMENTED",
        "VERB_NOT_ALLOWED",
        "This path does not take this verb; the allow header lists those it takes.",
        native=False,
    ),
    Reply(408, "DEADLINE_EXCEEDED", "REQUEST_TOO_SLOW", "The request did not arrive in time."),
    Reply(413, "RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE", "The request's body is too large."),
    Reply(414, "INVALID_ARGUMENT", "PATH_TOO_LONG", "The request's path is too long."),
    Reply(415, "INVALID_ARGUMENT", "CONTENT_TYPE_UNKNOWN", "The request's content type is not one that is understood."),
    Reply(426, "FAILED_PRECONDITION", "PROTOCOL_TOO_OLD", "HTTP 1.1 or newer is needed."),
    Reply(429, "RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS", "Too many requests for now.", retry=True),
    Reply(431, "INVALID_ARGUMENT", "HEADERS_TOO_LARGE", "The request's headers are too many or too large."),
    Reply(501, "UNIMPLEMENTED", "NOT_IMPLEMENTED", "This is not something the gateway can do."),
    Reply(502, "UNAVAILABLE", "SERVER_UNREACHABLE", "The servers are out of reach for now.", retry=True),
    Reply(503, "UNAVAILABLE", "SERVER_UNREACHABLE", "The servers are out of reach for now.", retry=True),
    Reply(504, "DEADLINE_EXCEEDED", "SERVER_TOO_SLOW", "The call took longer than it may take."),
    Reply(
        500,
        "INTERNAL",
        "GATEWAY_FAULT",
        "Something went wrong at the gateway. Quote the request id when you report it.",
        beyond=True,
    ),
    Reply(
        400,
        "INVALID_ARGUMENT",
        "REQUEST_MALFORMED",
        "The request is not valid HTTP, or not one that the gateway lets pass.",
        beyond=True,
    ),
)
METHOD_UNKNOWN = Reply(404, "UNIMPLEMENTED", "METHOD_UNKNOWN", "There is no such method.")
# What the transcoder has taken in hand looks like gRPC, but for the path that it came with.
NOT_GRPC = {
    "or_filter": {
        "filters": [
            {"header_filter": {"header": {"name": "x-envoy-original-path", "present_match": True}}},
            {
                "header_filter": {
                    "header": {
                        "name": "content-type",
                        "string_match": {"prefix": "application/grpc"},
                        "invert_match": True,
                        "treat_missing_header_as_empty": True,
                    }
                }
            },
        ]
    }
}


def local_replies() -> Config:
    """Return the configuration; of several that fit the first is taken."""
    return {"mappers": [*map(_json, REPLIES), *(_grpc(reply) for reply in (METHOD_UNKNOWN, *REPLIES) if reply.native)]}


def _json(reply: Reply) -> Config:
    body = json_format.MessageToDict(_status(reply))
    mapper: Config = {
        "filter": {"and_filter": {"filters": [*_conditions(reply), NOT_GRPC]}},
        "body_format_override": {"json_format": body, "content_type": "application/json"},
    }
    return mapper | _changes(reply, [header("retry-after", str(RETRY_SECONDS))] if reply.retry else [])


def _grpc(reply: Reply) -> Config:
    """Say the same to gRPC callers: left alone, Envoy would tell them of its upstreams, and of a timeout as of an outage."""
    conditions = _conditions(reply)
    details = base64.b64encode(_status(reply).SerializeToString()).decode().rstrip("=")
    headers = [header("grpc-status", str(code_pb2.Code.Value(reply.code))), header("grpc-status-details-bin", details)]
    mapper: Config = {
        "filter": {"and_filter": {"filters": conditions}} if len(conditions) > 1 else conditions[0],
        "body_format_override": {"text_format_source": {"inline_string": reply.message}},
    }
    return mapper | _changes(reply, headers)


def _conditions(reply: Reply) -> list[Config]:
    compared = {"op": "GE" if reply.beyond else "EQ", "value": {"default_value": reply.status, "runtime_key": "none"}}
    found: list[Config] = [{"status_code_filter": {"comparison": compared}}]
    if reply.when:
        kind = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
        found.append({"extension_filter": extension("cel", kind, expression=reply.when)})
    if reply.flag:
        found.append({"response_flag_filter": {"flags": [reply.flag]}})
    return found


def _changes(reply: Reply, headers: list[Config]) -> Config:
    changes: Config = {"headers_to_add": headers} if headers else {}
    return changes | ({"status_code": reply.sent} if reply.sent else {})


def _status(reply: Reply) -> status_pb2.Status:
    """Return a refusal the way the servers' own are made."""
    status = status_pb2.Status(code=code_pb2.Code.Value(reply.code), message=reply.message)
    status.details.append(_packed(error_details_pb2.ErrorInfo(reason=reply.reason, domain=DOMAIN)))
    if reply.retry:
        delay = duration_pb2.Duration(seconds=RETRY_SECONDS)
        status.details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
