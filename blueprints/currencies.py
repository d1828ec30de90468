"""Which currencies there are, and in which one may pay (P3, P4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from blueprints.bodies.currencies import CurrencyList
from blueprints.edge import Call, operation, respond
from blueprints.hooks import services
from blueprints.policy import scope

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("currencies", __name__)


@routes.get("/v1/currencies")
@operation(policy=scope("payments:read"), answers={200: CurrencyList})
def list_all(_: Call) -> Response:
    """List every currency of ISO 4217, by code; all of them at once."""
    return respond(200, CurrencyList, {"data": services().currencies.list_all()})
