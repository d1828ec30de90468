"""Examples from schemas: what a body or an answer may look like, for people who read the docs."""

from __future__ import annotations

from typing import Any

from blueprints.fields import EXAMPLE_ID
from blueprints.schemas import REF

BY_FORMAT = {"uuid": EXAMPLE_ID, "date-time": "2026-01-31T12:00:00.123456Z"}
# A name says more than a type; the money of one captured payment, so that the sums agree.
BY_NAME: dict[str, Any] = {
    "version": 3,
    "seq": 3,
    "status": "captured",
    "status_from": "authorized",
    "status_to": "captured",
    "type": "payment.captured",
    "key": "order-4711-capture",
    "operation": f"POST /v1/payments/{EXAMPLE_ID}/capture",
    "gateway": "manual",
    "actor": f"key:{EXAMPLE_ID}",
    "request_id": EXAMPLE_ID,
    "amount_minor": 1099,
    "authorized_minor": 1099,
    "captured_minor": 1099,
    "refundable_minor": 1099,
    "metadata": {"colour": "green"},
    "allowed_actions": ["refund", "dispute"],
    "state": "completed",
    "capture_method": "manual",
}
# The same payment before anything was taken: what a 201 shows.
AT_FIRST: dict[str, Any] = {
    "status": "created",
    "authorized_minor": 0,
    "captured_minor": 0,
    "refundable_minor": 0,
    "allowed_actions": ["authorize", "capture", "cancel", "fail"],
    "version": 1,
}
TYPES = {str: "string", int: "integer", list: "array", dict: "object"}


def example(schema: dict[str, Any], known: dict[str, Any], name: str = "") -> Any:
    """Return a value that fits `schema`; `known` are the schemas that it may refer to."""
    if "$ref" in schema:
        return example(known[schema["$ref"].removeprefix(REF)], known, name)
    if schema.get("examples"):
        return schema["examples"][0]
    wished = BY_NAME.get(name)
    for part in schema.get("anyOf", [schema]):
        fits = wished is not None and TYPES[type(wished)] == part.get("type")
        if fits and wished in part.get("enum", [part.get("const", wished)]):
            return wished
    return None if "anyOf" in schema else _fitting(schema, known, name)


def _fitting(schema: dict[str, Any], known: dict[str, Any], name: str) -> Any:
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = schema.get("type")
    if kind == "object":
        members = schema.get("properties", {})
        return {each: example(part, known, each) for each, part in members.items()}
    if kind == "array":
        return [example(schema["items"], known)]
    plain = {
        "integer": max(0, schema.get("minimum", 0)),
        "number": 0.5,
        "boolean": True,
        "string": name.replace("_", " "),
    }
    return BY_FORMAT.get(schema.get("format", ""), plain.get(str(kind)))


def small_body(schema: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a first try: what is required, else the first member."""
    wanted = schema.get("required") or list(schema.get("properties", {}))[:1]
    return {name: example(schema["properties"][name], known, name) for name in wanted}
