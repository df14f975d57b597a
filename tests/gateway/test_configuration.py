"""The configuration as Envoy itself judges it, and the promises that no single call shows."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.local.envoy import LocalEnvoy
from gateway.contract import GEN, methods
from gateway.envoy import bootstrap, write
from gateway.settings import Gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(
        host="127.0.0.1",
        port=8080,
        upstreams=("127.0.0.1:50051", "127.0.0.1:50052"),
        admin=tmp_path / "admin.sock",
        cache_folder=tmp_path / "a folder" / "cache",
        cache_megabytes=16,
    )


class TestConfiguration:
    @pytest.mark.parametrize(
        "wishes",
        [
            {},
            {"cache_megabytes": 0},
            {"upstreams": ("unix:/tmp/one.sock",)},
            {"upstreams": ("server:50051", "[::1]:50052")},
            {"host": "::", "trusted_hops": 2, "country_header": "cf-ipcountry", "reflection": False},
            {"cors_origins": ("*",)},
            {"cors_origins": ("https://one.example", "http://localhost:3000")},
        ],
        ids=str,
    )
    def test_is_good_for_envoy(self, gateway: Gateway, tmp_path: Path, wishes: dict[str, Any]) -> None:
        path = tmp_path / "envoy.json"
        write(replace(gateway, **wishes), path)

        command = [*LocalEnvoy(gateway.admin, path).command(), "--mode", "validate"]
        judged = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

        assert judged.returncode == 0, judged.stderr
        assert "OK" in judged.stdout
        assert "Deprecated" not in judged.stderr

    def test_leads_every_method_somewhere(self, gateway: Gateway) -> None:
        text = json.dumps(bootstrap(gateway)).replace("\\\\", "")

        missing = [method.full_name for method in methods((GEN / "descriptor.binpb").read_bytes()) if method.full_name not in text]
        assert missing == []

    def test_never_sets_what_switches_a_timeout_off(self, gateway: Gateway) -> None:
        assert "max_stream_duration" not in json.dumps(bootstrap(gateway))

    def test_keeps_the_admin_page_on_a_private_socket(self, gateway: Gateway) -> None:
        admin = bootstrap(gateway)["admin"]["address"]

        assert admin == {"pipe": {"path": str(gateway.admin), "mode": 0o600}}

    def test_keeps_answers_in_files_alone(self, gateway: Gateway) -> None:
        assert "simple_http_cache" not in json.dumps(bootstrap(gateway))
