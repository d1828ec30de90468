"""A book as a stream of lines, NDJSON or CSV (ledger page, section 11)."""

from __future__ import annotations

from flask import Blueprint, Response

from blueprints.bodies.ledger_exports import LedgerExportQuery
from blueprints.edge import Call, operation
from blueprints.hooks import services
from blueprints.payment_exports import CSV, NDJSON, pieces
from blueprints.policy import scope
from errors import ExportBusy, NotSealed
from services.ledger_exports import ExportAsk

routes = Blueprint("ledger_exports", __name__)


@routes.get("/v1/ledger/export")
@operation(
    policy=scope("ledger:read"),
    query=LedgerExportQuery,
    answers={200: (NDJSON, CSV)},
    errors=(NotSealed, ExportBusy),
    cost="heavy",
)
def export(call: Call) -> Response:
    """Stream transactions, entries, accounts or balances, as of one moment.

    Without `posted_lt` it ends where the book is final: the same request, the same bytes. NDJSON
    ends with a line {"end": true, "count", "sha256", "sealed_through", "checkpoint"}: without that
    line it is cut off.
    """
    query = call.query
    ask = ExportAsk(
        what=query.what,
        format=query.format,
        posted_gte=query.posted_gte,
        posted_lt=query.posted_lt,
    )
    found = services().ledger_exports.begin(call.actor.tenant_id, ask)
    call.after_answer(found.close)
    name = f"ledger-{query.what}.{query.format}"
    return Response(
        pieces(found.lines),
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
        content_type=f"{CSV if query.format == 'csv' else NDJSON}; charset=utf-8",
    )
