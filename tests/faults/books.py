"""Compares what callers were told with what is there: nothing lost, nothing doubled, nobody shown what is no longer true."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc

from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import catalog_service_pb2_grpc
from tests.faults.load import TRANSIENT, Load
from tests.stack import Stack
from tests.waiting import until

UNFINISHED = """
    SELECT (SELECT count(*) FROM platform.events WHERE route_time IS NULL)
        + (SELECT count(*) FROM platform.deliveries WHERE done_time IS NULL)
"""
RECORDED = "SELECT payload ->> 'release_id' AS release_id, name, count(*) AS times FROM platform.events GROUP BY 1, 2"
DELIVERED = """
    SELECT count(*) AS deliveries, count(DISTINCT (event_id, consumer)) AS distinct_ones, count(DISTINCT event_id) AS events,
        (SELECT count(*) FROM platform.events) AS recorded, (SELECT count(*) FROM platform.dead_letters) AS dead
    FROM platform.deliveries
"""
STORED = "SELECT release_id::text, synopsis FROM catalog.releases WHERE release_id = ANY($1::uuid[]) AND delete_time IS NULL"


async def balance(load: Load, stack: Stack) -> None:
    """Check the books of a load that is over."""
    strange = [call for call in load.failed if call.outcome not in TRANSIENT]
    assert strange == []
    assert load.kept
    await everything_kept(load, stack)
    await every_event_delivered_once(load, stack)
    await every_change_told_once(load)
    for index in range(int(stack.settings.get("ANI_SERVERS", "2"))):
        await no_server_shows_the_past(load, stack, index)


async def everything_kept(load: Load, stack: Stack) -> None:
    """E1: what was acknowledged is there, once."""
    stored = {row["release_id"]: row["synopsis"] for row in await stack.ask(STORED, [kept.release_id for kept in load.kept])}
    assert stored == {kept.release_id: kept.synopsis for kept in load.kept if not kept.deleted}

    recorded: dict[str, Counter[str]] = {}
    for row in await stack.ask(RECORDED):
        recorded.setdefault(row["release_id"], Counter())[row["name"]] = row["times"]
    wrong = {kept.release_id: (recorded.get(kept.release_id), kept.events) for kept in load.kept}
    assert {key: pair for key, pair in wrong.items() if pair[0] != pair[1]} == {}


async def every_event_delivered_once(load: Load, stack: Stack) -> None:
    """E3: each event was delivered to each consumer, in one delivery that is done."""

    async def finished() -> bool:
        return not (await stack.ask(UNFINISHED))[0][0]

    await until(finished, seconds=40)
    (row,) = await stack.ask(DELIVERED)
    assert row["deliveries"] == row["distinct_ones"] == row["events"] == row["recorded"]
    assert row["dead"] == 0
    # One that was marked as done is not carried out again. A killed worker may not have counted all that it did.
    done = {labels: times for labels, times in stack.metrics().get("ani_deliveries_total", {}).items() if labels.endswith(",done")}
    assert sum(done.values()) <= row["deliveries"]


async def every_change_told_once(load: Load) -> None:
    """D6: whoever watched, through all breaks, saw each change once."""
    for seen in load.seen:
        assert {release_id: seen[release_id] for release_id in load.changes} == load.changes


async def no_server_shows_the_past(load: Load, stack: Stack, index: int) -> None:
    """F11: no cache keeps what a write made untrue, whoever was killed before it could say so."""
    async with stack.server_channel(index) as channel:
        # The last crash may have been its own: what was killed again and again takes its time to start.
        async with asyncio.timeout(40):
            await channel.channel_ready()
        catalog = catalog_service_pb2_grpc.CatalogServiceStub(channel)

        async def present(release_id: str) -> str | None:
            try:
                return (await catalog.GetRelease(pb.GetReleaseRequest(release=release_id), timeout=5)).release.synopsis
            except grpc.aio.AioRpcError as refused:
                if refused.code() is grpc.StatusCode.NOT_FOUND:
                    return None
                raise

        for kept in load.kept:

            async def true(release_id: str = kept.release_id, wanted: str | None = None if kept.deleted else kept.synopsis) -> bool:
                return await present(release_id) == wanted

            await until(true, seconds=10)
