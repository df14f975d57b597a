"""Envoy's configuration, made from the contract and the settings."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from gateway import clusters, listeners, pages
from gateway.contract import methods
from gateway.settings import Gateway
from gateway.xds import MEGABYTE, Config, extension

# Beyond either bound the gateway refuses, so that what is being served stays served. An idle connection takes 10 to 20 KB.
CONNECTIONS = 4000
SMALLEST_HEAP = 96 * MEGABYTE
LARGEST_HEAP = 1024 * MEGABYTE
CONTAINER = Path("/sys/fs/cgroup/memory.max")
MONITOR = "envoy.resource_monitors"
RUNTIME = {
    # A caller that breaks off what it asked for, over and over, is sent away.
    "overload.premature_reset_total_stream_count": 300,
    "overload.premature_reset_min_stream_lifetime_seconds": 1,
    # One connection's requests do not keep the others waiting.
    "http.max_requests_per_io_cycle": 10,
    # One expression holds every path of a kind, and is matched in one pass.
    "re2.max_program_size.error_level": 1_000_000,
    "re2.max_program_size.warn_level": 1_000_000,
}


def bootstrap(gateway: Gateway) -> Config:
    """Return the whole configuration of an Envoy."""
    contract = methods(gateway.descriptor)
    found = [listeners.public(gateway, contract, pages.routes(gateway))]
    targets = [clusters.servers(gateway.upstreams)]
    if gateway.cache_megabytes:
        found.append(listeners.inner(gateway, contract))
        targets.append(clusters.inside())
    internal = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
    return {
        "node": {"id": "ani", "cluster": "ani"},
        "admin": {"address": {"pipe": {"path": str(gateway.admin), "mode": 0o600}}},
        "static_resources": {"listeners": found, "clusters": targets},
        "bootstrap_extensions": [extension("envoy.bootstrap.internal_listener", internal)],
        "overload_manager": _overload(),
        "layered_runtime": {"layers": [{"name": "static", "static_layer": RUNTIME}]},
    }


def write(gateway: Gateway, path: Path) -> None:
    """Write the configuration, and make the cache's folder ready: answers of an earlier run may be wrong by now."""
    path.write_text(json.dumps(bootstrap(gateway), indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(gateway.cache_folder, ignore_errors=True)
    gateway.cache_folder.mkdir(mode=0o700, parents=True)


def _overload() -> Config:
    connections = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    heap = "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            extension(f"{MONITOR}.global_downstream_max_connections", connections, max_active_downstream_connections=CONNECTIONS),
            extension(f"{MONITOR}.fixed_heap", heap, max_heap_size_bytes=_heap()),
        ],
        "actions": [
            _action("shrink_heap", 0.9),
            _action("disable_http_keepalive", 0.93),
            _action("stop_accepting_requests", 0.96),
        ],
    }


def _heap() -> int:
    """Return the memory that Envoy may fill: a quarter of the machine's, or of the container's."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        memory = min(memory, int(CONTAINER.read_text()))
    return max(SMALLEST_HEAP, min(memory // 4, LARGEST_HEAP))


def _action(name: str, share: float) -> Config:
    trigger = {"name": f"{MONITOR}.fixed_heap", "threshold": {"value": share}}
    return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}
