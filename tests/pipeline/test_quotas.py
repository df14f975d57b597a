"""Allowances over the wire: told with every answer, kept by account or address, and kept without Valkey too."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import grpc
import pytest

from ani.media.v1 import media_service_pb2, upload_service_pb2
from ani.system.v1 import system_service_pb2 as pb
from server.pipeline.plan import plan
from server.settings import Settings
from tests.pipeline.conftest import Eventually, Probe, Start, Token
from tests.platform.conftest import OwnValkey
from tests.serving import Metadata, refusal, with_metadata

OTHER = "0191d7a0-0000-7000-8000-0000000000bb"
USUAL = "calls a minute"


def from_address(address: str) -> Metadata:
    return (("x-forwarded-for", address),)


async def granted(probe: Probe, method: str, *, tries: int, metadata: Metadata = ()) -> int:
    """Call so often, and return how often it was granted; whatever else comes of a call is a failure."""
    codes = [await probe(method, metadata=metadata).code() for _ in range(tries)]
    assert {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED} >= set(codes)
    return codes.count(grpc.StatusCode.OK)


class TestUsualAllowance:
    @pytest.mark.settings(quota_per_minute=3)
    async def test_counts_those_who_are_turned_away(self, probe: Probe, token: Token) -> None:
        """Guessing tokens is not free, and neither is trying staff's methods."""
        forged: Metadata = (("authorization", "Bearer x"), *from_address("192.0.2.1"))
        guest, member = from_address("192.0.2.2"), token()

        for method, metadata in (("Read", forged), ("ForModerators", guest), ("ForModerators", member)):
            refused = [await refusal(probe(method, metadata=metadata)) for _ in range(5)]

            assert ["QUOTA_USED_UP"] * 2 == [one.reason for one in refused[3:]]
            assert "QUOTA_USED_UP" not in {one.reason for one in refused[:3]}
        assert 0 == probe.count("ForModerators")

    @pytest.mark.settings(quota_per_minute=5)
    async def test_is_told_with_every_answer(self, probe: Probe) -> None:
        _, first = await with_metadata(probe("Read"))
        _, second = await with_metadata(probe("Read"))

        assert ("5", "4", "12") == tuple(first[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset"))
        assert ("5", "3") == (second["x-ratelimit-limit"], second["x-ratelimit-remaining"])

    @pytest.mark.settings(quota_per_minute=5)
    async def test_is_refused_beyond_with_what_to_do(self, probe: Probe) -> None:
        for _ in range(5):
            await probe("Read")

        refused = await refusal(probe("Read"))

        assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_USED_UP") == (refused.code, refused.reason)
        assert {"allowance": USUAL, "limit": "5", "window": "60.0"} == dict(refused.info.metadata)
        assert refused.retry_after is not None
        assert 10 < refused.retry_after <= 12
        assert refused.metadata["retry-after"] in {"11", "12"}
        assert ("5", "0", "60") == tuple(refused.metadata[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset"))
        assert 5 == probe.count("Read")

    @pytest.mark.settings(quota_per_minute=2)
    async def test_counts_every_method_and_every_outcome_together(self, probe: Probe, token: Token) -> None:
        await probe("Shared")
        await refusal(probe("Read", b"\xff"))

        refused = await refusal(probe("Follow").read())

        assert "QUOTA_USED_UP" == refused.reason

    @pytest.mark.settings(quota_per_minute=2)
    async def test_is_each_accounts_wherever_it_calls_from_and_each_guests(self, probe: Probe, token: Token) -> None:
        """F5."""
        for address in ("192.0.2.1", "192.0.2.2"):
            await probe("Read", metadata=(*token(), *from_address(address)))

        refused = await refusal(probe("Read", metadata=(*token(), *from_address("192.0.2.3"))))
        other = await probe("Read", id="other", metadata=(*token(account_id=OTHER), *from_address("192.0.2.1")))
        guest = await probe("Read", id="guest", metadata=from_address("192.0.2.1"))

        assert "QUOTA_USED_UP" == refused.reason
        assert ("other", "guest") == (other.text, guest.text)

    @pytest.mark.settings(quota_per_minute=1)
    async def test_is_not_asked_of_health_checks(self, probe: Probe) -> None:
        await probe("Read")

        for _ in range(5):
            await probe("Unmetered")
            _, metadata = await with_metadata(probe.served.system.CheckHealth(pb.CheckHealthRequest()))
            assert "x-ratelimit-limit" not in metadata
        assert "QUOTA_USED_UP" == (await refusal(probe("Read"))).reason

    @pytest.mark.settings(quota_per_minute=0)
    async def test_can_be_switched_off(self, probe: Probe) -> None:
        _, metadata = await with_metadata(probe("Read"))

        assert not [name for name in metadata if name.startswith("x-ratelimit")]
        assert 100 == await granted(probe, "Read", tries=100)

    @pytest.mark.settings(quota_per_minute=50)
    async def test_holds_for_all_processes_together(self, probe: Probe, start: Start, eventually: Eventually) -> None:
        """What one process granted, the other knows of soon after it meets the caller."""
        second = await start()
        await granted(probe, "Read", tries=40)

        def remaining() -> int:
            return next(one.remaining for one in second.machinery.quotas.standings("unix") if one.allowance.name == USUAL)

        await second("Read")
        await eventually(lambda: remaining() < 20)

        assert await granted(second, "Read", tries=30) < 20


class TestAllowanceInPlaceOfTheUsualOne:
    @pytest.mark.settings(quota_per_minute=5)
    async def test_lets_a_page_of_images_load_and_leaves_the_usual_one_alone(self, probe: Probe) -> None:
        page = await granted(probe, "Ample", tries=60)
        _, image = await with_metadata(probe("Ample"))
        _, other = await with_metadata(probe("Read"))

        assert page == 60
        assert image["x-ratelimit-limit"] == "100"
        assert ("5", "4") == (other["x-ratelimit-limit"], other["x-ratelimit-remaining"])

    @pytest.mark.settings(quota_per_minute=5)
    async def test_ends_too_for_all_of_an_address(self, probe: Probe, token: Token) -> None:
        mine = await granted(probe, "Ample", tries=70, metadata=(*token(), *from_address("192.0.2.1")))
        others = await granted(probe, "Ample", tries=70, metadata=(*token(account_id=OTHER), *from_address("192.0.2.1")))
        elsewhere = await granted(probe, "Ample", tries=5, metadata=(*token(), *from_address("192.0.2.2")))

        assert (mine, elsewhere) == (70, 5)
        assert 30 <= others <= 35

    @pytest.mark.settings(quota_per_minute=500)
    async def test_is_never_smaller_than_the_usual_one(self, probe: Probe) -> None:
        _, metadata = await with_metadata(probe("Ample"))

        assert metadata["x-ratelimit-limit"] == "500"

    @pytest.mark.settings(quota_per_minute=0)
    async def test_is_off_where_the_usual_one_is(self, probe: Probe) -> None:
        _, metadata = await with_metadata(probe("Ample"))

        assert not [name for name in metadata if name.startswith("x-ratelimit")]

    @pytest.mark.parametrize(
        "service_and_name", ["UploadService.GetImage", "UploadService.GetPlaybackFile", "MediaService.GetManifest"]
    )
    def test_is_what_pages_and_players_ask_for_by_the_dozen(self, service_and_name: str) -> None:
        service, name = service_and_name.split(".")
        file = upload_service_pb2 if service == "UploadService" else media_service_pb2

        planned = plan(file.DESCRIPTOR.services_by_name[service].methods_by_name[name])

        assert planned.instead is not None
        assert planned.instead.by_address
        assert planned.instead.allowance.limit >= 20 * 60

    @pytest.mark.settings(quota_per_minute=5)
    async def test_is_no_way_to_guess_tokens(self, probe: Probe) -> None:
        refused = [await refusal(probe("Ample", metadata=(("authorization", "Bearer x"),))) for _ in range(6)]

        assert refused[-1].reason == "QUOTA_USED_UP"


class TestStrictAllowance:
    @pytest.mark.settings(quota_per_minute=60)
    async def test_is_told_and_refused_in_place_of_the_usual_one(self, probe: Probe) -> None:
        _, first = await with_metadata(probe("Strict"))
        for _ in range(2):
            await probe("Strict")

        refused = await refusal(probe("Strict"))
        _, elsewhere = await with_metadata(probe("Read"))

        assert ("3", "2") == (first["x-ratelimit-limit"], first["x-ratelimit-remaining"])
        assert {"allowance": "Strict/3 in 3600 s", "limit": "3", "window": "3600.0"} == dict(refused.info.metadata)
        assert refused.retry_after is not None
        assert 1190 < refused.retry_after <= 1200
        assert ("60", "55") == (elsewhere["x-ratelimit-limit"], elsewhere["x-ratelimit-remaining"])

    async def test_is_the_accounts_or_the_guests_address(self, probe: Probe, token: Token) -> None:
        mine = await granted(probe, "Strict", tries=5, metadata=token())
        others = await granted(probe, "Strict", tries=5, metadata=token(account_id=OTHER))
        guest = await granted(probe, "Strict", tries=5, metadata=from_address("192.0.2.1"))
        neighbor = await granted(probe, "Strict", tries=5, metadata=from_address("192.0.2.2"))

        assert (3, 3, 3, 3) == (mine, others, guest, neighbor)

    async def test_is_the_addresss_whoever_is_signed_in(self, probe: Probe, token: Token) -> None:
        """A6 and F5: new accounts do not help, and neither do the other addresses of one's own network."""
        home = "2001:db8:7:7::1"
        mine = await granted(probe, "StrictByAddress", tries=2, metadata=(*token(), *from_address(home)))
        again = (*token(account_id=OTHER), *from_address("2001:db8:7:7:ffff::2"))
        others = await granted(probe, "StrictByAddress", tries=3, metadata=again)
        elsewhere = await granted(probe, "StrictByAddress", tries=1, metadata=(*token(), *from_address("2001:db8:7:8::1")))

        assert (2, 1, 1) == (mine, others, elsewhere)

    async def test_counts_answers_from_the_cache_too(self, probe: Probe) -> None:
        assert 2 == await granted(probe, "SharedStrictly", tries=4)
        assert 1 == probe.count("SharedStrictly")

    async def test_is_kept_by_all_processes_together_to_the_call(self, probe: Probe, start: Start) -> None:
        second = await start()

        calls = [granted(one, "Strict", tries=5) for one in (probe, second) for _ in range(4)]

        assert 3 == sum(await asyncio.gather(*calls))

    async def test_takes_nothing_for_what_is_refused_before(self, probe: Probe) -> None:
        for _ in range(5):
            await refusal(probe("Strict", metadata=(("authorization", "Bearer x"),)))

        assert 3 == await granted(probe, "Strict", tries=5)


class TestStandings:
    @pytest.mark.settings(quota_per_minute=10)
    async def test_are_shown_to_the_caller(self, probe: Probe, token: Token) -> None:
        await probe("Strict", metadata=token())

        answer = await probe.served.system.GetCaller(pb.GetCallerRequest(), metadata=token())

        shown = {allowance.name: (allowance.limit, allowance.remaining) for allowance in answer.allowances}
        assert {USUAL: (10, 8), "Strict/3 in 3600 s": (3, 2)} == shown
        assert all(0 < allowance.reset_after.ToSeconds() <= 1200 for allowance in answer.allowances)


class TestWithoutValkey:
    async def test_is_kept_in_the_process_and_shared_again_when_it_is_back(
        self, start: Start, settings: Settings, own_valkey: OwnValkey, eventually: Eventually
    ) -> None:
        """F6: killed, and started again with nothing in it."""
        probe = await start(replace(settings, redis_url=own_valkey.url, quota_per_minute=20))
        before = await granted(probe, "Strict", tries=1)

        own_valkey.kill()
        without = await granted(probe, "Strict", tries=5)
        usual = await granted(probe, "Read", tries=30)
        own_valkey.begin()
        await eventually(lambda: _up(probe))
        after = await granted(probe, "Strict", tries=5, metadata=from_address("192.0.2.9"))
        again = await granted(probe, "Strict", tries=5)

        assert (1, 2, 14) == (before, without, usual)
        assert (3, 0) == (after, again)

    async def test_costs_nobody_time_while_it_hangs(
        self, start: Start, settings: Settings, own_valkey: OwnValkey, eventually: Eventually
    ) -> None:
        probe = await start(replace(settings, redis_url=own_valkey.url))
        await granted(probe, "Strict", tries=1)

        own_valkey.freeze()
        began = time.perf_counter()
        counts = await asyncio.gather(
            *(granted(probe, "Strict", tries=4, metadata=from_address(f"192.0.2.{n}")) for n in range(20))
        )
        took = time.perf_counter() - began
        own_valkey.thaw()
        await eventually(lambda: _up(probe))
        back = await granted(probe, "Strict", tries=4, metadata=from_address("192.0.2.1"))

        assert [3] * 20 == counts
        assert took < 1.0
        assert 0 == back


def _up(probe: Probe) -> bool:
    ledger: Any = probe.machinery.quotas._shared
    return bool(ledger._valkey.up)
