"""Spans, as a collector gets them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from server.telemetry.tracing import Tracing
from tests.platform.conftest import run_python

METHOD = "/ani.catalog.v1.CatalogService/GetRelease"


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
        span = tracing.begin(METHOD, {"traceparent": f"00-{TRACE}-{PARENT}-01", "x": b"y"}, "req-1")
        tracing.end(span, "INTERNAL")
        tracing.end(tracing.begin(METHOD, {}, "req-2"), "OK")
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
            tracing.end(tracing.begin(METHOD, {"traceparent": "nonsense"}, f"req-{number}"), "NOT_FOUND")
        tracing.close()

        assert 50 < len(collector.received) < 150
        assert {span.status.code for span in collector.received} == {0}

    def test_ends_soon_although_the_collector_is_away(self) -> None:
        began = time.monotonic()
        tracing = Tracing("http://127.0.0.1:9", process="server-0", sampled=1.0)
        tracing.end(tracing.begin(METHOD, {}, "req-1"), "OK")
        called = time.monotonic() - began
        tracing.close()

        assert called < 1
        assert time.monotonic() - began < 5

    def test_costs_nothing_where_no_collector_is_set(self) -> None:
        process = run_python(
            "import sys\nimport server.wiring.application, server.telemetry.calls\n"
            "sys.exit(any(name.startswith(('opentelemetry.exporter', 'server.telemetry.tracing')) for name in sys.modules))"
        )
        _, error = process.communicate(timeout=30)

        assert process.returncode == 0, error
