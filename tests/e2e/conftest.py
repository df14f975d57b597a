"""One running stack for all journeys, and the callers who make them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeAlias

import httpx
import pytest

from ani.catalog.v1 import catalog_admin_service_pb2_grpc, catalog_service_pb2_grpc
from domain.kernel import new_id
from tests.stack import Stack

Catalog: TypeAlias = "catalog_service_pb2_grpc.CatalogServiceAsyncStub"
Admin: TypeAlias = "catalog_admin_service_pb2_grpc.CatalogAdminServiceAsyncStub"
Body = dict[str, Any]


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("e2e") / "a clone's folder", ANI_QUOTA_PER_MINUTE="100000") as stack:
        yield stack


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.http() as client:
        yield client


@pytest.fixture
async def editor(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.http(headers=stack.credentials("editor")) as client:
        yield client


@pytest.fixture
async def catalog(stack: Stack) -> AsyncIterator[Catalog]:
    async with stack.channel() as channel:
        yield catalog_service_pb2_grpc.CatalogServiceStub(channel)


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[Admin]:
    async with stack.channel() as channel:
        yield catalog_admin_service_pb2_grpc.CatalogAdminServiceStub(channel)


@pytest.fixture
def a_body() -> Callable[..., Body]:
    """Make a release as JSON: valid by default, override what matters."""

    def make(**over: Any) -> Body:
        release_id = new_id(at=datetime.now(UTC))
        facts = {
            "releaseId": release_id,
            "alias": f"release-{release_id[-12:]}",
            "titles": [{"language": "ja-Latn", "text": "Kaze no Uta"}],
            "kind": "RELEASE_KIND_TV",
            "status": "RELEASE_STATUS_ONGOING",
            "year": 2026,
            "ageRating": "AGE_RATING_12",
            "genres": [{"genreId": "drama"}],
            "publication": "PUBLICATION_PUBLISHED",
        }
        return facts | over

    return make


def detail(answer: httpx.Response, kind: str) -> Body:
    """Return one of the details of a refusal in JSON."""
    found: list[Body] = [one for one in answer.json()["details"] if one["@type"] == f"type.googleapis.com/google.rpc.{kind}"]
    assert len(found) == 1, answer.text
    return found[0]
