"""The public listener, and the inner one behind the HTTP cache: their limits, and what they write down."""

from __future__ import annotations

from gateway import access_log, filters, replies, routes
from gateway.clusters import INNER, address
from gateway.contract import Method
from gateway.settings import Gateway
from gateway.xds import KILOBYTE, MEGABYTE, Config, typed

LARGEST_PAGE = 4 * MEGABYTE
# A server takes 16 KB of metadata, of which the gateway's own headers need some.
HEADERS_KILOBYTES = 14
HEADERS_COUNT = 64
# A stream speaks at least every 15 seconds; whoever is silent for longer has gone.
IDLE = "60s"
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
SOCKET, KEEPALIVE = 1, 9
TCP, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 6, 4, 5, 6


def public(gateway: Gateway, methods: tuple[Method, ...], pages: list[Config]) -> Config:
    """Return the one listener that the world sees."""
    manager = _manager("public", routes.public(gateway, methods, pages), filters.public(gateway, methods)) | _edge(gateway, methods)
    manager["route_config"]["virtual_hosts"][0]["typed_per_filter_config"] = filters.cors(gateway)
    return {
        "name": "public",
        "address": address(f"{gateway.host}:{gateway.port}"),
        "filter_chains": [{"filters": [_network(manager)]}],
        "per_connection_buffer_limit_bytes": 256 * KILOBYTE,
        "max_connections_to_accept_per_socket_event": 10,
        # Callers that vanish without a word, in the middle of a stream, are found within two minutes.
        "socket_options": [
            _option(SOCKET, KEEPALIVE, 1),
            _option(TCP, KEEPALIVE_IDLE, 60),
            _option(TCP, KEEPALIVE_INTERVAL, 15),
            _option(TCP, KEEPALIVE_COUNT, 4),
        ],
    }


def inner(gateway: Gateway, methods: tuple[Method, ...]) -> Config:
    """Return the listener that the HTTP cache asks, whose own requests skip the filters that come after it."""
    manager = _manager(INNER, routes.inner(methods), filters.inner(gateway, methods))
    manager |= {
        "use_remote_address": False,
        "skip_xff_append": True,
        "generate_request_id": False,
        "early_header_mutation_extensions": [filters.restoration()],
    }
    return {"name": INNER, "internal_listener": {}, "filter_chains": [{"filters": [_network(manager)]}]}


def _manager(name: str, table: list[Config], chain: list[Config]) -> Config:
    return {
        "stat_prefix": name,
        "codec_type": "AUTO",
        "route_config": {
            "name": name,
            "max_direct_response_body_size_bytes": LARGEST_PAGE,
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": table}],
        },
        "http_filters": chain,
        "local_reply_config": replies.local_replies(),
        "server_name": "ani",
        "stream_idle_timeout": IDLE,
    }


def _edge(gateway: Gateway, methods: tuple[Method, ...]) -> Config:
    """Return what holds where callers are strangers."""
    return {
        "use_remote_address": True,
        "xff_num_trusted_hops": gateway.trusted_hops,
        "early_header_mutation_extensions": [filters.sanitation(gateway)],
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {"typed_config": _request_ids()},
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": HEADERS_KILOBYTES,
        "request_headers_timeout": "5s",
        # Ends with the answer's first byte, so that it does not bound streams.
        "request_timeout": "30s",
        "drain_timeout": "5s",
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "max_headers_count": HEADERS_COUNT,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": _http2(),
        "access_log": access_log.writers(gateway, methods),
    }


def _http2() -> Config:
    """Bound what one connection may ask for at once, and how much it may make the gateway answer for nothing."""
    return {
        "max_concurrent_streams": 100,
        "initial_stream_window_size": 256 * KILOBYTE,
        "initial_connection_window_size": MEGABYTE,
        "max_outbound_frames": 5000,
        "max_outbound_control_frames": 500,
        "max_consecutive_inbound_frames_with_empty_payload": 1,
        "max_inbound_priority_frames_per_stream": 20,
        "max_inbound_window_update_frames_per_data_frame_sent": 10,
        "connection_keepalive": {"interval": "30s", "timeout": "20s"},
    }


def _request_ids() -> Config:
    kind = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
    return typed(kind, pack_trace_reason=False, use_request_id_for_trace_sampling=False)


def _option(level: int, name: int, value: int) -> Config:
    return {"level": level, "name": name, "int_value": value, "state": "STATE_PREBIND"}


def _network(manager: Config) -> Config:
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": typed(MANAGER, **manager)}
