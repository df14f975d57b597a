"""What goes wrong is told in one shape: google.rpc.Status with a reason, and the field where one is at fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import code_pb2

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_pb2
from tests.e2e.conftest import Admin, Body, Catalog, detail
from tests.serving import refusal
from tests.stack import Stack


class TestNotFound:
    async def test_names_what_is_not_there(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/releases/none")

        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["code"] == code_pb2.NOT_FOUND
        info = detail(answer, "ErrorInfo")
        assert (info["reason"], info["domain"], info["metadata"]) == ("RELEASE_NOT_FOUND", "ani", {"release": "none"})

    async def test_has_the_same_shape_where_nothing_ever_was(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v2/releases")

        assert answer.status_code == 404
        assert detail(answer, "ErrorInfo")["reason"] == "PATH_UNKNOWN"

    async def test_is_the_same_natively(self, catalog: Catalog) -> None:
        refused = await refusal(catalog.GetRelease(pb.GetReleaseRequest(release="none")))

        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "RELEASE_NOT_FOUND")

    async def test_hides_drafts_from_visitors(
        self, http: httpx.AsyncClient, editor: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        draft = a_body(publication="PUBLICATION_DRAFT")
        await editor.post("/v1/releases", json=draft)

        seen = await editor.get(f"/v1/releases/{draft['alias']}")
        hidden = await http.get(f"/v1/releases/{draft['alias']}")

        assert (seen.status_code, hidden.status_code) == (200, 404)


class TestBadRequest:
    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("page_sise=3", 'Could not find field "page_sise"'),
            ("page_size=three", "page_size: invalid value"),
            ("kind=RELEASE_KIND_SERIAL", "kind"),
        ],
    )
    async def test_names_the_parameter_that_cannot_be_read(self, http: httpx.AsyncClient, query: str, words: str) -> None:
        answer = await http.get(f"/v1/releases?{query}")

        assert (answer.status_code, answer.json()["code"]) == (400, code_pb2.INVALID_ARGUMENT)
        assert words in answer.json()["message"]
        assert detail(answer, "ErrorInfo")["reason"] == "REQUEST_MALFORMED"

    @pytest.mark.parametrize(("query", "field"), [("page_size=-1", "page_size"), (f"genres={'x' * 65}", "genres[0]")])
    async def test_names_the_field_that_breaks_a_rule(self, http: httpx.AsyncClient, query: str, field: str) -> None:
        answer = await http.get(f"/v1/releases?{query}")

        assert answer.status_code == 400
        assert detail(answer, "ErrorInfo")["reason"] == "REQUEST_INVALID"
        assert [violation["field"] for violation in detail(answer, "BadRequest")["fieldViolations"]] == [field]

    async def test_names_every_field_of_a_body(self, editor: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        answer = await editor.post("/v1/releases", json=a_body(alias="No Alias", titles=[], year=1500))

        fields = {violation["field"] for violation in detail(answer, "BadRequest")["fieldViolations"]}
        assert answer.status_code == 400
        assert fields == {"release.alias", "release.titles", "release.year"}

    async def test_names_a_field_that_only_the_domain_can_judge(
        self, editor: httpx.AsyncClient, a_body: Callable[..., Body]
    ) -> None:
        answer = await editor.post("/v1/releases", json=a_body(genres=[{"genreId": "no-such-genre"}]))

        assert answer.status_code == 400
        assert detail(answer, "BadRequest")["fieldViolations"][0]["field"].startswith("release.genres")

    @pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'{"year": "many"}', b'{"titles": {}}'])
    async def test_takes_no_body_that_is_not_the_message(self, editor: httpx.AsyncClient, body: bytes) -> None:
        answer = await editor.post("/v1/releases", content=body, headers={"content-type": "application/json"})

        assert (answer.status_code, answer.json()["code"]) == (400, code_pb2.INVALID_ARGUMENT)
        assert "Traceback" not in answer.text

    async def test_takes_no_body_beyond_its_limit(self, editor: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        """C7."""
        answer = await editor.post("/v1/releases", json=a_body(synopsis="a" * 2_000_000))

        assert answer.status_code == 413
        assert detail(answer, "ErrorInfo")["reason"] == "REQUEST_TOO_LARGE"

    async def test_names_the_field_natively(self, stack: Stack, admin: Admin) -> None:
        change = admin_pb.UpdateReleaseRequest(release=release_pb2.Release(alias="ok"), update_mask=FieldMask(paths=["alias"]))
        credentials = tuple(stack.credentials("editor").items())

        refused = await refusal(admin.UpdateRelease(change, metadata=credentials))

        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
        assert any("release.release_id" in words for words in refused.fields.values())


class TestVerb:
    async def test_that_a_path_does_not_take_is_refused_with_those_it_takes(self, http: httpx.AsyncClient) -> None:
        answer = await http.put("/v1/releases/cowboy-bebop", json={})

        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, PATCH")


class TestAccess:
    async def test_asks_who_calls(self, http: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        answer = await http.post("/v1/releases", json=a_body())

        assert (answer.status_code, answer.json()["code"]) == (401, code_pb2.UNAUTHENTICATED)
        assert detail(answer, "ErrorInfo")["reason"] == "CREDENTIALS_MISSING"

    async def test_needs_the_role(self, stack: Stack, http: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        answer = await http.post("/v1/releases", json=a_body(), headers=stack.credentials("user"))

        assert (answer.status_code, answer.json()["code"]) == (403, code_pb2.PERMISSION_DENIED)
        assert detail(answer, "ErrorInfo")["metadata"] == {"role": "EDITOR"}

    @pytest.mark.parametrize("token", ["nonsense", "a.b.c", "." * 3000])
    async def test_takes_no_token_that_is_none(self, http: httpx.AsyncClient, token: str, a_body: Callable[..., Body]) -> None:
        answer = await http.post("/v1/releases", json=a_body(), headers={"authorization": f"Bearer {token}"})

        assert answer.status_code == 401

    async def test_takes_no_token_of_another_platform(self, tmp_path: Any, stack: Stack, http: httpx.AsyncClient) -> None:
        foreign = stack.command("token", "--role", "admin", over={"ANI_DATA": str(tmp_path)}).stdout.strip()

        answer = await http.get("/v1/caller", headers={"authorization": f"Bearer {foreign}"})

        assert foreign.count(".") == 2
        assert answer.status_code == 401

    async def test_comes_before_validation(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/v1/releases", json={"alias": "No Alias"})

        assert answer.status_code == 401

    async def test_is_the_same_natively(self, admin: Admin) -> None:
        refused = await refusal(admin.DeleteRelease(admin_pb.DeleteReleaseRequest()))

        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")
