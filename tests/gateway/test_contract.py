"""What the gateway reads from the contract, and how URL templates become routes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.options.v1 import policy_pb2
from gateway.contract import GEN, Binding, Method, methods
from gateway.paths import addresses, behavior, pattern


@pytest.fixture(scope="module")
def contract() -> dict[str, Method]:
    return {method.name: method for method in methods((GEN / "image.binpb").read_bytes())}


class TestMethods:
    def test_are_all_there_and_in_order(self, contract: dict[str, Method]) -> None:
        service = pb.DESCRIPTOR.services_by_name["CatalogService"]

        names = [method.name for method in contract.values() if method.service == service.full_name]
        assert names == [method.name for method in service.methods]

    def test_know_what_the_contract_says_of_them(self, contract: dict[str, Method]) -> None:
        method = contract["UpdateRelease"]

        assert method.full_name == "/ani.catalog.v1.CatalogAdminService/UpdateRelease"
        assert method.request == "ani.catalog.v1.UpdateReleaseRequest"
        assert method.bindings == (Binding("PATCH", "/v1/releases/{release.release_id}", "release", ""),)
        assert method.idempotency == "IDEMPOTENT"
        assert method.policy is not None
        assert method.policy.access.role == policy_pb2.ROLE_EDITOR
        assert method.comment.startswith("Changes the named fields of a release")

    def test_have_no_comments_where_the_set_holds_none(self) -> None:
        found = methods((GEN / "descriptor.binpb").read_bytes())

        assert {method.comment for method in found} == {""}

    def test_can_be_repeated_unless_the_contract_is_silent(self, contract: dict[str, Method]) -> None:
        silent = replace(contract["CreateRelease"], idempotency="UNKNOWN")

        assert behavior(contract["CreateRelease"]).repeatable
        assert not behavior(silent).repeatable

    def test_run_out_of_time_unless_they_are_streams(self, contract: dict[str, Method]) -> None:
        assert behavior(contract["GetRelease"]).seconds == 12
        assert behavior(contract["WatchReleases"]).seconds == 0

    def test_are_shared_only_when_everyone_may_read_the_same(self, contract: dict[str, Method]) -> None:
        shared = {address.pattern for address in addresses(contract.values()) if address.shareable}

        assert pattern("/v1/releases/{release}") in shared
        assert pattern("/v1/releases:watch") not in shared
        assert pattern("/v1/caller") not in shared


class TestPattern:
    @pytest.mark.parametrize(
        ("template", "fits", "misses"),
        [
            ("/v1/releases", ["/v1/releases"], ["/v1/releases/", "/v1/releasesx", "/v2/releases"]),
            ("/v1/releases/{release}", ["/v1/releases/a", "/v1/releases/a:b"], ["/v1/releases/", "/v1/releases/a/b"]),
            ("/v1/releases:batchGet", ["/v1/releases:batchGet"], ["/v1/releasesXbatchGet", "/v1/releases"]),
            ("/v1/{name=users/*}/lists", ["/v1/users/7/lists"], ["/v1/groups/7/lists", "/v1/users/7/8/lists"]),
            ("/v1/{path=files/**}", ["/v1/files/a", "/v1/files/a/b/c"], ["/v1/files", "/v1/files/"]),
            ("/v1/a.b/{x}:go", ["/v1/a.b/1:go"], ["/v1/aXb/1:go", "/v1/a.b/1"]),
        ],
    )
    def test_fits_what_the_template_means(self, template: str, fits: list[str], misses: list[str]) -> None:
        expression = re.compile(pattern(template))

        assert [path for path in fits if not expression.fullmatch(path)] == []
        assert [path for path in misses if expression.fullmatch(path)] == []
