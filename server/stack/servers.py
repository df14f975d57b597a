"""The gRPC server processes of one machine: where they listen, and `ani serve`, which keeps several of them running."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from server.settings import Settings
from server.stack import embedded
from server.stack.probe import speaks_http2
from server.stack.scrape import MetricsPage
from server.stack.supervisor import Part, PartFailed, Supervisor, run
from server.stack.words import notable_in_json

# What a server needs beyond its drain to finish the calls at work.
GRACE_SECONDS = 15.0


def addresses(settings: Settings) -> list[str]:
    """Return an address for each process: the first is ANI_LISTEN, the others take the next ports or a numbered socket."""
    if settings.listen.startswith("unix:"):
        return [settings.listen if index == 0 else f"{settings.listen}.{index}" for index in range(settings.servers)]
    host, _, port = settings.listen.rpartition(":")
    return [f"{host}:{int(port) + index}" for index in range(settings.servers)]


def server_part(index: int, address: str, *, environment: Mapping[str, str], drain_seconds: int) -> Part:
    return Part(
        name=f"server-{index}",
        argv=embedded.command("serve", "--index", str(index), "--listen", address),
        environment=environment,
        ready=partial(speaks_http2, address),
        grace=drain_seconds + GRACE_SECONDS,
        notable=notable_in_json,
    )


def serve(settings: Settings) -> int:
    """Keep the servers running until told to stop; return the exit status."""
    try:
        with tempfile.TemporaryDirectory(prefix="ani-metrics-") as folder:
            asyncio.run(_serve(settings, MetricsPage(Path(folder, "metrics"))))
    except (embedded.Refused, PartFailed, OSError) as refusal:
        _say(str(refusal))
        return 1
    return 0


async def _serve(settings: Settings, page: MetricsPage) -> None:
    supervisor = Supervisor(logs=None, say=_say, ended=page.forget)
    places = addresses(settings)

    async def begin() -> None:
        parts = (
            server_part(index, address, environment=page.environment, drain_seconds=settings.drain_seconds)
            for index, address in enumerate(places)
        )
        await supervisor.start(*parts)
        _say(f"answering on {', '.join(places)}")

    page.start(settings.metrics_host, settings.metrics_port, lambda: supervisor.children)
    try:
        await run(supervisor, begin)
    finally:
        page.stop()


def _say(words: str) -> None:
    sys.stderr.write(f"ani serve: {words}\n")
    sys.stderr.flush()
