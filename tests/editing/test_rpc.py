"""What only the wire shows of EditingService, ChangeSetService and ReviewService."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2, release_facts_pb2, release_pb2
from ani.editing.v1 import change_set_pb2, revision_pb2
from ani.editing.v1 import change_set_service_pb2 as pb
from ani.editing.v1 import change_set_service_pb2_grpc as rpc
from ani.editing.v1 import dashboard_service_pb2 as dashboard_pb
from ani.editing.v1 import dashboard_service_pb2_grpc as dashboard_rpc
from ani.editing.v1 import editing_service_pb2 as editing_pb
from ani.editing.v1 import editing_service_pb2_grpc as editing_rpc
from ani.editing.v1 import review_service_pb2 as review_pb
from ani.editing.v1 import review_service_pb2_grpc as review_rpc
from domain.kernel import Role, new_id
from tests.builders import NOON
from tests.serving import Metadata, Served, refusal

Token = Callable[..., Metadata]
AUTHOR, REVIEWER = "0191d7a0-0000-7000-8000-0000000000a1", "0191d7a0-0000-7000-8000-0000000000a2"


def a_message(**over: object) -> release_pb2.Release:
    release_id = new_id(at=NOON)
    facts: dict[str, object] = {
        "release_id": release_id,
        "alias": f"release-{release_id[-12:]}",
        "titles": [release_facts_pb2.LocalizedTitle(language="en", text="Song of the Wind")],
        "kind": release_pb2.RELEASE_KIND_TV,
        "status": release_pb2.RELEASE_STATUS_ONGOING,
        "age_rating": release_pb2.AGE_RATING_12,
        "publication": release_pb2.PUBLICATION_PUBLISHED,
    }
    return release_pb2.Release(**facts | over)  # type: ignore[arg-type]


def a_change(release: release_pb2.Release, *paths: str) -> change_set_pb2.Edit:
    return change_set_pb2.Edit(update_release=admin_pb.UpdateReleaseRequest(release=release, update_mask=FieldMask(paths=paths)))


@pytest.fixture
async def release(served: Served, token: Token) -> release_pb2.Release:
    answer = await served.admin.CreateRelease(admin_pb.CreateReleaseRequest(release=a_message()), metadata=token(Role.EDITOR))
    return answer.release


@pytest.fixture
def sets(served: Served) -> rpc.ChangeSetServiceAsyncStub:
    return rpc.ChangeSetServiceStub(served.channel)


@pytest.fixture
def history(served: Served) -> editing_rpc.EditingServiceAsyncStub:
    return editing_rpc.EditingServiceStub(served.channel)


class TestProposal:
    async def test_goes_from_a_viewer_over_a_reviewer_to_everyone(
        self, served: Served, sets: rpc.ChangeSetServiceAsyncStub, release: release_pb2.Release, token: Token
    ) -> None:
        user, editor = token(Role.USER, AUTHOR), token(Role.EDITOR, REVIEWER)
        review = review_rpc.ReviewServiceStub(served.channel)
        read = catalog_service_pb2.GetReleaseRequest(release=release.release_id)
        await served.catalog.GetRelease(read)
        change = release_pb2.Release(release_id=release.release_id, synopsis="Wind.")
        draft = change_set_pb2.ChangeSet(title="A synopsis", edits=[a_change(change, "synopsis")])

        made = (await sets.CreateChangeSet(pb.CreateChangeSetRequest(change_set=draft), metadata=user)).change_set
        named = {"change_set_id": made.change_set_id}
        preview = await sets.PreviewChangeSet(pb.PreviewChangeSetRequest(**named), metadata=user)
        await sets.SubmitChangeSet(pb.SubmitChangeSetRequest(**named), metadata=user)
        await review.TakeChangeSet(review_pb.TakeChangeSetRequest(**named), metadata=editor)
        accepted = await review.AcceptChangeSet(review_pb.AcceptChangeSetRequest(**named), metadata=editor)
        seen = await served.catalog.GetRelease(read)

        difference = revision_pb2.FieldDifference(field="synopsis", before="", after="Wind.")
        assert [difference] == list(preview.outcomes[0].differences)
        assert ("release", ["synopsis"]) == (made.summaries[0].item_kind, list(made.summaries[0].fields))
        assert change_set_pb2.CHANGE_SET_STATE_PUBLISHED == accepted.change_set.state
        assert "Wind." == seen.release.synopsis

    async def test_is_refused_with_the_fields_of_its_edits_that_are_wrong(
        self, sets: rpc.ChangeSetServiceAsyncStub, release: release_pb2.Release, token: Token
    ) -> None:
        """Of an update only what its mask names is read, wherever it stands."""
        change = release_pb2.Release(release_id=release.release_id, synopsis="Wind.", alias="NOT AN ALIAS")
        edits = [a_change(change, "synopsis"), change_set_pb2.Edit(create_release=admin_pb.CreateReleaseRequest(release=change))]
        draft = change_set_pb2.ChangeSet(title="Two edits", edits=edits)

        refused = await refusal(sets.CreateChangeSet(pb.CreateChangeSetRequest(change_set=draft), metadata=token()))

        assert "REQUEST_INVALID" == refused.reason
        assert "change_set.edits[1].create_release.release.alias" in refused.fields
        assert not [field for field in refused.fields if "edits[0]" in field]

    async def test_is_not_published_by_viewers(
        self, sets: rpc.ChangeSetServiceAsyncStub, release: release_pb2.Release, token: Token
    ) -> None:
        refused = await refusal(
            sets.PublishChangeSet(pb.PublishChangeSetRequest(change_set_id=new_id(at=NOON)), metadata=token(Role.USER))
        )

        assert (grpc.StatusCode.PERMISSION_DENIED, "ROLE_TOO_LOW") == (refused.code, refused.reason)


class TestUpdateChangeSet:
    async def test_takes_the_edits_that_a_creation_takes(
        self, sets: rpc.ChangeSetServiceAsyncStub, release: release_pb2.Release, token: Token
    ) -> None:
        draft = change_set_pb2.ChangeSet(title="A synopsis")
        made = (await sets.CreateChangeSet(pb.CreateChangeSetRequest(change_set=draft), metadata=token())).change_set
        change = release_pb2.Release(release_id=release.release_id, synopsis="Wind.")
        changed = change_set_pb2.ChangeSet(change_set_id=made.change_set_id, edits=[a_change(change, "synopsis")])
        request = pb.UpdateChangeSetRequest(change_set=changed, update_mask=FieldMask(paths=["edits"]))

        answer = await sets.UpdateChangeSet(request, metadata=token())

        assert ["synopsis"] == list(answer.change_set.summaries[0].fields)

    async def test_gives_creations_the_same_ids_each_time(self, sets: rpc.ChangeSetServiceAsyncStub, token: Token) -> None:
        nameless = a_message(release_id="")
        edit = change_set_pb2.Edit(create_release=admin_pb.CreateReleaseRequest(release=nameless))
        draft = change_set_pb2.ChangeSet(change_set_id=new_id(at=NOON), title="New", edits=[edit])

        answers = [await sets.CreateChangeSet(pb.CreateChangeSetRequest(change_set=draft), metadata=token()) for _ in range(2)]

        assert 1 == len({answer.SerializeToString(deterministic=True) for answer in answers})
        assert answers[0].change_set.summaries[0].item_id


class TestPublishChangeSet:
    async def test_takes_a_time(self, sets: rpc.ChangeSetServiceAsyncStub, release: release_pb2.Release, token: Token) -> None:
        editor = token(Role.EDITOR)
        deletion = admin_pb.DeleteReleaseRequest(release_id=release.release_id)
        draft = change_set_pb2.ChangeSet(title="Gone soon", edits=[change_set_pb2.Edit(delete_release=deletion)])
        made = (await sets.CreateChangeSet(pb.CreateChangeSetRequest(change_set=draft), metadata=editor)).change_set
        request = pb.PublishChangeSetRequest(change_set_id=made.change_set_id)
        request.publish_time.FromDatetime(datetime.now(UTC) + timedelta(days=1))

        scheduled = (await sets.PublishChangeSet(request, metadata=editor)).change_set

        assert change_set_pb2.CHANGE_SET_STATE_SCHEDULED == scheduled.state
        assert request.publish_time == scheduled.publish_time


class TestHistory:
    async def test_can_be_read_and_gone_back_in(
        self, served: Served, history: editing_rpc.EditingServiceAsyncStub, release: release_pb2.Release, token: Token
    ) -> None:
        editor = token(Role.EDITOR)
        item: dict[str, Any] = {"item_kind": "release", "item_id": release.release_id}
        change = release_pb2.Release(release_id=release.release_id, synopsis="Wind.")
        update = admin_pb.UpdateReleaseRequest(release=change, update_mask=FieldMask(paths=["synopsis"]), note="It was empty")
        await served.admin.UpdateRelease(update, metadata=editor)

        revisions = (await history.ListRevisions(editing_pb.ListRevisionsRequest(**item), metadata=editor)).revisions
        diff = await history.DiffRevisions(
            editing_pb.DiffRevisionsRequest(**item, before_version=1, after_version=2), metadata=editor
        )
        await history.RevertItem(editing_pb.RevertItemRequest(**item, to_version=1), metadata=editor)
        seen = await served.catalog.GetRelease(catalog_service_pb2.GetReleaseRequest(release=release.release_id))

        assert [("It was empty", 2), ("", 1)] == [(revision.note, revision.version) for revision in revisions]
        assert ["synopsis"] == [difference.field for difference in diff.differences]
        assert "" == seen.release.synopsis

    async def test_brings_back_what_was_deleted(
        self, served: Served, history: editing_rpc.EditingServiceAsyncStub, release: release_pb2.Release, token: Token
    ) -> None:
        editor = token(Role.EDITOR)
        read = catalog_service_pb2.GetReleaseRequest(release=release.release_id)
        await served.admin.DeleteRelease(admin_pb.DeleteReleaseRequest(release_id=release.release_id), metadata=editor)
        gone = await refusal(served.catalog.GetRelease(read))

        undelete = editing_pb.UndeleteItemRequest(item_kind="release", item_id=release.release_id)
        await history.UndeleteItem(undelete, metadata=editor)

        assert "RELEASE_NOT_FOUND" == gone.reason
        assert release.alias == (await served.catalog.GetRelease(read)).release.alias

    async def test_is_kept_with_the_edit_or_not_at_all(
        self, served: Served, release: release_pb2.Release, token: Token, database_url: str
    ) -> None:
        taken = a_message(alias=release.alias)
        await refusal(served.admin.CreateRelease(admin_pb.CreateReleaseRequest(release=taken), metadata=token(Role.EDITOR)))

        connection = await asyncpg.connect(database_url)
        kept = await connection.fetch("SELECT item_id FROM editing.revisions")
        await connection.close()
        assert [release.release_id] == [row["item_id"] for row in kept]


class TestGetDashboard:
    async def test_counts_what_there_is_what_waits_and_what_happened(
        self, served: Served, sets: rpc.ChangeSetServiceAsyncStub, release: release_pb2.Release, token: Token
    ) -> None:
        editor = token(Role.EDITOR)
        draft = change_set_pb2.ChangeSet(title="Nothing yet")
        await sets.CreateChangeSet(pb.CreateChangeSetRequest(change_set=draft), metadata=editor)
        dashboard = dashboard_rpc.DashboardServiceStub(served.channel)

        shown = await dashboard.GetDashboard(dashboard_pb.GetDashboardRequest(), metadata=editor)

        assert (1, 1, 0, 1) == tuple(
            shown.content[name] for name in ("releases", "releases.published", "releases.draft", "releases.without_episodes")
        )
        assert 1 == shown.queue["change_sets.draft"]
        assert (1, 1, 1) == tuple(shown.last_day[name] for name in ("edits", "editors", "releases.published"))
        assert [release.release_id] == [revision.item_id for revision in shown.latest]

    async def test_names_every_count_that_the_contract_names(self, served: Served, token: Token) -> None:
        dashboard = dashboard_rpc.DashboardServiceStub(served.channel)

        shown = await dashboard.GetDashboard(dashboard_pb.GetDashboardRequest(), metadata=token(Role.EDITOR))

        contract = Path(__file__).parents[2].joinpath("proto/ani/editing/v1/dashboard_service.proto").read_text(encoding="utf-8")
        message = contract.partition("message GetDashboardResponse")[2]
        assert {*shown.content, *shown.queue, *shown.last_day} == set(re.findall(r'"([a-z_.]+)"', message))
