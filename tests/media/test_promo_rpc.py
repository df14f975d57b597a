"""What only the wire shows of promos: mapping, access, caches, counting under load."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from ani.editing.v1 import change_set_pb2, change_set_service_pb2_grpc
from ani.editing.v1 import change_set_service_pb2 as sets_pb
from ani.media.v1 import promo_admin_service_pb2 as admin_pb
from ani.media.v1 import promo_pb2
from ani.media.v1 import promo_service_pb2 as pb
from domain.kernel import Role, new_id
from tests.builders import NOON
from tests.serving import Metadata, Served, refusal

Token = Callable[..., Metadata]
HOSTS = ("shop.example", "ads.example.org")
HOME = pb.ListPromosRequest(placement=promo_pb2.PROMO_PLACEMENT_HOME)


def a_message(**over: Any) -> promo_pb2.Promo:
    facts: dict[str, Any] = {
        "promo_id": new_id(at=NOON),
        "format": promo_pb2.PROMO_FORMAT_BANNER,
        "placement": promo_pb2.PROMO_PLACEMENT_HOME,
        "title": "A new season",
        "url": "https://shop.example/season",
        "regions": ["JP"],
        "start_time": Timestamp(seconds=1_700_000_000),
        "overlay": True,
        "priority": 5,
        "erid": "2Vtzq",
        "enabled": True,
    }
    return promo_pb2.Promo(**facts | over)


async def created(served: Served, token: Token, **over: Any) -> promo_pb2.Promo:
    request = admin_pb.CreatePromoRequest(promo=a_message(**over))
    return (await served.promo_admin.CreatePromo(request, metadata=token(Role.EDITOR))).promo


@pytest.mark.settings(promo_hosts=HOSTS)
class TestPromos:
    async def test_are_shown_as_they_were_created_and_changed_at_once(self, served: Served, token: Token) -> None:
        japan = (("x-ani-country", "JP"),)
        wanted = a_message()
        before = await served.promos.ListPromos(HOME, metadata=japan)
        made = await created(served, token, promo_id=wanted.promo_id)
        shown = (await served.promos.ListPromos(HOME, metadata=japan)).promos
        change = admin_pb.UpdatePromoRequest(
            promo=promo_pb2.Promo(promo_id=wanted.promo_id, enabled=False), update_mask=FieldMask(paths=["enabled"])
        )
        await served.promo_admin.UpdatePromo(change, metadata=token(Role.EDITOR))
        after = await served.promos.ListPromos(HOME, metadata=japan)

        assert [] == list(before.promos) == list(after.promos)
        assert [made] == list(shown)
        for name in ("format", "placement", "title", "url", "regions", "start_time", "overlay", "priority", "erid", "enabled"):
            assert getattr(wanted, name) == getattr(made, name)

    @pytest.mark.parametrize(
        ("over", "reason", "field"),
        [
            ({"url": "https://evil.org/"}, "PROMO_URL_REFUSED", "promo.url"),
            ({"format": promo_pb2.PROMO_FORMAT_VAST, "url": ""}, "PROMO_TAG_MISSING", "promo.url"),
            ({"end_time": Timestamp(seconds=1)}, "PROMO_ENDS_BEFORE_IT_BEGINS", "promo.end_time"),
            ({"end_time": Timestamp(seconds=2**62)}, "REQUEST_INVALID", "promo.end_time"),
            ({"image_file_id": new_id(at=NOON)}, "PROMO_IMAGE_REFUSED", "promo.image_file_id"),
            ({"erid": "<erid>"}, "REQUEST_INVALID", "promo.erid"),
            ({"regions": ["Japan"]}, "REQUEST_INVALID", "promo.regions[0]"),
        ],
    )
    async def test_are_refused_with_the_field_that_is_wrong(
        self, served: Served, token: Token, over: dict[str, Any], reason: str, field: str
    ) -> None:
        request = admin_pb.CreatePromoRequest(promo=a_message(**over))

        refused = await refusal(served.promo_admin.CreatePromo(request, metadata=token(Role.EDITOR)))

        assert (grpc.StatusCode.INVALID_ARGUMENT, reason) == (refused.code, refused.reason)
        assert field in refused.fields

    async def test_keep_what_editors_may_not_change(self, served: Served, token: Token) -> None:
        promo = await created(served, token)

        request = admin_pb.UpdatePromoRequest(promo=promo, update_mask=FieldMask(paths=["version"]))
        refused = await refusal(served.promo_admin.UpdatePromo(request, metadata=token(Role.EDITOR)))

        assert "PROMO_FIELD_NOT_WRITABLE" == refused.reason

    async def test_are_gone_when_they_are_deleted(self, served: Served, token: Token) -> None:
        promo = await created(served, token, regions=[])
        await served.promos.ListPromos(HOME)

        await served.promo_admin.DeletePromo(admin_pb.DeletePromoRequest(promo_id=promo.promo_id), metadata=token(Role.EDITOR))

        assert [] == list((await served.promos.ListPromos(HOME)).promos)
        get = admin_pb.GetPromoRequest(promo_id=promo.promo_id)
        assert "PROMO_NOT_FOUND" == (await refusal(served.promo_admin.GetPromo(get, metadata=token(Role.EDITOR)))).reason

    async def test_are_published_and_taken_back_together(self, served: Served, token: Token) -> None:
        sets: Any = change_set_service_pb2_grpc.ChangeSetServiceStub(served.channel)
        old = await created(served, token, regions=[])
        new = a_message(regions=[])
        edits = [
            change_set_pb2.Edit(create_promo=admin_pb.CreatePromoRequest(promo=new)),
            change_set_pb2.Edit(delete_promo=admin_pb.DeletePromoRequest(promo_id=old.promo_id)),
        ]
        made = await sets.CreateChangeSet(
            sets_pb.CreateChangeSetRequest(change_set=change_set_pb2.ChangeSet(title="Next season", edits=edits)),
            metadata=token(Role.EDITOR),
        )
        which = made.change_set.change_set_id
        before = await served.promos.ListPromos(HOME)

        await sets.PublishChangeSet(sets_pb.PublishChangeSetRequest(change_set_id=which), metadata=token(Role.EDITOR))
        after = [await served.promos.ListPromos(HOME)]
        await sets.RollBackChangeSet(sets_pb.RollBackChangeSetRequest(change_set_id=which), metadata=token(Role.EDITOR))
        after += [await served.promos.ListPromos(HOME)]

        assert [old.promo_id] == [promo.promo_id for promo in before.promos]
        assert [[new.promo_id], [old.promo_id]] == [[promo.promo_id for promo in answer.promos] for answer in after]


class TestGetVast:
    REQUEST = pb.GetVastRequest(placement=promo_pb2.PROMO_PLACEMENT_PRE_ROLL)

    @pytest.mark.settings(promo_hosts=HOSTS, vast=True)
    async def test_is_an_xml_document(self, served: Served, token: Token) -> None:
        url = "https://ads.example.org/vast?a=1&b=2"
        facts = {"format": promo_pb2.PROMO_FORMAT_VAST, "placement": promo_pb2.PROMO_PLACEMENT_PRE_ROLL, "regions": [], "url": url}
        await created(served, token, **facts)

        document = (await served.promos.GetVast(self.REQUEST)).document

        assert "application/xml; charset=utf-8" == document.content_type
        assert document.data.startswith(b"<?xml version='1.0' encoding='utf-8'?>")
        assert url == ET.fromstring(document.data).findtext(".//{http://www.iab.com/VAST}VASTAdTagURI")

    @pytest.mark.settings(promo_hosts=HOSTS)
    async def test_has_no_ads_unless_it_is_switched_on(self, served: Served, token: Token) -> None:
        facts = {"format": promo_pb2.PROMO_FORMAT_VAST, "placement": promo_pb2.PROMO_PLACEMENT_PRE_ROLL, "regions": []}
        await created(served, token, **facts)

        document = (await served.promos.GetVast(self.REQUEST)).document

        assert [] == list(ET.fromstring(document.data))


@pytest.mark.settings(promo_hosts=HOSTS)
class TestRecordPromoEvents:
    async def test_counts_what_many_send_at_once_and_again(self, served: Served, token: Token, database_url: str) -> None:
        promo = await created(served, token)
        events = [
            pb.PromoEvent(event_id=new_id(at=NOON), promo_id=promo.promo_id, action=promo_pb2.PROMO_ACTION_SHOW) for _ in range(200)
        ]
        metadata = (*token(), ("x-ani-country", "JP"))

        calls = [pb.RecordPromoEventsRequest(events=events[n : n + 5]) for n in range(0, 200, 5)]
        answers = await asyncio.gather(*(served.promos.RecordPromoEvents(call, metadata=metadata) for call in calls))
        again = await asyncio.gather(*(served.promos.RecordPromoEvents(call, metadata=metadata) for call in calls))

        request = admin_pb.GetPromoStatisticsRequest(promo_id=promo.promo_id)
        (count,) = (await served.promo_admin.GetPromoStatistics(request, metadata=token(Role.EDITOR))).counts
        assert 200 == sum(answer.counted_count for answer in answers)
        assert 0 == sum(answer.counted_count for answer in again)
        assert (200, "JP", promo_pb2.PROMO_ACTION_SHOW) == (count.count, count.country, count.action)

    async def test_is_written_when_it_is_acknowledged(self, served: Served, token: Token, database_url: str) -> None:
        promo = await created(served, token)
        event = pb.PromoEvent(event_id=new_id(at=NOON), promo_id=promo.promo_id, action=promo_pb2.PROMO_ACTION_CLICK)

        await served.promos.RecordPromoEvents(pb.RecordPromoEventsRequest(events=[event]), metadata=token())

        connection = await asyncpg.connect(database_url)
        assert 1 == await connection.fetchval("SELECT sum(count) FROM media.promo_counts")
        await connection.close()

    async def test_is_for_signed_in_callers(self, served: Served) -> None:
        event = pb.PromoEvent(event_id=new_id(at=NOON), promo_id=new_id(at=NOON), action=promo_pb2.PROMO_ACTION_CLICK)

        refused = await refusal(served.promos.RecordPromoEvents(pb.RecordPromoEventsRequest(events=[event])))

        assert grpc.StatusCode.UNAUTHENTICATED is refused.code
