"""The embedded Valkey: private, bounded, and jobs survive a kill."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from adapters.local.runtime import LocalRefused
from adapters.local.valkey import LocalValkey


@contextmanager
def running(valkey: LocalValkey) -> Iterator[subprocess.Popen[bytes]]:
    valkey.prepare()
    process = valkey.start(subprocess.DEVNULL)
    try:
        valkey.wait_ready()
        yield process
    finally:
        if process.poll() is None:
            valkey.stop(process)


class TestStart:
    def test_answers_on_a_private_socket_with_bounded_memory(self, valkey: LocalValkey) -> None:
        with running(valkey), Redis.from_url(valkey.url) as client:
            settings = client.config_get("maxmemory", "maxmemory-policy", "port")
            mode = valkey.socket.stat().st_mode & 0o777

        assert settings == {"maxmemory": str(64 * 2**20), "maxmemory-policy": "volatile-lru", "port": "0"}
        assert mode == 0o700

    def test_finds_jobs_again_after_a_kill(self, valkey: LocalValkey) -> None:
        with running(valkey) as process:
            with Redis.from_url(valkey.broker_url) as client:
                client.rpush("jobs", "one")
                # The file is synced every second, but it is written before each answer: a kill of the process loses nothing.
            process.kill()
            process.wait()

        with running(valkey), Redis.from_url(valkey.broker_url) as client, Redis.from_url(valkey.url) as cache:
            found = client.lrange("jobs", 0, -1)
            elsewhere = cache.exists("jobs")

        assert found == [b"one"]
        assert elsewhere == 0

    def test_evicts_what_expires_and_never_a_job(self, valkey: LocalValkey) -> None:
        with running(valkey), Redis.from_url(valkey.url) as cache, Redis.from_url(valkey.broker_url) as jobs:
            cache.config_set("maxmemory", "8mb")
            jobs.set("job", "x" * 1000)
            for number in range(200):
                cache.set(f"answer/{number}", "x" * 100_000, ex=60)
            kept = cache.dbsize()

            assert 0 < kept < 200
            assert jobs.exists("job") == 1


class TestRefusal:
    def test_names_a_folder_with_something_else_in_it(self, valkey: LocalValkey) -> None:
        valkey.data.mkdir()
        (valkey.data / "holiday.jpg").touch()

        with pytest.raises(LocalRefused, match="is not empty and not Valkey's: empty it"):
            valkey.prepare()

    def test_names_the_process_that_runs_already(self, valkey: LocalValkey, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(LocalValkey, "grace", 0.2)
        with running(valkey) as process:
            (runtime / "other").mkdir()
            second = LocalValkey(valkey.data, runtime / "other")

            with pytest.raises(LocalRefused, match=rf"is in use by valkey-server \(process {process.pid}\): stop it"):
                second.prepare()

            assert valkey.ready()
