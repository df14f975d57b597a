"""SystemService: how the platform is, and how it sees the caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version

from google.protobuf.duration_pb2 import Duration

from ani.options.v1 import policy_pb2
from ani.system.v1 import system_service_pb2 as pb
from server.health import Finding, Health, State
from server.pipeline.call import Call
from server.pipeline.quotas import Standing


class SystemServicer:
    """Serves what operators, balancers and clients ask about the platform itself."""

    def __init__(self, health: Health, schema_revision: Callable[[], Awaitable[str]]) -> None:
        self._health = health
        self._schema_revision = schema_revision

    async def CheckHealth(self, request: pb.CheckHealthRequest, call: Call) -> pb.CheckHealthResponse:
        findings = await self._health.check()
        worst = max((finding.state for finding in findings), default=State.OK)
        return pb.CheckHealthResponse(state=worst.value, parts=map(finding_to_pb, findings))  # type: ignore[arg-type]

    async def CheckLiveness(self, request: pb.CheckLivenessRequest, call: Call) -> pb.CheckLivenessResponse:
        return pb.CheckLivenessResponse()

    async def CheckReadiness(self, request: pb.CheckReadinessRequest, call: Call) -> pb.CheckReadinessResponse:
        await self._health.ready()
        return pb.CheckReadinessResponse()

    async def GetVersion(self, request: pb.GetVersionRequest, call: Call) -> pb.GetVersionResponse:
        return pb.GetVersionResponse(version=version("ani"), schema_revision=await self._schema_revision())

    async def GetCaller(self, request: pb.GetCallerRequest, call: Call) -> pb.GetCallerResponse:
        return pb.GetCallerResponse(
            country=call.viewer.country,
            account_id=call.viewer.account_id,
            role=policy_pb2.Role.Name(call.viewer.role.value),  # type: ignore[arg-type]
            allowances=map(standing_to_pb, call.standings()),
        )


def finding_to_pb(finding: Finding) -> pb.PartHealth:
    return pb.PartHealth(
        name=finding.name,
        state=finding.state.value,  # type: ignore[arg-type]
        detail=finding.detail,
        latency=_duration(finding.seconds),
    )


def standing_to_pb(standing: Standing) -> pb.Allowance:
    return pb.Allowance(
        name=standing.allowance.name,
        limit=standing.allowance.limit,
        remaining=standing.remaining,
        reset_after=_duration(standing.reset_after),
    )


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
