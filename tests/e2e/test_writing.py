"""An editor at work: create, repeat, change, collide, delete; seen by whom, when, and what is left of it in the books."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import httpx
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_admin_service_pb2_grpc, catalog_service_pb2_grpc, release_facts_pb2, release_pb2
from ani.catalog.v1 import catalog_service_pb2 as pb
from tests.e2e.conftest import Body, Catalog, detail
from tests.serving import refusal, with_metadata
from tests.stack import Stack
from tests.waiting import until

EDITOR_CALLS = "SELECT method, role, account_id, code, reason, request FROM platform.audit_log WHERE request_id = $1"
EVENTS = """
    SELECT event.name, delivery.consumer, delivery.done_time IS NOT NULL AS done
    FROM platform.events AS event LEFT JOIN platform.deliveries AS delivery USING (event_id)
    WHERE event.payload ->> 'release_id' = $1 ORDER BY event.number
"""


class TestJourney:
    async def test_goes_from_a_draft_to_the_archive(self, editor: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        body = a_body(publication="PUBLICATION_DRAFT")
        path = f"/v1/releases/{body['releaseId']}"

        created = await editor.post("/v1/releases", json=body)
        repeated = await editor.post("/v1/releases", json=body)
        published = await editor.patch(f"{path}?update_mask.paths=publication", json={"publication": "PUBLICATION_PUBLISHED"})
        retold = await editor.patch(
            path,
            params={"update_mask.paths": ["synopsis", "titles"]},
            json={"synopsis": "Wind.", "titles": [{"language": "en", "text": "Wind"}]},
        )
        stale = await editor.patch(f"{path}?update_mask.paths=synopsis", json={"synopsis": "Late.", "version": "1"})
        deleted = await editor.delete(path)
        again = await editor.delete(path)
        gone = await editor.get(path)

        assert created.json()["sideEffects"] == ["ReleaseCreated"]
        assert (repeated.json()["release"], repeated.json()["sideEffects"]) == (created.json()["release"], [])
        assert published.json()["sideEffects"] == ["ReleaseUpdated", "ReleasePublished"]
        assert sorted(retold.json()["changedFields"].split(",")) == ["synopsis", "titles"]
        assert retold.json()["release"]["alias"] == body["alias"]
        assert (stale.status_code, detail(stale, "ErrorInfo")["reason"]) == (409, "ITEM_CHANGED_MEANWHILE")
        assert stale.headers["retry-after"]
        assert (deleted.json()["sideEffects"], again.json()["sideEffects"]) == (["ReleaseDeleted"], [])
        assert gone.status_code == 404


class TestCreateRelease:
    async def test_creates_one_however_often_the_same_is_sent_at_once(
        self, editor: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        """E4."""
        body = a_body()

        answers = await asyncio.gather(*(editor.post("/v1/releases", json=body) for _ in range(20)))

        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["release"]["version"] for answer in answers} == {"1"}
        assert sum(bool(answer.json()["sideEffects"]) for answer in answers) == 1

    async def test_refuses_the_same_id_for_something_else(self, editor: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        body = a_body()
        await editor.post("/v1/releases", json=body)

        refused = await editor.post("/v1/releases", json=body | {"year": 2001})

        assert (refused.status_code, detail(refused, "ErrorInfo")["reason"]) == (400, "ITEM_ID_REUSED")

    async def test_refuses_an_alias_that_is_taken(self, editor: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        refused = await editor.post("/v1/releases", json=a_body(alias="cowboy-bebop"))

        assert (refused.status_code, detail(refused, "ErrorInfo")["reason"]) == (409, "ALIAS_TAKEN")

    async def test_only_shows_what_it_would_do_when_asked_to(self, editor: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        body = a_body()

        shown = await editor.post("/v1/releases?validate_only=true", json=body)
        looked_for = await editor.get(f"/v1/releases/{body['releaseId']}")

        assert shown.json()["release"]["alias"] == body["alias"]
        assert shown.json()["sideEffects"] == ["ReleaseCreated", "ReleasePublished"]
        assert looked_for.status_code == 404


class TestRevision:
    async def test_lets_a_writer_read_the_write_whichever_server_answers(
        self, editor: httpx.AsyncClient, http: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        body = a_body()
        path = f"/v1/releases/{body['releaseId']}"
        await editor.post("/v1/releases", json=body)

        for number in range(10):
            synopsis = f"Told {number} times."
            written = await editor.patch(f"{path}?update_mask.paths=synopsis", json={"synopsis": synopsis})
            wanted = {"x-revision": written.headers["x-revision"]}
            for _ in range(4):
                seen = (await http.get(path, headers=wanted)).json()["release"]["synopsis"]
                assert seen == synopsis

    async def test_holds_between_two_servers(self, stack: Stack, a_body: Callable[..., Body]) -> None:
        """B6, F11: what one server has cached is not shown to whoever names a later revision."""
        credentials = tuple(stack.credentials("editor").items())
        async with stack.server_channel(0) as first, stack.server_channel(1) as second:
            writer = catalog_admin_service_pb2_grpc.CatalogAdminServiceStub(first)
            reader = catalog_service_pb2_grpc.CatalogServiceStub(second)
            draft = release_pb2.Release(
                alias=a_body()["alias"],
                titles=[release_facts_pb2.LocalizedTitle(language="en", text="Wind")],
                kind=release_pb2.RELEASE_KIND_TV,
                status=release_pb2.RELEASE_STATUS_ONGOING,
                age_rating=release_pb2.AGE_RATING_12,
                publication=release_pb2.PUBLICATION_PUBLISHED,
            )
            made = await writer.CreateRelease(admin_pb.CreateReleaseRequest(release=draft), metadata=credentials)
            for number in range(20):
                release = release_pb2.Release(release_id=made.release.release_id, synopsis=f"Told {number} times.")
                change = admin_pb.UpdateReleaseRequest(release=release, update_mask=FieldMask(paths=["synopsis"]))
                _, metadata = await with_metadata(writer.UpdateRelease(change, metadata=credentials))
                revision = (("x-revision", str(metadata["x-revision"])),)
                seen = await reader.GetRelease(pb.GetReleaseRequest(release=release.release_id), metadata=revision)
                assert seen.release.synopsis == release.synopsis

    async def test_that_was_never_given_out_is_refused(self, catalog: Catalog) -> None:
        request = pb.GetReleaseRequest(release="cowboy-bebop")

        refused = await refusal(catalog.GetRelease(request, metadata=(("x-revision", "7fffffffffffffff"),)))

        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REVISION_UNKNOWN")


class TestEvents:
    async def test_of_a_publication_are_delivered_once_each(
        self, stack: Stack, editor: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        body = a_body()
        await editor.post("/v1/releases", json=body)

        async def delivered() -> list[tuple[str, str]]:
            rows = await stack.ask(EVENTS, body["releaseId"])
            return [(row["name"], row["consumer"]) for row in rows] if rows and all(row["done"] for row in rows) else []

        assert await until(delivered) == [("ReleaseCreated", "catalog.cache"), ("ReleasePublished", "catalog.cache")]

    async def test_leave_nothing_behind_in_the_outbox(self, stack: Stack) -> None:
        async def drained() -> bool:
            rows = await stack.ask("SELECT FROM platform.events WHERE route_time IS NULL LIMIT 1")
            waiting = await stack.ask("SELECT FROM platform.deliveries WHERE done_time IS NULL LIMIT 1")
            return not rows and not waiting

        assert await until(drained)
        assert await stack.ask("SELECT FROM platform.dead_letters") == []


class TestAudit:
    async def test_keeps_who_did_what_under_the_request_id(
        self, stack: Stack, editor: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        body = a_body()
        request_id = f"audited-{body['alias'][-12:]}"

        answer = await editor.post("/v1/releases", json=body, headers={"x-request-id": request_id})
        (entry,) = await until(lambda: stack.ask(EDITOR_CALLS, request_id))

        assert answer.headers["x-request-id"] == request_id
        assert (entry["method"], entry["role"], entry["code"]) == (
            "/ani.catalog.v1.CatalogAdminService/CreateRelease",
            "EDITOR",
            "OK",
        )
        assert body["alias"] in entry["request"]

    @pytest.mark.parametrize(("role", "reason"), [("user", "ROLE_TOO_LOW"), ("moderator", "ROLE_TOO_LOW")])
    async def test_keeps_also_what_was_refused(self, stack: Stack, http: httpx.AsyncClient, role: str, reason: str) -> None:
        request_id = f"refused-to-a-{role}"
        path = "/v1/releases/0191d7a0-0000-7000-8000-00000000dead"

        answer = await http.delete(path, headers={"x-request-id": request_id} | stack.credentials(role))
        (entry,) = await until(lambda: stack.ask(EDITOR_CALLS, request_id))

        assert answer.status_code == 403
        assert (entry["role"], entry["code"], entry["reason"]) == (role.upper(), "PERMISSION_DENIED", reason)
