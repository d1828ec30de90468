"""Payments as a stream of lines, NDJSON or CSV, however many there are (P44, P41)."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from blueprints.bodies.payments import ExportQuery, PaymentAnswer
from blueprints.edge import Call, operation
from blueprints.hooks import services
from blueprints.policy import scope
from services.csv_records import cell, recorder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

routes = Blueprint("payment_exports", __name__)

NDJSON, CSV = "application/x-ndjson", "text/csv"
COLUMNS = tuple(PaymentAnswer.model_fields)
# Each piece is a write to the socket: one a line would be most of the work.
PIECE_BYTES = 32_768


@routes.get("/v1/payments/export")
@operation(
    policy=scope("payments:read"),
    query=ExportQuery,
    answers={200: (NDJSON, CSV)},
    cost="heavy",
)
def export(call: Call) -> Response:
    """Stream all payments that pass, oldest first, as of one moment.

    NDJSON ends with a line {"end": true, "count", "sha256"}, of all bytes before it: without
    that line it is cut off. In CSV a text that a spreadsheet would compute begins with an
    apostrophe.
    """
    found = services().payment_exports.begin(call.actor, call.query.filters())
    call.after_answer(found.close)
    decimal = services().currencies.decimal  # Asked for while no request is there any more.
    rows = (
        {**row, "amount_decimal": decimal(row["amount_minor"], row["currency"])}
        for row in found.rows
    )
    lines, kind = (_csv, CSV) if call.query.format == "csv" else (_ndjson, NDJSON)
    name = f"payments.{call.query.format}"
    return Response(
        pieces(lines(rows)),
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
        content_type=f"{kind}; charset=utf-8",
    )


def _ndjson(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    to_json = PaymentAnswer.__pydantic_serializer__.to_json
    hashed, count = sha256(), 0
    for row in rows:
        line = to_json(PaymentAnswer.model_validate(row)) + b"\n"
        hashed.update(line)
        count += 1
        yield line
    end = {"end": True, "count": count, "sha256": hashed.hexdigest()}
    yield json.dumps(end).encode() + b"\n"


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """RFC 4180: a header, CRLF, quotes where they are needed."""
    record = recorder()
    yield record(COLUMNS)
    for row in rows:
        values = PaymentAnswer.model_validate(row).model_dump(mode="json")
        yield record([cell(values[name]) for name in COLUMNS])


def pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines joined to pieces of about PIECE_BYTES."""
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)
