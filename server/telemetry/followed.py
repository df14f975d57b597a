"""Which numbers of the pipeline's parts become metrics."""

from __future__ import annotations

from functools import partial

from server.pipeline.cache import AnswerCache
from server.pipeline.overload import Limiter
from server.pipeline.quotas import Quotas
from server.telemetry.metrics import Metrics


def follow(metrics: Metrics, limiter: Limiter, quotas: Quotas, cache: AnswerCache | None) -> None:
    """Have the numbers of a process's parts followed."""
    metrics.level("ani_work_in_flight", "Calls at work, past the cache.", lambda: limiter.inflight)
    metrics.level("ani_work_waiting", "Calls that wait for others to end.", lambda: limiter.waiting)
    metrics.level("ani_work_limit", "Calls that may be at work at once.", lambda: limiter.limit)
    metrics.level("ani_loop_lag_seconds", "How late the event loop was lately.", lambda: limiter.lag, mode="livemax")
    for criticality in limiter.shed:
        metrics.count(
            "ani_shed",
            "Calls refused under overload.",
            partial(limiter.shed.__getitem__, criticality),
            criticality=criticality.name,
        )
    metrics.count("ani_quota_refusals", "Calls refused because an allowance was used up.", lambda: quotas.refused)
    if cache is not None:
        reads = "Reads of cached answers, by where the answer was found."
        metrics.count("ani_cache_reads", reads, lambda: cache.local_hits, found="process")
        metrics.count("ani_cache_reads", reads, lambda: cache.shared_hits, found="shared")
        metrics.count("ani_cache_reads", reads, lambda: cache.misses, found="nowhere")
        metrics.count("ani_cache_evictions", "Cached answers that made room for others.", lambda: cache.evictions)
        metrics.level("ani_cache_megabytes", "Memory that cached answers take.", lambda: cache.megabytes)
