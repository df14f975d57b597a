"""B6: what one caller is shown never depends on who asked before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ani.accounts.v1 import token_key_service_pb2 as token_key_pb
from ani.catalog.v1 import browsing_service_pb2 as browsing_pb
from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import episode_admin_service_pb2 as episode_admin_pb
from ani.catalog.v1 import (
    episode_pb2,
    franchise_admin_service_pb2,
    franchise_admin_service_pb2_grpc,
    franchise_pb2,
    release_facts_pb2,
    release_list_pb2,
    release_pb2,
    schedule_pb2,
)
from ani.catalog.v1 import episode_service_pb2 as episode_pb
from ani.catalog.v1 import schedule_admin_service_pb2 as schedule_admin_pb
from ani.catalog.v1 import schedule_service_pb2 as schedule_pb
from ani.media.v1 import attachment_service_pb2 as attachment_pb
from ani.media.v1 import promo_admin_service_pb2 as promo_admin_pb
from ani.media.v1 import promo_pb2, upload_pb2
from ani.media.v1 import promo_service_pb2 as promo_pb
from ani.media.v1 import upload_service_pb2 as upload_pb
from domain.kernel import Role, new_id
from server.pipeline.plan import plan
from server.settings import Settings
from server.wiring.application import SERVICES
from tests.builders import NOON
from tests.media.images import an_image
from tests.pipeline.conftest import Probe, Start, Token
from tests.serving import Metadata, taken_apart

CACHED = [m for service in SERVICES for m in service.methods if plan(m).ttl]
IDS = [new_id(at=NOON) for _ in range(7)]
FRANCHISE_ID = new_id(at=NOON)
FILES = [new_id(at=NOON) for _ in range(3)]
EPISODES = [new_id(at=NOON) for _ in range(6)]
ENTRIES = [new_id(at=NOON) for _ in range(6)]
HELD = release_facts_pb2.RightsBlock(holder="Toho", reason="licensed elsewhere", countries=["DE"])
KNOWN = release_facts_pb2.ExternalId(provider=release_facts_pb2.EXTERNAL_ID_PROVIDER_MAL, external_id="1")
RELEASES: list[dict[str, Any]] = [
    {"publication": release_pb2.PUBLICATION_PUBLISHED},
    {"publication": release_pb2.PUBLICATION_DRAFT},
    {"publication": release_pb2.PUBLICATION_PUBLISHED, "blocked_countries": ["DE"]},
    {"publication": release_pb2.PUBLICATION_PUBLISHED, "age_rating": release_pb2.AGE_RATING_16},
    {"publication": release_pb2.PUBLICATION_PUBLISHED, "age_rating": release_pb2.AGE_RATING_18, "blocked_countries": ["JP", "DE"]},
    {"publication": release_pb2.PUBLICATION_PUBLISHED, "rights_blocks": [HELD], "external_ids": [KNOWN]},
]

viewers = st.tuples(
    st.sampled_from(Role),
    st.sampled_from(["", "JP", "DE"]),
    st.sampled_from([0, 12, 16, 18]),
    st.sampled_from([[], [IDS[3]], [IDS[3], IDS[4]]]),
)
requests: dict[str, st.SearchStrategy[Any]] = {
    "GetRelease": st.builds(pb.GetReleaseRequest, release=st.sampled_from([*IDS, "release-1", "release-3"])),
    "BatchGetReleases": st.builds(pb.BatchGetReleasesRequest, release_ids=st.lists(st.sampled_from(IDS), min_size=1, unique=True)),
    "ListReleases": st.builds(release_list_pb2.ListReleasesRequest, page_size=st.sampled_from([0, 2])),
    "ListGenres": st.just(pb.ListGenresRequest()),
    "LookupRelease": st.just(
        browsing_pb.LookupReleaseRequest(provider=release_facts_pb2.EXTERNAL_ID_PROVIDER_MAL, external_id="1")
    ),
    "MapEpisode": st.just(
        browsing_pb.MapEpisodeRequest(provider=release_facts_pb2.EXTERNAL_ID_PROVIDER_MAL, external_id="1", episode_number=1)
    ),
    "ListFilterValues": st.just(browsing_pb.ListFilterValuesRequest()),
    "ListTags": st.just(browsing_pb.ListTagsRequest()),
    "GetFranchise": st.builds(browsing_pb.GetFranchiseRequest, franchise_id=st.sampled_from([FRANCHISE_ID, IDS[0]])),
    "ListFranchises": st.just(browsing_pb.ListFranchisesRequest()),
    "GetEpisode": st.builds(episode_pb.GetEpisodeRequest, episode_id=st.sampled_from(EPISODES)),
    "BatchGetEpisodes": st.just(episode_pb.BatchGetEpisodesRequest(episode_ids=EPISODES)),
    "ListEpisodes": st.builds(episode_pb.ListEpisodesRequest, release=st.sampled_from(IDS)),
    "GetSchedule": st.builds(schedule_pb.GetScheduleRequest, view=st.sampled_from(["tomorrow", "upcoming"])),
    "GetScheduleCalendar": st.just(schedule_pb.GetScheduleCalendarRequest()),
    "GetScheduleEntry": st.builds(schedule_pb.GetScheduleEntryRequest, schedule_entry_id=st.sampled_from(ENTRIES)),
    "ListScheduleChanges": st.builds(schedule_pb.ListScheduleChangesRequest, schedule_entry_id=st.sampled_from(ENTRIES)),
    "ListAttachments": st.builds(
        attachment_pb.ListAttachmentsRequest,
        owner_kind=st.just(upload_pb2.OWNER_KIND_RELEASE),
        owner_ids=st.lists(st.sampled_from(IDS), min_size=1, unique=True),
    ),
    "ListPromos": st.builds(promo_pb.ListPromosRequest, placement=st.sampled_from([1, 2])),
    "GetVast": st.builds(promo_pb.GetVastRequest, placement=st.just(promo_pb2.PROMO_PLACEMENT_PRE_ROLL)),
    "GetTokenKeySet": st.builds(token_key_pb.GetTokenKeySetRequest),
    "GetImage": st.builds(upload_pb.GetImageRequest, file_id=st.sampled_from(FILES)),
}
asked = st.sampled_from(CACHED).flatmap(lambda method: st.tuples(st.just(method.name), requests[method.name]))


def a_release(number: int, facts: dict[str, Any]) -> release_pb2.Release:
    usual: dict[str, Any] = {
        "release_id": IDS[number],
        "alias": f"release-{number}",
        "titles": [release_facts_pb2.LocalizedTitle(language="en", text=f"Release {number}")],
        "kind": release_pb2.RELEASE_KIND_TV,
        "status": release_pb2.RELEASE_STATUS_ONGOING,
        "age_rating": release_pb2.AGE_RATING_12,
    }
    return release_pb2.Release(**usual | facts)


async def shown(probe: Probe, method: str, request: Any, metadata: Iterable[tuple[str, str]]) -> Any:
    """Return what a caller is answered, or why it is not."""
    found = next(one for one in CACHED if one.name == method)
    call: Any = probe.served.channel.unary_unary(
        f"/{found.containing_service.full_name}/{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(found.output_type).FromString,
    )
    try:
        return await call(request, metadata=tuple(metadata))
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
    franchise = franchise_pb2.Franchise(franchise_id=FRANCHISE_ID, name="Releases", release_ids=IDS[: len(RELEASES)])
    franchises = franchise_admin_service_pb2_grpc.FranchiseAdminServiceStub(probe.served.channel)
    created = franchise_admin_service_pb2.CreateFranchiseRequest(franchise=franchise)
    await franchises.CreateFranchise(created, metadata=token(Role.EDITOR))
    for release_id, episode_id, entry_id in zip(IDS, EPISODES, ENTRIES, strict=False):
        await schedule_episode(probe, release_id, episode_id, entry_id, token(Role.EDITOR))
    for file_id, release_id in zip(FILES, IDS[1:], strict=False):
        await attach_poster(probe, file_id, release_id, token(Role.EDITOR))
        await promote(probe, release_id, token(Role.EDITOR))
    return probe, await start(replace(settings, cache=False))


async def promote(probe: Probe, release_id: str, metadata: Metadata) -> None:
    promo = promo_pb2.Promo(title="Watch it", release_id=release_id, enabled=True)
    promo.format, promo.placement = promo_pb2.PROMO_FORMAT_BANNER, promo_pb2.PROMO_PLACEMENT_HOME
    await probe.served.promo_admin.CreatePromo(promo_admin_pb.CreatePromoRequest(promo=promo), metadata=metadata)


async def schedule_episode(probe: Probe, release_id: str, episode_id: str, entry_id: str, metadata: Metadata) -> None:
    episode = episode_pb2.Episode(episode_id=episode_id, release_id=release_id, number="1")
    await probe.served.episode_admin.CreateEpisode(episode_admin_pb.CreateEpisodeRequest(episode=episode), metadata=metadata)
    entry = schedule_pb2.ScheduleEntry(schedule_entry_id=entry_id, release_id=release_id, number="1")
    entry.planned_air_time.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    await probe.served.schedule_admin.CreateScheduleEntry(
        schedule_admin_pb.CreateScheduleEntryRequest(schedule_entry=entry), metadata=metadata
    )


async def attach_poster(probe: Probe, file_id: str, release_id: str, metadata: Metadata) -> None:
    head = upload_pb.UploadFileRequest(file_id=file_id, kind=upload_pb2.FILE_KIND_POSTER)
    head.content.data = an_image(size=(60, 90))
    await probe.served.uploads.UploadFile(iter([head]), metadata=metadata)
    place = attachment_pb.AttachFileRequest(owner_kind=upload_pb2.OWNER_KIND_RELEASE, owner_id=release_id, file_id=file_id)
    await probe.served.attachments.AttachFile(place, metadata=metadata)


def _metadata(token: Token, role: Role, country: str, maturity: int, granted: list[str]) -> Metadata:
    signed = token(role, maturity=maturity, granted=granted) if role else ()
    return (*signed, *((("x-ani-country", country),) if country else ()))
