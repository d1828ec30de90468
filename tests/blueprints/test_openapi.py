"""The API description says what the frame enforces, and the page shows what it says."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from blueprints.examples import example
from blueprints.openapi import described
from errors import all_errors
from tests.blueprints.things import THING, problem

if TYPE_CHECKING:
    from tests.blueprints.things import Framed

# What services raise inside is no answer.
ANSWERED = all_errors()


@pytest.fixture
def document(framed: Framed) -> dict[str, Any]:
    answer = framed.client.get("/openapi.json")
    assert answer.content_type == "application/json"
    found: dict[str, Any] = answer.get_json()
    return found


def test_description_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_description_is_made_once(framed: Framed) -> None:
    assert described(framed.app) is described(framed.app)


def test_body_is_described_as_it_is_checked(document: dict[str, Any]) -> None:
    """AE8: from the models."""
    body = document["components"]["schemas"]["MakeBody"]
    assert body["additionalProperties"] is False
    assert body["required"] == ["amount_minor", "currency"]
    amount = body["properties"]["amount_minor"]
    assert (amount["type"], amount["minimum"], amount["maximum"]) == ("integer", 1, 10**15 - 1)
    assert "default" not in body["properties"]["reference"]
    assert "anyOf" not in body["properties"]["reference"]


def test_body_is_required_where_something_is_needed(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert paths["/v1/things"]["post"]["requestBody"]["required"] is True
    assert paths["/v1/things/{thing_id}"]["patch"]["requestBody"]["required"] is False
    assert "requestBody" not in paths["/v1/things/{thing_id}/end"]["post"]


def test_query_is_described_as_it_is_read(document: dict[str, Any]) -> None:
    """AE6."""
    found = {one["name"]: one for one in document["paths"]["/v1/things"]["get"]["parameters"]}
    assert found["limit"]["schema"] == {
        "type": "integer", "minimum": 1, "maximum": 200, "default": 50,
    }  # fmt: skip
    assert found["currency"]["schema"]["type"] == "array"


def test_ids_in_paths_are_described(document: dict[str, Any]) -> None:
    (parameter, *_) = document["paths"]["/v1/things/{thing_id}"]["patch"]["parameters"]
    assert parameter["schema"]["format"] == "uuid"
    assert re.fullmatch(parameter["schema"]["pattern"], THING)


def test_headers_are_described_where_they_are_read(document: dict[str, Any]) -> None:
    def names(path: str, method: str) -> list[str]:
        given = document["paths"][path][method]["parameters"]
        return [one["$ref"].rpartition("/")[2] for one in given if "$ref" in one]

    assert names("/v1/things", "post") == ["IdempotencyKey"]
    assert names("/v1/things/{thing_id}", "patch") == ["IdempotencyKey", "IfMatch"]
    assert names("/v1/things", "get") == []


def codes(document: dict[str, Any], path: str, method: str) -> set[str]:
    return {
        code
        for status, response in document["paths"][path][method]["responses"].items()
        if status >= "400"
        for code in response["content"]["application/problem+json"]["schema"]["properties"]["code"][
            "enum"
        ]
    }


def test_every_error_is_described_where_it_can_come(document: dict[str, Any]) -> None:
    """AE8: what a route declares decides."""
    public = codes(document, "/livez", "get")
    assert public == {"invalid_header", "validation_failed", "internal_error", "overloaded"}
    reading = codes(document, "/v1/things", "get")
    assert reading >= public | {"unauthenticated", "scope_missing", "database_unavailable"}
    assert not reading & {"invalid_json", "not_found", "idempotency_key_reused"}
    making = codes(document, "/v1/things", "post")
    assert making >= {"invalid_json", "body_too_large", "idempotency_in_progress"}
    assert codes(document, "/v1/things/{thing_id}", "patch") >= {"not_found", "version_mismatch"}


def test_whatever_writes_may_lose_its_answer(document: dict[str, Any]) -> None:
    """AE8: with a key or without one; what only reads is simply asked again."""
    for path, methods in document["paths"].items():
        for method in methods:
            assert ("outcome_unknown" in codes(document, path, method)) == (method != "get")


def test_a_status_may_be_an_answer_and_a_problem(document: dict[str, Any]) -> None:
    """OH1: not ready is an answer; overloaded is a problem; both are 503."""
    content = document["paths"]["/readyz"]["get"]["responses"]["503"]["content"]
    assert set(content) == {"application/json", "application/problem+json"}


def test_policy_is_described(document: dict[str, Any]) -> None:
    assert document["paths"]["/livez"]["get"]["security"] == []
    assert document["paths"]["/v1/things"]["get"]["security"] == [{"api_key": []}]
    assert document["paths"]["/v1/things"]["get"]["x-scope"] == "payments:read"


def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    """What people copy must work."""
    schemas = document["components"]["schemas"]
    shown = {name: example({"$ref": f"#/components/schemas/{name}"}, schemas) for name in schemas}
    unfit = [
        name
        for name, schema in schemas.items()
        if not jsonschema_rs.is_valid({"components": document["components"], **schema}, shown[name])
    ]
    assert len(shown) > 5
    assert unfit == []


# --- The pages ----------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page needs and what it leads to; refuses what is not well nested."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.attributes |= given.keys()
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(params=["/docs", "/problems/version_mismatch"])
def page(framed: Framed, request: pytest.FixtureRequest) -> Any:
    answer = framed.client.get(request.param)
    assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    return answer


def test_page_needs_nothing_from_elsewhere(page: Any) -> None:
    """It works without a network, and no script runs."""
    text = page.get_data(as_text=True)
    found = Page(text)
    assert not found.tags & {"script", "link", "img", "iframe", "form", "object"}
    assert not found.attributes & {"src", "style", "onclick", "srcset"}
    assert not re.search(r"url\(|@import", text)
    assert all(link.startswith(("#", "/")) for link in found.links)


def test_page_is_styled_under_its_policy(page: Any) -> None:
    """Operations 11: the style is allowed by its digest, and nothing else."""
    style = re.search(r"<style>(.*?)</style>", page.get_data(as_text=True), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "frame-ancestors 'none'" in policy


def test_every_anchor_of_the_page_leads_somewhere(framed: Framed) -> None:
    found = Page(framed.client.get("/docs").get_data(as_text=True))
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    for link in found.links:
        if link.startswith("/"):
            assert framed.client.get(link).status_code == 200


def test_page_shows_every_operation_and_code(framed: Framed) -> None:
    text = framed.client.get("/docs").get_data(as_text=True)
    ids = Page(text).ids
    for methods in described(framed.app)[0]["paths"].values():
        assert {op["operationId"] for op in methods.values()} <= set(ids)
    assert {f"code-{error.code}" for error in ANSWERED} <= set(ids)


@pytest.mark.parametrize("error", ANSWERED, ids=lambda error: error.code)
def test_type_of_every_problem_leads_to_a_page(framed: Framed, error: Any) -> None:
    """RFC 9457: `type` is an address where the problem is explained."""
    answer = framed.client.get(f"/problems/{error.code}")
    assert answer.status_code == 200
    assert error.title in answer.get_data(as_text=True)


@pytest.mark.parametrize("code", ["nothing", "<script>", "..", "%00"])
def test_unknown_code_is_404(framed: Framed, code: str) -> None:
    assert problem(framed.client.get(f"/problems/{code}"))["code"] == "not_found"
