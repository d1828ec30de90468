"""The API as a page for people, and a page per error code: from the API description alone.

No script, no font, no picture, nothing from elsewhere: it works without a network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, render_template
from markupsafe import Markup, escape

from blueprints.edge import Call, operation
from blueprints.examples import AT_FIRST, example, small_body
from blueprints.fields import EXAMPLE_ID, MOST_INTEGER
from blueprints.hooks import services
from blueprints.openapi import ABOUT, described, routes
from blueprints.policy import PUBLIC
from blueprints.problems import MEDIA_TYPE
from blueprints.schemas import REF
from errors import AppError, NotFound, all_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["routes"]  # One blueprint: the description, and its pages.

CSS = Markup((Path(__file__).parent / "templates" / "docs.css").read_text("utf-8"))  # noqa: S704
_DIGEST = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
HEADERS = {
    "Cache-Control": "max-age=300",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
FIRST_STEPS = """\
curl {url}/v1/payments \\
  -H "Authorization: Bearer $API_KEY" \\
  -H "Idempotency-Key: order-4711" \\
  -H "Content-Type: application/json" \\
  -d '{{"amount_minor": 1099, "currency": "EUR",
       "user_id": "'$USER_ID'"}}'

curl -X POST {url}/v1/payments/$PAYMENT_ID/capture \\
  -H "Authorization: Bearer $API_KEY" \\
  -H "Idempotency-Key: order-4711-capture\""""
PROBLEM = {
    "type": "/problems/validation_failed",
    "title": "Validation failed",
    "status": 422,
    "detail": "The request does not fit: see errors.",
    "instance": "",
    "code": "validation_failed",
    "retryable": False,
    "request_id": "",
    "errors": [
        {
            "pointer": "/amount_minor",
            "code": "amount_not_integer",
            "detail": "An amount is an integer of minor units.",
        }
    ],
}


@routes.get("/docs")
@operation(policy=PUBLIC, answers={200: "text/html"})
def docs(_: Call) -> Response:
    """Show this page."""
    kept = current_app.extensions
    if "strongroom.docs" not in kept:
        kept["strongroom.docs"] = render_template("docs.html", **_page())
    return _html(kept["strongroom.docs"])


@routes.get("/problems/<code>")
@operation(policy=PUBLIC, answers={200: "text/html"}, errors=(NotFound,))
def problem(_: Call, code: str) -> Response:
    """Explain an error code: where the `type` of every problem leads."""
    error = next((each for each in _errors() if each["code"] == code), None)
    if error is None:
        raise NotFound
    document = described(current_app)[0]
    answering = [
        op
        for op in _operations(document)
        if any(code in refusal["codes"] for refusal in op["refusals"])
    ]
    return _html(render_template("problem.html", css=CSS, error=error, operations=answering))


def _html(text: str) -> Response:
    return Response(text, content_type="text/html; charset=utf-8", headers=HEADERS)


# --- What the page shows ------------------------------------------------------------------------


def _page() -> dict[str, Any]:
    document = described(current_app)[0]
    schemas = document["components"]["schemas"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for op in _operations(document):
        groups.setdefault(op["tag"], []).append(op)
    return {
        "css": CSS,
        "version": document["info"]["version"],
        "about": ABOUT,
        "first_steps": FIRST_STEPS.format(url=services().config.public_url),
        "problem": PROBLEM | {"instance": f"urn:uuid:{EXAMPLE_ID}", "request_id": EXAMPLE_ID},
        "groups": [
            {"id": f"group-{tag}", "name": _title(tag), "operations": ops}
            for tag, ops in groups.items()
        ],
        "things": [_thing(name, schemas) for name in _answered(document)],
        "errors": _errors(),
    }


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        for method, op in methods.items():
            yield _operation(path, method.upper(), op, document["components"])


def _operation(path: str, method: str, op: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    given = [one for one in op["parameters"] if "$ref" not in one]
    references = [one["$ref"].rpartition("/")[2] for one in op["parameters"] if "$ref" in one]
    answers = [_answer(status, one) for status, one in op["responses"].items() if status < "400"]
    return {
        "id": op["operationId"],
        "tag": op["tags"][0],
        "method": method,
        "path": path,
        "short": re.sub(r"\{\w+\}", "…", path.removeprefix("/v1")),
        "summary": op["summary"].rstrip("."),
        "description": op.get("description"),
        "public": not op["security"],
        "scope": op.get("x-scope"),
        "keyed": "IdempotencyKey" in references,
        "versioned": "IfMatch" in references,
        "parameters": [_row(one["name"], one["schema"], one) for one in given],
        "body": _fields(_body(op), parts["schemas"]),
        "body_required": op.get("requestBody", {}).get("required"),
        "answers": answers,
        "example": _example(answers[0], parts["schemas"]),
        "refusals": list(_refusals(op, lambda code: code in op["x-own-codes"])),
        "common": list(_refusals(op, lambda code: code not in op["x-own-codes"])),
        "curl": _curl(path, method, op, parts["schemas"]),
    }


def _answer(status: str, response: dict[str, Any]) -> dict[str, Any]:
    for kind, content in response.get("content", {}).items():
        name = content["schema"].get("$ref", "").removeprefix(REF)
        return {"status": status, "name": name or kind, "link": f"thing-{name}" if name else None}
    return {"status": status, "name": response["description"], "link": None}


def _example(answer: dict[str, Any], schemas: dict[str, Any]) -> Any:
    if answer["link"] is None:
        return None
    made = example(schemas[answer["name"]], schemas)
    return made | AT_FIRST if answer["status"] == "201" else made


def _refusals(op: dict[str, Any], shown: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    again = {error["code"] for error in _errors() if error["retryable"]}
    for status, response in op["responses"].items():
        if status >= "400":
            schema = response["content"][MEDIA_TYPE]["schema"]
            codes = [code for code in schema["properties"]["code"]["enum"] if shown(code)]
            if codes:
                yield {"status": status, "codes": codes, "again": set(codes) <= again}


def _body(op: dict[str, Any]) -> dict[str, Any]:
    content = op.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] = content.get("application/json", {}).get("schema", {})
    return schema


def _curl(path: str, method: str, op: dict[str, Any], schemas: dict[str, Any]) -> str:
    url = services().config.public_url + path.replace("{payment_id}", "$PAYMENT_ID")
    needed = [one for one in op["parameters"] if one.get("in") == "query" and one.get("required")]
    if needed:
        values = [f"{one['name']}={example(one['schema'], schemas, one['name'])}" for one in needed]
        url = f"'{url}?{'&'.join(values)}'"
    lines = [f"curl {url}" if method == "GET" else f"curl -X {method} {url}"]
    if op["security"]:
        lines.append('-H "Authorization: Bearer $API_KEY"')
    if any(one.get("$ref", "").endswith("IdempotencyKey") for one in op["parameters"]):
        lines.append(f'-H "Idempotency-Key: {op["operationId"].replace("_", "-")}-4711"')
    body = _body(op)
    if body:
        small = small_body(schemas[body["$ref"].removeprefix(REF)], schemas)
        lines += ['-H "Content-Type: application/json"', f"-d '{json.dumps(small)}'"]
    return " \\\n  ".join(lines)


# --- Schemas as tables --------------------------------------------------------------------------


def _answered(document: dict[str, Any]) -> list[str]:
    """Name the schemas that are no body: those have their table where they are sent."""
    bodies = {
        _body(op).get("$ref", "").removeprefix(REF)
        for methods in document["paths"].values()
        for op in methods.values()
    }
    return [name for name in document["components"]["schemas"] if name not in bodies]


def _thing(name: str, schemas: dict[str, Any]) -> dict[str, Any]:
    text = schemas[name].get("description", "")
    return {
        "id": f"thing-{name}",
        "name": name,
        "text": text,
        "fields": _fields({"$ref": f"{REF}{name}"}, schemas),
    }


def _fields(schema: dict[str, Any], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if not schema:
        return []
    whole = schemas[schema["$ref"].removeprefix(REF)]
    required = whole.get("required", []) if whole.get("additionalProperties") is False else []
    return [
        _row(name, part, {"required": name in required, **part})
        for name, part in whole.get("properties", {}).items()
    ]


def _row(name: str, schema: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    kind, link = _kind(schema)
    return {
        "name": name,
        "type": kind,
        "link": link,
        "required": about.get("required", False),
        "text": about.get("description", ""),
        "limits": _limits(schema),
    }


def _kind(schema: dict[str, Any]) -> tuple[str, str | None]:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return name, f"thing-{name}"
    if "anyOf" in schema:
        kind, link = _kind(schema["anyOf"][0])
        return f"{kind} or null", link
    if schema.get("type") == "array":
        kind, link = _kind(schema["items"])
        return f"array of {kind}", link
    return {"uuid": "id", "date-time": "time"}.get(
        schema.get("format", ""), str(schema.get("type", "any"))
    ), None


def _limits(schema: dict[str, Any]) -> str:
    schema = schema.get("anyOf", [schema])[0]
    schema = schema.get("items", schema)
    default = schema.get("default")
    said = [] if default is None else [f"{_written(default)} if left out"]
    if "enum" in schema:
        said.append(", ".join(schema["enum"]))
    if schema.get("maximum", MOST_INTEGER) < MOST_INTEGER:
        said.append(f"{schema['minimum']:,} to {schema['maximum']:,}")
    if "maxLength" in schema:
        said.append(f"at most {schema['maxLength']} characters")
    return "; ".join(said)


def _written(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _errors() -> list[dict[str, Any]]:
    """Every code that an answer can have, by status; what services raise inside is none."""
    every: list[type[AppError]] = [AppError]
    every += all_errors()
    return [
        {
            "code": error.code,
            "status": error.status,
            "title": error.title,
            "retryable": error.retryable,
            "detail": (error.__doc__ or "").strip().splitlines()[0],
        }
        for error in sorted(every, key=lambda each: (each.status, each.code))
    ]


# --- Text ---------------------------------------------------------------------------------------


def _title(tag: str) -> str:
    return tag.replace("_", " ").capitalize()


@routes.app_template_filter("prose")
def _prose(text: str) -> Markup:
    """Show `code` in a docstring or description as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


@routes.app_template_filter("braces")
def _braces(path: str) -> Markup:
    return Markup(re.sub(r"(\{\w+\})", r"<em>\1</em>", str(escape(path))))  # noqa: S704


@routes.app_template_filter("coloured")
def _coloured(value: Any) -> Markup:
    """Show JSON with names, strings and the rest in their colours; escaped first."""
    text = str(escape(json.dumps(value, indent=2, ensure_ascii=False)))
    text = re.sub(r"(&#34;[^&]*?&#34;)(?=:)", r"<b>\1</b>", text)
    text = re.sub(r"(?<=: )(&#34;.*?&#34;)(?=,?$)", r"<i>\1</i>", text, flags=re.MULTILINE)
    return Markup(  # noqa: S704
        re.sub(r"(?<=: )(-?\d+|true|false|null)(?=,?$)", r"<u>\1</u>", text, flags=re.MULTILINE)
    )
