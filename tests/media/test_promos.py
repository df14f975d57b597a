"""Every rule and refusal of promos, over the real store; what is counted is counted once."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.postgres import Database, bare
from domain.catalog.model import RightsBlock
from domain.editing.model import Author
from domain.editing.service import Editing
from domain.kernel import Exhausted, Page, new_id
from domain.media.files import FileInUse, FileKind, FileNotFound
from domain.media.promos import (
    Hosts,
    Promo,
    PromoAction,
    PromoCount,
    PromoEndsBeforeItBegins,
    PromoEventsBusy,
    PromoFormat,
    PromoImageRefused,
    PromoLeadsTwoWays,
    PromoNotFound,
    PromoOccurrence,
    PromoPlacement,
    PromoTagMissing,
    PromoUrlRefused,
    StatisticsTooLong,
    host_of,
)
from domain.media.promotion import Promos
from domain.media.uploads import Uploads
from domain.media.vast import vast
from server.batching import Batches
from tests.builders import GUEST, NOON, a_draft, a_release, a_viewer, an_editor
from tests.media.conftest import PROMO, event_names, kept
from tests.media.test_subtitles import VTT
from tests.media.test_uploads import uploaded

AUTHOR = Author("0191d7a0-0000-7000-8000-000000000002")
XML = "{http://www.iab.com/VAST}"


def a_promo(**over: Any) -> Promo:
    facts: dict[str, Any] = {
        "promo_id": new_id(at=NOON),
        "format": PromoFormat.BANNER,
        "placement": PromoPlacement.HOME,
        "title": "A new season",
        "enabled": True,
        "create_time": NOON,
        "update_time": NOON,
    }
    return Promo(**facts | over)


def a_tag(**over: Any) -> Promo:
    facts: dict[str, Any] = {
        "format": PromoFormat.VAST,
        "placement": PromoPlacement.PRE_ROLL,
        "url": "https://ads.example.org/vast?zone=1&size=big",
    }
    return a_promo(**facts | over)


def an_occurrence(promo: Promo, **over: Any) -> PromoOccurrence:
    facts: dict[str, Any] = {"event_id": new_id(at=NOON), "action": PromoAction.SHOW, "country": "JP", "time": NOON}
    return PromoOccurrence(promo_id=promo.promo_id, **facts | over)


async def created(editing: Editing, *promos: Promo) -> list[Promo]:
    return [(await editing.create(PROMO, promo, author=AUTHOR))[0] for promo in promos]


class TestPromo:
    @pytest.mark.parametrize(
        ("promo", "refusal"),
        [
            (a_promo(start_time=NOON, end_time=NOON), PromoEndsBeforeItBegins),
            (a_promo(release_id=new_id(at=NOON), url="https://shop.example/"), PromoLeadsTwoWays),
            (a_tag(url=""), PromoTagMissing),
            (a_tag(url="http://ads.example.org/"), PromoUrlRefused),
        ],
    )
    def test_refuses_what_no_promo_may_be(self, promo: Promo, refusal: type[Exception]) -> None:
        with pytest.raises(refusal) as refused:
            promo.check()
        assert "field" in refused.value.details  # type: ignore[attr-defined]


class TestHosts:
    @pytest.mark.parametrize(
        "url", ["https://shop.example", "https://shop.example/A?b=c", "https://www.shop.example:443/", "https://SHOP.example/"]
    )
    def test_allow_what_is_named_and_what_is_below(self, url: str) -> None:
        assert Hosts(("shop.example",)).allow(url)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "http://shop.example/",
            "//shop.example/",
            "javascript:alert(1)//shop.example",
            "https:shop.example",
            "https://shop.example.evil.org/",
            "https://evilshop.example/",
            "https://shop.example@evil.org/",
            "https://user@shop.example/",
            "https://evil.org/shop.example",
            "https://evil.org\\@shop.example/",
            "https://evil.org#@shop.example/",
            "https://shop.example:8443/",
            "https://shop.example:x/",
            "https://[::1]/",
            "https://127.0.0.1/",
            "https://localhost/",
            "https://shop.example\n.evil.org/",
            "https://shop.example/\u202e",
            'https://shop.example/"><script>',
            "https://shop.ex\u0430mple/",
            " https://shop.example/",
        ],
    )
    def test_allow_nothing_else(self, url: str) -> None:
        """E.g. an open redirect, a script, an address within."""
        assert not Hosts(("shop.example",)).allow(url)

    def test_allow_nothing_when_none_is_named(self) -> None:
        assert not Hosts(()).allow("https://shop.example/")

    @settings(deadline=None)
    @given(st.text(max_size=60).map(lambda text: f"https://{text}") | st.text(max_size=60))
    def test_answer_whatever_comes(self, url: str) -> None:
        host = host_of(url)
        assert host is None or url.lower().startswith(f"https://{host}")


class TestListPromos:
    async def test_shows_what_holds_now_by_priority(self, promos: Promos, editing: Editing) -> None:
        hour = timedelta(hours=1)
        low, high, *_ = await created(
            editing,
            a_promo(priority=1, start_time=NOON, end_time=NOON + hour),
            a_promo(priority=2),
            a_promo(enabled=False),
            a_promo(placement=PromoPlacement.LIST),
            a_promo(start_time=NOON + hour),
            a_promo(end_time=NOON),
            a_tag(placement=PromoPlacement.HOME),
        )

        shown = await promos.list_promos(PromoPlacement.HOME, viewer=GUEST, at=NOON)

        assert [high, low] == shown

    async def test_keeps_to_regions(self, promos: Promos, editing: Editing) -> None:
        everywhere, japan = await created(editing, a_promo(priority=2), a_promo(regions=("DE", "JP")))

        seen = {
            country: await promos.list_promos(PromoPlacement.HOME, viewer=a_viewer(country=country), at=NOON)
            for country in ("JP", "US", "")
        }

        assert {"JP": [everywhere, japan], "US": [everywhere], "": [everywhere]} == seen

    async def test_leads_nobody_to_what_he_may_not_see(self, promos: Promos, editing: Editing, database: Database) -> None:
        """The one visibility rule."""
        blocks = (RightsBlock("Studio", "a claim", ("DE",)),)
        releases = [
            a_release(),
            a_draft(),
            a_release(age_rating=18),
            a_release(blocked_countries=("JP",)),
            a_release(rights_blocks=blocks),
        ]
        for release in releases:
            await kept(database, release)
        made = await created(
            editing, *(a_promo(release_id=release.release_id, priority=9 - n) for n, release in enumerate(releases))
        )
        await created(editing, a_promo(release_id=new_id(at=NOON)))

        async def seen(viewer: Any) -> list[int]:
            return [made.index(promo) for promo in await promos.list_promos(PromoPlacement.HOME, viewer=viewer, at=NOON)]

        assert [0, 2, 4] == await seen(a_viewer(country="JP"))
        assert [0, 3] == await seen(a_viewer(country="DE", maturity=12))
        assert [0, 1, 2, 3, 4] == await seen(an_editor())

    async def test_hides_what_leads_to_a_host_that_is_allowed_no_more(self, promos: Promos, editing: Editing) -> None:
        await created(editing, a_promo(url="https://shop.example/"))
        promos._hosts = Hosts(("other.example",))

        assert [] == await promos.list_promos(PromoPlacement.HOME, viewer=GUEST, at=NOON)


class TestEditing:
    async def test_goes_through_create_update_delete_and_back(self, promos: Promos, editing: Editing, database: Database) -> None:
        promo = a_promo()
        await created(editing, promo)
        assert [promo] == await created(editing, promo)

        changed, fields, _ = await editing.update(
            PROMO, promo.promo_id, {"title": "Now", "regions": ("JP",)}, version=1, author=AUTHOR, at=NOON
        )
        await editing.delete(PROMO, promo.promo_id, version=2, author=AUTHOR, at=NOON)
        with pytest.raises(PromoNotFound):
            await promos.get_promo(promo.promo_id)
        await editing.undelete_item("promo", promo.promo_id, author=AUTHOR, at=NOON)

        assert (["regions", "title"], 2) == (fields, changed.version)
        assert ("Now", ("JP",)) == ((found := await promos.get_promo(promo.promo_id)).title, found.regions)
        assert {"PromoCreated", "PromoUpdated", "PromoDeleted"} <= set(await event_names(database))

    async def test_reverts_to_an_earlier_version(self, promos: Promos, editing: Editing) -> None:
        promo = a_promo(start_time=NOON, url="https://shop.example/")
        await created(editing, promo)
        await editing.update(PROMO, promo.promo_id, {"title": "Now", "start_time": None}, version=1, author=AUTHOR, at=NOON)

        await editing.revert_item("promo", promo.promo_id, to=1, version=2, author=AUTHOR, at=NOON)

        assert replace(promo, version=3) == await promos.get_promo(promo.promo_id)

    @pytest.mark.parametrize("url", ["https://evil.org/", "https://shop.example.evil.org/", "http://shop.example/"])
    async def test_lets_promos_lead_to_allowed_hosts_alone(self, editing: Editing, url: str) -> None:
        with pytest.raises(PromoUrlRefused):
            await created(editing, a_promo(url=url))
        promo = a_promo()
        await created(editing, promo)
        with pytest.raises(PromoUrlRefused):
            await editing.update(PROMO, promo.promo_id, {"url": url}, version=0, author=AUTHOR, at=NOON)

    async def test_wants_a_picture_that_is_there_and_keeps_it(self, editing: Editing, uploads: Uploads) -> None:
        banner = await uploaded(uploads, kind=FileKind.BANNER)
        subtitles = await uploaded(uploads, VTT.encode(), kind=FileKind.SUBTITLE)

        for file_id in (subtitles.file_id, new_id(at=NOON)):
            with pytest.raises(PromoImageRefused):
                await created(editing, a_promo(image_file_id=file_id))
        await created(editing, a_promo(image_file_id=banner.file_id))
        with pytest.raises(FileInUse):
            await uploads.delete_file(banner.file_id, at=NOON)
        assert (0, 0) == await uploads.sweep(at=NOON + timedelta(days=31))

    async def test_shows_its_picture_while_it_runs(self, editing: Editing, uploads: Uploads) -> None:
        banner = await uploaded(uploads, kind=FileKind.BANNER)
        await created(editing, a_promo(image_file_id=banner.file_id, start_time=NOON, end_time=NOON + timedelta(hours=1)))

        for minutes, shown in {-1: False, 0: True, 59: True, 60: False}.items():
            at = NOON + timedelta(minutes=minutes)
            try:
                await uploads.get_image(banner.file_id, width=0, viewer=GUEST, at=at)
            except FileNotFound:
                assert not shown
            else:
                assert shown


class TestListManagedPromos:
    async def test_goes_page_by_page_through_all_of_them(self, promos: Promos, editing: Editing) -> None:
        made = await created(
            editing, *(a_promo(enabled=n % 2 == 0, create_time=NOON + timedelta(seconds=n // 2)) for n in range(5))
        )

        seen, token = [], ""
        while True:
            page, token = await promos.list_managed_promos(Page(2, token))
            seen += page
            if not token:
                break

        assert sorted(made, key=lambda promo: (promo.create_time, promo.promo_id), reverse=True) == seen


class TestGetVast:
    async def test_wraps_the_tags_that_hold(self, promos: Promos, editing: Editing) -> None:
        high, low, *_ = await created(
            editing, a_tag(priority=9, erid="2Vtzq-x"), a_tag(regions=("JP",)), a_tag(regions=("DE",)), a_tag(enabled=False)
        )

        document = ET.fromstring(await promos.get_vast(PromoPlacement.PRE_ROLL, viewer=a_viewer(), at=NOON))

        ads = document.findall(f"{XML}Ad")
        assert (f"{XML}VAST", "4.2") == (document.tag, document.get("version"))
        assert [high.promo_id, low.promo_id] == [ad.get("id") for ad in ads]
        assert [high.url, low.url] == [ad.findtext(f"{XML}Wrapper/{XML}VASTAdTagURI") for ad in ads]
        assert ["2Vtzq-x", None] == [ad.findtext(f".//{XML}Erid") for ad in ads]
        assert [high.promo_id, low.promo_id] == [ad.findtext(f".//{XML}PromoId") for ad in ads]

    async def test_has_no_ads_where_there_are_none_or_it_is_off(self, promos: Promos, editing: Editing) -> None:
        await created(editing, a_tag())
        elsewhere = await promos.get_vast(PromoPlacement.POST_ROLL, viewer=GUEST, at=NOON)
        promos._serves_vast = False
        off = await promos.get_vast(PromoPlacement.PRE_ROLL, viewer=GUEST, at=NOON)

        assert elsewhere == off
        assert [] == list(ET.fromstring(off))

    @settings(deadline=None)
    @given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80), st.text("<>&'\"]-a", max_size=20))
    def test_holds_what_it_was_given_and_no_more(self, path: str, erid: str) -> None:
        """No field can end its element, or begin another one."""
        document = ET.fromstring(vast([a_tag(url=f"https://ads.example.org/{path}", erid=erid)]))

        assert f"https://ads.example.org/{path}" == document.findtext(f".//{XML}VASTAdTagURI")
        assert (erid or None) == document.findtext(f".//{XML}Erid")
        assert {"VAST", "Ad", "Wrapper", "AdSystem", "Extensions", "Extension", "PromoId", "Impression", "VASTAdTagURI"} >= {
            one.tag.removeprefix(XML) for one in document.iter()
        } - {"Erid"}


class TestRecordPromoEvents:
    async def test_counts_each_event_once_however_often_it_comes(self, promos: Promos, editing: Editing) -> None:
        (promo,) = await created(editing, a_promo())
        told = [an_occurrence(promo, action=action) for action in (PromoAction.SHOW, PromoAction.SHOW, PromoAction.CLICK)]

        first = await promos.record_promo_events([*told, told[0]])
        await asyncio.gather(*(promos.record_promo_events(told[:2]) for _ in range(8)))

        counts = await promos.get_promo_statistics(promo.promo_id, since=None, until=None, at=NOON)
        assert (3, []) == first
        assert [
            PromoCount(date(2026, 4, 6), "JP", PromoAction.SHOW, 2),
            PromoCount(date(2026, 4, 6), "JP", PromoAction.CLICK, 1),
        ] == counts

    async def test_names_promos_that_do_not_exist(self, promos: Promos, editing: Editing) -> None:
        promo, deleted = await created(editing, a_promo(), a_promo())
        await editing.delete(PROMO, deleted.promo_id, version=0, author=AUTHOR, at=NOON)
        never = a_promo()

        counted = await promos.record_promo_events([an_occurrence(one) for one in (never, promo, deleted, never)])

        assert (1, [never.promo_id, deleted.promo_id]) == counted

    async def test_loses_none_and_doubles_none_of_many_at_once(self, promos: Promos, editing: Editing) -> None:
        """Two writers, each sends each event, in another order."""
        made = await created(editing, *(a_promo() for _ in range(3)))
        told = [an_occurrence(made[n % 3], country=("JP", "DE")[n % 2]) for n in range(300)]

        async def tell(step: int) -> int:
            parts = [told[start : start + 20] for start in range(0, 300, 20)][::step]
            return sum([(await promos.record_promo_events(part[::step]))[0] for part in parts])

        assert 300 == sum(await asyncio.gather(tell(1), tell(-1), tell(1), tell(-1)))
        counts = [await promos.get_promo_statistics(one.promo_id, since=None, until=None, at=NOON) for one in made]
        assert [100] * 3 == [sum(count.count for count in one) for one in counts]

    async def test_forgets_ids_when_they_cannot_come_again(self, promos: Promos, editing: Editing, database: Database) -> None:
        (promo,) = await created(editing, a_promo())
        await promos.record_promo_events([an_occurrence(promo)])
        async with database.begins(bare)() as connection:
            now = await connection.fetchval("SELECT now()")

        assert 0 == await promos.forget_occurrences(at=now + timedelta(days=29))
        assert 1 == await promos.forget_occurrences(at=now + timedelta(days=31))


class TestGetPromoStatistics:
    async def test_takes_whole_days_and_refuses_too_many(self, promos: Promos, editing: Editing) -> None:
        (promo,) = await created(editing, a_promo())
        await promos.record_promo_events([an_occurrence(promo, time=NOON - timedelta(days=n)) for n in range(4)])

        some = await promos.get_promo_statistics(
            promo.promo_id, since=NOON - timedelta(days=2), until=NOON - timedelta(days=1), at=NOON
        )

        assert [date(2026, 4, 4), date(2026, 4, 5)] == [count.day for count in some]
        for days in (-1, 92):
            with pytest.raises(StatisticsTooLong):
                await promos.get_promo_statistics(promo.promo_id, since=NOON - timedelta(days=days), until=NOON, at=NOON)
        with pytest.raises(PromoNotFound):
            await promos.get_promo_statistics(new_id(at=NOON), since=None, until=None, at=NOON)


class TestBatches:
    async def test_writes_together_what_comes_while_it_writes(self) -> None:
        written: list[list[int]] = []

        async def write(items: Sequence[int]) -> list[int]:
            written.append(list(items))
            await asyncio.sleep(0)
            return [item * 2 for item in items]

        batches = Batches(write, busy=lambda: PromoEventsBusy(retry_after=1), largest=6)

        answers = await asyncio.gather(*(batches.add([n, n + 100]) for n in range(9)))
        await batches.close()

        assert [[2 * n, 2 * n + 200] for n in range(9)] == answers
        assert [n for n in range(9) for n in (n, n + 100)] == [item for batch in written for item in batch]
        assert all(len(batch) <= 6 for batch in written)
        assert len(written) <= 5

    async def test_tells_all_of_a_batch_that_fails_and_goes_on(self) -> None:
        async def write(items: Sequence[int]) -> list[int]:
            await asyncio.sleep(0)
            if 13 in items:
                raise ConnectionError
            return list(items)

        batches = Batches(write, busy=lambda: PromoEventsBusy(retry_after=1))
        failed = await asyncio.gather(batches.add([13]), batches.add([1]), return_exceptions=True)

        assert [ConnectionError, ConnectionError] == [type(one) for one in failed]
        assert [2] == await batches.add([2])

    async def test_writes_for_who_is_gone_and_refuses_more_than_it_can_hold(self) -> None:
        gate = asyncio.Event()
        written: list[int] = []

        async def write(items: Sequence[int]) -> list[int]:
            await gate.wait()
            written.extend(items)
            return list(items)

        batches = Batches(write, busy=lambda: PromoEventsBusy(retry_after=1), largest=1, most_waiting=2)
        callers = [asyncio.create_task(batches.add([n])) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Exhausted):
            await batches.add([3, 4])
        callers[1].cancel()
        gate.set()
        await batches.close()

        assert [0, 1] == written
        assert [0] == await callers[0]
