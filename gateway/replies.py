"""Envoy's own answers in the shape of all others: google.rpc.Status as JSON, with a reason and the right code."""

from __future__ import annotations

from dataclasses import dataclass

from google.rpc import code_pb2

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
    # A condition besides the status, as an expression in CEL.
    when: str = ""


REPLIES = (
    Reply(400, "INVALID_ARGUMENT", "REQUEST_MALFORMED", AS_SAID, when="response.code_details.contains('grpc_json_transcode')"),
    Reply(404, "NOT_FOUND", "PATH_UNKNOWN", "There is nothing at this path; /openapi.json lists what there is."),
    Reply(405, "UNIMPLEMENTED", "VERB_NOT_ALLOWED", "This path does not take this verb; the allow header lists those it takes."),
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
)
REST = (
    Reply(500, "INTERNAL", "GATEWAY_FAULT", "Something went wrong at the gateway. Quote the request id when you report it."),
    Reply(400, "INVALID_ARGUMENT", "REQUEST_MALFORMED", "The request is not valid HTTP, or not one that the gateway lets pass."),
)
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
    """Return the configuration; gRPC callers keep Envoy's text, which becomes their status message."""
    exact = [_mapper(reply, "EQ") for reply in REPLIES]
    return {"mappers": [*exact, *(_mapper(reply, "GE") for reply in REST), _late_for_grpc()]}


def _mapper(reply: Reply, operator: str) -> Config:
    status = {"comparison": {"op": operator, "value": {"default_value": reply.status, "runtime_key": "none"}}}
    conditions = [{"status_code_filter": status}, NOT_GRPC, *([_when(reply.when)] if reply.when else [])]
    mapper: Config = {
        "filter": {"and_filter": {"filters": conditions}},
        "body_format_override": {"json_format": status_body(reply), "content_type": "application/json"},
    }
    if reply.retry:
        mapper["headers_to_add"] = [header("retry-after", str(RETRY_SECONDS))]
    return mapper


def _late_for_grpc() -> Config:
    """Tell gRPC callers that time ran out: the usual translation of 504 would have them try again."""
    status = {"comparison": {"op": "EQ", "value": {"default_value": 504, "runtime_key": "none"}}}
    late = str(code_pb2.DEADLINE_EXCEEDED)
    return {"filter": {"status_code_filter": status}, "headers_to_add": [header("grpc-status", late)]}


def _when(expression: str) -> Config:
    kind = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    return {"extension_filter": extension("cel", kind, expression=expression)}


def status_body(reply: Reply) -> Config:
    """Return a refusal the way the servers' own are rendered."""
    kind = "type.googleapis.com/google.rpc."
    details: list[Config] = [{"@type": f"{kind}ErrorInfo", "reason": reply.reason, "domain": DOMAIN}]
    if reply.retry:
        details.append({"@type": f"{kind}RetryInfo", "retryDelay": f"{RETRY_SECONDS}s"})
    return {"code": code_pb2.Code.Value(reply.code), "message": reply.message, "details": details}
