"""EditingService, ChangeSetService and ReviewService: read the request, ask the domain, render the answer."""

from __future__ import annotations

from collections.abc import Mapping

from ani.editing.v1 import change_set_service_pb2 as sets_pb
from ani.editing.v1 import dashboard_service_pb2 as dashboard_pb
from ani.editing.v1 import editing_service_pb2 as pb
from ani.editing.v1 import review_service_pb2 as review_pb
from domain.editing.change_sets import ChangeSets
from domain.editing.dashboard import Dashboard
from domain.editing.model import Author, State
from domain.editing.service import Editing
from domain.kernel import Page
from server.editing.mapping import (
    EditReader,
    change_set_from_pb,
    change_set_to_pb,
    changes_from_pb,
    difference_to_pb,
    outcome_to_pb,
    revision_to_pb,
)
from server.pipeline.call import Call


class EditingServicer:
    """Serves the history of items."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def ListRevisions(self, request: pb.ListRevisionsRequest, call: Call) -> pb.ListRevisionsResponse:
        page = Page(request.page_size, request.page_token)
        revisions, following = await self._editing.list_revisions(request.item_kind, request.item_id, page)
        return pb.ListRevisionsResponse(revisions=map(revision_to_pb, revisions), next_page_token=following)

    async def DiffRevisions(self, request: pb.DiffRevisionsRequest, call: Call) -> pb.DiffRevisionsResponse:
        differences = await self._editing.diff_revisions(
            request.item_kind, request.item_id, before=request.before_version, after=request.after_version
        )
        return pb.DiffRevisionsResponse(differences=map(difference_to_pb, differences))

    async def RevertItem(self, request: pb.RevertItemRequest, call: Call) -> pb.RevertItemResponse:
        outcome = await self._editing.revert_item(
            request.item_kind,
            request.item_id,
            to=request.to_version,
            version=request.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.RevertItemResponse(outcome=outcome_to_pb(outcome))

    async def UndeleteItem(self, request: pb.UndeleteItemRequest, call: Call) -> pb.UndeleteItemResponse:
        version, effects = await self._editing.undelete_item(
            request.item_kind,
            request.item_id,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return pb.UndeleteItemResponse(version=version, side_effects=effects)


class DashboardServicer:
    """Serves the dashboard of editors."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    async def GetDashboard(self, request: dashboard_pb.GetDashboardRequest, call: Call) -> dashboard_pb.GetDashboardResponse:
        counts, latest = await self._dashboard.get_dashboard(at=call.now)
        return dashboard_pb.GetDashboardResponse(
            count_time=call.now,  # type: ignore[arg-type]
            content=counts.content,
            queue=counts.queue,
            last_day=counts.last_day,
            latest=map(revision_to_pb, latest),
        )


class ChangeSetServicer:
    """Serves authors of change sets."""

    def __init__(self, change_sets: ChangeSets, readers: Mapping[str, EditReader]) -> None:
        self._change_sets = change_sets
        self._readers = readers

    async def CreateChangeSet(self, request: sets_pb.CreateChangeSetRequest, call: Call) -> sets_pb.CreateChangeSetResponse:
        draft = change_set_from_pb(request.change_set, self._readers, author_id=call.viewer.account_id, at=call.now)
        created = await self._change_sets.create_change_set(draft, viewer=call.viewer)
        return sets_pb.CreateChangeSetResponse(change_set=change_set_to_pb(created))

    async def GetChangeSet(self, request: sets_pb.GetChangeSetRequest, call: Call) -> sets_pb.GetChangeSetResponse:
        found = await self._change_sets.get_change_set(request.change_set_id, viewer=call.viewer)
        return sets_pb.GetChangeSetResponse(change_set=change_set_to_pb(found))

    async def ListChangeSets(self, request: sets_pb.ListChangeSetsRequest, call: Call) -> sets_pb.ListChangeSetsResponse:
        state = State(request.state) if request.state else None
        page = Page(request.page_size, request.page_token)
        found, following = await self._change_sets.list_change_sets(
            page, state=state, mine=request.mine, reviewable=request.reviewable, viewer=call.viewer
        )
        return sets_pb.ListChangeSetsResponse(change_sets=map(change_set_to_pb, found), next_page_token=following)

    async def UpdateChangeSet(self, request: sets_pb.UpdateChangeSetRequest, call: Call) -> sets_pb.UpdateChangeSetResponse:
        changed = await self._change_sets.update_change_set(
            request.change_set.change_set_id,
            changes_from_pb(request.change_set, request.update_mask, self._readers, at=call.now),
            version=request.change_set.version,
            viewer=call.viewer,
            at=call.now,
        )
        return sets_pb.UpdateChangeSetResponse(change_set=change_set_to_pb(changed))

    async def PreviewChangeSet(self, request: sets_pb.PreviewChangeSetRequest, call: Call) -> sets_pb.PreviewChangeSetResponse:
        outcomes = await self._change_sets.preview_change_set(request.change_set_id, viewer=call.viewer, at=call.now)
        return sets_pb.PreviewChangeSetResponse(outcomes=map(outcome_to_pb, outcomes))

    async def SubmitChangeSet(self, request: sets_pb.SubmitChangeSetRequest, call: Call) -> sets_pb.SubmitChangeSetResponse:
        changed = await self._change_sets.submit_change_set(request.change_set_id, viewer=call.viewer, at=call.now)
        return sets_pb.SubmitChangeSetResponse(change_set=change_set_to_pb(changed))

    async def PublishChangeSet(self, request: sets_pb.PublishChangeSetRequest, call: Call) -> sets_pb.PublishChangeSetResponse:
        at = request.publish_time.ToDatetime(tzinfo=call.now.tzinfo) if request.HasField("publish_time") else None
        changed, outcomes = await self._change_sets.publish_change_set(
            request.change_set_id, publish_time=at, viewer=call.viewer, at=call.now
        )
        return sets_pb.PublishChangeSetResponse(change_set=change_set_to_pb(changed), outcomes=map(outcome_to_pb, outcomes))

    async def RollBackChangeSet(self, request: sets_pb.RollBackChangeSetRequest, call: Call) -> sets_pb.RollBackChangeSetResponse:
        changed, outcomes = await self._change_sets.roll_back_change_set(request.change_set_id, viewer=call.viewer, at=call.now)
        return sets_pb.RollBackChangeSetResponse(change_set=change_set_to_pb(changed), outcomes=map(outcome_to_pb, outcomes))

    async def DiscardChangeSet(self, request: sets_pb.DiscardChangeSetRequest, call: Call) -> sets_pb.DiscardChangeSetResponse:
        changed = await self._change_sets.discard_change_set(request.change_set_id, viewer=call.viewer, at=call.now)
        return sets_pb.DiscardChangeSetResponse(change_set=change_set_to_pb(changed))


class ReviewServicer:
    """Serves reviewers of change sets."""

    def __init__(self, change_sets: ChangeSets) -> None:
        self._change_sets = change_sets

    async def TakeChangeSet(self, request: review_pb.TakeChangeSetRequest, call: Call) -> review_pb.TakeChangeSetResponse:
        changed = await self._change_sets.take_change_set(request.change_set_id, viewer=call.viewer, at=call.now)
        return review_pb.TakeChangeSetResponse(change_set=change_set_to_pb(changed))

    async def AcceptChangeSet(self, request: review_pb.AcceptChangeSetRequest, call: Call) -> review_pb.AcceptChangeSetResponse:
        changed, outcomes = await self._change_sets.accept_change_set(request.change_set_id, viewer=call.viewer, at=call.now)
        return review_pb.AcceptChangeSetResponse(change_set=change_set_to_pb(changed), outcomes=map(outcome_to_pb, outcomes))

    async def RejectChangeSet(self, request: review_pb.RejectChangeSetRequest, call: Call) -> review_pb.RejectChangeSetResponse:
        changed = await self._change_sets.reject_change_set(request.change_set_id, request.reason, viewer=call.viewer, at=call.now)
        return review_pb.RejectChangeSetResponse(change_set=change_set_to_pb(changed))
