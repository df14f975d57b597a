"""Runs a real Envoy with the gateway's configuration in front of real gRPC servers that speak the contract."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import httpx

from adapters.local.envoy import LocalEnvoy
from gateway.envoy import write
from gateway.settings import Gateway

ROOT = Path(__file__).resolve().parent.parent.parent
UPSTREAM = Path(__file__).parent / "upstream.py"


@dataclass(slots=True)
class Upstream:
    """One server process."""

    address: str
    drain: float
    journal: Path
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
        words = [sys.executable, str(UPSTREAM), self.address, str(self.drain), str(self.journal)]
        self.process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "serving\n"

    def end(self, *, kill: bool = False) -> int:
        if self.process is None:
            return 0
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        code = self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code


@dataclass(slots=True)
class Running:
    """A running gateway and the servers behind it."""

    gateway: Gateway
    envoy: LocalEnvoy
    process: subprocess.Popen[bytes]
    upstreams: list[Upstream]
    log: Path
    stopped: bool = field(default=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.gateway.port}"

    def stop(self) -> int:
        self.stopped = True
        return self.envoy.stop(self.process)

    def end(self) -> None:
        if not self.stopped:
            self.process.kill()
            self.process.wait(10)

    def admin(self, path: str) -> str:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.gateway.admin))) as client:
            return client.get(f"http://admin{path}").text


Open = Callable[..., Running]


def raw(channel: grpc.aio.Channel, method: str) -> Any:
    """Return a method that takes and gives bytes."""
    return channel.unary_unary(method)


def until(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait for a condition, and return what it came to."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def free_port() -> int:
    """Return a port that is free, outside the range the system itself hands out."""
    while True:
        port = random.randint(20_000, 30_000)
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def opened(*, servers: int = 2, drain: float = 1.5, **wishes: Any) -> Iterator[Running]:
    """Run a gateway with servers behind it."""
    folder = Path(tempfile.mkdtemp(prefix="ani gw "))
    try:
        with ExitStack() as ends:
            upstreams = [Upstream(f"unix:{folder / f's{index}'}", drain, folder / "journal") for index in range(servers)]
            for upstream in upstreams:
                upstream.start()
                ends.callback(upstream.end, kill=True)
            gateway = Gateway(
                host="127.0.0.1",
                port=free_port(),
                upstreams=tuple(upstream.address for upstream in upstreams),
                admin=folder / "admin",
                cache_folder=folder / "cache",
                access_log=str(folder / "access.log"),
            )
            gateway = replace(gateway, **wishes)
            write(gateway, folder / "envoy.json")
            envoy = LocalEnvoy(gateway.admin, folder / "envoy.json")
            with (folder / "envoy.log").open("wb") as output:
                command = [*envoy.command(), "--file-flush-interval-msec", "50"]
                process = subprocess.Popen(command, stdout=output, stderr=output)
            running = Running(gateway, envoy, process, upstreams, folder / "access.log")
            ends.callback(running.end)
            until(envoy.ready)
            until(lambda: _healthy(running) == servers)
            yield running
    finally:
        shutil.rmtree(folder)


def _healthy(running: Running) -> int:
    for line in running.admin("/stats?filter=cluster.servers.membership_healthy").splitlines():
        return int(line.rpartition(": ")[2])
    return -1
