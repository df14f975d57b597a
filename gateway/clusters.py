"""Where calls go: the servers, watched and spared when they fail, and the inner listener behind the HTTP cache."""

from __future__ import annotations

import ipaddress

from gateway.xds import Config, extension, typed

SERVERS = "servers"
INSIDE = "inside"
INNER = "inner"
# Under way at once for each server process: ordinary calls; streams, and what is shed last.
CALLS = 128
STREAMS = 1024
# A name may stand for any number of servers.
NAMED_SERVERS = 32
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def servers(upstreams: tuple[str, ...]) -> Config:
    """Return the cluster of the server processes, each an endpoint of its own."""
    fixed = all(upstream.startswith("unix:") or _is_address(upstream.rpartition(":")[0]) for upstream in upstreams)
    return {
        "name": SERVERS,
        "type": "STATIC" if fixed else "STRICT_DNS",
        # A name may stand for both; the servers of this project listen on IPv4 unless told otherwise.
        "dns_lookup_family": "V4_PREFERRED",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": SERVERS,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}} for upstream in upstreams]}],
        },
        "typed_extension_protocol_options": {HTTP_OPTIONS: _http2()},
        "health_checks": [_health_check()],
        # A process that was killed is out before the next health check finds out.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 2,
            "consecutive_5xx": 0,
            "consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "interval": "0.5s",
            "base_ejection_time": "1s",
            "max_ejection_time": "10s",
            "max_ejection_percent": 70,
        },
        # Health checks that fail everywhere tell of overload, not of death: then calls go on, and the servers shed them.
        # By default what is found out within a second of the last change is kept back until that second is over.
        "common_lb_config": {"healthy_panic_threshold": {"value": 10}, "update_merge_window": "0s"},
        "circuit_breakers": {"thresholds": _bounds(len(upstreams) if fixed else NAMED_SERVERS)},
        "per_connection_buffer_limit_bytes": 1024 * 1024,
    }


def inside() -> Config:
    """Return the cluster that is this same Envoy's inner listener."""
    internal = {"envoy_internal_address": {"server_listener_name": INNER}}
    return {
        "name": INSIDE,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": INSIDE,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": internal}}]}],
        },
        "transport_socket": extension(
            "envoy.transport_sockets.internal_upstream",
            "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
            transport_socket=extension(
                "envoy.transport_sockets.raw_buffer", "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
            ),
        ),
        "typed_extension_protocol_options": {HTTP_OPTIONS: _http2()},
        "circuit_breakers": {"thresholds": [{"max_connections": 1024, "max_pending_requests": 4096, "max_requests": 4096}]},
    }


def address(upstream: str) -> Config:
    """Return where a server listens, from host:port or unix:/path."""
    if upstream.startswith("unix:"):
        return {"pipe": {"path": upstream.removeprefix("unix:")}}
    host, _, port = upstream.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


def _bounds(servers: int) -> list[Config]:
    """Bound what is under way at once: beyond that calls would only wait in a queue that no server sees (ADR 0010)."""
    common = {"max_connections": 1024, "max_pending_requests": 1024, "max_retries": 500}
    return [
        common | {"priority": "DEFAULT", "max_requests": servers * CALLS},
        common | {"priority": "HIGH", "max_requests": servers * STREAMS},
    ]


def _http2() -> Config:
    options = {
        "max_concurrent_streams": 1000,
        "initial_stream_window_size": 1024 * 1024,
        "initial_connection_window_size": 4 * 1024 * 1024,
        "connection_keepalive": {"interval": "30s", "timeout": "10s"},
    }
    return typed(HTTP_OPTIONS, explicit_http_config={"http2_protocol_options": options})


def _health_check() -> Config:
    return {
        "timeout": "1s",
        "interval": "0.5s",
        # Without it, a cluster that had no traffic yet is looked at once a minute only.
        "no_traffic_interval": "0.5s",
        "no_traffic_healthy_interval": "0.5s",
        "unhealthy_interval": "0.25s",
        "unhealthy_edge_interval": "0.25s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
