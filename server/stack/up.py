"""`ani up`: the whole platform on one machine, each part a supervised child."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from server.settings import Settings
from server.stack import embedded, words
from server.stack.mailbox import PLACE, Mailbox, is_loopback
from server.stack.probe import http_status, is_free
from server.stack.scrape import MetricsPage
from server.stack.servers import server_part
from server.stack.supervisor import Log, Part, PartFailed, Supervisor, run

PARTS = ("postgres", "valkey", "servers", "worker", "gateway", "metrics")


def up(settings: Settings, without: frozenset[str] = frozenset()) -> int:
    """Run everything until told to stop; return the exit status."""
    try:
        asyncio.run(Stack(settings, without).run())
    except (embedded.Refused, PartFailed) as refusal:
        sys.stderr.write(f"ani: {refusal}\n")
        return 1
    return 0


class Stack:
    """The parts of one machine and the folders they share."""

    def __init__(self, settings: Settings, without: frozenset[str]) -> None:
        self._settings = settings
        self._without = without
        self._began = time.monotonic()
        self._data = settings.data.resolve()
        self._runtime = Path()
        self._log: Log | None = None

    async def run(self) -> None:
        with self._folders():
            self._refuse_busy_ports()
            page = MetricsPage(self._runtime / "metrics")
            supervisor = Supervisor(logs=self._data / "logs", say=self._say, ended=page.forget)
            if self._has("metrics"):
                host, port = self._settings.metrics_host, self._settings.metrics_port
                page.start(host, port, lambda: supervisor.children, mailbox=self.mailbox)
            try:
                await run(supervisor, partial(self._begin, supervisor, page))
            finally:
                page.stop()
            self._say("stopped")

    @contextmanager
    def _folders(self) -> Iterator[None]:
        folder, self._runtime = embedded.folders(self._data)
        self._log = Log(self._data / "logs" / "ani.log")
        try:
            yield
            shutil.rmtree(self._runtime, ignore_errors=True)
        finally:
            self._log.close()
            folder.release()

    def _has(self, part: str) -> bool:
        return part not in self._without

    @property
    def mailbox(self) -> Mailbox | None:
        """What shows the letters to whoever sits at this machine; never in production, whose letters are other people's."""
        settings = self._settings
        folder = settings.mail_folder
        if folder is None or settings.environment != "development" or not is_loopback(settings.metrics_host):
            return None
        return Mailbox(folder.resolve())

    def _refuse_busy_ports(self) -> None:
        settings = self._settings
        wanted = [
            ("gateway", settings.host, settings.port, "ANI_PORT"),
            ("metrics", settings.metrics_host, settings.metrics_port, "ANI_METRICS_PORT"),
        ]
        for part, host, port, variable in wanted:
            if self._has(part) and not is_free(host, port):
                mend = f"stop what listens there (`ss -ltnp` tells), or set {variable} to another port"
                raise embedded.Refused(f"{host}:{port} cannot be listened on: {mend}")

    async def _begin(self, supervisor: Supervisor, page: MetricsPage) -> None:
        self._say(f"starting, with data in {self._data}")
        await supervisor.start(*self._stores())
        environment = self._environment(page)
        self._say("bringing the database up to date")
        await supervisor.complete(self._migration(environment))
        self._planted.touch()
        await supervisor.start(*self._workers(environment))
        if self._has("gateway"):
            await supervisor.start(self._gateway(environment))
        self._announce()

    def _stores(self) -> list[Part]:
        parts = []
        if not self._settings.database_url and self._has("postgres"):
            postgres = embedded.LocalPostgres(self._data / "postgres", self._runtime)
            parts.append(embedded.program_part(postgres, notable=words.notable_in_postgres))
        if not (self._settings.redis_url and self._settings.broker_url) and self._has("valkey"):
            valkey = embedded.LocalValkey(self._data / "valkey", self._runtime)
            parts.append(embedded.program_part(valkey, notable=words.notable_in_valkey))
        return parts

    def _sockets(self) -> list[Path]:
        return [self._runtime / f"server-{index}.sock" for index in range(self._settings.servers)]

    def _environment(self, page: MetricsPage) -> dict[str, str]:
        """Return what every process of ours must be told on top of what `ani up` was told itself."""
        resolved = embedded.resolved(self._settings)
        return {
            **page.environment,
            "ANI_DATA": str(self._data),
            "ANI_LOG_FILE": "",
            "ANI_UPSTREAMS": ",".join(f"unix:{path}" for path in self._sockets()),
            "DATABASE_URL": resolved.database_url,
            # Without Valkey the addresses stay, and nobody answers there: everything knows how to go on.
            "REDIS_URL": resolved.redis_url,
            "BROKER_URL": resolved.broker_url,
            # glibc's arenas would cost each process more than they give it.
            "MALLOC_ARENA_MAX": "2",
        }

    @property
    def _planted(self) -> Path:
        """The mark of a first start: whoever empties the catalog later does not want the demo again."""
        return self._data / "demo"

    def _migration(self, environment: dict[str, str]) -> Part:
        demo = ["--demo"] if self._settings.environment == "development" and not self._planted.exists() else []
        return Part(name="migrate", argv=embedded.command("migrate", "up", *demo), environment=environment)

    def _workers(self, environment: dict[str, str]) -> list[Part]:
        parts = []
        if self._has("servers"):
            for index, path in enumerate(self._sockets()):
                server = server_part(index, f"unix:{path}", environment=environment, drain_seconds=self._settings.drain_seconds)
                # The gateway has sent all callers away before it comes to this: SIGINT, for no drain.
                parts.append(replace(server, stop_signal=signal.SIGINT))
        if self._has("worker"):
            parts.append(
                Part(name="worker", argv=embedded.command("worker"), environment=environment, notable=words.notable_in_json)
            )
        return parts

    def _gateway(self, environment: dict[str, str]) -> Part:
        envoy = embedded.LocalEnvoy(self._runtime / "envoy.sock")
        return Part(
            name="gateway",
            argv=embedded.command("gateway"),
            environment=environment,
            prepare=envoy.prepare,
            ready=lambda: (
                envoy.ready() and (not self._has("servers") or http_status(self._local, self._settings.port, "/ready") == 200)
            ),
            drain=envoy.drain,
            notable=words.notable_in_envoy,
        )

    @property
    def _local(self) -> str:
        """How this machine reaches the gateway."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.host, self._settings.host)  # noqa: S104 - compared, not listened on

    def _say(self, words: str) -> None:
        line = f"{time.strftime('%H:%M:%S')} {words}\n"
        if self._log:
            self._log.write(line.encode())
        # A terminal that has gone must not end the stack.
        with suppress(OSError):
            sys.stdout.write(line)
            sys.stdout.flush()

    def _announce(self) -> None:
        """Tell where everything is and what to try."""
        settings = self._settings
        place = _place(self._local, settings.port)
        lines = [f"ready after {time.monotonic() - self._began:.1f} s; Ctrl-C ends it", ""]
        if self._has("gateway"):
            lines += [f"  API      http://{place}   gRPC, gRPC-Web and JSON", f"  Pages    http://{place}/docs   and /openapi.json"]
        if self._has("metrics"):
            metrics = f"http://{_place(settings.metrics_host, settings.metrics_port)}"
            lines += [f"  Metrics  {metrics}/metrics"]
            lines += [f"  Mail     {metrics}{PLACE}   letters, which are sent nowhere"] if self.mailbox else []
        lines += [f"  Data     {self._data}   with the logs in logs/", ""]
        if self._has("gateway"):
            lines += [
                "Three things to try:",
                f"  curl -s 'http://{place}/v1/releases?page_size=3'",
                f"  grpcurl -plaintext {place} ani.catalog.v1.CatalogService/ListGenres",
                f"  a browser at http://{place}/docs",
                "",
            ]
        self._say("\n".join(lines))


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
