"""What every call goes through, composed once for each method at start-up: a call pays only for what its method needs."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from server.pipeline.front import Front, Machinery
from server.pipeline.plan import Plan, plan
from server.pipeline.streams import client_stream, server_stream
from server.pipeline.unary import unary


class Pipeline(grpc.GenericRpcHandler):
    """Turns services into handlers. Generic ones: grpc.aio pays for each registered method on every call (ADR 0002)."""

    def __init__(self, machinery: Machinery) -> None:
        self._machinery = machinery
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
        self.plans: list[Plan] = []

    def add(self, service: ServiceDescriptor, servicer: object) -> None:
        """Compose the handlers of a service's methods."""
        for method in service.methods:
            planned = plan(method)
            self.plans.append(planned)
            self._handlers[planned.name] = self._compose(planned, getattr(servicer, method.name))

    def _compose(self, planned: Plan, method: Any) -> grpc.RpcMethodHandler[bytes, bytes]:
        front = Front(self._machinery, planned)
        if planned.server_streaming:
            handler: Any = server_stream(front, method)
            kind = grpc.stream_stream_rpc_method_handler if planned.client_streaming else grpc.unary_stream_rpc_method_handler
            return kind(handler)
        if planned.client_streaming:
            return grpc.stream_unary_rpc_method_handler(client_stream(front, method))
        return grpc.unary_unary_rpc_method_handler(unary(front, method))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Find the handler of a method; grpc asks once for each call."""
        return self._handlers.get(handler_call_details.method)
