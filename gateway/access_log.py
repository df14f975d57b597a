"""The access log: a line of JSON for each request, without what the contract keeps out of logs."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.contract import Method
from gateway.paths import either, secret_addresses
from gateway.settings import STDOUT, Gateway
from gateway.xds import Config, extension

# The path as it came: the transcoder puts that of the method in its place, if it takes the request in hand.
GIVEN, PATH = "x-envoy-original-path", ":path"
LINE = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "request_id": "%REQ(x-request-id)%",
    "verb": "%REQ(x-envoy-original-method?:method)%",
    "path": f"%REQ({GIVEN}?{PATH}):512%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "milliseconds": "%DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "caller": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "user_agent": "%REQ(user-agent):128%",
    "route": "%ROUTE_NAME%",
    "server": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
}


def writers(gateway: Gateway, methods: Iterable[Method]) -> list[Config]:
    """Return what writes the lines: a writer for all addresses but those that hold a secret, and one for each of these."""
    secret = list(dict(secret_addresses(methods)).items())
    found = [_writer(gateway, LINE, _none(pattern for _, pattern in secret))]
    for place, (shown, pattern) in enumerate(secret):
        before = [_none(other for _, other in secret[:place])] if place else []
        found.append(_writer(gateway, LINE | {"path": shown}, _all([_any([pattern]), *before])))
    return found


def _writer(gateway: Gateway, line: Config, condition: Config) -> Config:
    form: Config = {"log_format": {"json_format": line}}
    if gateway.access_log == STDOUT:
        # Opened as a file it would be refused to a user other than the one who made the pipe, as containers have it.
        kind = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
        return extension("envoy.access_loggers.stdout", kind, **form) | {"filter": condition}
    kind = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
    return extension("envoy.access_loggers.file", kind, path=gateway.access_log, **form) | {"filter": condition}


def _any(patterns: Iterable[str]) -> Config:
    return {"or_filter": {"filters": [_matches(name, patterns) for name in (GIVEN, PATH)]}}


def _all(conditions: list[Config]) -> Config:
    return {"and_filter": {"filters": conditions}} if len(conditions) > 1 else conditions[0]


def _none(patterns: Iterable[str]) -> Config:
    patterns = tuple(patterns)
    return {"and_filter": {"filters": [_matches(name, patterns, invert_match=True) for name in (GIVEN, PATH)]}}


def _matches(name: str, patterns: Iterable[str], **more: bool) -> Config:
    compared = {"safe_regex": {"regex": either(patterns)}}
    return {"header_filter": {"header": {"name": name, "string_match": compared, "treat_missing_header_as_empty": True} | more}}
