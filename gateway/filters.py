"""The filters that requests and answers pass, made ready for Envoy."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from gateway.contract import Method
from gateway.settings import Gateway
from gateway.xds import MEGABYTE, Config, extension, header, typed

KIND = "envoy.extensions.filters.http"
LUA = Path(__file__).parent / "lua"

# Names of the filters that routes switch on and off.
CACHE = "envoy.filters.http.cache"
JSON = "json"
PROMOTE = "promote"
SHARE = "share"
WHOLE = "envoy.filters.http.buffer"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"

LARGEST_JSON_REQUEST = MEGABYTE
# As the servers have it.
LARGEST_GRPC_REQUEST = 4 * MEGABYTE + 5
# What a server sends at most.
LARGEST_JSON_ANSWER = 16 * MEGABYTE
# A file takes whole blocks of the disk, however small the answer in it.
BLOCK = 4096

# Only the gateway may say these: whoever sends them claims to be somebody else, or steers the gateway.
FORGED = (
    "forwarded",
    "x-account-id",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded-client-cert",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-role",
    "x-user-id",
)
FORGED_PREFIXES = ("x-ani-", "x-envoy-")
# These are for the servers, from whoever signs calls.
SIGNED = ("x-ani-signature", "x-ani-timestamp", "x-ani-nonce")
GRPC_HEADERS = ("grpc-status", "grpc-message", "grpc-encoding", "grpc-accept-encoding", "grpc-status-details-bin")
RATE_LIMITS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
# What pages of other origins may read of an answer, and send with a request.
EXPOSED = (
    "etag",
    "retry-after",
    "x-request-id",
    "x-revision",
    *RATE_LIMITS,
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
)
SENDABLE = (
    "authorization",
    "content-type",
    "grpc-timeout",
    "if-none-match",
    "x-grpc-web",
    "x-request-id",
    "x-revision",
    "x-user-agent",
)
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def public(gateway: Gateway, methods: Iterable[Method]) -> list[Config]:
    """Return the filters of the public listener, outermost first."""
    return [
        _tidy(gateway),
        *([extension("envoy.filters.http.cors", f"{KIND}.cors.v3.Cors")] if gateway.cors_origins else []),
        _compressor(),
        _off(_without(JSON, GRPC_HEADERS)),
        *([_off(_lua(SHARE, "share.lua")), _off(_cache(gateway))] if gateway.cache_megabytes else []),
        extension("envoy.filters.http.grpc_web", f"{KIND}.grpc_web.v3.GrpcWeb"),
        # A request goes on when all of it is here: a server has no use for halves, and a whole one can be repeated.
        _off(extension(WHOLE, f"{KIND}.buffer.v3.Buffer", max_request_bytes=LARGEST_JSON_REQUEST)),
        _transcoder(gateway, methods),
        _off(_lua(PROMOTE, "promote.lua")),
        _router(),
    ]


def inner(gateway: Gateway, methods: Iterable[Method]) -> list[Config]:
    """Return the filters of the inner listener: what leaves it is for many callers, so nothing of one caller's may be left in."""
    return [
        _without(JSON, GRPC_HEADERS),
        _lua("keep", "keep.lua"),
        _transcoder(gateway, methods),
        _lua(PROMOTE, "promote.lua"),
        _router(),
    ]


def sanitation(gateway: Gateway) -> Config:
    """Take away what only the gateway may say, before anything reads it."""
    mutations: list[Config] = [{"remove": name} for name in FORGED]
    mutations += [{"append": header(f"kept-{name}", f"%REQ({name})%")} for name in SIGNED]
    mutations += [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in FORGED_PREFIXES]
    mutations += [{"append": header(name, f"%REQ(kept-{name})%")} for name in SIGNED]
    mutations += [{"remove": f"kept-{name}"} for name in SIGNED]
    if not gateway.trusted_hops:
        mutations += [{"remove": name} for name in ("x-forwarded-for", "x-forwarded-proto")]
    if gateway.country_header:
        mutations.append({"append": header("x-ani-country", f"%REQ({gateway.country_header}):2%")})
        mutations.append({"remove": gateway.country_header})
    # A request id that is not sane goes, and Envoy makes a new one; an empty value removes nothing, hence the detour.
    given = "request.headers['x-request-id']"
    sane = f"{given}.matches('^[A-Za-z0-9._-]+$') && size({given}) >= 8 && size({given}) <= 64"
    mutations += [
        {"append": header("x-ani-request-id", f"%CEL({sane} ? {given} : '')%")},
        {"remove": "x-request-id"},
        {"append": header("x-request-id", "%REQ(x-ani-request-id)%")},
        {"remove": "x-ani-request-id"},
    ]
    return early(mutations)


def restoration() -> Config:
    """Give the inner listener the caller's address as the public one knew it."""
    return early([{"append": header("x-forwarded-for", "%REQ(x-ani-forwarded-for)%")}, {"remove": "x-ani-forwarded-for"}])


def early(mutations: list[Config]) -> Config:
    """Return changes of a request's headers that come before everything else."""
    name = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    return extension("envoy.http.early_header_mutation.header_mutation", name, mutations=mutations)


def cors(gateway: Gateway) -> Config:
    """Return which pages of other origins may call."""
    origins = [{"safe_regex": {"regex": ".*"}} if origin == "*" else {"exact": origin} for origin in gateway.cors_origins]
    policy = typed(
        f"{KIND}.cors.v3.CorsPolicy",
        allow_origin_string_match=origins,
        allow_methods=", ".join(VERBS),
        allow_headers=", ".join(SENDABLE),
        expose_headers=", ".join(EXPOSED),
        max_age="7200",
        allow_credentials=False,
    )
    return {"envoy.filters.http.cors": policy} if gateway.cors_origins else {}


def switched(*, on: Iterable[str] = (), off: Iterable[str] = ()) -> Config:
    """Return a route's own wishes of which filters it passes."""
    wish = "envoy.config.route.v3.FilterConfig"
    return {name: typed(wish, config={}) for name in on} | {name: typed(wish, disabled=True) for name in off}


def whole(largest: int) -> Config:
    """Return a route's wish that requests of up to this many bytes are taken in whole before they are sent on."""
    own = typed(f"{KIND}.buffer.v3.BufferPerRoute", buffer={"max_request_bytes": largest})
    return {WHOLE: typed("envoy.config.route.v3.FilterConfig", config=own)}


def _off(config: Config) -> Config:
    """Leave a filter out wherever a route does not ask for it."""
    return config | {"disabled": True}


def _tidy(gateway: Gateway) -> Config:
    """Say on every answer what holds for all of them: nothing is kept by anyone unless the server allows it."""
    mutations: list[Config] = [
        {"append": header("x-content-type-options", "nosniff")},
        {"append": header("cache-control", "no-store", action="ADD_IF_ABSENT")},
        {"remove": "x-envoy-upstream-service-time"},
    ]
    if gateway.cors_origins:
        mutations.append({"append": header("vary", "origin", action="APPEND_IF_EXISTS_OR_ADD")})
    return _mutation("envoy.filters.http.header_mutation", mutations)


def _without(name: str, headers: Iterable[str]) -> Config:
    return _mutation(name, [{"remove": one} for one in headers])


def _mutation(name: str, mutations: list[Config]) -> Config:
    return extension(name, f"{KIND}.header_mutation.v3.HeaderMutation", mutations={"response_mutations": mutations})


def _lua(name: str, file: str) -> Config:
    return extension(name, f"{KIND}.lua.v3.Lua", default_source_code={"inline_string": (LUA / file).read_text()})


def _compressor() -> Config:
    library = extension(
        "gzip",
        "envoy.extensions.compression.gzip.compressor.v3.Gzip",
        compression_level="COMPRESSION_LEVEL_3",
        memory_level=5,
        window_bits=13,
    )
    answers = {"common_config": {"min_content_length": 860}, "remove_accept_encoding_header": True, "weaken_etag_on_compress": True}
    kind = f"{KIND}.compressor.v3.Compressor"
    return extension("envoy.filters.http.compressor", kind, response_direction_config=answers, compressor_library=library)


def _cache(gateway: Gateway) -> Config:
    half = gateway.cache_megabytes * MEGABYTE // 2
    store = typed(
        "envoy.extensions.http.cache.file_system_http_cache.v3.FileSystemHttpCacheConfig",
        manager_config={"thread_pool": {"thread_count": 1}},
        cache_path=str(gateway.cache_folder),
        # Together they bound the disk in use: half of it what answers hold, half of it what their blocks waste at most.
        max_cache_size_bytes=half,
        max_cache_entry_count=half // BLOCK,
    )
    # Callers must not be able to make the servers work by asking not to be answered from the cache.
    return extension(CACHE, f"{KIND}.cache.v3.CacheConfig", typed_config=store, ignore_request_cache_control_header=True)


def _transcoder(gateway: Gateway, methods: Iterable[Method]) -> Config:
    services = dict.fromkeys(method.service for method in methods if method.bindings)
    return extension(
        TRANSCODER,
        f"{KIND}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor_bin=base64.b64encode(gateway.descriptor).decode(),
        services=list(services),
        match_incoming_request_route=True,
        convert_grpc_status=True,
        case_insensitive_enum_parsing=True,
        url_unescape_spec="ALL_CHARACTERS_EXCEPT_RESERVED",
        print_options={"always_print_primitive_fields": True, "stream_sse_style_delimited": True},
        request_validation_options={
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
        max_request_body_size=LARGEST_JSON_REQUEST,
        max_response_body_size=LARGEST_JSON_ANSWER,
    )


def _router() -> Config:
    return extension("envoy.filters.http.router", f"{KIND}.router.v3.Router", suppress_envoy_headers=True)
