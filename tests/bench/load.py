"""Sends one request again and again over one connection, and prints how many answers came a second. A process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import chain
from typing import Any

import grpc
import uvloop


async def main(plan: dict[str, Any]) -> None:
    metadata = tuple((name, value) for name, value in plan["metadata"])
    request = bytes.fromhex(plan["request"])
    async with grpc.aio.insecure_channel(plan["address"]) as channel:
        method: Any = channel.unary_unary(plan["method"])

        async def caller(calls: int) -> list[float]:
            times = []
            for _ in range(calls):
                began = time.perf_counter()
                await method(request, metadata=metadata)
                times.append(time.perf_counter() - began)
            return times

        await caller(plan["warm_up"])
        share = plan["calls"] // plan["callers"]
        began = time.perf_counter()
        times = sorted(chain.from_iterable(await asyncio.gather(*(caller(share) for _ in range(plan["callers"])))))
        seconds = time.perf_counter() - began
    print(json.dumps({"rate": len(times) / seconds, "p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}))


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
