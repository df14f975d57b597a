"""The metrics page: one for all processes of a stack, served by the one that started them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from server.stack.mailbox import Mailbox
from server.stack.supervisor import Child


class Parts(Collector):
    """What the supervisor knows of its children."""

    def __init__(self, children: Callable[[], Iterable[Child]]) -> None:
        self._children = children

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("ani_part_up", "Whether a part of the stack is running.", labels=["part"])
        restarts = CounterMetricFamily("ani_part_restarts", "How often a part was started again.", labels=["part"])
        for child in self._children():
            up.add_metric([child.part.name], float(child.alive))
            restarts.add_metric([child.part.name], child.restarts)
        yield up
        yield restarts


class MetricsPage:
    """Serves what all processes wrote into one folder; the folder is emptied first, for numbers begin with the stack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        self._stop: Callable[[], None] = lambda: None

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to write into the folder."""
        return {"PROMETHEUS_MULTIPROC_DIR": str(self.folder)}

    def start(self, host: str, port: int, children: Callable[[], Iterable[Child]], *, mailbox: Mailbox | None = None) -> None:
        """Serve /metrics, and /mail where there is a mailbox. Raises OSError when the address is taken."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self.folder))  # type: ignore[no-untyped-call]
        registry.register(Parts(children))
        server, thread = start_http_server(port, host, registry)
        if mailbox and (metrics := server.get_app()):
            server.set_app(mailbox.beside(metrics))

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._stop = stop

    def forget(self, pid: int) -> None:
        """Drop what is only true of a living process."""
        mark_process_dead(pid, str(self.folder))  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        self._stop()
