"""The description equals what runs: routes, errors, answers (AE8, AT6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jsonschema_rs
from openapi_spec_validator import OpenAPIV31SpecValidator

from blueprints.openapi import described
from errors import AppError, all_errors

if TYPE_CHECKING:
    from flask import Flask

    from tests.world import World

# Every path answers these, and no operation does.
OF_NO_OPERATION = {
    "method_not_allowed",
    "invalid_request",
    "request_line_too_long",
    "headers_too_large",
    "group_failed",  # It stands in results of batches.
}


def described_codes(document: dict[str, Any]) -> set[str]:
    """Return every code that some operation is said to answer with."""
    return {
        code
        for methods in document["paths"].values()
        for op in methods.values()
        for response in op["responses"].values()
        if "application/problem+json" in response.get("content", {})
        for code in response["content"]["application/problem+json"]["schema"]["properties"]["code"][
            "enum"
        ]
    }


def test_description_is_valid(app: Flask) -> None:
    """AE8: as OpenAPI 3.1 has it."""
    description: Any = described(app)[0]
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []


def test_examples_are_what_they_are_examples_of(app: Flask) -> None:
    """Every body and answer has one, and it fits its schema."""
    schemas = described(app)[0]["components"]["schemas"]
    for name, schema in schemas.items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        (example,) = schema["examples"]
        faults = list(jsonschema_rs.Draft202012Validator(whole).iter_errors(example))
        assert faults == [], (name, example)


def test_description_equals_the_routes(app: Flask) -> None:
    """AT6: OpenAPI = url_map."""
    shown = {
        (path, method.upper())
        for path, methods in described(app)[0]["paths"].items()
        for method in methods
    }
    routed = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert shown == routed


def test_every_error_is_described_somewhere(app: Flask) -> None:
    """AF1; and every code that is described stands in errors.py, where its page comes from."""
    codes = {error.code for error in all_errors()}
    codes.add(AppError.code)
    assert codes ^ described_codes(described(app)[0]) == OF_NO_OPERATION


def test_page_shows_every_operation(app: Flask) -> None:
    text = app.test_client().get("/docs").get_data(as_text=True)
    for methods in described(app)[0]["paths"].values():
        for op in methods.values():
            assert f'<article id="{op["operationId"]}"' in text


def test_operation_ids_are_unique(app: Flask) -> None:
    paths = described(app)[0]["paths"]
    ids = [op["operationId"] for methods in paths.values() for op in methods.values()]
    assert len(ids) == len(set(ids))


def test_answers_are_exactly_as_described(world: World) -> None:
    """AE8: a member that is not described never leaks, and none is missing."""
    document = described(world.app)[0]
    payment_id = world.authorized()
    world.command(payment_id, "capture", {"amount_minor": 300, "fee_minor": 10})
    refund_id = world.command(payment_id, "refunds", {"amount_minor": 50}).json["id"]
    dispute_id = world.disputed(payment_id, 70)
    paths = {
        "/v1/payments": "/v1/payments",
        "/v1/payments/{payment_id}": f"/v1/payments/{payment_id}",
        "/v1/payments/{payment_id}/events": f"/v1/payments/{payment_id}/events",
        "/v1/payments/{payment_id}/captures": f"/v1/payments/{payment_id}/captures",
        "/v1/payments/{payment_id}/refunds": f"/v1/payments/{payment_id}/refunds",
        "/v1/payments/{payment_id}/disputes": f"/v1/payments/{payment_id}/disputes",
        "/v1/refunds/{refund_id}": f"/v1/refunds/{refund_id}",
        "/v1/disputes/{dispute_id}": f"/v1/disputes/{dispute_id}",
        "/v1/currencies": "/v1/currencies",
        "/livez": "/livez",
        "/readyz": "/readyz",
        "/healthz": "/healthz",
    }
    for template, path in paths.items():
        while (answer := world.get(path)).status_code == 503:
            pass  # A busy machine may keep the store from answering a probe in its time.
        content = document["paths"][template]["get"]["responses"]["200"]["content"]
        schema = content["application/json"]["schema"]
        assert answer.status_code == 200
        _assert_exact(answer.get_json(), schema, document)


def _assert_exact(data: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    jsonschema_rs.validate({**schema, "components": document["components"]}, data)
    for part, under in _objects(data, schema, document["components"]["schemas"]):
        assert set(part) <= set(under["properties"]), set(part) - set(under["properties"])


def _objects(data: Any, schema: dict[str, Any], known: dict[str, Any]) -> Any:
    """Yield every object in `data` whose members are described, with its schema."""
    while "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    if isinstance(data, dict) and "properties" in schema:
        yield data, schema
        for name, part in data.items():
            yield from _objects(part, schema["properties"].get(name, {}), known)
    elif isinstance(data, list):
        for part in data:
            yield from _objects(part, schema.get("items", {}), known)
