"""OpenTelemetry spans of calls, sent to a collector; imported only where one is set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

# Of calls that begin a trace; those that come with one follow its decision. OTEL_TRACES_SAMPLER overrides it.
SAMPLED = 0.1
EXPORT_SECONDS = 2
# What a server answers for itself; everything else is the caller's doing and no fault of the span.
FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class Tracing:
    """Makes a span of each sampled call. A collector that is away costs calls nothing: spans wait, and then are dropped."""

    def __init__(self, endpoint: str, *, process: str, sampled: float = SAMPLED) -> None:
        sampler: Sampler | None = None
        if "OTEL_TRACES_SAMPLER" not in os.environ:
            sampler = ParentBased(TraceIdRatioBased(sampled))
        described = {"service.name": "ani", "service.version": version("ani"), "service.instance.id": process}
        self._provider = TracerProvider(sampler=sampler, resource=Resource.create(described), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("ani")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, method: str, metadata: Mapping[str, str | bytes], request_id: str) -> Span:
        """Begin a call's span, within the trace that the caller names; spans begun in the same task lie within it."""
        named = {name: str(metadata[name]) for name in ("traceparent", "tracestate") if name in metadata}
        parent = self._propagator.extract(named, Context())
        service, _, name = method.lstrip("/").partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "ani.request_id": request_id}
        span = self._tracer.start_span(method.lstrip("/"), parent, SpanKind.SERVER, attributes)
        contexts.attach(trace.set_span_in_context(span))
        return span

    def end(self, span: Span, code: str) -> None:
        """End a call's span."""
        span.set_attribute("rpc.response.status_code", code)
        if code in FAULTS:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what is left, as far as the collector takes it."""
        self._provider.shutdown()
