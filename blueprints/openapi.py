"""The API description (OpenAPI 3.1), made from routes, operations and models: nothing by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, current_app
from pydantic_core import to_json

from blueprints.edge import BODY_METHODS, Call, Operation, operation
from blueprints.examples import example
from blueprints.fields import ID_PATTERN
from blueprints.policy import PUBLIC
from blueprints.problems import MEDIA_TYPE
from blueprints.refusals import errors_of
from blueprints.schemas import HEADERS, PARAMETERS, REF, PlainSchema, Schemas, schemas
from errors import AppError, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from werkzeug.routing import Rule

    from blueprints.edge import Shown

VERSION = "1"
ABOUT = """\
Strongroom takes payments and keeps their double-entry ledger: a command moves money, writes the \
event, posts the ledger and stores its answer in one commit, or does nothing at all.
"""

routes = Blueprint("docs", __name__, template_folder="templates")


@routes.get("/openapi.json")
@operation(policy=PUBLIC, answers={200: "application/json"})
def openapi(_: Call) -> Response:
    """Describe this API as OpenAPI 3.1."""
    return Response(
        described(current_app)[1],
        content_type="application/json",
        headers={"Cache-Control": "max-age=300"},
    )


def described(app: Flask) -> tuple[dict[str, Any], bytes]:
    """Return the description of `app`, as a document and as bytes; made once."""
    if "strongroom.openapi" not in app.extensions:
        made = describe(app)
        app.extensions["strongroom.openapi"] = (made, to_json(made))
    kept: tuple[dict[str, Any], bytes] = app.extensions["strongroom.openapi"]
    return kept


def describe(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of everything that `app` serves."""
    found = list(operations(app))
    references, definitions = schemas([op for _, _, op in found])
    shown = {name: [example(each, definitions)] for name, each in definitions.items()}
    for name, examples in shown.items():
        definitions[name]["examples"] = examples
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, op in found:
        paths.setdefault(_path(rule), {})[method.lower()] = _operation(rule, method, op, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Strongroom", "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": {
                "api_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: `Authorization: Bearer srk_...`",
                }
            },
        },
    }


def operations(app: Flask) -> Iterator[tuple[Rule, str, Operation]]:
    """Yield every route, method and operation that clients may use, in order of registration."""
    for rule in app.url_map.iter_rules():
        view: Any = app.view_functions[rule.endpoint]
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method, view.operation


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)


def _operation(rule: Rule, method: str, op: Operation, known: Schemas) -> dict[str, Any]:
    summary, _, rest = (op.view.__doc__ or "").strip().partition("\n")
    made: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": summary,
        "parameters": [*_path_parameters(rule, op), *_query_parameters(op), *_headers(op)],
        "responses": _responses(rule, method, op, known),
        "security": [] if op.policy.kind == "public" else [{"api_key": []}],
    }
    if rest.strip():
        made["description"] = re.sub(r"\n\s+", "\n", rest.strip())
    made["x-own-codes"] = [error.code for error in op.errors]
    if op.policy.required_scope:
        made["x-scope"] = op.policy.required_scope
    if op.body is not None and method in BODY_METHODS:
        types = ["application/json"] + ["application/merge-patch+json"] * (method == "PATCH")
        schema = {"schema": known[op.body, "validation"]}
        made["requestBody"] = {
            "required": not op.no_body,
            "content": dict.fromkeys(types, schema),
        }
    if op.streams:
        content: dict[str, Any] = {kind: {"schema": {}} for kind in op.streams}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _path_parameters(rule: Rule, op: Operation) -> Iterator[dict[str, Any]]:
    for name in sorted(rule.arguments):
        schema: dict[str, Any] = {"type": "string"}
        if name in op.ids:
            schema |= {"format": "uuid", "pattern": ID_PATTERN}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(op: Operation) -> Iterator[dict[str, Any]]:
    if op.query is None:
        return
    whole = op.query.model_json_schema(schema_generator=PlainSchema, ref_template=REF + "{model}")
    for name, schema in whole["properties"].items():
        if schema.get("type") == "object":
            continue  # `metadata.<name>`: OpenAPI has no word for it, the docstring says it.
        parameter = {"name": name, "in": "query", "schema": schema}
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        if name in whole.get("required", []):
            parameter["required"] = True
        yield parameter


def _headers(op: Operation) -> Iterator[dict[str, Any]]:
    if op.keyed:
        yield {"$ref": "#/components/parameters/IdempotencyKey"}
    if op.versioned:
        yield {"$ref": "#/components/parameters/IfMatch"}


def _responses(rule: Rule, method: str, op: Operation, known: Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for status, answer in op.answers.items():
        response = made[str(status)] = {"description": _said(status), "headers": _named(op, status)}
        if answer is not None:
            shown = answer if isinstance(answer, tuple) else (answer,)
            response["content"] = dict(_content(each, known) for each in shown)
    by_status: dict[int, list[type[AppError]]] = {}
    for error in errors_of(op, method, has_path=bool(rule.arguments)):
        by_status.setdefault(error.status, []).append(error)
    for status, errors in by_status.items():
        codes = [error.code for error in errors]
        schema = {"$ref": f"{REF}Problem", "properties": {"code": {"enum": codes}}}
        response = made.setdefault(
            str(status), {"description": ", ".join(codes), "headers": _named(op, status)}
        )
        response.setdefault("content", {})[MEDIA_TYPE] = {"schema": schema}
    return made


def _content(answer: Shown, known: Schemas) -> tuple[str, dict[str, Any]]:
    if isinstance(answer, str):
        return answer, {"schema": {}}
    return "application/json", {"schema": known[answer, "serialization"]}


def _said(status: int) -> str:
    return {201: "Made.", 204: "Done.", 304: "As you have it."}.get(status, "Done.")


def _named(op: Operation, status: int) -> dict[str, Any]:
    names = ["X-Request-ID"]
    if op.keyed:
        names += ["Idempotency-Key"]
        if status < 300:  # noqa: PLR2004
            names += ["Idempotency-Status", "Idempotent-Replayed"]
    if op.cost != "free":
        names += ["RateLimit-Policy", "RateLimit"]
    if status in {429, 503}:
        names.append("Retry-After")
    if status == Unauthenticated.status:
        names.append("WWW-Authenticate")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
