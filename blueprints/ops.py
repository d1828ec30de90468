"""Is the process alive, is it ready, how is everything, what has been counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from flask import Blueprint

from blueprints.edge import Call, operation, respond
from blueprints.fields import Answer
from blueprints.policy import PUBLIC

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("ops", __name__)


class Live(Answer):
    """The process answers."""

    status: Literal["pass"]


@routes.get("/livez")
@operation(policy=PUBLIC, answers={200: Live})
def livez(_: Call) -> Response:
    """Tell that the process answers; touches no store."""
    return respond(200, Live, {"status": "pass"})
