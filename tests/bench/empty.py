"""An empty generic handler on grpc.aio and uvloop, the floor that the pipeline is measured against: needs nothing else."""

from __future__ import annotations

import sys
from typing import Any

import grpc
import uvloop


async def handle(request: bytes, context: Any) -> bytes:
    return b""


class Handlers(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self._handler: Any = grpc.unary_unary_rpc_method_handler(handle)

    def service(self, handler_call_details: Any) -> Any:
        return self._handler


async def main(address: str) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(address)
    await server.start()
    print(grpc.__version__, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
