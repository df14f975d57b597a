"""An empty generic handler on grpc.aio and uvloop: the floor that the pipeline is measured against. Needs grpcio and uvloop alone."""

import asyncio
import sys

import grpc
import uvloop


async def handle(request, context):
    return ANSWER


class Handlers(grpc.GenericRpcHandler):
    def __init__(self):
        self._handler = grpc.unary_unary_rpc_method_handler(handle)

    def service(self, handler_call_details):
        return self._handler


async def main(address):
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(address)
    await server.start()
    print(grpc.__version__, flush=True)
    await server.wait_for_termination()


ANSWER = b""

if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
