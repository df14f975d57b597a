"""B6: what one caller is shown never depends on who asked before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_pb2
from domain.kernel import Role, new_id
from server.pipeline.plan import plan
from server.settings import Settings
from server.wiring import SERVICES
from tests.builders import NOON
from tests.pipeline.conftest import Probe, Start, Token
from tests.serving import Metadata, taken_apart

CACHED = [m for service in SERVICES for m in service.methods if plan(m).ttl]
IDS = [new_id(at=NOON) for _ in range(6)]
RELEASES: list[dict[str, Any]] = [
    {"publication": release_pb2.PUBLICATION_PUBLISHED},
    {"publication": release_pb2.PUBLICATION_DRAFT},
    {"publication": release_pb2.PUBLICATION_PUBLISHED, "blocked_countries": ["DE"]},
    {"publication": release_pb2.PUBLICATION_PUBLISHED, "age_rating": release_pb2.AGE_RATING_16},
    {"publication": release_pb2.PUBLICATION_PUBLISHED, "age_rating": release_pb2.AGE_RATING_18, "blocked_countries": ["JP", "DE"]},
]

viewers = st.tuples(st.sampled_from(Role), st.sampled_from(["", "JP", "DE"]), st.sampled_from([0, 12, 16, 18]))
requests: dict[str, st.SearchStrategy[Any]] = {
    "GetRelease": st.builds(pb.GetReleaseRequest, release=st.sampled_from([*IDS, "release-1", "release-3"])),
    "BatchGetReleases": st.builds(pb.BatchGetReleasesRequest, release_ids=st.lists(st.sampled_from(IDS), min_size=1, unique=True)),
    "ListReleases": st.builds(pb.ListReleasesRequest, page_size=st.sampled_from([0, 2])),
    "ListGenres": st.just(pb.ListGenresRequest()),
}
asked = st.sampled_from(CACHED).flatmap(lambda method: st.tuples(st.just(method.name), requests[method.name]))


def a_release(number: int, facts: dict[str, Any]) -> release_pb2.Release:
    usual: dict[str, Any] = {
        "release_id": IDS[number],
        "alias": f"release-{number}",
        "titles": [release_pb2.LocalizedTitle(language="en", text=f"Release {number}")],
        "kind": release_pb2.RELEASE_KIND_TV,
        "status": release_pb2.RELEASE_STATUS_ONGOING,
        "age_rating": release_pb2.AGE_RATING_12,
    }
    return release_pb2.Release(**usual | facts)


async def shown(probe: Probe, method: str, request: Any, metadata: Iterable[tuple[str, str]]) -> Any:
    """Return what a caller is answered, or why it is not."""
    try:
        return await getattr(probe.served.catalog, method)(request, metadata=tuple(metadata))
    except grpc.aio.AioRpcError as fault:
        refused = taken_apart(fault)
        return refused.code, refused.reason, refused.message


class TestCachedMethods:
    def test_are_all_asked(self) -> None:
        assert requests.keys() == {method.name for method in CACHED}

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    async def test_show_everyone_what_they_would_see_alone(
        self, two: tuple[Probe, Probe], token: Token, data: st.DataObject
    ) -> None:
        kept, cold = two
        method, request = data.draw(asked)
        first, second = [_metadata(token, *data.draw(viewers)) for _ in range(2)]

        await shown(kept, method, request, first)
        answer = await shown(kept, method, request, second)

        assert await shown(cold, method, request, second) == answer


@pytest.fixture
async def two(probe: Probe, start: Start, settings: Settings, token: Token) -> tuple[Probe, Probe]:
    """A server with a cache and one without, over the same releases."""
    for number, facts in enumerate(RELEASES):
        request = admin_pb.CreateReleaseRequest(release=a_release(number, facts))
        await probe.served.admin.CreateRelease(request, metadata=token(Role.EDITOR))
    return probe, await start(replace(settings, cache=False))


def _metadata(token: Token, role: Role, country: str, maturity: int) -> Metadata:
    signed = token(role, maturity=maturity) if role else ()
    return (*signed, *((("x-ani-country", country),) if country else ()))
