"""Every call is counted, timed and logged, and the numbers of several processes add up."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from server.telemetry import calls
from server.telemetry.calls import CallLog
from server.telemetry.logs import Sink
from server.telemetry.metrics import Metrics
from tests.platform.conftest import run_python

Eventually = Callable[..., Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Method:
    name: str = "/ani.catalog.v1.CatalogService/GetRelease"


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class TestCallLog:
    async def test_writes_a_line_for_each_call(self, tmp_path: Path, eventually: Eventually) -> None:
        path = tmp_path / "ani.log"
        log = CallLog(Metrics(), Sink(path), process="server-0")
        log.start()
        log.observe(Method(), "OK", 0.0123456, "req-1", "ann")
        log.observe(Method(), "NOT_FOUND", 1.5, 'forged"\n', "2001:db8::/64")
        await eventually(lambda: path.read_bytes().count(b"\n") == 2)
        log.observe(Method(), "OK", 0.1, "req-3", "last words")
        await log.close()
        first, second, third = [json.loads(line) for line in path.read_bytes().splitlines()]

        assert abs((datetime.fromisoformat(first.pop("time")) - datetime.now(UTC)).total_seconds()) < 5
        assert first == {
            "level": "info",
            "logger": "ani.access",
            "process": "server-0",
            "message": "call",
            "request_id": "req-1",
            "method": Method.name,
            "code": "OK",
            "milliseconds": 12.346,
            "caller": "ann",
        }
        assert (second["request_id"], second["caller"]) == ('forged"\n', "2001:db8::/64")
        assert third["caller"] == "last words"

    async def test_counts_and_times_calls_by_method_and_code(self) -> None:
        metrics = Metrics()
        log = CallLog(metrics, None)
        labels = {"method": "ani.test.v1.Counted/Call", "code": "OK"}
        for seconds in (0.0001, 0.003, 0.003, 99.0):
            log.observe(Method("/ani.test.v1.Counted/Call"), "OK", seconds, "", "")
        metrics.flush()
        log.observe(Method("/ani.test.v1.Counted/Call"), "OK", 0.5, "", "")
        metrics.flush()

        assert sample("ani_rpc_seconds_count", **labels) == 5
        assert sample("ani_rpc_seconds_sum", **labels) == pytest.approx(99.5061)
        assert sample("ani_rpc_seconds_bucket", **labels, le="0.0005") == 1
        assert sample("ani_rpc_seconds_bucket", **labels, le="0.005") == 3
        assert sample("ani_rpc_seconds_bucket", **labels, le="0.5") == 4
        assert sample("ani_rpc_seconds_bucket", **labels, le="10.0") == 4

    async def test_ends_with_every_line_written_and_in_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "ani.log"
        sink = Sink(path)
        begun, released = threading.Event(), threading.Event()
        write = sink.write

        def slowly(lines: bytes) -> None:
            if not begun.is_set():
                begun.set()
                released.wait(5)
            write(lines)

        monkeypatch.setattr(sink, "write", slowly)
        log = CallLog(Metrics(), sink)
        log.start()
        log.observe(Method(), "OK", 0.001, "req-1", "ann")
        await asyncio.to_thread(begun.wait, 10)
        log.observe(Method(), "OK", 0.001, "req-2", "ann")
        closing = asyncio.create_task(log.close())
        asyncio.get_running_loop().call_later(0.1, released.set)
        await closing

        assert [json.loads(line)["request_id"] for line in path.read_bytes().splitlines()] == ["req-1", "req-2"]

    async def test_drops_lines_and_counts_them_while_nobody_takes_them(
        self, tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "LONGEST_BACKLOG", 1000)
        monkeypatch.setattr(calls, "WRITE_SECONDS", 0.01)
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        log = CallLog(Metrics(), Sink(path))
        log.start()
        loop_turns = 0
        while not log.dropped:
            for _ in range(500):
                log.observe(Method(), "OK", 0.001, "req", "ann")
            loop_turns += 1
            await asyncio.sleep(0.005)
        os.set_blocking(reader, True)
        taken = bytearray()

        def take() -> None:
            while block := os.read(reader, 65536):
                taken.extend(block)

        thread = threading.Thread(target=take)
        thread.start()
        await eventually(lambda: not log._backlog)
        await log.close()
        log._sink.close()  # type: ignore[union-attr]
        thread.join(10)
        os.close(reader)

        assert loop_turns > 2
        assert all(json.loads(line)["caller"] == "ann" for line in taken.splitlines())
        assert taken.count(b"\n") + log.dropped == loop_turns * 500


class TestMetrics:
    def test_follows_numbers_that_are_kept_elsewhere(self) -> None:
        metrics = Metrics()
        numbers = {"spent": 3.0, "open": 7.0}
        metrics.count("ani_test_spent", "Spent.", lambda: numbers["spent"], kind="a")
        metrics.level("ani_test_open", "Open.", lambda: numbers["open"])
        metrics.flush()
        numbers.update(spent=5.0, open=2.0)
        metrics.flush()

        assert sample("ani_test_spent_total", kind="a") == 5
        assert sample("ani_test_open") == 2

    async def test_hands_over_by_itself_and_at_the_end(self, eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("server.telemetry.metrics.FLUSH_SECONDS", 0.01)
        metrics, numbers = Metrics(), [1.0]
        metrics.count("ani_test_beat", "Beats.", lambda: numbers[0])
        metrics.start()
        await eventually(lambda: sample("ani_test_beat_total") == 1)
        numbers[0] = 2.0
        await metrics.close()

        assert sample("ani_test_beat_total") == 2

    def test_adds_up_over_processes(self, tmp_path: Path) -> None:
        source = (
            "from server.telemetry.calls import CallLog\nfrom server.telemetry.metrics import Metrics\n"
            "class Method: name = '/a.B/C'\n"
            "metrics = Metrics(); log = CallLog(metrics, None)\n"
            "metrics.level('ani_test_lag', 'Lag.', lambda: 2.0, mode='livemax')\n"
            "for _ in range(10): log.observe(Method, 'OK', 0.003, '', '')\n"
            "metrics.flush(); print('flushed', flush=True); input()\n"
        )
        processes = [run_python(source, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) for _ in range(2)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"flushed\n"
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(tmp_path))  # type: ignore[no-untyped-call]
        text = generate_latest(registry).decode()
        for process in processes:
            process.communicate(timeout=10)

        assert 'ani_rpc_seconds_count{code="OK",method="a.B/C"} 20.0' in text
        assert "ani_test_lag 2.0" in text
