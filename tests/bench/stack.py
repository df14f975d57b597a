"""`ani up` as people run it: start, memory, and how two servers share the calls of one connection."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.local.runtime import runtime_folder
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_list_pb2
from tests.bench.machine import ROOT, WARM_UP, cpu_seconds, family, load, proportional_megabytes, title

STARTS = 3
SETTLE_SECONDS = 5.0
METHOD = "/ani.catalog.v1.CatalogService/GetRelease"
LIMIT_MEGABYTES = 512


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack."""

    pid: int
    port: int
    data: Path
    seconds: float

    def processes(self) -> dict[int, str]:
        return {pid: title(pid) for pid in family(self.pid)}

    def megabytes(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for pid, name in self.processes().items():
            found[name] += round(proportional_megabytes(pid))
        return found

    def calls_by_server(self) -> list[int]:
        """Return how many calls the gateway sent to each server."""
        stats = json.loads(_admin(runtime_folder(self.data) / "envoy.sock", "/clusters?format=json"))
        counts = []
        for cluster in stats["cluster_statuses"]:
            for host in cluster.get("host_statuses", []):
                if "server-" in json.dumps(host["address"]):
                    counts += [int(s.get("value", 0)) for s in host["stats"] if s["name"] == "rq_total"]
        return counts


def measure() -> str:
    with tempfile.TemporaryDirectory(prefix="ani-bench-") as folder:
        data = Path(folder, "data")
        with stack(data) as first:
            fresh = first.seconds
        starts = []
        for _ in range(STARTS):
            with stack(data) as again:
                starts.append(again.seconds)
        start = f"**{statistics.median(starts):.1f} s** with data present (median of {STARTS}; bar: 6)"
        lines = [f"* start to first answer through the gateway: {start}, {fresh:.1f} s on an empty folder"]
        with stack(data) as running:
            lines += ["", *_memory(running), "", *_sharing(running)]
    return "\n".join(lines)


def _memory(running: Stack) -> list[str]:
    time.sleep(SETTLE_SECONDS)
    idle = running.megabytes()
    request = release_list_pb2.ListReleasesRequest(page_size=20).SerializeToString()
    address = f"127.0.0.1:{running.port}"
    load(running.pid, address, METHOD.replace("GetRelease", "ListReleases"), request, calls=20_000, callers=100)
    busy = running.megabytes()
    names = sorted(idle, key=lambda name: -idle[name])
    rows = [f"| {name} | {idle[name]} | {busy[name]} |" for name in names]
    total = f"| **whole stack** (bar: {LIMIT_MEGABYTES}) | **{sum(idle.values())}** | **{sum(busy.values())}** |"
    head = ["| memory in MB, proportional share | idle | after 20,000 calls of 100 callers at once |", "|---|---|---|"]
    return [*head, *rows, total]


def _sharing(running: Stack) -> list[str]:
    servers = [pid for pid, name in running.processes().items() if name == "server"]
    envoy = [pid for pid, name in running.processes().items() if name == "envoy"]
    before, spent = running.calls_by_server(), sum(map(cpu_seconds, envoy))
    request = pb.GetReleaseRequest(release="cowboy-bebop").SerializeToString()
    calls = 20_000
    rate = load(servers, f"127.0.0.1:{running.port}", METHOD, request, calls=calls)
    gateway = (sum(map(cpu_seconds, envoy)) - spent) / (calls + WARM_UP) * 1e6
    shares = [after - b for after, b in zip(running.calls_by_server(), before, strict=True)]
    busier = f"{max(shares) / sum(shares):.0%}"
    paper = min(2.0, 2 * rate.cpu / max(rate.cpu, gateway))
    return [
        f"* one client connection of native gRPC through the gateway: {rate.rate:,.0f} calls/s, all on this machine's cores",
        f"* calls by server: {' and '.join(f'{share:,}' for share in shares)}, so the busier one took **{busier}**",
        f"* CPU for each call: {rate.cpu:.0f} µs in a server, {gateway:.0f} µs in the gateway",
        f"* on paper, two servers and the gateway on cores of their own take **{paper:.1f}** times what one takes (bar: 1.6)",
    ]


@contextmanager
def stack(data: Path) -> Iterator[Stack]:
    """Run `ani up` on free ports, until it answers, and end it as Ctrl-C does."""
    port, metrics = _free_ports(2)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        "ANI_DATA": str(data),
        "ANI_PORT": str(port),
        "ANI_METRICS_PORT": str(metrics),
        "ANI_QUOTA_PER_MINUTE": "0",
        "ANI_DRAIN_SECONDS": "1",
    }
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "server", "up"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        _await_answer(child, f"http://127.0.0.1:{port}/v1/releases?page_size=1")
        yield Stack(child.pid, port, data, time.monotonic() - began)
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(60)


def _await_answer(child: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise RuntimeError("the stack did not answer")


def _free_ports(count: int) -> list[int]:
    """Return ports below those that the system gives to outgoing connections."""
    found = []
    for port in range(20_000 + os.getpid() % 5000, 32_000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            break
    return found


def _admin(path: Path, target: str) -> str:
    connection = http.client.HTTPConnection("admin")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", target)
    text = connection.getresponse().read().decode()
    connection.close()
    return text
