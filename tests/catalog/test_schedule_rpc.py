"""What only the wire shows of episodes and the schedule: mapping, access, caching, content types."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from icalendar import Calendar

from ani.catalog.v1 import catalog_admin_service_pb2 as release_admin_pb
from ani.catalog.v1 import catalog_service_pb2 as catalog_pb
from ani.catalog.v1 import episode_admin_service_pb2 as episode_admin_pb
from ani.catalog.v1 import episode_pb2, release_facts_pb2, release_pb2, schedule_pb2
from ani.catalog.v1 import episode_service_pb2 as episode_pb
from ani.catalog.v1 import schedule_admin_service_pb2 as admin_pb
from ani.catalog.v1 import schedule_service_pb2 as pb
from ani.editing.v1 import (
    change_set_pb2,
    change_set_service_pb2,
    change_set_service_pb2_grpc,
    editing_service_pb2,
    editing_service_pb2_grpc,
)
from domain.kernel import Role, new_id
from tests.builders import NOON
from tests.serving import Metadata, Served, refusal, with_metadata

Token = Callable[..., Metadata]
SOON = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=6)


def at(moment: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(moment)
    return found


@pytest.fixture
def editor(token: Token) -> Metadata:
    return token(Role.EDITOR)


@pytest.fixture
async def release(served: Served, editor: Metadata) -> release_pb2.Release:
    message = release_pb2.Release(
        alias="kaze-no-uta",
        titles=[release_facts_pb2.LocalizedTitle(language="en", text="Song of the Wind")],
        kind=release_pb2.RELEASE_KIND_TV,
        status=release_pb2.RELEASE_STATUS_ONGOING,
        age_rating=release_pb2.AGE_RATING_12,
        publication=release_pb2.PUBLICATION_PUBLISHED,
    )
    answer = await served.admin.CreateRelease(release_admin_pb.CreateReleaseRequest(release=message), metadata=editor)
    return answer.release


def an_episode(release: release_pb2.Release, **over: Any) -> episode_pb2.Episode:
    facts: dict[str, Any] = {
        "episode_id": new_id(at=NOON),
        "release_id": release.release_id,
        "number": "12.5",
        "absolute_number": "37.5",
        "season_number": "1",
        "titles": [release_facts_pb2.LocalizedTitle(language="en", text="A Look Back")],
        "synopsis": "What happened so far.",
        "duration": Duration(seconds=1440),
        "air_time": at(NOON),
    }
    return episode_pb2.Episode(**facts | over)


def an_entry(release: release_pb2.Release, **over: Any) -> schedule_pb2.ScheduleEntry:
    facts: dict[str, Any] = {
        "schedule_entry_id": new_id(at=NOON),
        "release_id": release.release_id,
        "number": "7",
        "planned_air_time": at(SOON),
        "note": "With subtitles.",
    }
    return schedule_pb2.ScheduleEntry(**facts | over)


async def add(served: Served, editor: Metadata, episode: episode_pb2.Episode) -> episode_pb2.Episode:
    request = episode_admin_pb.CreateEpisodeRequest(episode=episode)
    return (await served.episode_admin.CreateEpisode(request, metadata=editor)).episode


async def plan(served: Served, editor: Metadata, entry: schedule_pb2.ScheduleEntry) -> schedule_pb2.ScheduleEntry:
    request = admin_pb.CreateScheduleEntryRequest(schedule_entry=entry)
    return (await served.schedule_admin.CreateScheduleEntry(request, metadata=editor)).schedule_entry


async def listed(served: Served, release: release_pb2.Release) -> list[episode_pb2.Episode]:
    return list((await served.episodes.ListEpisodes(episode_pb.ListEpisodesRequest(release=release.alias))).episodes)


async def aired(served: Served, **request: Any) -> list[schedule_pb2.Airing]:
    answer = await served.schedule.GetSchedule(pb.GetScheduleRequest(**request))
    return [airing for day in answer.days for airing in day.airings]


class TestEpisode:
    async def test_shows_what_was_created(self, served: Served, editor: Metadata, release: release_pb2.Release) -> None:
        wanted = an_episode(release)
        created = await add(served, editor, wanted)

        shown = (await served.episodes.GetEpisode(episode_pb.GetEpisodeRequest(episode_id=wanted.episode_id))).episode

        assert created == shown
        assert (12_500, episode_pb2.EPISODE_STATE_ADDED, 1) == (shown.position, shown.state, shown.version)
        for field in ("number", "absolute_number", "season_number", "titles", "synopsis", "duration", "air_time", "release_id"):
            assert getattr(wanted, field) == getattr(shown, field)

    async def test_is_released_by_one_edit_that_everyone_sees_at_once(
        self, served: Served, editor: Metadata, release: release_pb2.Release
    ) -> None:
        episode = await add(served, editor, an_episode(release))
        assert [episode] == await listed(served, release)

        change = episode_pb2.Episode(episode_id=episode.episode_id, state=episode_pb2.EPISODE_STATE_RELEASED)
        answer = await served.episode_admin.UpdateEpisode(
            episode_admin_pb.UpdateEpisodeRequest(episode=change, update_mask=FieldMask(paths=["state"])), metadata=editor
        )

        assert ["EpisodeUpdated", "EpisodeReleased"] == list(answer.side_effects)
        assert ["state"] == list(answer.changed_fields.paths)
        assert answer.episode.HasField("release_time")
        assert [answer.episode] == await listed(served, release)

    async def test_counts_in_its_release_and_leaves_every_list_when_it_is_deleted(
        self, served: Served, editor: Metadata, release: release_pb2.Release
    ) -> None:
        show = catalog_pb.GetReleaseRequest(release=release.alias)
        assert 0 == (await served.catalog.GetRelease(show)).release.episode_count
        episode = await add(served, editor, an_episode(release))
        assert 1 == (await served.catalog.GetRelease(show)).release.episode_count
        await listed(served, release)

        gone = episode_admin_pb.DeleteEpisodeRequest(episode_id=episode.episode_id)
        await served.episode_admin.DeleteEpisode(gone, metadata=editor)

        assert [] == await listed(served, release)

    async def test_is_hidden_when_its_release_is_whoever_asked_before(
        self, served: Served, editor: Metadata, release: release_pb2.Release
    ) -> None:
        episode = await add(served, editor, an_episode(release))
        await listed(served, release)
        withdrawn = release_pb2.Release(release_id=release.release_id, publication=release_pb2.PUBLICATION_WITHDRAWN)
        await served.admin.UpdateRelease(
            release_admin_pb.UpdateReleaseRequest(release=withdrawn, update_mask=FieldMask(paths=["publication"])), metadata=editor
        )

        for call in (
            served.episodes.ListEpisodes(episode_pb.ListEpisodesRequest(release=release.alias)),
            served.episodes.GetEpisode(episode_pb.GetEpisodeRequest(episode_id=episode.episode_id)),
        ):
            assert grpc.StatusCode.NOT_FOUND is (await refusal(call)).code

    async def test_names_what_is_wrong(self, served: Served, editor: Metadata, release: release_pb2.Release) -> None:
        wrong = an_episode(release, number="12,5", duration=Duration(seconds=-1), air_time=Timestamp(seconds=2**33))
        refused = await refusal(
            served.episode_admin.CreateEpisode(episode_admin_pb.CreateEpisodeRequest(episode=wrong), metadata=editor)
        )
        unplaced = await refusal(
            served.episode_admin.CreateEpisode(
                episode_admin_pb.CreateEpisodeRequest(episode=an_episode(release, number="SP1")), metadata=editor
            )
        )

        assert {"episode.number", "episode.duration", "episode.air_time"} == set(refused.fields)
        assert ("POSITION_NEEDED", {"episode.position"}) == (unplaced.reason, set(unplaced.fields))

    @pytest.mark.parametrize("path", ["release_id", "release_time", "version", "duration_seconds"])
    async def test_stays_what_editors_do_not_decide(
        self, served: Served, editor: Metadata, release: release_pb2.Release, path: str
    ) -> None:
        episode = await add(served, editor, an_episode(release))
        request = episode_admin_pb.UpdateEpisodeRequest(episode=episode, update_mask=FieldMask(paths=[path]))

        assert "FIELD_NOT_WRITABLE" == (await refusal(served.episode_admin.UpdateEpisode(request, metadata=editor))).reason

    async def test_is_edited_by_editors_alone(self, served: Served, token: Token, release: release_pb2.Release) -> None:
        request = episode_admin_pb.CreateEpisodeRequest(episode=an_episode(release))

        refused = await refusal(served.episode_admin.CreateEpisode(request, metadata=token(Role.MODERATOR)))

        assert grpc.StatusCode.PERMISSION_DENIED is refused.code


class TestSchedule:
    async def test_shows_what_is_planned_to_everyone_at_once(
        self, served: Served, editor: Metadata, release: release_pb2.Release
    ) -> None:
        assert [] == await aired(served, view="upcoming")
        entry = await plan(served, editor, an_entry(release))

        (airing,) = await aired(served, view="upcoming", time_zone="Europe/Berlin", release=release.alias)
        (again,) = await aired(served, view="upcoming")

        assert airing == again
        assert (entry.schedule_entry_id, "7", 1, "With subtitles.") == (
            airing.schedule_entry_id, airing.number, airing.episode_count, airing.note,
        )  # fmt: skip
        assert (release.alias, release.titles, SOON) == (airing.alias, airing.titles, airing.air_time.ToDatetime(UTC))
        assert (schedule_pb2.AIR_PRECISION_MINUTE, schedule_pb2.AIRING_STATE_PLANNED) == (airing.precision, airing.state)
        assert not airing.expected

    async def test_shows_a_week_when_nothing_else_is_asked_for(self, served: Served) -> None:
        answer = await served.schedule.GetSchedule(pb.GetScheduleRequest())

        dates = [datetime.fromisoformat(day.date) for day in answer.days]
        assert (7, 1) == (len(dates), dates[0].isoweekday())
        assert dates[0] == answer.days[0].start_time.ToDatetime()

    async def test_expects_what_airs_weekly_until_it_ends(
        self, served: Served, editor: Metadata, release: release_pb2.Release
    ) -> None:
        slot = release_facts_pb2.WeeklySlot(weekday=3, minute=600, zone="Asia/Tokyo")
        weekly = release_pb2.Release(release_id=release.release_id, weekly_slot=slot)
        request = release_admin_pb.UpdateReleaseRequest(release=weekly, update_mask=FieldMask(paths=["weekly_slot"]))
        await served.admin.UpdateRelease(request, metadata=editor)
        (airing,) = await aired(served)
        assert (True, "", "") == (airing.expected, airing.number, airing.schedule_entry_id)

        over = release_pb2.Release(release_id=release.release_id, status=release_pb2.RELEASE_STATUS_FINISHED)
        request = release_admin_pb.UpdateReleaseRequest(release=over, update_mask=FieldMask(paths=["status"]))
        await served.admin.UpdateRelease(request, metadata=editor)

        assert [] == await aired(served)

    async def test_names_what_is_wrong(self, served: Served) -> None:
        view = await refusal(served.schedule.GetSchedule(pb.GetScheduleRequest(view="someday")))
        zone = await refusal(served.schedule.GetSchedule(pb.GetScheduleRequest(time_zone="Europe/Atlantis")))
        release = await refusal(served.schedule.GetSchedule(pb.GetScheduleRequest(release="no-such-release")))

        assert {"view"} == set(view.fields)
        assert ("ZONE_UNKNOWN", {"time_zone"}) == (zone.reason, set(zone.fields))
        assert "RELEASE_NOT_FOUND" == release.reason

    async def test_tells_what_became_of_an_entry(self, served: Served, editor: Metadata, release: release_pb2.Release) -> None:
        entry = await plan(served, editor, an_entry(release))
        change = schedule_pb2.ScheduleEntry(schedule_entry_id=entry.schedule_entry_id, actual_air_time=at(SOON))
        mask = FieldMask(paths=["actual_air_time"])
        answer = await served.schedule_admin.UpdateScheduleEntry(
            admin_pb.UpdateScheduleEntryRequest(schedule_entry=change, update_mask=mask), metadata=editor
        )

        key = entry.schedule_entry_id
        shown = await served.schedule.GetScheduleEntry(pb.GetScheduleEntryRequest(schedule_entry_id=key))
        changes = await served.schedule.ListScheduleChanges(pb.ListScheduleChangesRequest(schedule_entry_id=key))

        assert answer.schedule_entry == shown.schedule_entry
        assert schedule_pb2.AIRING_STATE_AIRED == shown.schedule_entry.state
        told = [schedule_pb2.SCHEDULE_CHANGE_KIND_AIRED, schedule_pb2.SCHEDULE_CHANGE_KIND_ADDED]
        assert told == [one.kind for one in changes.changes]

    async def test_forgets_what_is_deleted(self, served: Served, editor: Metadata, release: release_pb2.Release) -> None:
        entry = await plan(served, editor, an_entry(release))
        assert 1 == len(await aired(served, view="upcoming"))

        gone = admin_pb.DeleteScheduleEntryRequest(schedule_entry_id=entry.schedule_entry_id)
        await served.schedule_admin.DeleteScheduleEntry(gone, metadata=editor)
        assert [] == await aired(served, view="upcoming")

        editing = editing_service_pb2_grpc.EditingServiceStub(served.channel)
        undelete = editing_service_pb2.UndeleteItemRequest(item_kind="schedule_entry", item_id=entry.schedule_entry_id)
        await editing.UndeleteItem(undelete, metadata=editor)
        assert 1 == len(await aired(served, view="upcoming"))


class TestCalendar:
    async def test_is_a_feed_with_its_content_type_that_may_be_kept(
        self, served: Served, editor: Metadata, release: release_pb2.Release
    ) -> None:
        await plan(served, editor, an_entry(release))

        answer: Any
        answer, metadata = await with_metadata(served.schedule.GetScheduleCalendar(pb.GetScheduleCalendarRequest()))
        again = await served.schedule.GetScheduleCalendar(pb.GetScheduleCalendarRequest())

        assert "text/calendar; charset=utf-8" == answer.calendar.content_type
        events: list[Any] = Calendar.from_ical(answer.calendar.data).walk("VEVENT")
        (event,) = events
        assert ("Song of the Wind 7", SOON) == (event["SUMMARY"], event["DTSTART"].dt)
        assert str(metadata["cache-control"]).startswith("public")
        assert metadata["etag"]
        assert answer == again


class TestChangeSet:
    async def test_holds_episodes_and_airings_that_come_together(
        self, served: Served, editor: Metadata, release: release_pb2.Release
    ) -> None:
        edits = [
            change_set_pb2.Edit(create_episode=episode_admin_pb.CreateEpisodeRequest(episode=an_episode(release))),
            change_set_pb2.Edit(create_schedule_entry=admin_pb.CreateScheduleEntryRequest(schedule_entry=an_entry(release))),
        ]
        sets = change_set_service_pb2_grpc.ChangeSetServiceStub(served.channel)
        draft = change_set_pb2.ChangeSet(title="Episode 7", edits=edits)
        created = await sets.CreateChangeSet(change_set_service_pb2.CreateChangeSetRequest(change_set=draft), metadata=editor)
        assert ([], []) == (await listed(served, release), await aired(served, view="upcoming"))

        key = created.change_set.change_set_id
        await sets.PublishChangeSet(change_set_service_pb2.PublishChangeSetRequest(change_set_id=key), metadata=editor)

        assert (1, 1) == (len(await listed(served, release)), len(await aired(served, view="upcoming")))
