"""Where an episode is found that goes by another number elsewhere, over the real store and the wire."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from adapters.postgres import Database
from adapters.postgres.catalog.redirects import PostgresRedirects
from ani.catalog.v1 import browsing_service_pb2 as pb
from ani.catalog.v1 import browsing_service_pb2_grpc as pb_grpc
from ani.catalog.v1 import release_facts_pb2
from domain.catalog.model import ExternalId, Provider, Release, ReleaseBlocked, ReleaseNotFound, RightsBlock
from domain.catalog.redirects import MappedEpisode, parse_rule
from domain.catalog.service import Catalog
from domain.kernel import Viewer
from tests.builders import GUEST, a_draft, a_release, a_viewer, an_editor
from tests.catalog.conftest import Desk
from tests.serving import Metadata, Served, refusal

Token = Callable[..., Metadata]
MAL, ANILIST, ANIDB = Provider.MAL, Provider.ANILIST, Provider.ANIDB
RULE = "41380|?|116242:13-24 -> 44881|?|127366:1-12!"
FIRST = (ExternalId(MAL, "41380"), ExternalId(ANIDB, "15000"))
SECOND = (ExternalId(ANILIST, "127366"),)


@pytest.fixture(autouse=True)
async def rules(database: Database) -> None:
    async with database.begins(PostgresRedirects)() as kept:
        await kept.replace(parse_rule(RULE))


@pytest.fixture
async def seasons(catalog: Catalog, admin: Desk) -> tuple[Release, Release]:
    first, _ = await admin.create_release(a_release(alias="first", external_ids=FIRST))
    second, _ = await admin.create_release(a_release(alias="second", external_ids=SECOND))
    return first, second


async def mapped(catalog: Catalog, provider: Provider, external_id: str, number: int, viewer: Viewer = GUEST) -> MappedEpisode:
    return await catalog.map_episode(ExternalId(provider, external_id), number, viewer=viewer)


class TestMapEpisode:
    async def test_follows_a_rule_to_another_title(self, catalog: Catalog, seasons: tuple[Release, Release]) -> None:
        found = await mapped(catalog, MAL, "41380", 13)

        targets = (ExternalId(MAL, "44881"), ExternalId(ANILIST, "127366"))
        assert MappedEpisode(targets, 1, redirected=True, release=seasons[1]) == found

    async def test_changes_a_number_within_a_title(self, catalog: Catalog, seasons: tuple[Release, Release]) -> None:
        found = await mapped(catalog, ANILIST, "127366", 24)

        assert (12, True, seasons[1]) == (found.number, found.redirected, found.release)

    async def test_leaves_a_number_that_no_rule_speaks_of(self, catalog: Catalog, seasons: tuple[Release, Release]) -> None:
        found = await mapped(catalog, MAL, "41380", 12)

        assert MappedEpisode(FIRST, 12, redirected=False, release=seasons[0]) == found

    async def test_finds_rules_by_the_other_ids_of_a_title(self, catalog: Catalog, seasons: tuple[Release, Release]) -> None:
        found = await mapped(catalog, ANIDB, "15000", 14)

        assert (2, seasons[1]) == (found.number, found.release)

    async def test_says_what_a_rule_says_without_a_title_in_the_catalog(self, catalog: Catalog) -> None:
        found = await mapped(catalog, MAL, "41380", 20)

        assert (8, True, None) == (found.number, found.redirected, found.release)
        with pytest.raises(ReleaseNotFound):
            await mapped(catalog, MAL, "41380", 1)

    async def test_tells_nothing_of_a_hidden_title(self, catalog: Catalog, admin: Desk) -> None:
        await admin.create_release(a_draft(external_ids=FIRST))
        hidden, _ = await admin.create_release(a_draft(external_ids=SECOND))

        assert (await mapped(catalog, MAL, "41380", 13)).release is None
        assert hidden == (await mapped(catalog, MAL, "41380", 13, viewer=an_editor())).release
        for known_as, number in ((FIRST[1], 13), (FIRST[0], 1)):
            with pytest.raises(ReleaseNotFound):
                await mapped(catalog, known_as.provider, known_as.external_id, number)

    async def test_says_why_a_title_is_blocked(self, catalog: Catalog, admin: Desk) -> None:
        block = RightsBlock("A holder", "The licence has ended", ("JP",))
        await admin.create_release(a_release(external_ids=FIRST, rights_blocks=(block,)))

        with pytest.raises(ReleaseBlocked):
            await mapped(catalog, MAL, "41380", 1, viewer=a_viewer(country="JP"))
        assert 1 == (await mapped(catalog, MAL, "41380", 1, viewer=a_viewer(country="US"))).number


class TestOverTheWire:
    async def test_answers_with_ids_number_and_title(self, served: Served, admin: Desk) -> None:
        await admin.create_release(a_release(alias="second", external_ids=SECOND))
        stub = pb_grpc.BrowsingServiceStub(served.channel)

        request = pb.MapEpisodeRequest(provider=release_facts_pb2.EXTERNAL_ID_PROVIDER_MAL, external_id="41380", episode_number=24)
        answer = await stub.MapEpisode(request)

        assert (12, True, "second") == (answer.episode_number, answer.redirected, answer.release.alias)
        assert ["44881", "127366"] == [one.external_id for one in answer.external_ids]

    @pytest.mark.parametrize(
        ("field", "over"),
        [("provider", {"provider": 0}), ("external_id", {"external_id": "../x"}), ("episode_number", {"episode_number": -1})],
    )
    async def test_refuses_what_no_episode_is(self, served: Served, field: str, over: dict[str, object]) -> None:
        stub = pb_grpc.BrowsingServiceStub(served.channel)
        facts: dict[str, object] = {"provider": 1, "external_id": "41380", "episode_number": 1}

        refused = await refusal(stub.MapEpisode(pb.MapEpisodeRequest(**facts | over)))  # type: ignore[arg-type]

        assert grpc.StatusCode.INVALID_ARGUMENT is refused.code
        assert [field] == list(refused.fields)
