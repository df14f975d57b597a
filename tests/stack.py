"""The whole stack as people run it, for tests that walk through it and for tests that break it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import asyncpg
import grpc
import httpx
from prometheus_client.parser import text_string_to_metric_families

from adapters.local.runtime import runtime_path
from server.settings import Settings
from server.stack import embedded
from tests.processes import Ani, environment, free_port, until

PARTS = {
    "postgres": r"bin/postgres ",
    "valkey": r"valkey-server ",
    "server-0": r"server serve --index 0 ",
    "server-1": r"server serve --index 1 ",
    "worker": r"server worker ",
    "gateway": r"(server gateway |/envoy )",
}


class Stack(Ani):
    """`ani up` on free ports, and what there is to know and to do to it."""

    def __init__(self, folder: Path, *words: str, **settings: str) -> None:
        usual = {"ANI_PORT": str(free_port()), "ANI_METRICS_PORT": str(free_port()), "ANI_QUOTA_PER_MINUTE": "0"}
        folder.mkdir(exist_ok=True)
        super().__init__("up", *words, settings=usual | settings, folder=folder)
        self.token = cache(self._token)

    def __enter__(self) -> Self:
        try:
            self.await_line("Three things to try")
        except BaseException:
            self.end()
            raise
        return self

    @property
    def data(self) -> Path:
        return self.folder / ".ani"

    @property
    def runtime(self) -> Path:
        return runtime_path(self.data)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.settings['ANI_PORT']}"

    @property
    def database_url(self) -> str:
        return embedded.resolved(Settings(data=self.data, database_url=self.settings.get("DATABASE_URL", ""))).database_url

    def pid(self, part: str) -> int:
        """Return the process that plays a part, once there is one."""

        def found() -> int:
            return next((pid for pid, command in self.children().items() if re.search(PARTS[part], command)), 0)

        return until(found)

    def kill(self, part: str) -> int:
        """End a part as a crash would, and return its process."""
        pid = self.pid(part)
        os.kill(pid, signal.SIGKILL)
        return pid

    def tell(self, part: str, number: signal.Signals) -> None:
        os.kill(self.pid(part), number)

    def restarts(self) -> Counter[str]:
        """Count how often the stack said that it started a part again."""
        return Counter(match[1] for line in self.lines if (match := re.search(r"(\S+) started again after", line)))

    def await_restarts(self, wanted: Counter[str], *, seconds: float = 90.0) -> None:
        try:
            until(lambda: self.restarts() >= wanted, seconds=seconds)
        except TimeoutError:
            raise TimeoutError(f"{wanted - self.restarts()} were not started again:\n{self.text}") from None

    def command(self, *words: str, over: Mapping[str, str] = {}, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run another `ani …` beside the stack."""
        argv = [sys.executable, "-P", "-m", "server", *words]
        return subprocess.run(
            argv,
            cwd=self.folder,
            env=environment(**self.settings, **over),
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def _token(self, role: str) -> str:
        return self.command("token", "--role", role).stdout.strip()

    def credentials(self, role: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(role)}"}

    def http(self, **over: Any) -> httpx.AsyncClient:
        """Return a client of the JSON side."""
        return httpx.AsyncClient(base_url=f"http://{self.address}", trust_env=False, **{"timeout": 20.0} | over)

    def channel(self, address: str = "") -> grpc.aio.Channel:
        """Return a channel that repeats nothing by itself: what fails is seen."""
        return grpc.aio.insecure_channel(address or self.address, options=[("grpc.enable_retries", 0)])

    def server_channel(self, index: int) -> grpc.aio.Channel:
        """Return a channel to one server, past the gateway."""
        return self.channel(f"unix:{self.runtime}/server-{index}.sock")

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return each sample's values by their labels."""
        page = httpx.get(f"http://127.0.0.1:{self.settings['ANI_METRICS_PORT']}/metrics", trust_env=False)
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(page.text):
            for sample in family.samples:
                found.setdefault(sample.name, {})[",".join(sample.labels.values())] = sample.value
        return found

    def calls_by_server(self) -> Counter[str]:
        """Return how many calls each server has answered to the gateway."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.runtime / "envoy.sock")), base_url="http://gateway") as client:
            clusters = client.get("/clusters?format=json").json()["cluster_statuses"]
        hosts = [host for cluster in clusters for host in cluster.get("host_statuses", []) if "pipe" in host["address"]]
        answered = ({stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}["rq_success"] for host in hosts)
        return Counter(dict(zip((Path(host["address"]["pipe"]["path"]).stem for host in hosts), answered, strict=True)))

    async def ask(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Look into the database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()
