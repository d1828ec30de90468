"""What the API description is put together from: schemas of models, parameters, headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from blueprints.fields import Answer
from blueprints.problems import Problem

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import core_schema

    from blueprints.edge import Operation

REF = "#/components/schemas/"
# {(model, "validation" or "serialization"): the reference to its schema}
Schemas = dict[tuple[Any, str], dict[str, Any]]

PARAMETERS: dict[str, dict[str, Any]] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "Your name for this request: the same key again gives the same answer and "
        "no second effect. 1 to 255 visible ASCII characters without a comma.",
        "schema": {"type": "string", "pattern": r"^[!#-+\--\[\]-~]{1,255}$"},
        "example": "order-4711-capture",
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag of the version you have seen; another one is refused.",
        "schema": {"type": "string", "pattern": r'^("[0-9]{1,18}"|\*)$'},
        "example": '"3"',
    },
}
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "Names this request in logs, events and rows.",
        "schema": {"type": "string"},
    },
    "Idempotency-Key": {
        "description": "The key that this request ran under.",
        "schema": {"type": "string"},
    },
    "Idempotency-Status": {
        "description": "What became of the key.",
        "schema": {"enum": ["stored", "replayed", "generated", "ignored"]},
    },
    "Idempotent-Replayed": {
        "description": "`true` if this is the stored answer of an earlier request.",
        "schema": {"const": "true"},
    },
    "Retry-After": {
        "description": "Whole seconds to wait before the same request again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "RateLimit": {
        "description": "What is left of the tightest limit (r) and when its window ends (t, s).",
        "schema": {"type": "string"},
        "example": '"key_write";r=5999;t=60',
    },
    "RateLimit-Policy": {
        "description": "That limit: requests (q) in a sliding window (w, s).",
        "schema": {"type": "string"},
        "example": '"key_write";q=6000;w=60',
    },
    "WWW-Authenticate": {
        "description": "The scheme that is wanted.",
        "schema": {"type": "string"},
    },
}


class PlainSchema(GenerateJsonSchema):
    """JSON schema without pydantic's titles, and without the None that means "left out"."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Names speak for themselves."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        """Leave out the default None."""
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            made.pop("default")
        return made


def schemas(found: list[Operation]) -> tuple[Schemas, dict[str, Any]]:
    """Return {(model, mode): reference} and the definitions they refer to."""
    wanted: dict[tuple[type[BaseModel], Any], None] = {(Problem, "serialization"): None}
    for op in found:
        if op.body is not None:
            wanted[op.body, "validation"] = None
        for answer in op.answers.values():
            for each in answer if isinstance(answer, tuple) else (answer,):
                if isinstance(each, type) and issubclass(each, Answer):
                    wanted[each, "serialization"] = None
    references, whole = models_json_schema(
        list(wanted), schema_generator=PlainSchema, ref_template=REF + "{model}"
    )
    definitions = dict(sorted(whole.get("$defs", {}).items()))
    for definition in definitions.values():
        definition.pop("title", None)
    return cast("Schemas", references), definitions
