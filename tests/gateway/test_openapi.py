"""The contract as OpenAPI: valid, whole, and true to the limits that the servers enforce."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.contract import GEN, methods
from gateway.openapi import VARIABLE, document

Json = dict[str, Any]


@pytest.fixture(scope="module")
def image() -> bytes:
    return (GEN / "image.binpb").read_bytes()


@pytest.fixture(scope="module")
def openapi(image: bytes) -> Json:
    return document(image, version="1.2.3")


def schema(openapi: Json, name: str) -> Json:
    found: Json = openapi["components"]["schemas"][name]
    return found


def parameters(openapi: Json, path: str, verb: str = "get") -> dict[str, Json]:
    return {parameter["name"]: parameter for parameter in openapi["paths"][path][verb]["parameters"]}


class TestDocument:
    def test_is_valid(self, openapi: Json) -> None:
        faults = [fault.message for fault in OpenAPIV31SpecValidator(openapi).iter_errors()]

        assert faults == []
        assert openapi["openapi"] == "3.1.0"
        assert openapi["info"]["version"] == "1.2.3"

    def test_has_every_binding_of_the_contract(self, openapi: Json, image: bytes) -> None:
        described = {(verb.upper(), VARIABLE.sub("{}", path)) for path, item in openapi["paths"].items() for verb in item}

        assert described == {
            (binding.verb, VARIABLE.sub("{}", binding.path)) for method in methods(image) for binding in method.bindings
        }

    def test_has_each_path_once_whatever_its_variables_are_called(self, openapi: Json) -> None:
        assert openapi["paths"]["/v1/releases/{release}"].keys() == {"get", "patch", "delete"}
        assert len({VARIABLE.sub("{}", path) for path in openapi["paths"]}) == len(openapi["paths"])
        for path, item in openapi["paths"].items():
            for operation in item.values():
                assert VARIABLE.findall(path) == [p["name"] for p in operation["parameters"] if p["in"] == "path"]

    def test_names_each_operation_once(self, openapi: Json) -> None:
        names = [operation["operationId"] for item in openapi["paths"].values() for operation in item.values()]

        assert len(names) == len(set(names))

    def test_says_what_each_thing_is_for(self, openapi: Json) -> None:
        operations = [operation for item in openapi["paths"].values() for operation in item.values()]

        assert [o["operationId"] for o in operations if not o["summary"] or not o["description"]] == []
        assert [p["name"] for o in operations for p in o["parameters"] if not p.get("description")] == []
        assert [tag["name"] for tag in openapi["tags"] if not tag["description"]] == []

    def test_tells_who_may_call_and_what_is_kept(self, openapi: Json) -> None:
        write = openapi["paths"]["/v1/releases"]["post"]
        read = openapi["paths"]["/v1/releases"]["get"]

        assert write["security"] == [{"token": []}]
        assert "role editor" in write["description"]
        assert {"401", "403", "409", "429"} <= write["responses"].keys()
        assert read["security"] == [{}, {"token": []}]
        assert "1 minute" in read["description"]
        assert "etag" in read["responses"]["200"]["headers"]

    def test_gives_streams_as_events(self, openapi: Json) -> None:
        content = openapi["paths"]["/v1/releases:watch"]["get"]["responses"]["200"]["content"]

        assert content.keys() == {"text/event-stream"}
        shape = content["text/event-stream"]["schema"]["contentSchema"]
        assert shape == {"$ref": "#/components/schemas/ani.catalog.v1.WatchReleasesResponse"}

    def test_gives_content_that_is_no_json_as_what_it_is(self, openapi: Json) -> None:
        answer = openapi["paths"]["/v1/images/{file_id}"]["get"]["responses"]["200"]
        upload = openapi["paths"]["/v1/files"]["post"]

        assert not answer["content"].keys() & {"application/json"}
        assert "etag" in answer["headers"]
        assert upload["requestBody"]["content"] == {"*/*": {}}
        assert not [p["name"] for p in upload["parameters"] if p["name"].startswith("content")]


class TestSchema:
    def test_carries_the_limits_of_validation(self, openapi: Json) -> None:
        alias = schema(openapi, "ani.catalog.v1.Release")["properties"]["alias"]
        page_size = parameters(openapi, "/v1/releases")["page_size"]["schema"]
        ids = parameters(openapi, "/v1/releases:batchGet")["release_ids"]

        assert (alias["minLength"], alias["maxLength"]) == (2, 96)
        assert alias["pattern"] == "^[a-z0-9]+(-[a-z0-9]+)*$"
        assert page_size["minimum"] == 0
        assert ids["required"]
        assert (ids["schema"]["minItems"], ids["schema"]["maxItems"], ids["schema"]["uniqueItems"]) == (1, 100, True)
        assert ids["schema"]["items"]["format"] == "uuid"

    def test_takes_zero_where_that_means_unknown(self, openapi: Json) -> None:
        year = Draft202012Validator(schema(openapi, "ani.catalog.v1.Release")["properties"]["year"])

        assert [value for value in (0, 1907, 2100) if not year.is_valid(value)] == []
        assert [value for value in (1, 1906, 2101, "2000") if year.is_valid(value)] == []

    def test_has_long_numbers_as_text_and_times_as_dates(self, openapi: Json) -> None:
        properties = schema(openapi, "ani.catalog.v1.Release")["properties"]

        assert properties["version"]["type"] == "string"
        assert properties["createTime"]["format"] == "date-time"
        assert properties["createTime"]["readOnly"]

    def test_refuses_the_unknown_value_where_the_contract_does(self, openapi: Json) -> None:
        kind = schema(openapi, "ani.catalog.v1.Release")["properties"]["kind"]

        assert kind["not"] == {"enum": ["RELEASE_KIND_UNSPECIFIED"]}

    def test_asks_for_nothing_in_a_partial_update(self, openapi: Json) -> None:
        body = openapi["paths"]["/v1/releases/{release}"]["patch"]["requestBody"]["content"]["application/json"]["schema"]

        assert "required" not in schema(openapi, body["$ref"].rpartition("/")[2])
        assert "alias" in schema(openapi, "ani.catalog.v1.Release")["required"]
        assert parameters(openapi, "/v1/releases/{release}", "patch")["update_mask"]["required"]

    def test_knows_that_one_of_several_excludes_the_others(self, openapi: Json) -> None:
        message = schema(openapi, "ani.catalog.v1.WatchReleasesResponse")

        assert {"required": ["change", "heartbeat"]} in message["not"]["anyOf"]

    async def test_fits_what_the_gateway_answers(self, http: httpx.AsyncClient) -> None:
        served = (await http.get("/openapi.json")).json()
        answer = (await http.get("/v1/genres")).json()
        refusal = (await http.get("/v1/releases/missing")).json()

        for name, found in (("ani.catalog.v1.ListGenresResponse", answer), ("google.rpc.Status", refusal)):
            whole = {"$ref": f"#/components/schemas/{name}", "components": served["components"]}
            assert [fault.message for fault in Draft202012Validator(whole).iter_errors(found)] == []
