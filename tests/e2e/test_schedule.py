"""Someone wants to know what airs: the week in his zone, a calendar to subscribe to, and an episode's way from plan to screen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
from icalendar import Calendar

from domain.kernel import new_id

Body = dict[str, Any]
# What the demo catalog airs each week.
LEAST = 10


class TestSchedule:
    async def test_shows_the_week_of_the_demo_catalog(self, http: httpx.AsyncClient) -> None:
        answer = (await http.get("/v1/schedule?view=week&time_zone=Europe/Berlin")).raise_for_status().json()

        days = [date.fromisoformat(day["date"]) for day in answer["days"]]
        airings = [airing for day in answer["days"] for airing in day["airings"]]
        assert [1, 2, 3, 4, 5, 6, 7] == [day.isoweekday() for day in days]
        assert len([airing for airing in airings if airing["expected"]]) >= LEAST
        assert all(airing["airTime"] and airing["titles"] for airing in airings)

    async def test_is_a_calendar_that_is_answered_with_304_while_it_is_the_same(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/schedule.ics")
        again = await http.get("/v1/schedule.ics", headers={"if-none-match": answer.headers["etag"]})

        assert "text/calendar; charset=utf-8" == answer.headers["content-type"]
        assert len(Calendar.from_ical(answer.content).walk("VEVENT")) >= LEAST
        assert (304, b"") == (again.status_code, again.content)

    async def test_refuses_a_view_and_a_zone_that_are_not_there(self, http: httpx.AsyncClient) -> None:
        for query in ("view=someday", "time_zone=Europe/Atlantis"):
            answer = await http.get(f"/v1/schedule?{query}")
            assert (400, True) == (answer.status_code, bool(answer.json()["details"]))


class TestEpisode:
    async def test_goes_from_plan_to_screen(
        self, editor: httpx.AsyncClient, http: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        release = (await editor.post("/v1/releases", json=a_body())).raise_for_status().json()["release"]
        soon = (datetime.now(UTC) + timedelta(hours=6)).isoformat()
        entry = {"scheduleEntryId": new_id(at=datetime.now(UTC)), "releaseId": release["releaseId"], "plannedAirTime": soon}
        (await editor.post("/v1/schedule", json=entry | {"number": "12.5"})).raise_for_status()
        feed = (await http.get("/v1/schedule.ics", params={"release": release["alias"]})).raise_for_status()

        episode = {"episodeId": new_id(at=datetime.now(UTC)), "releaseId": release["releaseId"], "number": "12.5"}
        (await editor.post("/v1/episodes", json=episode)).raise_for_status()
        released = await editor.patch(
            f"/v1/episodes/{episode['episodeId']}?update_mask.paths=state", json={"state": "EPISODE_STATE_RELEASED"}
        )
        shown = (await editor.get(f"/v1/releases/{release['alias']}/episodes")).raise_for_status().json()["episodes"]
        (await editor.delete(f"/v1/releases/{release['releaseId']}")).raise_for_status()

        events: list[Any] = Calendar.from_ical(feed.content).walk("VEVENT")
        assert ["Kaze no Uta 12.5"] == [str(event["SUMMARY"]) for event in events]
        assert "EpisodeReleased" in released.raise_for_status().json()["sideEffects"]
        assert [("12.5", 12_500, "EPISODE_STATE_RELEASED")] == [(e["number"], e["position"], e["state"]) for e in shown]
