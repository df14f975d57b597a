"""`ani serve` and `ani gateway`, the parts as production runs them: by addresses, without a data folder of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from server.settings import Settings
from server.stack.probe import http_status, speaks_http2
from server.stack.servers import addresses
from tests.processes import Ani, free_port, until


@pytest.fixture
def settings(database_url: str, valkey_url: str, broker_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": valkey_url,
        "BROKER_URL": broker_url,
        "ANI_DATA": str(tmp_path / "data"),
        "ANI_LISTEN": f"unix:{tmp_path}/s",
        "ANI_METRICS_PORT": str(free_port()),
        "ANI_PORT": str(free_port()),
        "ANI_DRAIN_SECONDS": "0",
    }


@pytest.fixture
def serve(settings: dict[str, str], tmp_path: Path) -> Iterator[Ani]:
    with Ani("serve", settings=settings, folder=tmp_path) as serve:
        serve.await_line("answering on")
        yield serve


class TestAddresses:
    def test_are_the_next_ports(self) -> None:
        assert addresses(Settings(listen="0.0.0.0:50051", servers=3)) == ["0.0.0.0:50051", "0.0.0.0:50052", "0.0.0.0:50053"]

    def test_are_numbered_sockets(self) -> None:
        assert addresses(Settings(listen="unix:/run/ani", servers=2)) == ["unix:/run/ani", "unix:/run/ani.1"]


class TestServe:
    def test_runs_servers_on_addresses_of_their_own(self, serve: Ani, settings: dict[str, str]) -> None:
        listen = settings["ANI_LISTEN"]

        with urlopen(f"http://127.0.0.1:{settings['ANI_METRICS_PORT']}/metrics", timeout=10) as page:
            text = page.read().decode()

        assert speaks_http2(listen)
        assert speaks_http2(f"{listen}.1")
        assert 'ani_part_up{part="server-1"} 1.0' in text

    def test_revives_a_killed_server(self, serve: Ani) -> None:
        os.kill(next(iter(serve.children())), signal.SIGKILL)

        serve.await_line("ended (signal 9); starting it again")
        serve.await_line("started again after")

    def test_says_what_its_servers_say_as_they_say_it(self, serve: Ani) -> None:
        line = serve.await_line('"serving on')

        assert json.loads(line)["process"].startswith("server-")

    def test_ends_with_its_servers(self, serve: Ani) -> None:
        children = serve.children()

        status = serve.end(signal.SIGTERM)

        assert status == 0
        assert len(children) == 2
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]

    def test_names_an_address_that_is_taken(self, settings: dict[str, str], tmp_path: Path) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", free_port()))
            other.listen()
            taken = f"127.0.0.1:{other.getsockname()[1]}"
            with Ani("serve", "--listen", taken, settings={**settings, "ANI_SERVERS": "1"}, folder=tmp_path) as serve:
                serve.await_line(f"cannot listen on {taken}: it is taken")
                status = serve.end(seconds=60)

        assert status in {0, 1}


class TestGateway:
    def test_finds_the_servers_of_this_machine(self, serve: Ani, settings: dict[str, str], tmp_path: Path) -> None:
        with Ani("gateway", settings=settings, folder=tmp_path) as gateway:
            until(lambda: http_status("127.0.0.1", int(settings["ANI_PORT"]), "/ready") == 200)
            status = gateway.end(signal.SIGTERM)

        assert status == 0

    def test_shows_its_configuration(self, settings: dict[str, str], tmp_path: Path) -> None:
        with Ani("gateway", "--print", settings=settings, folder=tmp_path) as shown:
            status = shown.process.wait(30)

        assert status == 0
        assert json.loads(shown.text)["admin"]["address"]["pipe"]["mode"] == 0o600
