"""A caller who asks too often, on a stack of a size for one small machine: a single server, five calls a minute."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import httpx
import pytest
from google.rpc import code_pb2

from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import catalog_service_pb2_grpc
from tests.e2e.conftest import detail
from tests.serving import refusal
from tests.stack import Stack

ALLOWANCE = 5


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"ANI_QUOTA_PER_MINUTE": str(ALLOWANCE), "ANI_SERVERS": "1", "ANI_CACHE": "off"}
    with Stack(tmp_path_factory.mktemp("quotas"), "--without", "worker", **settings) as stack:
        yield stack


class TestAllowance:
    async def test_is_told_with_every_answer_and_then_refused(self, narrow: Stack) -> None:
        async with narrow.http(headers=narrow.credentials("user")) as caller:
            answers = [await caller.get("/v1/caller") for _ in range(ALLOWANCE + 1)]
            refused = answers.pop()

        assert [answer.headers["x-ratelimit-limit"] for answer in answers] == [str(ALLOWANCE)] * ALLOWANCE
        assert [int(answer.headers["x-ratelimit-remaining"]) for answer in answers] == [4, 3, 2, 1, 0]
        assert int(answers[0].headers["x-ratelimit-reset"]) <= 60 / ALLOWANCE
        assert (refused.status_code, refused.json()["code"]) == (429, code_pb2.RESOURCE_EXHAUSTED)
        assert 1 <= int(refused.headers["retry-after"]) <= 60 / ALLOWANCE
        assert detail(refused, "ErrorInfo")["reason"] == "QUOTA_USED_UP"
        assert detail(refused, "RetryInfo")["retryDelay"].endswith("s")

    async def test_is_each_caller_s_own(self, narrow: Stack) -> None:
        async with (
            narrow.http(headers=narrow.credentials("user")) as spent,
            narrow.http(headers=narrow.credentials("editor")) as other,
        ):
            while (await spent.get("/v1/caller")).status_code == 200:
                pass
            answer = await other.get("/v1/caller")

        assert answer.status_code == 200

    async def test_cannot_be_stretched_by_claims_of_another_address(self, narrow: Stack) -> None:
        """F5, B5."""
        async with narrow.http() as guest:
            answers = [await guest.get("/v1/caller", headers={"x-forwarded-for": f"203.0.113.{n}"}) for n in range(ALLOWANCE + 2)]

        assert [answer.status_code for answer in answers].count(200) <= ALLOWANCE
        assert answers[-1].status_code == 429

    async def test_holds_natively_too(self, narrow: Stack) -> None:
        credentials = tuple(narrow.credentials("moderator").items())
        async with narrow.channel() as channel:
            catalog = catalog_service_pb2_grpc.CatalogServiceStub(channel)
            for _ in range(ALLOWANCE):
                await catalog.ListGenres(pb.ListGenresRequest(), metadata=credentials)
            refused = await refusal(catalog.ListGenres(pb.ListGenresRequest(), metadata=credentials))

        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_USED_UP")
        assert refused.retry_after
        assert 0 < refused.retry_after <= 60 / ALLOWANCE

    async def test_is_not_counted_for_health(self, narrow: Stack) -> None:
        async with narrow.http() as guest:
            answers = [await guest.get(path) for path in ("/live", "/ready", "/health") for _ in range(ALLOWANCE)]

        assert {answer.status_code for answer in answers} == {200}
        assert narrow.metrics()["ani_quota_refusals_total"]


def test_the_allowance_is_no_obstacle_to_reading_the_docs(narrow: Stack) -> None:
    pages = [httpx.get(f"http://{narrow.address}/openapi.json", trust_env=False) for _ in range(ALLOWANCE * 2)]

    assert {page.status_code for page in pages} == {200}
