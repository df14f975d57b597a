"""What a process says of itself: lines that cannot be forged and hold no secrets, true numbers, spans in their callers' traces."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from server.telemetry import bind_request_id, calls, new_request_id
from server.telemetry.calls import CallLog
from server.telemetry.logs import JsonLines, Sink
from server.telemetry.metrics import Metrics
from server.telemetry.redaction import REDACTED, redacted, redacted_json
from server.telemetry.tracing import Tracing

Eventually = Callable[..., Coroutine[Any, Any, None]]
ROOT = Path(__file__).parents[2]


def run_python(source: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start another process of the platform."""
    paths = f"{ROOT}{os.pathsep}{ROOT / 'gen'}"
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@dataclass
class Lines:
    """A logger of its own, and what it wrote."""

    logger: logging.Logger
    path: Path

    @property
    def written(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    from server.telemetry import REQUEST_ID

    path = tmp_path / "ani.log"
    sink = Sink(path)
    logger = logging.Logger("ani.test")  # noqa: LOG001 - one that shares nothing with the others
    logger.addHandler(JsonLines(sink, process="server-0", request_id=REQUEST_ID.get))
    yield Lines(logger, path)
    sink.close()


class TestJsonLines:
    def test_says_when_who_and_what(self, lines: Lines) -> None:
        before = datetime.now(UTC)
        with bind_request_id("req-12345678"):
            lines.logger.warning("%d releases", 3, extra={"release_id": "r1", "seconds": 0.5, "tags": ["a", "b"]})
        lines.logger.info("outside")
        first, second = lines.written

        assert first["time"].endswith("Z")
        assert abs((datetime.fromisoformat(first.pop("time")) - before).total_seconds()) < 5
        assert first == {
            "level": "warning",
            "logger": "ani.test",
            "process": "server-0",
            "message": "3 releases",
            "request_id": "req-12345678",
            "release_id": "r1",
            "seconds": 0.5,
            "tags": ["a", "b"],
        }
        assert "request_id" not in second

    def test_lets_no_text_forge_a_line_or_steer_a_terminal(self, lines: Lines) -> None:
        evil = 'x\n{"level":"info"}\r\x1b[2J\x7f\u202e\u2028\x85\0"'
        lines.logger.info("title %s", evil, extra={"title": evil})
        raw = lines.path.read_bytes()

        assert raw.count(b"\n") == 1
        assert all(32 <= byte < 127 for byte in raw[:-1])
        assert lines.written[0]["message"] == f"title {evil}"
        assert lines.written[0]["title"] == evil

    @pytest.mark.parametrize(
        ("text", "secret"),
        [
            ("Authorization: Bearer abcdef123456.xyz", "abcdef123456"),
            ("token was eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2ln", "eyJ"),
            ("connect postgresql://ani:hunter2@db/ani failed", "hunter2"),
            ("password=hunter2 for ann", "hunter2"),
            ('{"refresh_token": "hunter2", "a": 1}', "hunter2"),
            ("https://x.example/login?api_key=hunter2&next=/", "hunter2"),
        ],
    )
    def test_blanks_what_looks_like_a_secret(self, lines: Lines, text: str, secret: str) -> None:
        lines.logger.info(text)
        lines.logger.info("as a field", extra={"detail": text})
        try:
            raise ValueError(text)
        except ValueError:
            lines.logger.exception("as a fault")

        assert secret not in lines.path.read_text()
        assert lines.path.read_text().count(REDACTED) >= 3

    def test_blanks_fields_with_a_secrets_name_at_any_depth(self, lines: Lines) -> None:
        headers = {"Authorization": "x1", "cookie": "x1", "accept": "json", "nested": [{"api_key": "x1", "page": 2}]}
        lines.logger.info("called", extra={"headers": headers, "access_token": "x1"})

        assert lines.written[0]["headers"]["accept"] == "json"
        assert lines.written[0]["headers"]["nested"][0]["page"] == 2
        assert "x1" not in lines.path.read_text()

    def test_keeps_the_end_of_a_trace_that_is_too_long(self, lines: Lines) -> None:
        try:
            raise ValueError("y" * 100_000 + "the end")
        except ValueError:
            lines.logger.exception("x" * 100_000)

        assert len(lines.path.read_bytes()) < 40_000
        assert lines.written[0]["exception"].endswith("the end")

    def test_survives_a_message_that_cannot_be_made(self, lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
        lines.logger.info("%d", "no number")
        lines.logger.info("next", extra={"odd": float("nan"), "set": {1}, "path": Path("a")})

        assert "no number" in capsys.readouterr().err
        assert lines.written[0]["odd"] == "nan"
        assert lines.written[0]["path"] == "a"


class TestSetUp:
    def test_makes_a_whole_process_speak_json(self) -> None:
        process = run_python(
            "import warnings, logging\n"
            "from server import telemetry\n"
            "from server.settings import Settings\n"
            "telemetry.set_up(Settings(), process='worker')\n"
            "logging.getLogger('some.library').error('from a library')\n"
            "logging.getLogger('ani').debug('not asked for')\n"
            "warnings.warn('old')\n"
            "raise RuntimeError('password=hunter2')\n"
        )
        _, error = process.communicate(timeout=20)
        written = [json.loads(line) for line in error.splitlines()]

        assert [(one["level"], one["process"]) for one in written] == [
            ("error", "worker"),
            ("warning", "worker"),
            ("critical", "worker"),
        ]
        assert "RuntimeError" in written[2]["exception"]
        assert b"hunter2" not in error


class TestSink:
    def test_turns_a_full_file_over_and_keeps_so_many(self, tmp_path: Path) -> None:
        sink = Sink(tmp_path / "logs" / "ani.log", largest=100, kept=2)
        for number in range(40):
            sink.write(f"line {number:03d}\n".encode())
        sink.close()
        names = sorted(path.name for path in (tmp_path / "logs").iterdir())

        assert names == ["ani.log", "ani.log.1", "ani.log.2"]
        assert all(path.stat().st_size <= 100 for path in (tmp_path / "logs").iterdir())
        assert (tmp_path / "logs" / "ani.log").read_text().endswith("line 039\n")
        assert (tmp_path / "logs" / "ani.log").stat().st_mode & 0o777 == 0o600

    def test_loses_no_line_when_processes_share_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "ani.log"
        source = (
            "import sys\nfrom pathlib import Path\nfrom server.telemetry.logs import Sink\n"
            "sink = Sink(Path(sys.argv[1]), largest=20_000, kept=9)\n"
            "for number in range(1500):\n    sink.write(f'{sys.argv[2]}-{number:05d} {\"x\" * 20}\\n'.encode())\n"
            "assert not sink.lost\n"
        )
        writers = [run_python(source, str(path), name) for name in ("a", "b", "c")]
        for writer in writers:
            _, error = writer.communicate(timeout=30)
            assert writer.returncode == 0, error
        kept = sorted(line for file in tmp_path.iterdir() for line in file.read_text().splitlines())

        assert kept == sorted(f"{name}-{number:05d} {'x' * 20}" for name in "abc" for number in range(1500))
        assert len(list(tmp_path.iterdir())) > 5

    def test_follows_a_file_that_somebody_else_moved(self, tmp_path: Path) -> None:
        path = tmp_path / "ani.log"
        sink = Sink(path)
        sink.write(b"one\n")
        path.rename(tmp_path / "moved.log")
        sink.write(b"two\n")
        sink.close()

        assert path.read_text() == "two\n"

    def test_counts_what_a_full_disk_loses(self) -> None:
        sink = Sink(Path("/dev/full"))
        sink.write(b"one\ntwo\n")
        sink.close()

        assert sink.lost == 2


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


class TestNewRequestId:
    def test_makes_ids_that_differ_and_that_callers_may_send_back(self) -> None:
        from server.pipeline.front import REQUEST_ID

        made = {new_request_id() for _ in range(10_000)}

        assert len(made) == 10_000
        assert all(REQUEST_ID.fullmatch(one) for one in made)


@pytest.fixture(scope="module")
def login() -> type[Message]:
    """A message with secrets of its own and within others."""
    file = descriptor_pb2.FileDescriptorProto(name="redaction_test.proto", package="redaction", syntax="proto3")
    file.dependency.extend(["google/protobuf/any.proto", "google/protobuf/timestamp.proto"])
    kinds = descriptor_pb2.FieldDescriptorProto
    text, message, one, many = kinds.TYPE_STRING, kinds.TYPE_MESSAGE, kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    pin = file.message_type.add(name="Pin")
    pin.field.add(name="digits", number=1, type=text, label=one).options.debug_redact = True
    pin.field.add(name="hint", number=2, type=text, label=one)
    pin.field.add(name="back", number=3, type=message, label=one, type_name=".redaction.Login")
    login = file.message_type.add(name="Login")
    entry = login.nested_type.add(name="ByNameEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=text, label=one)
    entry.field.add(name="value", number=2, type=message, label=one, type_name=".redaction.Pin")
    login.field.add(name="user_name", number=1, type=text, label=one)
    login.field.add(name="password", number=2, type=text, label=one).options.debug_redact = True
    login.field.add(name="pin", number=3, type=message, label=one, type_name=".redaction.Pin")
    login.field.add(name="pins", number=4, type=message, label=many, type_name=".redaction.Pin")
    login.field.add(name="by_name", number=5, type=message, label=many, type_name=".redaction.Login.ByNameEntry")
    login.field.add(name="packed", number=6, type=message, label=one, type_name=".google.protobuf.Any")
    login.field.add(name="time", number=7, type=message, label=one, type_name=".google.protobuf.Timestamp")
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("redaction.Login"))


class TestRedacted:
    def test_blanks_what_the_contract_marks_wherever_it_is(self, login: Any) -> None:
        message = login(user_name="ann", password="s3cret", time=timestamp_pb2.Timestamp(seconds=0))
        message.pin.digits = "s3cret"
        message.pin.back.password = "s3cret"
        message.pins.add(digits="s3cret", hint="year")
        message.by_name["a"].digits = "s3cret"
        message.packed.Pack(login(password="s3cret", user_name="ben"))
        shown = redacted(message)

        assert "s3cret" not in json.dumps(shown)
        assert shown["user_name"] == "ann"
        assert shown["password"] == REDACTED
        assert shown["pins"] == [{"digits": REDACTED, "hint": "year"}]
        assert shown["packed"]["user_name"] == "ben"
        assert shown["time"] == "1970-01-01T00:00:00Z"

    def test_leaves_an_empty_secret_out(self, login: Any) -> None:
        assert redacted_json(login(user_name="ann")) == '{"user_name":"ann"}'

    def test_shows_nothing_of_what_it_does_not_know(self, login: Any) -> None:
        message = login(user_name="ann", packed=any_pb2.Any(type_url="type.googleapis.com/not.Known", value=b"s3cret"))

        assert redacted(message) == {"@type": "redaction.Login"}

    def test_keeps_a_line_a_line(self, login: Any) -> None:
        assert "\n" not in redacted_json(login(user_name="a\nb"))


@dataclass
class Collector:
    """An OpenTelemetry collector."""

    url: str
    received: list[Span]
    resources: list[dict[str, str]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    received: list[Span] = []
    resources: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in request.resource_spans:
                resources.append({one.key: one.value.string_value for one in resource.resource.attributes})
                for scope in resource.scope_spans:
                    received.extend(scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield Collector(f"http://127.0.0.1:{server.server_port}", received, resources)
    server.shutdown()
    server.server_close()
    thread.join()


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class TestTracing:
    def test_sends_spans_within_their_callers_trace(self, collector: Collector) -> None:
        tracing = Tracing(collector.url, process="server-0", sampled=0.0)
        span = tracing.begin(Method.name, {"traceparent": f"00-{TRACE}-{PARENT}-01", "x": b"y"}, "req-1")
        tracing.end(span, "INTERNAL")
        tracing.end(tracing.begin(Method.name, {}, "req-2"), "OK")
        tracing.close()
        (sent,) = collector.received
        attributes = {one.key: one.value.string_value for one in sent.attributes}

        assert sent.name == "ani.catalog.v1.CatalogService/GetRelease"
        assert (sent.trace_id.hex(), sent.parent_span_id.hex()) == (TRACE, PARENT)
        assert sent.status.code == sent.status.STATUS_CODE_ERROR
        assert attributes["rpc.method"] == "GetRelease"
        assert attributes["ani.request_id"] == "req-1"
        assert collector.resources[0]["service.instance.id"] == "server-0"

    def test_samples_calls_that_begin_a_trace(self, collector: Collector) -> None:
        tracing = Tracing(collector.url, process="server-0", sampled=0.5)
        for number in range(200):
            tracing.end(tracing.begin(Method.name, {"traceparent": "nonsense"}, f"req-{number}"), "NOT_FOUND")
        tracing.close()

        assert 50 < len(collector.received) < 150
        assert {span.status.code for span in collector.received} == {0}

    def test_ends_soon_although_the_collector_is_away(self) -> None:
        began = time.monotonic()
        tracing = Tracing("http://127.0.0.1:9", process="server-0", sampled=1.0)
        tracing.end(tracing.begin(Method.name, {}, "req-1"), "OK")
        called = time.monotonic() - began
        tracing.close()

        assert called < 1
        assert time.monotonic() - began < 5

    def test_costs_nothing_where_no_collector_is_set(self) -> None:
        process = run_python(
            "import sys\nimport server.wiring, server.telemetry.calls\n"
            "sys.exit(any(name.startswith(('opentelemetry.exporter', 'server.telemetry.tracing')) for name in sys.modules))"
        )
        _, error = process.communicate(timeout=30)

        assert process.returncode == 0, error
