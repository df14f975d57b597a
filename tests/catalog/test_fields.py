"""Which fields of a release callers get: those they ask for, and those that are for their eyes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_list_pb2 as list_pb
from ani.catalog.v1 import release_pb2
from domain.catalog.model import Release, RightsBlock
from domain.kernel import Role
from tests.builders import a_release
from tests.catalog.conftest import Desk
from tests.serving import Metadata, Served, refusal

Token = Callable[..., Metadata]
BLOCK = RightsBlock("A holder", "The licence has ended", ("KP",))
WAYS = ("GetRelease", "BatchGetReleases", "ListReleases")


@pytest.fixture
async def release(admin: Desk) -> Release:
    return (await admin.create_release(a_release(alias="it", rights_blocks=(BLOCK,), synopsis="What happens.")))[0]


async def got(served: Served, way: str, release: Release, *paths: str, metadata: Metadata = ()) -> release_pb2.Release:
    """Return a release in one of the ways in which it can be had."""
    mask = FieldMask(paths=paths)
    requests: dict[str, Any] = {
        "GetRelease": pb.GetReleaseRequest(release=release.alias, read_mask=mask),
        "BatchGetReleases": pb.BatchGetReleasesRequest(release_ids=[release.release_id], read_mask=mask),
        "ListReleases": list_pb.ListReleasesRequest(read_mask=mask),
    }
    answer = await getattr(served.catalog, way)(requests[way], metadata=metadata)
    found: release_pb2.Release = answer.release if way == "GetRelease" else answer.releases[0]
    return found


@pytest.mark.parametrize("way", WAYS)
class TestReadMask:
    async def test_returns_what_it_names_and_the_id(self, served: Served, release: Release, way: str) -> None:
        found = await got(served, way, release, "alias", "titles")

        assert ["alias", "release_id", "titles"] == sorted(field.name for field, _ in found.ListFields())

    async def test_is_no_part_of_other_callers_answers(self, served: Served, release: Release, way: str) -> None:
        await got(served, way, release, "alias")

        assert "What happens." == (await got(served, way, release)).synopsis

    async def test_shows_a_change_at_once(self, served: Served, release: Release, token: Token, way: str) -> None:
        before = await got(served, way, release, "synopsis")
        changed = release_pb2.Release(release_id=release.release_id, synopsis="What happens next.")
        update = admin_pb.UpdateReleaseRequest(release=changed, update_mask=FieldMask(paths=["synopsis"]))
        await served.admin.UpdateRelease(update, metadata=token(Role.EDITOR))

        after = await got(served, way, release, "synopsis")

        assert ("What happens.", "What happens next.") == (before.synopsis, after.synopsis)

    async def test_is_refused_when_it_names_no_field(self, served: Served, release: Release, way: str) -> None:
        for path in ("nothing", "titles.text", "*", ""):
            refused = await refusal(got(served, way, release, path))

            assert grpc.StatusCode.INVALID_ARGUMENT is refused.code
            assert ["read_mask"] == list(refused.fields)


@pytest.mark.parametrize("way", WAYS)
class TestRightsBlocks:
    async def test_are_shown_to_editors_alone(self, served: Served, release: Release, token: Token, way: str) -> None:
        for_editors = await got(served, way, release, metadata=token(Role.EDITOR))
        for_viewers = await got(served, way, release, metadata=token(Role.USER))

        assert [BLOCK.reason] == [block.reason for block in for_editors.rights_blocks]
        assert not for_viewers.rights_blocks
        assert not (await got(served, way, release, "rights_blocks")).rights_blocks
        assert 1 == len((await got(served, way, release, "rights_blocks", metadata=token(Role.EDITOR))).rights_blocks)
