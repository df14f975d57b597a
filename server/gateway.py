"""`ani gateway`: writes Envoy's configuration from the settings and the contract, and becomes Envoy."""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

from gateway.envoy import bootstrap, write
from gateway.settings import Gateway
from server.settings import Settings
from server.stack import embedded
from server.stack.servers import addresses


def configuration(settings: Settings) -> str:
    """Return Envoy's configuration as JSON."""
    return json.dumps(bootstrap(_gateway(settings)), indent=1) + "\n"


def become_envoy(settings: Settings) -> NoReturn:
    """Write the configuration and go on as Envoy."""
    try:
        runtime = embedded.runtime_folder(settings.data)
        file = runtime / "envoy.json"
        write(_gateway(settings), file)
        # The servers do the heavier half of a call's work, and share the machine.
        threads = max(1, (os.cpu_count() or 1) // 2)
        envoy = embedded.LocalEnvoy(runtime / "envoy.sock", file, concurrency=threads)
        envoy.prepare()
        command = envoy.command()
    except embedded.Refused as refusal:
        sys.exit(f"ani: {refusal}")
    os.execv(command[0], command)  # noqa: S606 - becoming Envoy is the purpose


def _gateway(settings: Settings) -> Gateway:
    """Return what the gateway is to do."""
    runtime = embedded.runtime_folder(settings.data)
    return Gateway(
        upstreams=settings.upstreams or tuple(addresses(settings)),
        host=settings.host,
        port=settings.port,
        admin=runtime / "envoy.sock",
        cache_folder=settings.data.resolve() / "gateway" / "cache",
        cache_megabytes=settings.http_cache_megabytes,
        trusted_hops=settings.trusted_hops,
        country_header=settings.country_header,
        cors_origins=settings.cors_origins,
        reflection=settings.reflection,
    )
