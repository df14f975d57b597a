"""ScheduleService and ScheduleAdminService: they read the request, ask the domain, render the answer."""

from __future__ import annotations

from google.api import httpbody_pb2

from ani.catalog.v1 import schedule_admin_service_pb2 as admin_pb
from ani.catalog.v1 import schedule_service_pb2 as pb
from domain.catalog.schedule import SCHEDULE_ENTRY
from domain.catalog.schedule_service import Schedule
from domain.catalog.timetable import View
from domain.editing.model import Author
from domain.editing.service import Editing
from domain.kernel import Page
from server.catalog.mapping import mask_to_pb
from server.catalog.schedule_mapping import (
    airing_to_pb,
    change_to_pb,
    day_to_pb,
    entry_changes_from_pb,
    entry_from_pb,
    entry_to_pb,
)
from server.pipeline.call import Call

CALENDAR_NAME = "Ani"
CALENDAR_TYPE = "text/calendar; charset=utf-8"


class ScheduleServicer:
    """Serves the schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    async def GetSchedule(self, request: pb.GetScheduleRequest, call: Call) -> pb.GetScheduleResponse:
        view, time_zone = View(request.view or View.WEEK.value), request.time_zone or "UTC"
        found = await self._schedule.get_schedule(
            view, time_zone=time_zone, release=request.release, viewer=call.viewer, now=call.now
        )
        return pb.GetScheduleResponse(days=map(day_to_pb, found.days), undated=map(airing_to_pb, found.undated))

    async def GetScheduleCalendar(self, request: pb.GetScheduleCalendarRequest, call: Call) -> pb.GetScheduleCalendarResponse:
        feed = await self._schedule.get_calendar(release=request.release, viewer=call.viewer, now=call.now, name=CALENDAR_NAME)
        body = httpbody_pb2.HttpBody(content_type=CALENDAR_TYPE, data=feed.encode())
        return pb.GetScheduleCalendarResponse(calendar=body)

    async def GetScheduleEntry(self, request: pb.GetScheduleEntryRequest, call: Call) -> pb.GetScheduleEntryResponse:
        entry = await self._schedule.get_schedule_entry(request.schedule_entry_id, viewer=call.viewer)
        return pb.GetScheduleEntryResponse(schedule_entry=entry_to_pb(entry))

    async def ListScheduleChanges(self, request: pb.ListScheduleChangesRequest, call: Call) -> pb.ListScheduleChangesResponse:
        page = Page(request.page_size, request.page_token)
        found, following = await self._schedule.list_schedule_changes(request.schedule_entry_id, page, viewer=call.viewer)
        return pb.ListScheduleChangesResponse(changes=map(change_to_pb, found), next_page_token=following)


class ScheduleAdminServicer:
    """Serves editors of the schedule."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def CreateScheduleEntry(
        self, request: admin_pb.CreateScheduleEntryRequest, call: Call
    ) -> admin_pb.CreateScheduleEntryResponse:
        draft = entry_from_pb(request.schedule_entry, at=call.now)
        author = Author(call.viewer.account_id, request.note)
        entry, effects = await self._editing.create(SCHEDULE_ENTRY, draft, author=author, validate_only=request.validate_only)
        return admin_pb.CreateScheduleEntryResponse(schedule_entry=entry_to_pb(entry), side_effects=effects)

    async def UpdateScheduleEntry(
        self, request: admin_pb.UpdateScheduleEntryRequest, call: Call
    ) -> admin_pb.UpdateScheduleEntryResponse:
        entry, fields, effects = await self._editing.update(
            SCHEDULE_ENTRY,
            request.schedule_entry.schedule_entry_id,
            entry_changes_from_pb(request.schedule_entry, request.update_mask),
            version=request.schedule_entry.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return admin_pb.UpdateScheduleEntryResponse(
            schedule_entry=entry_to_pb(entry), changed_fields=mask_to_pb(fields), side_effects=effects
        )

    async def DeleteScheduleEntry(
        self, request: admin_pb.DeleteScheduleEntryRequest, call: Call
    ) -> admin_pb.DeleteScheduleEntryResponse:
        effects = await self._editing.delete(
            SCHEDULE_ENTRY,
            request.schedule_entry_id,
            version=request.version,
            author=Author(call.viewer.account_id, request.note),
            at=call.now,
            validate_only=request.validate_only,
        )
        return admin_pb.DeleteScheduleEntryResponse(side_effects=effects)
