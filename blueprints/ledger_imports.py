"""Transactions of a file, posted while it comes in (ledger page, section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from blueprints import reading
from blueprints.bodies.ledger_imports import LedgerImportAnswer, LedgerImportQuery
from blueprints.edge import Call, operation, respond
from blueprints.exchange import exchange
from blueprints.hooks import services
from blueprints.ledger_accounts import LEDGER
from blueprints.payment_exports import CSV, NDJSON
from blueprints.policy import scope
from blueprints.posting_batches import read_items
from errors import AppError, BatchTooLarge, FileDamaged
from services.import_files import Lines, csv_items, ndjson_items
from services.ledger_imports import ImportReport, LedgerImports
from services.postings import Order

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("ledger_imports", __name__)


@routes.post("/v1/ledger/import")
@operation(
    policy=scope("ledger:admin"),
    switch=LEDGER,
    query=LedgerImportQuery,
    answers={200: LedgerImportAnswer},
    errors=(FileDamaged, BatchTooLarge),
    cost="heavy",
    streams=(NDJSON, CSV),
)
def import_file(call: Call) -> Response:
    """Post the transactions of a file of any size, a batch a commit.

    Each has its own `id`, so a file that was stopped is sent again: what is there creates nothing.
    A refusal of the whole file says in `created`, `existing` and `refused` how far it came.
    """
    query, (kind, read_line) = call.query, call.stream
    is_dry = query.dry_run == "true"
    order = Order(actor=call.actor, request_id=exchange().request_id, dry_run=is_dry)
    lines, report = Lines(read_line), ImportReport()
    items = (csv_items if kind == CSV else ndjson_items)(lines, reading.line)
    imports = LedgerImports(services().posting_batches, read_items)
    most = min(query.batch, services().config.ledger_batch_max)
    try:
        for _ in imports.run(order, items, report, most=most, is_whole=query.mode == "all"):
            pass
    except AppError as error:
        error.members |= report.data
        raise
    return respond(200, LedgerImportAnswer, report.data)
